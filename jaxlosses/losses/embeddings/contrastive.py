"""One right candidate among many: cross-entropies over similarities, a value per row.

With the similarities z_ij of row i and candidate j, its own candidate at j = i:

    l_i = log(1 + Σ_{j≠i} exp(z_ij - z_ii)) = log Σ_j exp z_ij - z_ii

    N-pair     z_ij = f_i · f_j⁺                  and a penalty on the lengths of f and f⁺
    InfoNCE    z_ij = cos(q_i, p_j) / τ           in the batch, or with given negatives as the candidates j ≠ i

K equal similarities cost log K; one candidate alone costs 0. What is masked is gone from the rows and from the
candidates. Over many devices (`axis_name`) the candidates come from all of them, and each device has the values of its
own rows: add up their `reduction="parts"`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks
from jaxlosses.core.labels import pick
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import logsumexp_parts, safe_divide, softplus
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import AxisName, by_blocks, everyone, ids_each, matrices, places, present
from jaxlosses.losses.embeddings.distances import dots, length_floor, unit
from jaxlosses.registry import register

__all__ = ["info_nce_loss", "n_pair_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    rows, candidates = jax.random.normal(key, (2, 5, 3))
    return rows, candidates


_register = functools.partial(
    register,
    family="embeddings",
    input_kind="features",
    num_event_axes=1,
    domain=("any numbers", "any numbers"),
    minimum=0.0,
    depends_on_batch=True,
    example_inputs=_example,
)


@_register("n_pair_loss", aliases=("n_pair",), citation="Sohn, NIPS 2016")
def n_pair_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    form: str = "multi_class",
    reg_lambda: Number = 0.002,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How well an anchor's positive is told from the positives of all other anchors.

        l_i = log(1 + Σ_{j≠i} exp(z_ij - z_ii)) + λ/4 (|f_i|² + |f_i⁺|²),   z_ij = f_i · f_j⁺      ("multi_class")
        l_i = Σ_{j≠i} log(1 + exp(z_ij - z_ii)) + λ/4 (|f_i|² + |f_i⁺|²)                           ("one_vs_one")

    The embeddings are meant not to be normalised; the penalty, in the form and size of tensorflow-addons, keeps them
    short. Pairs are best of different classes. If labels repeat, pass them: the target is then spread evenly over the
    candidates of a row's label (`"one_vs_one"` leaves out the others of that label).

    Args:
        anchors: `(batch, features)`, f.
        positives: `(batch, features)`, f⁺, of the anchors' classes.
        labels: `(batch,)`, class ids, any integers; None if all are different.
        form: `"multi_class"` or `"one_vs_one"`, which is never less.
        reg_lambda: λ >= 0; 0 for no penalty.
        block_size: how many anchors at a time, computed again for the gradient, so that memory grows with the batch
            and not with its square; None for all at once.
        axis_name: the mapped axis of devices, or several; the candidates then come from all of them.
        where: bool, `(batch,)`; False takes a pair out as row and as candidate. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, `(batch,)`, of the anchors.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` >= 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `form` is another.
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> anchors, positives = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.9]]
        >>> jl.n_pair_loss(anchors, positives, reg_lambda=0.0, reduction="mean")
        Array(0.8455, dtype=float32)

    Reference:
        Sohn, Improved deep metric learning with multi-class N-pair loss objective, 2016, NIPS 29.
    """
    if form not in ("multi_class", "one_vs_one"):
        raise ValueError(f"n_pair_loss: form must be 'multi_class' or 'one_vs_one', got {form!r}")
    f, g, mask = matrices("n_pair_loss", where, sample_weights, anchors=anchors, positives=positives)
    ids = places(f, axis_name) if labels is None else ids_each("n_pair_loss", labels, "anchors", f)
    candidates, candidate_ids = everyone(g, axis_name), everyone(ids, axis_name)
    there = present(f, mask, axis_name)

    def of_row(row: Array, own_id: Array, place: Array) -> Float[Array, ""]:
        z = dots(row, candidates.T)
        same = candidate_ids == own_id
        if form == "one_vs_one":
            other = ~same if there is None else ~same & there
            return jnp.sum(jnp.where(other, softplus(z - _own(z, place)), 0))
        if labels is None:
            return _log_total(z, _own(z, place), there)
        targets = (same if there is None else same & there).astype(z.dtype)
        return _log_total(z, safe_divide(jnp.sum(targets * z), jnp.sum(targets)), there)

    costs = by_blocks(of_row, block_size, f, ids, places(f, axis_name))
    penalty = reg_lambda / 4 * (jnp.sum(f * f, axis=-1) + jnp.sum(g * g, axis=-1))
    return reduce(costs + penalty, mask, reduction)


@_register("info_nce_loss", aliases=("info_nce",), citation="arXiv:1807.03748")
def info_nce_loss(
    queries: ArrayLike,
    positives: ArrayLike,
    *,
    negatives: ArrayLike | None = None,
    negatives_where: ArrayLike | None = None,
    temperature: Number = 0.07,
    normalize: bool = True,
    symmetric: bool = False,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How well a query's positive is told from negatives, given ones or the other positives of the batch.

        l_i = -log( exp(s_i⁺/τ) / (exp(s_i⁺/τ) + Σ_j exp(s_ij⁻/τ)) ),   s the cosine, or x·y without `normalize`

    With K candidates, log K - l bounds the mutual information of queries and positives from below. Recipes: CPC is
    `normalize=False, temperature=1.0`, on queries times its matrix; CLIP is `symmetric=True`, with τ the exponential
    of a parameter that starts at log 0.07; MoCo's queue is `negatives`, with its gradient stopped.

    Args:
        queries: `(batch, features)`.
        positives: `(batch, features)`, one for each query.
        negatives: `(M, features)` for all queries, or `(batch, M, features)`, some for each; None for the other
            positives of the batch.
        negatives_where: bool, `(M,)`, or `(batch, M)` for negatives of each query; False takes a negative out.
        temperature: τ > 0; it may be learned.
        normalize: scale all vectors to length 1; one of zeros has similarity 0 to everything.
        symmetric: the mean of two directions, in the second of which a positive is told the other queries.
        block_size: how many rows at a time, computed again for the gradient, so that memory grows with the batch and
            not with its square; None for all at once.
        axis_name: the mapped axis of devices, or several; the negatives in the batch then come from all of them.
        where: bool, `(batch,)`; False takes a pair out as row and as negative. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, `(batch,)`, of the queries.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` >= 0, and 0 without negatives; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or negatives are given with `symmetric` or `axis_name`.
        TypeError: if `negatives_where` is not boolean.

    Example:
        >>> import jaxlosses as jl
        >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.6, 0.8]]
        >>> jl.info_nce_loss(x, y, temperature=0.5, symmetric=True)
        Array([0.513, 0.513], dtype=float32)

    Reference:
        Van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, 2018,
        arXiv:1807.03748. Both directions: Radford et al., CLIP, 2021, arXiv:2103.00020.
    """
    name = "info_nce_loss"
    q, p, mask = matrices(name, where, sample_weights, queries=queries, positives=positives)
    checks.check_values(name, "temperature", lambda: jnp.asarray(temperature) > 0, "be > 0")
    given = {} if negatives is None else {"negatives": negatives}
    floor = length_floor(name, 1e-12, queries=queries, positives=positives, **given)
    if normalize:
        q, p = unit(q, floor), unit(p, floor)
    q = q / temperature  # before anything is masked: -inf / τ has the derivative NaN by τ
    if negatives is not None:
        if symmetric or axis_name is not None:
            raise ValueError(f"{name}: symmetric= and axis_name= are for negatives in the batch; leave out negatives=")
        n, counted, mask = _negatives(name, negatives, negatives_where, q, mask)
        n = unit(n, floor) if normalize else n
        shared = n.ndim == 2

        def beside_given(row: Array, own: Array, *its: Array) -> Float[Array, ""]:
            candidates, there = (n, counted) if shared else its
            return softplus(_log_total(dots(row, candidates.T), own, there))

        own = jnp.sum(q * p, axis=-1)
        return reduce(by_blocks(beside_given, block_size, q, own, *(() if shared else (n, counted))), mask, reduction)
    if negatives_where is not None:
        raise ValueError(f"{name}: negatives_where= needs negatives=; where= masks pairs of the batch")
    there = present(q, mask, axis_name)

    def beside_others(rows: Array, candidates: Array) -> Float[Array, "batch"]:
        candidates = everyone(candidates, axis_name)

        def of_row(row: Array, place: Array) -> Float[Array, ""]:
            z = dots(row, candidates.T)
            return _log_total(z, _own(z, place), there)

        return by_blocks(of_row, block_size, rows, places(rows, axis_name))

    values = beside_others(q, p)
    return reduce((values + beside_others(p, q)) / 2 if symmetric else values, mask, reduction)


def _own(z: Float[Array, "K"], place: Int[Array, ""]) -> Float[Array, ""]:
    return pick(z, place, 0) if z.size else jnp.zeros((), z.dtype)


def _log_total(z: Float[Array, "K"], own: Float[Array, ""], there: Bool[Array, "K"] | None) -> Float[Array, ""]:
    """The logarithm of Σ_j exp(z_j - own) over what is there; next to -inf if nothing is."""
    if not z.size:
        return jnp.full((), -jnp.inf, z.dtype)
    if there is not None:
        z = z + jnp.where(there, 0, -jnp.inf).astype(z.dtype)
    top, log_total = logsumexp_parts(z, axis=-1)
    return jnp.squeeze(top - own + log_total, -1)


def _negatives(
    loss: str, negatives: ArrayLike, where: ArrayLike | None, queries: Array, mask: LossMask
) -> tuple[Float[Array, "*q M D"], Bool[Array, "*q M"], LossMask]:
    """Negatives with 0 where masked, which of them count, and the queries that are kept."""
    (n,) = checks.to_floats(loss, negatives=negatives)
    if n.shape[-1:] != queries.shape[-1:] or n.ndim not in (2, 3) or (n.ndim == 3 and n.shape[0] != queries.shape[0]):
        batch, features = queries.shape
        forms = f"(M, {features}) or ({batch}, M, {features})"
        raise ValueError(f"{loss}: queries {queries.shape} need negatives {forms}, got {n.shape}")
    counted = checks.to_array(loss, "negatives_where", jnp.ones(n.shape[:-1], bool) if where is None else where)
    if counted.dtype != bool:
        raise TypeError(f"{loss}: negatives_where must be boolean, got {counted.dtype}")
    if counted.shape != n.shape[:-1]:
        raise ValueError(f"{loss}: negatives {n.shape} need negatives_where {n.shape[:-1]}, got {counted.shape}")
    n = masked(n.astype(queries.dtype), counted, -1)
    if n.ndim == 3:  # a query's own negatives are masked, and switched off by a weight of 0, with it
        if mask.sample_weights is not None:
            mask = mask.restrict(jnp.all(jnp.isfinite(n), (1, 2)) | (mask.sample_weights != 0))
        n = masked(n, mask.where)
    return n, counted, mask
