"""Triplets found inside a batch: a value per anchor.

With an anchor's distances d_ap to its P positives (the other items of its label) and d_an to its N negatives (all items
of other labels), and a margin m:

    batch-all    Σ_p Σ_n relu(d_ap - d_an + m)              counts for P·N in the mean
    batch-hard   relu(max_p d_ap - min_n d_an + m)          counts for 1
    semi-hard    Σ_p relu(d_ap - d_an* + m)                 counts for P
                 n* the nearest negative farther than p, or the farthest of all if there is none

An anchor without a positive or without a negative counts for nothing. A masked item is neither anchor nor partner; the
weight of an item weighs it as an anchor. Anchors are taken in blocks, so that memory grows with the batch and not with
its cube (nor with its square); the gradient computes each block again. Over many devices (`axis_name`) the partners
come from all of them, and each device has the values of its own anchors: add up their `reduction="parts"`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import AxisName, by_blocks, everyone, ids_each, matrices, places, present
from jaxlosses.losses.embeddings.distances import norm
from jaxlosses.losses.embeddings.distances import squared as squared_length
from jaxlosses.losses.embeddings.pairs import hinge
from jaxlosses.registry import register

__all__ = ["batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    embeddings_key, labels_key = jax.random.split(key)
    embeddings = 0.4 * jax.random.normal(embeddings_key, (5, 3))
    return embeddings, jax.random.permutation(labels_key, jnp.array([0, 0, 1, 1, 1]))


_register = functools.partial(
    register,
    family="embeddings",
    input_kind="features",
    num_event_axes=1,
    domain=("any numbers", "class ids"),
    minimum=0.0,
    depends_on_batch=True,
    example_inputs=_example,
)

_ValueAndCount = tuple[Float[Array, ""], Float[Array, ""]]


class _View(NamedTuple):
    """What one anchor sees: the partners, and which of them are its positives and negatives."""

    anchor: Float[Array, "features"]
    partners: Float[Array, "partners features"]
    positive: Bool[Array, "partners"]
    negative: Bool[Array, "partners"]
    length: Callable[[Array], Array]

    def distances(self) -> Float[Array, "partners"]:
        return self.length(self.anchor[None] - self.partners)

    def distance(self, index: Int[Array, ""]) -> Float[Array, ""]:
        return self.length(self.anchor - self.partners[index])


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
    """The triplet loss of every triplet in a batch.

        l_a = Σ_p Σ_n relu(d_ap - d_an + m),   its mean Σ_a l_a / #(a, p, n)

    No triplet is ever made: how many negatives are nearer than d_ap + m, and how many positives farther than d_an - m,
    is found by sorting; these numbers are the gradient.

    Args:
        embeddings: `(batch, features)`, often of length 1 (`jaxlosses.l2_normalize`).
        labels: `(batch,)`, class ids, any integers.
        margin: m >= 0, in units of the distance.
        squared: take squared distances.
        positive_only: count only the triplets that cost something in the mean.
        block_size: how many anchors at a time; None for as many as keep a block in some tens of MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them.
        where: bool, `(batch,)`; False takes an item out as anchor and as partner. See `jaxlosses.core.reduction`.
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

    def every_triplet(x: _View) -> _ValueAndCount:
        d, positive, negative = x.distances(), x.positive, x.negative
        reach, at = jax.lax.stop_gradient((d + margin, d))
        reach, at = jnp.where(positive, reach, jnp.inf), jnp.where(negative, at, jnp.inf)
        nearer = jnp.searchsorted(jnp.sort(at), reach, side="left")
        farther = jnp.sum(positive, dtype=jnp.int32) - jnp.searchsorted(jnp.sort(reach), at, side="right")
        nearer = jnp.where(positive, nearer, 0).astype(d.dtype)
        farther = jnp.where(negative, farther, 0).astype(d.dtype)
        # As many are nearer as farther, so the zero of d is free: at its maximum little cancels between like distances.
        below = d - jax.lax.stop_gradient(jnp.max(d))
        total = jnp.sum(nearer * (below + margin) - farther * below)
        total += jax.lax.stop_gradient(jax.nn.relu(total) - total)  # rounding must not take it below 0
        triplets = jnp.sum(nearer) if positive_only else _number(positive, d) * _number(negative, d)
        return total, triplets

    return _over_anchors(
        "batch_all_triplet_loss",
        every_triplet,
        embeddings,
        labels,
        squared,
        block_size,
        axis_name,
        where,
        sample_weights,
        reduction,
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
    """The triplet loss of each anchor's farthest positive and nearest negative.

        l_a = relu(max_p d_ap - min_n d_an + m)   or, if `soft_margin`,   log(1 + exp(max_p d_ap - min_n d_an))

    The paper takes plain distances (`squared=False`). Where several are farthest, or nearest, the first one has the
    gradient.

    Args:
        embeddings: `(batch, features)`, often of length 1 (`jaxlosses.l2_normalize`).
        labels: `(batch,)`, class ids, any integers.
        margin: m >= 0, in units of the distance; not used if `soft_margin`.
        squared: take squared distances.
        soft_margin: softplus in the place of the hinge.
        block_size: how many anchors at a time; None for as many as keep a block in some tens of MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them.
        where: bool, `(batch,)`; False takes an item out as anchor and as partner. See `jaxlosses.core.reduction`.
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

    def hardest(x: _View) -> _ValueAndCount:
        valid = jnp.any(x.positive) & jnp.any(x.negative)
        d = jax.lax.stop_gradient(x.distances())
        farthest = x.distance(jnp.argmax(jnp.where(x.positive, d, -jnp.inf)))
        nearest = x.distance(jnp.argmin(jnp.where(x.negative, d, jnp.inf)))
        return jnp.where(valid, hinge(farthest - nearest, margin, soft_margin), 0), valid.astype(d.dtype)

    return _over_anchors(
        "batch_hard_triplet_loss",
        hardest,
        embeddings,
        labels,
        squared,
        block_size,
        axis_name,
        where,
        sample_weights,
        reduction,
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
    """The triplet loss of each anchor and positive with the nearest negative that is farther than the positive.

        l_a = Σ_p relu(d_ap - min {d_an : d_an > d_ap} + m),   with max_n d_an where no negative is farther

    Its mean is over pairs of an anchor and a positive, as in tensorflow-addons. Of equally far negatives the first one
    has the gradient.

    Args:
        embeddings: `(batch, features)`, often of length 1 (`jaxlosses.l2_normalize`).
        labels: `(batch,)`, class ids, any integers.
        margin: m >= 0, in units of the distance.
        squared: take squared distances.
        block_size: how many anchors at a time; None for as many as keep a block in some tens of MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them.
        where: bool, `(batch,)`; False takes an item out as anchor and as partner. See `jaxlosses.core.reduction`.
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

    def semi_hard(x: _View) -> _ValueAndCount:
        d, positive, negative = x.distances(), x.positive, x.negative
        at = jnp.where(negative, jax.lax.stop_gradient(d), jnp.inf)
        order = jnp.argsort(at)
        following = jnp.searchsorted(at[order], jax.lax.stop_gradient(d), side="right")
        last = jnp.maximum(jnp.sum(negative, dtype=jnp.int32) - 1, 0)
        chosen = d[order[jnp.minimum(following, last)]]
        pairs = positive & jnp.any(negative)
        return jnp.sum(jnp.where(pairs, hinge(d - chosen, margin, soft=False), 0)), _number(pairs, d)

    return _over_anchors(
        "semi_hard_triplet_loss",
        semi_hard,
        embeddings,
        labels,
        squared,
        block_size,
        axis_name,
        where,
        sample_weights,
        reduction,
    )


def _over_anchors(
    loss: str,
    of_anchor: Callable[[_View], _ValueAndCount],
    embeddings: ArrayLike,
    labels: ArrayLike,
    squared: bool,
    block_size: int | None,
    axis_name: AxisName | None,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    reduction: str,
) -> Reduced:
    """Reduce what `of_anchor` makes of an anchor's distances to its positives and negatives: a value and a count."""
    anchors, mask = matrices(loss, where, sample_weights, embeddings=embeddings)
    ids = ids_each(loss, labels, "embeddings", anchors)
    if not anchors.shape[0]:
        return reduce(jnp.zeros(0, anchors.dtype), mask, reduction)
    partners, partner_ids = everyone(anchors, axis_name), everyone(ids, axis_name)
    there = present(anchors, mask, axis_name)
    length = squared_length if squared else norm

    def of_row(anchor: Array, own_id: Array, place: Array) -> _ValueAndCount:
        same = partner_ids == own_id
        positive, negative = same & (jnp.arange(same.size) != place), ~same
        if there is not None:
            positive, negative = positive & there, negative & there
        return of_anchor(_View(anchor, partners, positive, negative, length))

    block_size = max(8, 2**23 // max(1, partners.size)) if block_size is None else block_size
    values, counts = by_blocks(of_row, block_size, anchors, ids, places(anchors, axis_name))
    return reduce(values, mask, reduction, counts=counts)


def _number(among: Bool[Array, "..."], like: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.sum(among).astype(like.dtype)
