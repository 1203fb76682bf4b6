"""Sigmoid losses, for binary and multi-label classification: every logit is a yes or no of its own, with a value.

Both halves of the cross-entropy are written as softplus, so that neither cancels: -log σ(x) = softplus(-x) and
-log(1 - σ(x)) = softplus(x). Labels may be soft, anywhere in [0, 1].
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks, collectives
from jaxlosses.core.numerics import (
    complement,
    directional,
    log1m_with_floor,
    log_with_floor,
    multiply_inf_safe,
    negative_log_sigmoid,
    softplus,
    zero_if_inf,
)
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification._shared import divide_by_normalizer
from jaxlosses.registry import register

__all__ = ["binary_cross_entropy", "sigmoid_binary_cross_entropy", "sigmoid_focal_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (5, 3)), jax.random.randint(labels_key, (5, 3), 0, 2)


def _soft_example(key: Array) -> tuple[Array, Array]:
    probabilities, labels = jax.random.uniform(key, (2, 5, 3), minval=0.1, maxval=0.9)
    return probabilities, labels


_register = functools.partial(
    register,
    family="classification",
    domain=("logits", "[0, 1]"),
    minimum=0.0,
    example_inputs=_example,
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
)


@_register(
    "sigmoid_binary_cross_entropy",
    aliases=("bce_with_logits", "sigmoid_bce"),
    citation="doi:10.1111/j.2517-6161.1958.tb00292.x",
)
def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    alpha: ArrayLike | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Binary cross-entropy on logits, element by element, for binary and multi-label classification.

        l = -w₊ t log σ(x) - (1 - t) log(1 - σ(x));   dl/dx = σ(x) - t  (w₊ = 1)
        with α:   l = -α w₊ t log σ(x) - (1 - α)(1 - t) log(1 - σ(x))

    Args:
        logits: `(...)`, any numbers, ±inf included.
        labels: `(...)`, t in [0, 1], the same shape.
        pos_weight: w₊ >= 0, a number, `(C,)` with one for each label (the last axis), or an array of the logits' rank
            that broadcasts to them; None for 1.
        alpha: α in [0, 1], what positives weigh against negatives, shaped like `pos_weight`; 1/2 halves the loss, None
            leaves it. Holistically-nested edges: `1 - labels.mean((1, 2), keepdims=True)`, the share of negatives.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0, and log 2 at x = 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing but `pos_weight` and `alpha` is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.sigmoid_binary_cross_entropy([2.0, 2.0, 0.0], [1, 0, 1]).round(4)
        Array([0.1269, 2.1269, 0.6931], dtype=float32)

    Reference:
        Cox, The Regression Analysis of Binary Sequences, 1958, doi:10.1111/j.2517-6161.1958.tb00292.x. Balanced: Xie
        and Tu, Holistically-Nested Edge Detection, 2015, arXiv:1504.06375.
    """
    x, t, mask = checks.prepare_same_shape(
        "sigmoid_binary_cross_entropy", where, sample_weights, logits=logits, labels=labels
    )
    checks.check_probabilities("sigmoid_binary_cross_entropy", "labels", t)
    positive_weight, negative_weight = _broadcast_weight(mask.loss, "pos_weight", pos_weight, x), 1.0
    if alpha is not None:
        balance = _broadcast_weight(mask.loss, "alpha", alpha, x)
        checks.check_probabilities(mask.loss, "alpha", jnp.asarray(balance))
        negative_weight = complement(cast(Number, alpha), x.dtype).reshape(jnp.shape(balance))
        positive_weight = balance * positive_weight
    return reduce(_cross_entropy(x, t, positive_weight, negative_weight), mask, reduction)


@_register("sigmoid_focal_loss", aliases=("sigmoid_focal",), citation="arXiv:1708.02002")
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Number = 2.0,
    alpha: Number | None = None,
    normalizer: Number | str | None = None,
    axis_name: collectives.AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Focal loss (RetinaNet): sigmoid cross-entropy times (1 - p_t)^γ, for detection with many easy negatives.

        l = α_t (1 - p_t)^γ (-t log p - (1 - t) log(1 - p)),  p = σ(x)
        p_t = t p + (1 - t)(1 - p),   α_t = t α + (1 - t)(1 - α)

    Args:
        logits: `(...)`, any numbers.
        labels: `(...)`, t in [0, 1], the same shape.
        gamma: γ >= 0, the focus; at 0 it is the binary cross-entropy.
        alpha: the weight of positives, in [0, 1]; RetinaNet takes 0.25. None for no weights at all.
        normalizer: what every value is divided by, or 1 if that is larger: a number, or `"positives"` for Σt over the
            batch, which with `reduction="sum"` is RetinaNet's loss; None for 1.
        axis_name: with `"positives"`, the mapped axis of devices (or several) whose positives are counted together.
            Inside `shard_map` it must be given; `()` counts the positives of each device's own batch.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it. Value and derivatives are finite for
        all logits within ±1e30. Labels are data: at exactly 0 or 1 the gradient with respect to them leaves out the
        factor (1 - p_t)^γ.

    Raises:
        ValueError: if the shapes differ (nothing is broadcast), `normalizer` is another word, or `"positives"` are
            those of several devices and `axis_name` is not given.

    Example:
        >>> import jaxlosses as jl
        >>> jl.sigmoid_focal_loss([2.0, 2.0, 0.0], [1, 0, 1], alpha=0.25).round(4)
        Array([0.0005, 1.2376, 0.0433], dtype=float32)

    Reference:
        Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
    """
    if normalizer == "positives":
        collectives.check_axis_name("sigmoid_focal_loss", axis_name)
    elif isinstance(normalizer, str):
        raise ValueError(f"sigmoid_focal_loss: normalizer must be a number or 'positives', got {normalizer!r}")
    x, t, mask = checks.prepare_same_shape("sigmoid_focal_loss", where, sample_weights, logits=logits, labels=labels)
    checks.check_probabilities("sigmoid_focal_loss", "labels", t)
    cost = _cross_entropy(x, t)
    infinite_cost = jnp.isinf(cost)  # an infinite logit on the wrong side: the value is infinite, the gradient 0
    focus = jnp.exp(gamma * _log_one_minus_pt(x, t))
    values = jnp.where(infinite_cost, jax.lax.stop_gradient(cost), focus * jnp.where(infinite_cost, 0, cost))
    if alpha is not None:
        weight = t * jnp.asarray(alpha, x.dtype) + (1 - t) * complement(alpha, x.dtype)
        values = multiply_inf_safe(weight, values)
    if normalizer == "positives":
        normalizer = collectives.psum(reduce(t, mask, "sum"), axis_name)
    return reduce(divide_by_normalizer(values, cast(Number | None, normalizer)), mask, reduction)


@_register(
    "binary_cross_entropy",
    aliases=("bce",),
    domain=("probabilities", "[0, 1]"),
    citation="doi:10.1111/j.2517-6161.1958.tb00292.x",
    example_inputs=_soft_example,
)
def binary_cross_entropy(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    eps: Number | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Binary cross-entropy (log loss) of probabilities, for models that give no logits.

        l = -t log max(p, ε) - (1 - t) log max(1 - p, ε)

    From logits use `sigmoid_binary_cross_entropy`, which needs no floor.

    Args:
        probabilities: `(...)`, p in [0, 1].
        labels: `(...)`, t in [0, 1], the same shape.
        eps: ε >= 0, the floor, with zero gradient below it; None for the machine epsilon of the precision computed in.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, exactly 0 at p = t = 0 and p = t = 1; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.binary_cross_entropy([0.5, 1.0, 0.0], [1, 1, 1]).round(4)
        Array([ 0.6931,  0.    , 15.9424], dtype=float32)

    Reference:
        Cox, The Regression Analysis of Binary Sequences, 1958, doi:10.1111/j.2517-6161.1958.tb00292.x.
    """
    p, t, mask = checks.prepare_same_shape(
        "binary_cross_entropy", where, sample_weights, probabilities=probabilities, labels=labels
    )
    checks.check_probabilities("binary_cross_entropy", "probabilities", p)
    checks.check_probabilities("binary_cross_entropy", "labels", t)
    floor = jnp.finfo(p.dtype).eps if eps is None else eps
    values = t * -log_with_floor(p, floor) + (1 - t) * -log1m_with_floor(p, floor)
    return reduce(values, mask, reduction)


@jax.custom_jvp
def _cross_entropy(
    x: Float[Array, "*s"],
    t: Float[Array, "*s"],
    positive_weight: Array | float = 1.0,
    negative_weight: Array | float = 1.0,
) -> Float[Array, "*s"]:
    """The weighted cross-entropy; an infinite logit has zero gradient, for its cost is infinite or flat."""
    positive = multiply_inf_safe(positive_weight * t, negative_log_sigmoid(x))
    return positive + multiply_inf_safe(negative_weight * (1 - t), softplus(x))


@functools.partial(_cross_entropy.defjvp, symbolic_zeros=True)
def _cross_entropy_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    # Behind a barrier, for XLA's CPU compiler would otherwise store what value and slopes have in common.
    x, t, positive, negative = jax.lax.optimization_barrier(primals)
    by_logit = negative * (1 - t) * jax.nn.sigmoid(x) - positive * t * jax.nn.sigmoid(-x)
    if_positive, if_negative = zero_if_inf(negative_log_sigmoid(x)), zero_if_inf(softplus(x))
    by_label = positive * if_positive - negative * if_negative
    slopes = (jnp.where(jnp.isinf(x), 0, by_logit), by_label, t * if_positive, (1 - t) * if_negative)
    return _cross_entropy(*primals), directional(tangents, slopes)


def _log_one_minus_pt(x: Float[Array, "*s"], t: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """log(1 - p_t) = log(t σ(-x) + (1 - t) σ(x)), finite for every logit, infinite ones included."""
    x, lowest = jnp.clip(x, -1e30, 1e30), jnp.finfo(x.dtype).min / 2
    log_t = jnp.where(t > 0, jnp.log(jnp.where(t > 0, t, 1)), lowest)
    log_not_t = jnp.where(t < 1, jnp.log1p(-jnp.where(t < 1, t, 0)), lowest)
    return jnp.logaddexp(log_t - softplus(x), log_not_t - softplus(-x))


def _broadcast_weight(loss: str, name: str, value: ArrayLike | None, x: Float[Array, "..."]) -> Array | float:
    """One weight for all, one for each class (the last axis), or an array of the logits' rank; 1 for None."""
    if value is None:
        return 1.0
    weight = checks.to_array(loss, name, value).astype(x.dtype)
    if weight.ndim == 1 and weight.shape == x.shape[-1:]:
        weight = weight.reshape((1,) * (x.ndim - 1) + weight.shape)
    if weight.ndim and (
        weight.ndim != x.ndim or any(w not in (1, n) for w, n in zip(weight.shape, x.shape, strict=True))
    ):
        classes = f"({x.shape[-1]},), one for each class of the last axis, or " if x.ndim else ""
        raise ValueError(
            f"{loss}: {name} {weight.shape} must be a number, {classes}an array that broadcasts to logits {x.shape} "
            "with the same rank"
        )
    checks.check_values(loss, name, lambda: weight >= 0, "be >= 0")
    return weight
