"""InfoNCE: each query's positive among candidates, by cosines at a temperature.

    l_i = log Σ_j exp z_ij - z_i⁺,   z_ij = cos(q_i, c_j) / τ

The candidates c_j are the positives of the batch, or the positive and given negatives. K equal similarities cost log K;
one candidate alone costs 0. What is masked is gone from the rows and from the candidates. Over many devices
(`axis_name`) the candidates come from all of them, and each device has the values of its own rows: add up their
`reduction="parts"`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks, collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.errors import one_of
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import nan_unless
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._lengths import l2_unit, norm_floor
from jaxlosses.losses.embeddings._shared import (
    blockwise_vmap,
    candidate_cross_entropy,
    check_class_ids,
    excess_scale,
    global_mask,
    global_row_indices,
    logit_at,
    mean_logit,
    prepare_embeddings,
    register_candidates_loss,
    scaled_logits,
)

__all__ = ["info_nce_loss"]


@register_candidates_loss("info_nce_loss", aliases=("info_nce",), citation="arXiv:1807.03748")
def info_nce_loss(
    queries: ArrayLike,
    positives: ArrayLike,
    *,
    negatives: ArrayLike | None = None,
    negatives_where: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    same_label: str = "exclude",
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

    The negatives are given ones, or the other positives of the batch. With `labels` y, and s_ij of query i and positive
    j, other items of a query's label are either left out, or positives as in the L_out of SupCon:

        l_i = -log( exp(s_ii/τ) / (exp(s_ii/τ) + Σ_{j: y_j≠y_i} exp(s_ij/τ)) )                    ("exclude")
        l_i = -1/|P_i| Σ_{p∈P_i} log( exp(s_ip/τ) / Σ_j exp(s_ij/τ) ),   P_i = {p: y_p = y_i}     ("positive")

    With K candidates, log K - l bounds the mutual information of queries and positives from below. Recipes: CPC is
    `normalize=False, temperature=1.0`, on queries times its matrix; CLIP is `symmetric=True`, with τ the exponential of
    a parameter that starts at log 0.07; MoCo's queue is `negatives`, with its gradient stopped.

    Args:
        queries: `(batch, features)`.
        positives: `(batch, features)`, one for each query.
        negatives: `(M, features)` for all queries, or `(batch, M, features)`, some for each; None for the other
            positives of the batch.
        negatives_where: bool, `(M,)` for shared negatives, or `(batch, M)` for shared ones too; False takes a negative
            out, of all queries or of one.
        labels: `(batch,)`, class ids, any integers, of the pairs in the batch; None if all are different.
        same_label: what the other pairs of a query's label are: `"exclude"` for neither positives nor negatives, or
            `"positive"` for further positives, also in the denominator.
        temperature: τ > 0; it may be learned.
        normalize: scale all vectors to length 1; one of zeros has similarity 0 to everything.
        symmetric: the mean of two directions; in the second one each positive is compared with the queries (under the
            same labels).
        block_size: how many rows at a time, computed again for the gradient, so that memory grows with the batch and
            not with its square; None for all at once.
        axis_name: the mapped axis of devices, or several; the negatives in the batch then come from all of them, with
            their labels. Inside `shard_map`, `()` says that the local batch is meant. Given negatives are used as they
            are, whatever this says.
        where: bool, `(batch,)`; False takes a pair out as row and as negative. `jaxlosses.core.reduction` explains this
            and the next two.
        sample_weights: numbers >= 0, `(batch,)`, of the queries.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` >= 0, and 0 without negatives; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, negatives are given with `labels` or `symmetric`, or
            `same_label` is another or without labels.
        TypeError: if `negatives_where` is not boolean, or the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.6, 0.8]]
        >>> jl.info_nce_loss(x, y, temperature=0.5, symmetric=True)
        Array([0.513, 0.513], dtype=float32)

    Reference:
        Van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, 2018,
        arXiv:1807.03748. Both directions: Radford et al., CLIP, 2021, arXiv:2103.00020. Several positives: Khosla et
        al., Supervised contrastive learning, 2020, arXiv:2004.11362.
    """
    name = "info_nce_loss"
    one_of(name, "same_label", same_label, ("exclude", "positive"))
    if labels is None and same_label != "exclude":
        raise ValueError(f"{name}: same_label={same_label!r} needs labels=")
    if negatives is None:
        collectives.check_axis_name(name, axis_name)
        if negatives_where is not None:
            raise ValueError(f"{name}: negatives_where= needs negatives=; where= masks pairs of the batch")
    elif symmetric or labels is not None:
        raise ValueError(f"{name}: labels= and symmetric= are for negatives in the batch; leave out negatives=")
    arrays = {"queries": queries, "positives": positives} | ({} if negatives is None else {"negatives": negatives})
    q, p, *given_negatives = checks.to_floats(name, **arrays)  # in one precision
    q, p, mask = prepare_embeddings(name, where, sample_weights, queries=q, positives=p)
    checks.check_values(name, "temperature", lambda: jnp.asarray(temperature) > 0, "be > 0")
    floor = norm_floor(name, 1e-12, **arrays)
    if normalize:
        q, p = l2_unit(q, floor), l2_unit(p, floor)
    q = q / jnp.asarray(temperature, q.dtype)  # before anything is masked: -inf / τ has the derivative NaN by τ
    if given_negatives:
        n, mask = _prepare_negatives(name, given_negatives[0], negatives_where, q, mask)
        scale = None if normalize else excess_scale(p, n.rows)
        if normalize:
            n = n._replace(rows=l2_unit(n.rows, floor))
        return reduce(_against_negatives(q, p, n, scale, block_size), mask, reduction)
    class_ids = None if labels is None else check_class_ids(name, labels, "queries", q, mask)
    valid = global_mask(q, mask, axis_name)
    of_one_direction = functools.partial(
        _against_batch,
        ids=None if class_ids is None else class_ids.ids,
        valid=valid,
        same_label=same_label,
        is_cosine=normalize,
        block_size=block_size,
        axis_name=axis_name,
    )
    values = of_one_direction(q, p)
    if symmetric:
        values = (values + of_one_direction(p, q)) / 2
    return reduce(values if class_ids is None else class_ids.nan_unless_they_fit(values), mask, reduction)


def _against_batch(
    rows: Float[Array, "batch features"],
    candidates: Float[Array, "batch features"],
    ids: Int[Array, "batch"] | None,
    valid: Bool[Array, "all_rows"] | None,
    same_label: str,
    is_cosine: bool,
    block_size: int | None,
    axis_name: AxisName | None,
) -> Float[Array, "batch"]:
    """The cross-entropy of each row's own candidate, or of all of its label, against the candidates of all devices."""
    candidates, candidate_ids = collectives.all_gather((candidates, ids), axis_name)
    candidate_scale = None if is_cosine else excess_scale(candidates)
    candidates = candidates if candidate_scale is None else candidates / candidate_scale

    def of_row(row: Array, index: Array, *row_id: Array) -> Float[Array, ""]:
        logits, scale = scaled_logits(row, candidates, candidate_scale)
        if candidate_ids is None:
            return candidate_cross_entropy(logits, logit_at(logits, index), valid, scale=scale)
        of_label = candidate_ids == row_id[0]
        if same_label == "positive":
            is_positive = of_label if valid is None else of_label & valid
            return candidate_cross_entropy(logits, mean_logit(logits, is_positive), valid, scale=scale)
        not_excluded = ~of_label | (jnp.arange(logits.size) == index)
        not_excluded = not_excluded if valid is None else not_excluded & valid
        return candidate_cross_entropy(logits, logit_at(logits, index), not_excluded, scale=scale)

    row_ids = () if ids is None else (ids,)
    return blockwise_vmap(of_row, block_size, rows, global_row_indices(rows, axis_name), *row_ids)


class _Negatives(NamedTuple):
    """Given negatives, shared by all queries or of each.

    Attributes:
        rows: the embeddings, 0 where masked.
        valid: which of them count; None for all.
        finite: whether all of a query's valid negatives are; None if `rows` hold what is not.
    """

    rows: Float[Array, "*batch M features"]
    valid: Bool[Array, "*batch M"] | None
    finite: Bool[Array, "batch"] | None = None


def _against_negatives(
    q: Float[Array, "batch features"],
    p: Float[Array, "batch features"],
    n: _Negatives,
    candidate_scale: Float[Array, ""] | None,
    block_size: int | None,
) -> Float[Array, "batch"]:
    """The cross-entropy of each query's positive against given negatives."""
    if candidate_scale is not None:
        p, n = p / candidate_scale, n._replace(rows=n.rows / candidate_scale)
    per_query = {"rows": n.rows} if n.rows.ndim == 3 else {}  # what is not shared
    if n.valid is not None and n.valid.ndim == 2:
        per_query["valid"] = n.valid

    def of_row(row: Array, positive: Array, *of_query: Array) -> Float[Array, ""]:
        candidates = n._replace(**dict(zip(per_query, of_query, strict=True)))
        (positive_logit,), _ = scaled_logits(row, positive[None], candidate_scale)
        logits, scale = scaled_logits(row, candidates.rows, candidate_scale)
        return candidate_cross_entropy(
            logits, positive_logit, candidates.valid, scale=scale, positive_is_candidate=False
        )

    values = blockwise_vmap(of_row, block_size, q, p, *per_query.values())
    return values if n.finite is None else nan_unless(n.finite, values)


def _prepare_negatives(
    loss: str, n: Array, where: ArrayLike | None, queries: Array, mask: LossMask
) -> tuple[_Negatives, LossMask]:
    """Check, convert and mask negatives. A query of weight 0 is masked if not all that it uses are finite."""
    batch, features = queries.shape
    if n.ndim not in (2, 3) or n.shape[-1] != features or n.shape[:-2] not in ((), (batch,)):
        shapes = f"(M, {features}) or ({batch}, M, {features})"
        raise ValueError(f"{loss}: queries {queries.shape} need negatives {shapes}, got {n.shape}")
    valid = None
    if where is not None:
        valid = checks.to_bool(loss, "negatives_where", where, "did you mean a comparison such as mask > 0?")
        per_query = (batch, n.shape[-2])
        if valid.shape not in (n.shape[:-1], per_query):
            shapes = f"{per_query}" if n.ndim == 3 else f"{n.shape[:1]} or {per_query}"
            raise ValueError(f"{loss}: negatives {n.shape} need negatives_where {shapes}, got {valid.shape}")
    if n.ndim == 3:
        return _mask_own_negatives(n, valid, mask)
    if valid is not None and valid.ndim == 2:
        return _mask_shared_negatives(n, valid, mask)
    return _Negatives(masked(n, valid, -1), valid), mask


def _mask_own_negatives(
    n: Float[Array, "batch M features"], valid: Bool[Array, "batch M"] | None, mask: LossMask
) -> tuple[_Negatives, LossMask]:
    """Each query has negatives of its own, which are masked with it."""
    n = masked(n, valid, -1)
    if mask.sample_weights is not None:
        mask = mask.restrict(jnp.all(jnp.isfinite(n), (1, 2)) | (mask.sample_weights != 0))
    return _Negatives(masked(n, mask.where), valid), mask


def _mask_shared_negatives(
    n: Float[Array, "M features"], valid: Bool[Array, "batch M"], mask: LossMask
) -> tuple[_Negatives, LossMask]:
    """Each query has a mask of its own on negatives that all share: no array of (batch, M, features) is made.

    A negative that is not finite becomes 0 for all queries; those that use it are marked, and have a loss of NaN.
    """
    finite = jnp.all(jnp.isfinite(n), -1)
    query_finite = jnp.all(finite[None] | ~valid, -1)
    if mask.sample_weights is not None:
        mask = mask.restrict(query_finite | (mask.sample_weights != 0))
    if mask.where is not None:
        valid, query_finite = valid & mask.where[:, None], query_finite | ~mask.where
    return _Negatives(masked(n, finite & jnp.any(valid, 0), -1), valid, query_finite), mask
