"""Triplet losses with online mining: triplets found inside a labelled batch, a value per anchor.

With an anchor's distances d_ap to its P positives (the other items of its label) and d_an to its N negatives (all items
of other labels), and a margin m:

    batch-all    Σ_p Σ_n relu(d_ap - d_an + m)              counts P·N in the mean
    batch-hard   relu(max_p d_ap - min_n d_an + m)          counts 1
    semi-hard    Σ_p relu(d_ap - d_an* + m)                 counts P
                 n* the nearest negative farther than p, or the farthest of all if there is none

An anchor without a positive or without a negative counts nothing. A masked item is neither anchor nor partner; the
weight of an item weighs it as an anchor. Anchors are taken in blocks, so that memory grows with the batch and not with
its cube (nor with its square); the gradient computes each block again. Over many devices (`axis_name`) the partners
come from all of them, and each device has the values of its own anchors: add up their `reduction="parts"`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core.collectives import AxisName
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import (
    AnchorContext,
    ValueAndCount,
    count_true,
    hinge,
    labelled_example,
    reduce_over_anchors,
    register_embedding_loss,
)

__all__ = ["batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss"]

_register = functools.partial(
    register_embedding_loss,
    domain=("any numbers", "class ids"),
    depends_on_batch=True,
    law_exceptions=(
        (
            "scaled inputs give scaled values",
            "the degree is 2 or 1 by its option squared, and the lengths have tests of their own",
        ),
    ),
    translation_invariant=True,
    example_inputs=labelled_example,
)


@_register("batch_all_triplet_loss", aliases=("batch_all_triplet",), citation="arXiv:1703.07737")
def batch_all_triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Number = 0.2,
    squared: bool = True,
    positive_only: bool = False,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Batch-all triplet loss: the triplet margin loss summed over every valid triplet of a labelled batch.

        l_a = Σ_p Σ_n relu(d_ap - d_an + m),   its mean Σ_a l_a / #(a, p, n)

    No triplet is ever made: how many negatives are nearer than d_ap + m, and how many positives farther than d_an - m,
    is found by sorting; these numbers are the gradient.

    Args:
        embeddings: `(batch, features)`, often of length 1 (`jaxlosses.l2_normalize`).
        labels: `(batch,)`, class ids, any integers.
        margin: m >= 0, in units of the distance.
        squared: take squared distances.
        positive_only: let the mean count only the triplets that violate the margin.
        block_size: how many anchors at a time; None for as many as keep a block in some tens of MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them. Inside `shard_map`,
            `()` says that the local batch is meant.
        where: bool, `(batch,)`; False takes an item out as anchor and as partner. `jaxlosses.core.reduction` explains
            this and the next two.
        sample_weights: numbers >= 0, `(batch,)`, of the anchors.
        reduction: `"none"`, `"sum"`, `"mean"` (over triplets), or `"parts"`.

    Returns:
        `(batch,)` >= 0, the sum over an anchor's triplets; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> x = [[0.0], [0.5], [0.6], [2.0]]
        >>> jl.batch_all_triplet_loss(x, [0, 0, 1, 1], reduction="mean")
        Array(0.56, dtype=float32)

    Reference:
        Hermans, Beyer and Leibe, In defense of the triplet loss for person re-identification, 2017, arXiv:1703.07737.
    """

    def all_triplets(x: AnchorContext) -> ValueAndCount:
        d, m = x.distances(squared), x.in_units(margin)
        violating_negatives, violated_positives = _count_violations(d, m, x.positive, x.negative)
        # Σ violating_negatives = Σ violated_positives, so any constant may be taken from d: the largest of those that
        # take part, so that little cancels between distances that are alike.
        takes_part = violating_negatives + violated_positives > 0
        centered = d - jax.lax.stop_gradient(jnp.max(jnp.where(takes_part, d, 0)))
        total = jnp.sum(violating_negatives * (centered + m) - violated_positives * centered)
        total += jax.lax.stop_gradient(jax.nn.relu(total) - total)  # rounding must not take it below 0
        total = x.enlarge(total)
        if positive_only:
            return total, jnp.sum(violating_negatives)
        return total, count_true(x.positive, d) * count_true(x.negative, d)

    return reduce_over_anchors(
        "batch_all_triplet_loss",
        all_triplets,
        embeddings,
        labels,
        squared=squared,
        block_size=block_size,
        axis_name=axis_name,
        where=where,
        sample_weights=sample_weights,
        reduction=reduction,
    )


@_register("batch_hard_triplet_loss", aliases=("batch_hard_triplet",), citation="arXiv:1703.07737")
def batch_hard_triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Number = 0.2,
    squared: bool = True,
    soft_margin: bool = False,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Batch-hard triplet loss: online mining of each anchor's farthest positive and nearest negative.

        l_a = relu(max_p d_ap - min_n d_an + m)   or, if `soft_margin`,   log(1 + exp(max_p d_ap - min_n d_an))

    The paper takes plain distances (`squared=False`). Where several are farthest, or nearest, the first one has the
    gradient.

    Args:
        embeddings: `(batch, features)`, often of length 1 (`jaxlosses.l2_normalize`).
        labels: `(batch,)`, class ids, any integers.
        margin: m >= 0, in units of the distance; not used if `soft_margin`.
        squared: take squared distances.
        soft_margin: softplus instead of the hinge.
        block_size: how many anchors at a time; None for as many as keep a block in some tens of MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them. Inside `shard_map`,
            `()` says that the local batch is meant.
        where: bool, `(batch,)`; False takes an item out as anchor and as partner. `jaxlosses.core.reduction` explains
            this and the next two.
        sample_weights: numbers >= 0, `(batch,)`, of the anchors.
        reduction: `"none"`, `"sum"`, `"mean"` (over anchors with a positive and a negative), or `"parts"`.

    Returns:
        `(batch,)` >= 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.batch_hard_triplet_loss([[0.0], [0.5], [0.6], [2.0]], [0, 0, 1, 1], reduction="mean")
        Array(0.67, dtype=float32)

    Reference:
        Hermans, Beyer and Leibe, In defense of the triplet loss for person re-identification, 2017, arXiv:1703.07737.
    """

    def hardest(x: AnchorContext) -> ValueAndCount:
        valid = jnp.any(x.positive) & jnp.any(x.negative)
        d = jax.lax.stop_gradient(x.distances(squared))
        farthest_positive = x.distance(jnp.argmax(jnp.where(x.positive, d, -1)), squared)
        nearest_negative = x.distance(jnp.argmin(jnp.where(x.negative, d, jnp.finfo(d.dtype).max)), squared)
        value = hinge(x.enlarge(farthest_positive - nearest_negative), margin, soft_margin)
        return jnp.where(valid, value, 0), valid.astype(d.dtype)

    return reduce_over_anchors(
        "batch_hard_triplet_loss",
        hardest,
        embeddings,
        labels,
        squared=squared,
        block_size=block_size,
        axis_name=axis_name,
        where=where,
        sample_weights=sample_weights,
        reduction=reduction,
    )


@_register("semi_hard_triplet_loss", aliases=("semi_hard_triplet",), citation="arXiv:1503.03832")
def semi_hard_triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Number = 0.2,
    squared: bool = True,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Semi-hard triplet loss (FaceNet): each positive pair against its nearest negative farther than the positive.

        l_a = Σ_p relu(d_ap - min {d_an : d_an > d_ap} + m),   with max_n d_an where no negative is farther

    Its mean is over pairs of an anchor and a positive, as in tensorflow-addons. Of equally far negatives the first one
    has the gradient.

    Args:
        embeddings: `(batch, features)`, often of length 1 (`jaxlosses.l2_normalize`).
        labels: `(batch,)`, class ids, any integers.
        margin: m >= 0, in units of the distance.
        squared: take squared distances.
        block_size: how many anchors at a time; None for as many as keep a block in some tens of MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them. Inside `shard_map`,
            `()` says that the local batch is meant.
        where: bool, `(batch,)`; False takes an item out as anchor and as partner. `jaxlosses.core.reduction` explains
            this and the next two.
        sample_weights: numbers >= 0, `(batch,)`, of the anchors.
        reduction: `"none"`, `"sum"`, `"mean"` (over pairs of an anchor and a positive), or `"parts"`.

    Returns:
        `(batch,)` >= 0, the sum over an anchor's positives; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.semi_hard_triplet_loss([[0.0], [0.5], [0.6], [2.0]], [0, 0, 1, 1], reduction="mean")
        Array(0.4725, dtype=float32)

    Reference:
        Schroff, Kalenichenko and Philbin, FaceNet, 2015, arXiv:1503.03832.
    """

    def semi_hard(x: AnchorContext) -> ValueAndCount:
        d = x.distances(squared)
        negative_distance = jnp.where(x.negative, jax.lax.stop_gradient(d), jnp.finfo(d.dtype).max)
        order = jnp.argsort(negative_distance)
        first_farther = jnp.searchsorted(negative_distance[order], jax.lax.stop_gradient(d), side="right")
        farthest = jnp.maximum(jnp.sum(x.negative, dtype=jnp.int32) - 1, 0)
        mined = d[order[jnp.minimum(first_farther, farthest)]]
        pairs = x.positive & jnp.any(x.negative)
        return jnp.sum(jnp.where(pairs, hinge(x.enlarge(d - mined), margin, soft=False), 0)), count_true(pairs, d)

    return reduce_over_anchors(
        "semi_hard_triplet_loss",
        semi_hard,
        embeddings,
        labels,
        squared=squared,
        block_size=block_size,
        axis_name=axis_name,
        where=where,
        sample_weights=sample_weights,
        reduction=reduction,
    )


def _count_violations(
    d: Float[Array, "partners"], margin: Number, positive: Bool[Array, "partners"], negative: Bool[Array, "partners"]
) -> tuple[Float[Array, "partners"], Float[Array, "partners"]]:
    """How many triplets of one anchor violate the margin, counted for each positive and for each negative.

    With the P·N comparisons V_pn = [d_an < d_ap + m] between its positives and negatives:

        violating_negatives_p = Σ_n V_pn        violated_positives_n = Σ_p V_pn

        Σ_p Σ_n relu(d_ap - d_an + m) = Σ_p violating_negatives_p (d_ap + m) - Σ_n violated_positives_n d_an

    The sums are positions in sorted lists, in O(K log K) for K partners. Both are 0 for other partners.
    """
    farthest = jnp.asarray(jnp.finfo(d.dtype).max, d.dtype)  # and not infinity, which `jax_debug_infs` would find
    negative_distance = jax.lax.stop_gradient(d)
    # Above d, also where the margin is lost in rounding: equal distances violate any margin but 0.
    next_distance = jnp.where(jnp.asarray(margin) > 0, jnp.nextafter(negative_distance, farthest), negative_distance)
    hinge_limit = jnp.maximum(jax.lax.stop_gradient(d + margin), next_distance)
    hinge_limit = jnp.where(positive, hinge_limit, farthest)
    negative_distance = jnp.where(negative, negative_distance, farthest)
    num_positives = jnp.sum(positive, dtype=jnp.int32)
    violating_negatives = jnp.searchsorted(jnp.sort(negative_distance), hinge_limit, side="left")
    violated_positives = num_positives - jnp.searchsorted(jnp.sort(hinge_limit), negative_distance, side="right")
    return (
        jnp.where(positive, violating_negatives, 0).astype(d.dtype),
        jnp.where(negative, violated_positives, 0).astype(d.dtype),
    )
