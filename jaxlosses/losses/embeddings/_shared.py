"""What the losses of embeddings share.

prepare_embeddings, check_...         inputs
global_row_indices, global_mask       the rows of all devices
blockwise_vmap                        rows in blocks, so that memory grows with the batch and not with its square
AnchorContext, reduce_over_anchors    one anchor against its positives and negatives in the batch
hinge                                 the triplet loss of two distances
candidate_cross_entropy               one positive among candidates
scaled_logits, enlarge                logits that are too large
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks, collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.labels import pick
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import matmul_full_precision, nan_unless, safe_divide, softplus
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._lengths import excess_scale, excess_unit, has_extreme_rows, norm, squared_norm
from jaxlosses.registry import register

register_embedding_loss = functools.partial(
    register, family="embeddings", input_kind="features", num_event_axes=1, minimum=0.0
)


def labelled_example(key: Array) -> tuple[Array, Array]:
    """Embeddings of two classes, and their labels."""
    embeddings_key, labels_key = jax.random.split(key)
    embeddings = 0.4 * jax.random.normal(embeddings_key, (5, 3))
    return embeddings, jax.random.permutation(labels_key, jnp.array([0, 0, 1, 1, 1]))


def _candidates_example(key: Array) -> tuple[Array, Array]:
    rows, candidates = jax.random.normal(key, (2, 5, 3))
    return rows, candidates


register_candidates_loss = functools.partial(
    register_embedding_loss,
    domain=("any numbers", "any numbers"),
    law_exceptions=(
        ("scaled inputs give scaled values", "a softmax over similarities has a scale of its own, the temperature"),
        ("integers keep their differences", "it takes products of embeddings, and not differences"),
    ),
    depends_on_batch=True,
    example_inputs=_candidates_example,
)

# Inputs


def prepare_embeddings(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    *,
    origin: checks.Origin | None = None,
    **arrays: Any,
) -> tuple[*tuple[Array, ...], LossMask]:
    """Check, convert and mask arrays of one shape `(batch, features)`."""
    *rows, mask = checks.prepare_same_shape(loss, where, sample_weights, consumed=-1, origin=origin, **arrays)
    if rows[0].ndim != 2:
        raise ValueError(f"{loss}: {next(iter(arrays))} {rows[0].shape} must be (batch, features)")
    return *rows, mask


def check_one_per_row(loss: str, name: str, values: ArrayLike, first: str, rows: Array) -> Array:
    """`values` as an array, once there is one for each row of embeddings."""
    array = checks.to_array(loss, name, values)
    if array.shape != rows.shape[:-1]:
        hint = f"did you mean {name}[:, 0]?" if array.shape == (*rows.shape[:-1], 1) else "one for each embedding"
        raise ValueError(f"{loss}: {first} {rows.shape} need {name} {rows.shape[:-1]}, got {array.shape}; {hint}")
    return array


class ClassIds(NamedTuple):
    """One class id for each row of embeddings; `fits` is False where JAX cannot hold it, or None."""

    ids: Int[Array, "batch"]
    fits: Bool[Array, "batch"] | None

    def nan_unless_they_fit(self, values: Float[Array, "batch"]) -> Float[Array, "batch"]:
        """The losses of the rows, NaN for a row whose id JAX cannot hold."""
        return values if self.fits is None else nan_unless(self.fits, values)


def check_class_ids(loss: str, labels: ArrayLike, first: str, rows: Array, mask: LossMask) -> ClassIds:
    """`labels` as integers, once there is one for each row of embeddings; any integer may be a class id."""
    ids = checks.to_integers(loss, "labels", check_one_per_row(loss, "labels", labels, first, rows))
    fits, info = checks.fits_32_bits(loss, "labels", labels), jnp.iinfo(ids.dtype)
    counted = masked(ids, mask.where)  # under `checked`, ids that do not fit come as the ends of the range
    checks.check_values(
        loss,
        "labels",
        lambda: (counted > info.min) & (counted < info.max),
        f"fit {info.bits} bits, without the smallest and the largest number",
    )
    return ClassIds(ids, None if fits is None else jnp.asarray(fits))


# Many devices, and many rows


def global_row_indices(rows: Array, axis_name: AxisName | None) -> Int[Array, "rows"]:
    """The indices of this device's rows among the gathered rows of all devices."""
    return jnp.arange(rows.shape[0]) + collectives.global_offset(rows.shape[0], axis_name)


def global_mask(rows: Array, mask: LossMask, axis_name: AxisName | None) -> Bool[Array, "all_rows"] | None:
    """Which of the gathered rows of all devices count; None for all."""
    if mask.where is None:
        return None
    return collectives.all_gather(jnp.broadcast_to(mask.where, rows.shape[:1]), axis_name)


def blockwise_vmap(function: Callable[..., Any], block_size: int | None, *arrays: Array) -> Any:
    """`jax.vmap(function)(*arrays)`, `block_size` rows at a time, with each block computed again for its gradient."""
    if block_size is None or block_size >= arrays[0].shape[0]:
        return jax.vmap(function)(*arrays)
    # Inside a loop nothing can be shared with the forward pass, so the guard against it is needless.
    recomputed = jax.checkpoint(lambda row: function(*row), prevent_cse=False)
    return jax.lax.map(recomputed, arrays, batch_size=block_size)


# An anchor and its partners


class AnchorContext(NamedTuple):
    """One anchor, its partners, and which of them are its positives (of its label) and negatives (of other labels).

    `extreme` says whether any of them is so long or so short that `norm` needs care. Embeddings whose squares would
    overflow come divided by `unit`, a power of two that is else 1, and so do what has to be added to their distances.
    """

    anchor: Float[Array, "features"]
    partners: Float[Array, "partners features"]
    extreme: Bool[Array, ""]
    positive: Bool[Array, "partners"]
    negative: Bool[Array, "partners"]
    unit: Float[Array, ""]

    def differences(self) -> Float[Array, "partners features"]:
        """The anchor minus each partner."""
        return self.anchor[None] - self.partners

    def lengths(self, differences: Float[Array, "partners features"]) -> Float[Array, "partners"]:
        """How long the differences are."""
        return norm(differences, (self.anchor[None], self.partners), extreme=self.extreme)

    def distances(self, squared: bool) -> Float[Array, "partners"]:
        """How far each partner is from the anchor."""
        return squared_norm(self.differences()) if squared else self.lengths(self.differences())

    def distance(self, index: Int[Array, ""], squared: bool) -> Float[Array, ""]:
        """How far one partner is from the anchor."""
        return self._replace(partners=self.partners[index][None]).distances(squared)[0]

    def in_units(self, squared_distance: Number) -> Number:
        """A squared distance, of embeddings divided by `unit`."""
        return squared_distance / self.unit / self.unit

    def enlarge(self, squared_distance: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """The squared distance, or difference of two, of the embeddings themselves."""
        return squared_distance * self.unit * self.unit


ValueAndCount = tuple[Float[Array, ""], Float[Array, ""]]
"""The value of one anchor, and what it counts for in the mean."""


def reduce_over_anchors(
    loss: str,
    of_anchor: Callable[[AnchorContext], ValueAndCount],
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    squared: bool = False,
    block_size: int | None,
    axis_name: AxisName | None,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    reduction: str,
) -> Reduced:
    """Compute `of_anchor` for each embedding as an anchor, with the rest of the batch as its partners, and reduce.

    A `squared` loss takes differences of squared distances: its embeddings come divided by `AnchorContext.unit`.
    """
    collectives.check_axis_name(loss, axis_name)
    # Each device would count its integers from another row.
    origin = None if axis_name else lambda x: x[:1]
    anchors, mask = prepare_embeddings(loss, where, sample_weights, origin=origin, embeddings=embeddings)
    class_ids = check_class_ids(loss, labels, "embeddings", anchors, mask)
    ids = class_ids.ids
    if not anchors.shape[0]:
        return reduce(jnp.zeros(0, anchors.dtype), mask, reduction)
    partners, partner_ids = collectives.all_gather(anchors, axis_name), collectives.all_gather(ids, axis_name)
    valid, extreme = global_mask(anchors, mask, axis_name), has_extreme_rows(partners)
    unit = excess_unit(partners) if squared else jnp.ones((), partners.dtype)
    anchors, partners = anchors / unit, partners / unit

    def of_row(anchor: Array, anchor_id: Array, index: Array) -> ValueAndCount:
        of_label = partner_ids == anchor_id
        positive, negative = of_label & (jnp.arange(of_label.size) != index), ~of_label
        if valid is not None:
            positive, negative = positive & valid, negative & valid
        return of_anchor(AnchorContext(anchor, partners, extreme, positive, negative, unit))

    block_size = max(8, 2**23 // max(1, partners.size)) if block_size is None else block_size
    values, counts = blockwise_vmap(of_row, block_size, anchors, ids, global_row_indices(anchors, axis_name))
    return reduce(class_ids.nan_unless_they_fit(values), mask, reduction, counts=counts)


def count_true(mask: Bool[Array, "..."], like: Float[Array, "..."]) -> Float[Array, ""]:
    """How many are True, in the precision of `like`."""
    return jnp.sum(mask).astype(like.dtype)


def hinge(gap: Float[Array, "*s"], margin: Number, soft: bool) -> Float[Array, "*s"]:
    """The triplet loss of a positive that is farther than a negative by `gap`."""
    return softplus(gap) if soft else jax.nn.relu(gap + margin)


# One positive among candidates


def logit_at(logits: Float[Array, "candidates"], index: Int[Array, ""]) -> Float[Array, ""]:
    """The logit of one candidate; 0 if there are no candidates at all."""
    return pick(logits, index, 0) if logits.size else jnp.zeros((), logits.dtype)


def mean_logit(logits: Float[Array, "candidates"], positive: Bool[Array, "candidates"]) -> Float[Array, ""]:
    """The mean logit of several positives: the target is shared evenly among them. 0 if there is none."""
    targets = positive.astype(logits.dtype)
    return safe_divide(jnp.sum(targets * logits), jnp.sum(targets))


def scaled_logits(
    row: Float[Array, "features"], candidates: Float[Array, "candidates features"], scale: Float[Array, ""] | None
) -> tuple[Float[Array, "candidates"], Float[Array, ""] | None]:
    """The products of a row with candidates that are divided by `scale`, and by what they have to be multiplied.

    Without a scale (for cosines) they are what they are.
    """
    if scale is None:
        return matmul_full_precision(row, candidates.T), None
    row_scale = excess_scale(row)
    return matmul_full_precision(row / row_scale, candidates.T), row_scale * scale


def enlarge(gap: Float[Array, "*s"], scale: Float[Array, ""] | None) -> Float[Array, "*s"]:
    """`gap * scale` for a difference of logits, and the lowest number where that would be -inf."""
    return gap if scale is None else _enlarge(gap, scale)


@jax.custom_jvp
def _enlarge(gap: Array, scale: Array) -> Array:
    return jnp.maximum(gap, jnp.finfo(gap.dtype).min / scale) * scale


@_enlarge.defjvp
def _enlarge_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # Without a select for the lowest number, whose exponential is 0 in any case. Scales are constant.
    return _enlarge(*primals), primals[1] * tangents[0]


def candidate_cross_entropy(
    logits: Float[Array, "candidates"],
    positive_logit: Float[Array, ""],
    valid: Bool[Array, "candidates"] | None,
    *,
    scale: Float[Array, ""] | None = None,
    positive_is_candidate: bool = True,
) -> Float[Array, ""]:
    """The cross-entropy of one row's positive against its valid candidates (None for all of them).

    log Σ_j exp z_j - z⁺               if the positive is one of the candidates
    log(exp z⁺ + Σ_j exp z_j) - z⁺     if it is not: the softplus of the first; 0 without candidates

    With `scale` the logits are z divided by it.
    """
    lowest = jnp.finfo(logits.dtype).min / 2  # and not -inf, which `jax_debug_infs` would find
    if not logits.size:
        return jnp.full((), 0.0 if not positive_is_candidate else lowest, logits.dtype)
    if valid is not None:
        logits = logits + jnp.where(valid, 0, lowest).astype(logits.dtype)
    # No logit is below the lowest; it keeps XLA's CPU compiler from computing the maximum anew for each logit.
    max_logit = jnp.maximum(jax.lax.stop_gradient(jnp.max(logits, keepdims=True)), 2 * lowest)
    log_normalizer = jnp.log(jnp.sum(jnp.exp(enlarge(logits - max_logit, scale))))
    log_ratio = enlarge(max_logit[0] - positive_logit, scale) + log_normalizer
    return log_ratio if positive_is_candidate else softplus(log_ratio)
