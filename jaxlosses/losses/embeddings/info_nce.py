"""InfoNCE: each query's positive among candidates, by cosines at a temperature.

    l_i = log Σ_j exp z_ij - z_i⁺,   z_ij = cos(q_i, c_j) / τ

The candidates c_j are the positives of the batch, or the positive and given negatives. K equal similarities cost log K;
one candidate alone costs 0. What is masked is gone from the rows and from the candidates. Over many devices
(`axis_name`) the candidates come from all of them, and each device has the values of its own rows: add up their
`reduction="parts"`.
"""

import functools

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core import checks, collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import matmul_full_precision
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import (
    blockwise_vmap,
    candidate_cross_entropy,
    global_mask,
    global_row_indices,
    positive_logit,
    prepare_embeddings,
    register_candidates_loss,
)
from jaxlosses.losses.embeddings.distances import l2_unit, norm_floor

__all__ = ["info_nce_loss"]


@register_candidates_loss("info_nce_loss", aliases=("info_nce",), citation="arXiv:1807.03748")
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
    """InfoNCE loss (CPC, MoCo, CLIP): softmax cross-entropy of a query's positive against negatives, at a temperature.

        l_i = -log( exp(s_i⁺/τ) / (exp(s_i⁺/τ) + Σ_j exp(s_ij⁻/τ)) ),   s the cosine, or x·y without `normalize`

    The negatives are given ones, or the other positives of the batch. With K candidates, log K - l bounds the mutual
    information of queries and positives from below. Recipes: CPC is `normalize=False, temperature=1.0`, on queries
    times its matrix; CLIP is `symmetric=True`, with τ the exponential of a parameter that starts at log 0.07; MoCo's
    queue is `negatives`, with its gradient stopped.

    Args:
        queries: `(batch, features)`.
        positives: `(batch, features)`, one for each query.
        negatives: `(M, features)` for all queries, or `(batch, M, features)`, some for each; None for the other
            positives of the batch.
        negatives_where: bool, `(M,)`, or `(batch, M)` for negatives of each query; False takes a negative out.
        temperature: τ > 0; it may be learned.
        normalize: scale all vectors to length 1; one of zeros has similarity 0 to everything.
        symmetric: the mean of two directions; in the second one each positive is compared with the queries.
        block_size: how many rows at a time, computed again for the gradient, so that memory grows with the batch and
            not with its square; None for all at once.
        axis_name: the mapped axis of devices, or several; the negatives in the batch then come from all of them.
            Inside `shard_map`, `()` says that the local batch is meant.
        where: bool, `(batch,)`; False takes a pair out as row and as negative. `jaxlosses.core.reduction` explains this
            and the next two.
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
    in_batch = negatives is None
    if in_batch:
        collectives.check_axis_name(name, axis_name)
    elif symmetric or axis_name not in (None, ()):
        raise ValueError(f"{name}: symmetric= and axis_name= are for negatives in the batch; leave out negatives=")
    if in_batch and negatives_where is not None:
        raise ValueError(f"{name}: negatives_where= needs negatives=; where= masks pairs of the batch")
    q, p, mask = prepare_embeddings(name, where, sample_weights, queries=queries, positives=positives)
    checks.check_values(name, "temperature", lambda: jnp.asarray(temperature) > 0, "be > 0")
    floats = {"queries": queries, "positives": positives} | ({} if negatives is None else {"negatives": negatives})
    floor = norm_floor(name, 1e-12, **floats)
    if normalize:
        q, p = l2_unit(q, floor), l2_unit(p, floor)
    q = q / temperature  # before anything is masked: -inf / τ has the derivative NaN by τ
    if negatives is not None:
        n, valid, mask = _prepare_negatives(name, negatives, negatives_where, q, mask)
        values = _against_negatives(q, p, l2_unit(n, floor) if normalize else n, valid, block_size)
        return reduce(values, mask, reduction)
    against_batch = functools.partial(
        _against_batch, valid=global_mask(q, mask, axis_name), block_size=block_size, axis_name=axis_name
    )
    values = (against_batch(q, p) + against_batch(p, q)) / 2 if symmetric else against_batch(q, p)
    return reduce(values, mask, reduction)


def _against_batch(
    rows: Float[Array, "batch features"],
    candidates: Float[Array, "batch features"],
    *,
    valid: Bool[Array, "all_rows"] | None,
    block_size: int | None,
    axis_name: AxisName | None,
) -> Float[Array, "batch"]:
    """The cross-entropy of each row's own candidate against the candidates of all devices."""
    candidates = collectives.all_gather(candidates, axis_name)

    def of_row(row: Array, index: Array) -> Float[Array, ""]:
        logits = matmul_full_precision(row, candidates.T)
        return candidate_cross_entropy(logits, positive_logit(logits, index), valid)

    return blockwise_vmap(of_row, block_size, rows, global_row_indices(rows, axis_name))


def _against_negatives(
    q: Float[Array, "batch features"],
    p: Float[Array, "batch features"],
    n: Float[Array, "*batch M features"],
    valid: Bool[Array, "*batch M"],
    block_size: int | None,
) -> Float[Array, "batch"]:
    """The cross-entropy of each query's positive against given negatives, shared ones or its own."""
    shared = n.ndim == 2

    def of_row(row: Array, positive_logit: Array, *own: Array) -> Float[Array, ""]:
        candidates, candidates_valid = (n, valid) if shared else own
        logits = matmul_full_precision(row, candidates.T)
        return candidate_cross_entropy(logits, positive_logit, candidates_valid, positive_is_candidate=False)

    return blockwise_vmap(of_row, block_size, q, jnp.sum(q * p, axis=-1), *(() if shared else (n, valid)))


def _prepare_negatives(
    loss: str, negatives: ArrayLike, where: ArrayLike | None, queries: Array, mask: LossMask
) -> tuple[Float[Array, "*batch M features"], Bool[Array, "*batch M"], LossMask]:
    """Negatives with 0 where masked, which of them are valid, and the mask of the queries."""
    (n,) = checks.to_floats(loss, negatives=negatives)
    if n.shape[-1:] != queries.shape[-1:] or n.ndim not in (2, 3) or (n.ndim == 3 and n.shape[0] != queries.shape[0]):
        batch, features = queries.shape
        shapes = f"(M, {features}) or ({batch}, M, {features})"
        raise ValueError(f"{loss}: queries {queries.shape} need negatives {shapes}, got {n.shape}")
    if where is None:
        valid = jnp.ones(n.shape[:-1], bool)
    else:
        valid = checks.to_bool(loss, "negatives_where", where, "did you mean a comparison such as mask > 0?")
    if valid.shape != n.shape[:-1]:
        raise ValueError(f"{loss}: negatives {n.shape} need negatives_where {n.shape[:-1]}, got {valid.shape}")
    n = masked(n.astype(queries.dtype), valid, -1)
    if n.ndim == 3:  # a query's own negatives are masked, and switched off by a weight of 0, with it
        if mask.sample_weights is not None:
            mask = mask.restrict(jnp.all(jnp.isfinite(n), (1, 2)) | (mask.sample_weights != 0))
        n = masked(n, mask.where)
    return n, valid, mask
