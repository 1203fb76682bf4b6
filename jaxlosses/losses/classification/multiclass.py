"""One right class of several: every loss here is the expected cost of a class under the truth.

    l = Σ_k w_k t_k cost_k

with t the target distribution (one-hot for class ids), w the class weights, and a cost that grows as the model's
probability p_k falls: -log p_k, or for focal losses -(1 - p_k)^γ log p_k. In a mean, a row counts
for Σ_k w_k t_k (over Σ_k t_k, if that is not 1).

Logits of -inf take a class out, exactly as if it were not there; a row of nothing else counts as masked. A class that
is out and yet right costs +inf as a class id, and as part of a distribution the largest finite number.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core import checks
from jaxlosses.core.labels import Labels
from jaxlosses.core.numerics import (
    log1m_prob,
    log_softmax_from_parts,
    log_sum_others,
    logsumexp_parts,
    multiply_inf_safe,
    safe_divide,
)
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.registry import register

__all__ = ["softmax_cross_entropy", "softmax_focal_loss"]


def example(key: Array) -> tuple[Array, Array]:
    """Logits and class ids."""
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (5, 3, 4)), jax.random.randint(labels_key, (5, 3), 0, 4)


register_class_loss = functools.partial(
    register,
    family="classification",
    input_kind="classes",
    num_event_axes=1,
    domain=("logits", "class ids or distributions"),
    minimum=0.0,
    example_inputs=example,
)


@register_class_loss("softmax_cross_entropy", aliases=("softmax_ce", "ce"), citation="doi:10.1007/978-3-642-76153-9_28")
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    label_smoothing: Number = 0.0,
    ignore_label: int | None = None,
    normalize: str = "weight_sum",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How surprised the softmax of the logits is by the labels.

        l = -Σ_k w_k t'_k log softmax(z)_k,   t' = (1 - ε) t + ε/C;   dl/dz = softmax(z) - t  (w = 1, ε = 0)

    Labels of one axis less than the logits are class ids (integers); labels of the same shape are distributions.

    Args:
        logits: `(..., C)`, any numbers; -inf takes a class out.
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        axis: the class axis of the logits.
        class_weights: `(C,)`, w >= 0; see `inverse_frequency_weights` and its siblings.
        label_smoothing: ε in [0, 1], spread evenly over the classes that are not taken out.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        normalize: what a row counts for in a mean: `"weight_sum"` for the weight of its label, as in torch, or
            `"count"` for 1, as in Keras.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the logits' shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN, in
        the gradient too (optax reads -1 as the last class).

    Raises:
        ValueError: if the labels fit neither form, `class_weights` are not one per class, or `normalize` is another.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.softmax_cross_entropy([[2.0, 1.0, 0.1], [0.0, 0.0, 0.0]], [0, 2]).round(4)
        Array([0.417 , 1.0986], dtype=float32)

    Reference:
        Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990,
        doi:10.1007/978-3-642-76153-9_28. Label smoothing: Szegedy et al., 2015, arXiv:1512.00567.
    """
    logits, truth, mask = checks.prepare_scores_and_labels(
        "softmax_cross_entropy",
        where,
        sample_weights,
        axis=axis,
        ignore_label=ignore_label,
        logits=logits,
        labels=labels,
    )
    check_normalize("softmax_cross_entropy", normalize)
    weights = weigh_classes(mask.loss, class_weights, logits, axis)
    values = smoothed_surprise(logits, truth, label_smoothing, weights)
    return reduce(values, mask.with_classes(logits, axis), reduction, counts_of(truth, weights, normalize))


@register_class_loss("softmax_focal_loss", aliases=("softmax_focal",), citation="arXiv:1708.02002")
def softmax_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Number = 2.0,
    alpha: ArrayLike | None = None,
    normalizer: Number | None = None,
    axis: int = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Cross-entropy that turns down what is already classified well.

        l = -Σ_k α_k t_k (1 - p_k)^γ log p_k,  p = softmax(z)

    At γ = 0 it is the cross-entropy; at γ = 2 a row with p = 0.9 weighs a hundred times less.

    Args:
        logits: `(..., C)`, any numbers; -inf takes a class out.
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        gamma: γ >= 0, the focus.
        alpha: a number, or `(C,)` with one per class; None for 1. Unlike class weights it does not change what a row
            counts for in the mean.
        normalizer: what every value is divided by, or 1 if that is larger. RetinaNet: the number of rows that are not
            background, with `reduction="sum"`.
        axis: the class axis of the logits.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the logits' shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN.

    Raises:
        ValueError: if the labels fit neither form, or `alpha` is neither a number nor one per class.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.softmax_focal_loss([[2.0, 1.0, 0.1], [2.0, 1.0, 0.1]], [0, 1]).round(4)
        Array([0.0485, 0.8132], dtype=float32)

    Reference:
        Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
    """
    logits, truth, mask = checks.prepare_scores_and_labels(
        "softmax_focal_loss", where, sample_weights, axis=axis, ignore_label=ignore_label, logits=logits, labels=labels
    )

    def cost(z: Array, top: Array, log_total: Array, rest: Array) -> Array:
        log_p = log_softmax_from_parts(z, top, log_total)
        absent = log_p == -jnp.inf
        easiness = jnp.exp(gamma * log1m_prob(log_p, log_total, rest))
        return jnp.where(absent, jnp.inf, easiness * -jnp.where(absent, 0, log_p))

    alphas = None if alpha is None else _per_class(mask.loss, "alpha", alpha, logits, axis)
    top, log_total = logsumexp_parts(logits, axis)
    values = truth.expected_cost(cost, logits, top, log_total, log_sum_others(logits, top, axis), weights=alphas)
    return reduce(normalized(values, normalizer), mask.with_classes(logits, axis), reduction)


def normalized(values: Float[Array, "*s"], normalizer: Number | None) -> Float[Array, "*s"]:
    """The values over `normalizer`, which is taken for 1 where it is less: no positives, no blow-up."""
    return values if normalizer is None else values / jnp.maximum(jnp.asarray(normalizer, values.dtype), 1)


def check_normalize(loss: str, normalize: str) -> None:
    """Refuse an unknown word."""
    if normalize not in ("weight_sum", "count"):
        raise ValueError(f"{loss}: normalize must be 'weight_sum' or 'count', got {normalize!r}")


def smoothed_surprise(
    logits: Float[Array, "..."], truth: Labels, label_smoothing: Number, weights: Array | None = None
) -> Float[Array, "..."]:
    """The cross-entropy of each row, with its labels smoothed over the classes that are not taken out."""
    arrays = (logits, *logsumexp_parts(logits, truth.axis))
    values = truth.expected_cost(_surprise, *arrays, weights=weights)
    if isinstance(label_smoothing, int | float) and label_smoothing == 0:
        return values
    evenly = _mean_over(logits > -jnp.inf, _surprise(*arrays), weights, truth.axis)
    return multiply_inf_safe(1 - jnp.asarray(label_smoothing, values.dtype), values) + label_smoothing * evenly


def _surprise(z: Array, top: Array, log_total: Array) -> Array:
    return -log_softmax_from_parts(z, top, log_total)


def weigh_classes(loss: str, class_weights: ArrayLike | None, like: Array, axis: int) -> Array | None:
    """The class weights, shaped to multiply `like`."""
    if class_weights is None:
        return None
    weights = _per_class(loss, "class_weights", class_weights, like, axis)
    checks.check_values(loss, "class_weights", lambda: weights >= 0, "be >= 0")
    return weights


def counts_of(truth: Labels, weights: Array | None, normalize: str) -> Float[Array, "..."] | None:
    """What each row counts for in a mean: 1, or Σ_k w_k t_k over Σ_k t_k."""
    if weights is None or normalize == "count":
        return None
    counts = truth.expected_cost(lambda w: w, weights)
    if truth.distributions is None:
        return counts
    return safe_divide(counts, jnp.sum(truth.distributions, truth.axis), otherwise=1.0)


def _mean_over(
    present: Bool[Array, "*s"], cost: Float[Array, "*s"], weights: Array | None, axis: int
) -> Float[Array, "..."]:
    silenced = jnp.where(present, cost, 0)
    total = jnp.sum(silenced if weights is None else weights * silenced, axis)
    return safe_divide(total, jnp.sum(present, axis, dtype=cost.dtype))


def _per_class(loss: str, name: str, values: ArrayLike, like: Array, axis: int) -> Array:
    """A number for every class (or one for all), shaped to multiply `like`."""
    array = checks.to_array(loss, name, values).astype(like.dtype)
    classes = like.shape[axis]
    if array.shape not in ((), (classes,)):
        raise ValueError(f"{loss}: {name} {array.shape} must be ({classes},), one number per class; check axis=")
    shape: list[Any] = [1] * like.ndim
    shape[axis] = -1
    return array.reshape(shape)
