"""Yes or no, for each score on its own: binary problems and multi-label ones. A value per element.

Both halves of the cross-entropy are written as softplus, so that neither cancels: -log σ(x) = softplus(-x) and
-log(1 - σ(x)) = softplus(x). Labels may be soft, anywhere in [0, 1].
"""

import functools
from collections.abc import Hashable
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.numerics import clip_below, multiply_inf_safe, safe_log, softplus
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification.multiclass import normalized
from jaxlosses.registry import register

__all__ = ["binary_cross_entropy", "sigmoid_binary_cross_entropy", "sigmoid_focal_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (5, 3)), jax.random.randint(labels_key, (5, 3), 0, 2)


def _soft_example(key: Array) -> tuple[Array, Array]:
    probabilities, labels = jax.random.uniform(key, (2, 5, 3), minval=0.1, maxval=0.9)
    return probabilities, labels


_register = functools.partial(
    register, family="classification", domain=("logits", "[0, 1]"), minimum=0.0, example_inputs=_example
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
    """How surprised the sigmoid of a logit is by its label.

        l = -w₊ t log σ(x) - (1 - t) log(1 - σ(x));   dl/dx = σ(x) - t  (w₊ = 1)
        with α:   l = -α w₊ t log σ(x) - (1 - α)(1 - t) log(1 - σ(x))

    Args:
        logits: `(...)`, any numbers, ±inf included.
        labels: `(...)`, t in [0, 1], the same shape.
        pos_weight: w₊ >= 0, a number, or an array of the logits' rank that broadcasts to them (one per label:
            `(1, L)`); None for 1.
        alpha: α in [0, 1], what positives weigh against negatives, shaped like `pos_weight`; 1/2 halves the loss, None
            leaves it. Holistically-nested edges: `1 - labels.mean((1, 2), keepdims=True)`, the share of negatives.
        where: bool, a start of the shape; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, a start of the shape.
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
    positive, negative = _for_each(mask.loss, "pos_weight", pos_weight, x), 1.0
    if alpha is not None:
        share = _for_each(mask.loss, "alpha", alpha, x)
        checks.check_probabilities(mask.loss, "alpha", jnp.asarray(share))
        positive, negative = share * positive, 1 - share
    return reduce(_surprise(x, t, positive, negative), mask, reduction)


@_register("sigmoid_focal_loss", aliases=("sigmoid_focal",), citation="arXiv:1708.02002")
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Number = 2.0,
    alpha: Number | None = None,
    normalizer: Number | str | None = None,
    axis_name: Hashable | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Binary cross-entropy that turns down what is already classified well.

        l = α_t (1 - p_t)^γ (-t log p - (1 - t) log(1 - p)),  p = σ(x)
        p_t = t p + (1 - t)(1 - p),   α_t = t α + (1 - t)(1 - α)

    Args:
        logits: `(...)`, any numbers.
        labels: `(...)`, t in [0, 1], the same shape.
        gamma: γ >= 0, the focus; at 0 it is the binary cross-entropy.
        alpha: the weight of positives, in [0, 1]; RetinaNet takes 0.25. None for no weights at all.
        normalizer: what every value is divided by, or 1 if that is larger: a number, or `"positives"` for Σt over the
            batch, which with `reduction="sum"` is RetinaNet's loss; None for 1.
        axis_name: the mapped axis of devices, or several, whose positives belong to the batch as well.
        where: bool, a start of the shape; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, a start of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it. Value and derivatives are finite for
        all logits within ±1e30. Labels are data: at exactly 0 or 1 their own gradient leaves out the focus.

    Raises:
        ValueError: if the shapes differ (nothing is broadcast), or `normalizer` is another word.

    Example:
        >>> import jaxlosses as jl
        >>> jl.sigmoid_focal_loss([2.0, 2.0, 0.0], [1, 0, 1], alpha=0.25).round(4)
        Array([0.0005, 1.2376, 0.0433], dtype=float32)

    Reference:
        Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
    """
    x, t, mask = checks.prepare_same_shape("sigmoid_focal_loss", where, sample_weights, logits=logits, labels=labels)
    checks.check_probabilities("sigmoid_focal_loss", "labels", t)
    cost = _surprise(x, t)
    lost = jnp.isinf(cost)  # by an infinite logit on the wrong side: the value is infinite, the gradient 0
    values = jnp.where(lost, jnp.inf, jnp.exp(gamma * _log_miss(x, t)) * jnp.where(lost, 0, cost))
    if alpha is not None:
        alpha = jnp.asarray(alpha, x.dtype)
        values = multiply_inf_safe(t * alpha + (1 - t) * (1 - alpha), values)
    if normalizer == "positives":
        normalizer = cast(Array, reduce(t, mask, "sum"))
        normalizer = normalizer if axis_name is None else jax.lax.psum(normalizer, axis_name)
    if isinstance(normalizer, str):
        raise ValueError(f"sigmoid_focal_loss: normalizer must be a number or 'positives', got {normalizer!r}")
    return reduce(normalized(values, normalizer), mask, reduction)


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
    """How surprised a probability is by its label (log loss).

        l = -t log max(p, ε) - (1 - t) log max(1 - p, ε)

    From logits use `sigmoid_binary_cross_entropy`, which needs no floor.

    Args:
        probabilities: `(...)`, p in [0, 1].
        labels: `(...)`, t in [0, 1], the same shape.
        eps: ε > 0, the floor, with zero gradient below it; None for the machine epsilon of the precision computed in.
        where: bool, a start of the shape; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, a start of the shape.
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
    floor = jnp.asarray(jnp.finfo(p.dtype).eps if eps is None else eps, p.dtype)
    log_p, log_not_p = safe_log(clip_below(p, floor)), safe_log(clip_below(1 - p, floor))
    return reduce(t * -log_p + (1 - t) * -log_not_p, mask, reduction)


def _surprise(
    x: Float[Array, "*s"], t: Float[Array, "*s"], positive: Array | float = 1.0, negative: Array | float = 1.0
) -> Float[Array, "*s"]:
    return multiply_inf_safe(positive * t, softplus(-x)) + multiply_inf_safe(negative * (1 - t), softplus(x))


def _log_miss(x: Float[Array, "*s"], t: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """log(1 - p_t) = log(t σ(-x) + (1 - t) σ(x)), finite for every logit, infinite ones included."""
    x = jnp.clip(x, -1e30, 1e30)
    log_t = jnp.where(t > 0, jnp.log(jnp.where(t > 0, t, 1)), -jnp.inf)
    log_not_t = jnp.where(t < 1, jnp.log(jnp.where(t < 1, 1 - t, 1)), -jnp.inf)
    return jnp.logaddexp(log_t - softplus(x), log_not_t - softplus(-x))


def _for_each(loss: str, name: str, value: ArrayLike | None, x: Float[Array, "..."]) -> Array | float:
    """A number for all elements, or for each along some axes; 1 for None."""
    if value is None:
        return 1.0
    weight = checks.to_array(loss, name, value).astype(x.dtype)
    if weight.ndim and (
        weight.ndim != x.ndim or any(w not in (1, n) for w, n in zip(weight.shape, x.shape, strict=True))
    ):
        raise ValueError(
            f"{loss}: {name} {weight.shape} must be a number or broadcast to logits {x.shape} with the same rank; "
            f"did you mean {name}[None, :]?"
        )
    checks.check_values(loss, name, lambda: weight >= 0, "be >= 0")
    return weight
