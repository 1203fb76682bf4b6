"""One right class of several: every loss here is the expected cost of a class under the truth.

    l = Σ_k w_k t_k cost_k

with t the target distribution (one-hot for class ids), w the class weights, and a cost that grows as the model's
probability p_k falls: -log p_k, or for focal losses -(1 - p_k)^γ log p_k. In a mean, a row counts for Σ_k w_k t_k.

Logits of -inf take a class out, exactly as if it were not there; a row of nothing else counts as masked.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses import checks
from jaxlosses._numerics import log_softmax, safe_divide, times
from jaxlosses.reduction import reduce
from jaxlosses.registry import register
from jaxlosses.types import ArrayLike, Number, Reduced

__all__ = ["nll_loss", "softmax_cross_entropy", "softmax_focal_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (5, 3, 4)), jax.random.randint(labels_key, (5, 3), 0, 4)


def _log_example(key: Array) -> tuple[Array, Array]:
    logits, labels = _example(key)
    return jax.nn.log_softmax(logits), labels


_register = functools.partial(
    register,
    family="classification",
    consumes="classes",
    mask_lacks=1,
    domain=("logits", "class ids or distributions"),
    minimum=0.0,
    example=_example,
)


@_register("softmax_cross_entropy", aliases=("softmax_ce", "ce"), citation="doi:10.1007/978-3-642-76153-9_28")
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    label_smoothing: Number = 0.0,
    ignore_label: int | None = None,
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
        class_weights: `(C,)`, w >= 0. In a mean a row counts for the weight of its label, as in torch.
        label_smoothing: ε in [0, 1], spread evenly over the classes that are not taken out.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the logits' shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN, in
        the gradient too (optax reads -1 as the last class).

    Raises:
        ValueError: if the labels fit neither form, or `class_weights` are not one per class.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.softmax_cross_entropy([[2.0, 1.0, 0.1], [0.0, 0.0, 0.0]], [0, 2]).round(4)
        Array([0.417 , 1.0986], dtype=float32)

    Reference:
        Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990,
        doi:10.1007/978-3-642-76153-9_28. Label smoothing: Szegedy et al., 2015, arXiv:1512.00567.
    """
    logits, targets, kept = _enter(
        "softmax_cross_entropy", axis, ignore_label, where, sample_weights, logits=logits, labels=labels
    )
    log_p, _ = log_softmax(logits, axis)
    smoothed = _smooth(targets, logits > -jnp.inf, label_smoothing, axis)
    values, counts = _expected_cost(kept.loss, -log_p, smoothed, targets, class_weights, axis)
    return reduce(values, kept, reduction, counts)


@_register("softmax_focal_loss", aliases=("softmax_focal",), citation="arXiv:1708.02002")
def softmax_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: Number = 2.0,
    alpha: ArrayLike | None = None,
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
        axis: the class axis of the logits.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`. RetinaNet divides the `"sum"` by the number of positives.

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
    logits, targets, kept = _enter(
        "softmax_focal_loss", axis, ignore_label, where, sample_weights, logits=logits, labels=labels
    )
    log_p, _ = log_softmax(logits, axis)
    absent = log_p == -jnp.inf
    cost = jnp.exp(gamma * _log_complement(logits, log_p, axis)) * -jnp.where(absent, 0, log_p)
    cost = jnp.where(absent, jnp.inf, cost)
    if alpha is not None:
        cost = _per_class(kept.loss, "alpha", alpha, cost, axis) * cost
    return reduce(jnp.sum(times(targets, cost), axis), kept, reduction)


@_register(
    "nll_loss",
    aliases=("nll",),
    domain=("log-probabilities", "class ids or distributions"),
    citation="Fisher 1922, doi:10.1098/rsta.1922.0009",
    example=_log_example,
)
def nll_loss(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The negative log-likelihood of the labels, from log-probabilities.

        l = -Σ_k w_k t_k log p_k

    `nll_loss(log_softmax(z), y)` is `softmax_cross_entropy(z, y)`.

    Args:
        log_probabilities: `(..., C)`, <= 0; -inf is a probability of 0.
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        axis: the class axis of the log-probabilities.
        class_weights: `(C,)`, w >= 0. In a mean a row counts for the weight of its label, as in torch.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN.

    Raises:
        ValueError: if the labels fit neither form, or `class_weights` are not one per class.
        TypeError: if class ids are not integers.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.nll_loss(jnp.log(jnp.array([0.3, 0.7])), 0)
        Array(1.2040, dtype=float32)

    Reference:
        Fisher, On the Mathematical Foundations of Theoretical Statistics, 1922, doi:10.1098/rsta.1922.0009.
    """
    log_p, targets, kept = _enter(
        "nll_loss", axis, ignore_label, where, sample_weights, log_probabilities=log_probabilities, labels=labels
    )
    checks.expect("nll_loss", "log_probabilities", lambda: log_p <= 0, "be <= 0 (logits? see softmax_cross_entropy)")
    values, counts = _expected_cost(kept.loss, -log_p, targets, targets, class_weights, axis)
    return reduce(values, kept, reduction, counts)


def _expected_cost(
    loss: str,
    cost: Float[Array, "*s"],
    smoothed: Float[Array, "*s"],
    targets: Float[Array, "*s"],
    class_weights: ArrayLike | None,
    axis: int,
) -> tuple[Float[Array, "..."], Float[Array, "..."] | None]:
    """Σ_k w_k t'_k cost_k, and what each row counts for: Σ_k w_k t_k, over Σ_k t_k if that is not 1."""
    if class_weights is None:
        return jnp.sum(times(smoothed, cost), axis), None
    weights = _per_class(loss, "class_weights", class_weights, cost, axis)
    checks.expect(loss, "class_weights", lambda: weights >= 0, "be >= 0")
    counts = safe_divide(jnp.sum(weights * targets, axis), jnp.sum(targets, axis), otherwise=1.0)
    return jnp.sum(times(weights * smoothed, cost), axis), counts


def _smooth(
    targets: Float[Array, "*s"], present: Bool[Array, "*s"], smoothing: Number, axis: int
) -> Float[Array, "*s"]:
    if isinstance(smoothing, int | float) and smoothing == 0:
        return targets
    uniform = safe_divide(present.astype(targets.dtype), jnp.sum(present, axis, keepdims=True, dtype=targets.dtype))
    smoothing = jnp.asarray(smoothing, targets.dtype)
    return (1 - smoothing) * targets + smoothing * uniform


def _log_complement(logits: Float[Array, "*s"], log_p: Float[Array, "*s"], axis: int) -> Float[Array, "*s"]:
    """log(1 - p) for every class, to full precision also where p rounds to 1, and finite where p is 1."""
    classes = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis % logits.ndim)
    likeliest = classes == jnp.argmax(logits, axis, keepdims=True).astype(jnp.int32)
    # Only the likeliest class can have p > 1/2. There 1 - p would cancel, so the others are added up instead.
    rest = jnp.sum(jnp.where(likeliest, 0, jnp.exp(log_p)), axis, keepdims=True)
    smallest = jnp.finfo(log_p.dtype).tiny
    log_rest = jnp.where(rest > smallest, jnp.log(jnp.where(rest > smallest, rest, 1)), jnp.log(smallest))
    return jnp.where(likeliest, log_rest, jnp.log1p(-jnp.where(likeliest, 0, jnp.exp(log_p))))


def _per_class(loss: str, name: str, values: ArrayLike, like: Array, axis: int) -> Array:
    """A number for every class (or one for all), shaped to multiply `like`."""
    array = checks.to_array(loss, name, values).astype(like.dtype)
    classes = like.shape[axis]
    if array.shape not in ((), (classes,)):
        raise ValueError(f"{loss}: {name} {array.shape} must be ({classes},), one number per class; check axis=")
    shape: list[Any] = [1] * like.ndim
    shape[axis] = -1
    return array.reshape(shape)


def _enter(
    loss: str,
    axis: int,
    ignore_label: int | None,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    **arrays: ArrayLike,
) -> tuple[Float[Array, "*s"], Float[Array, "*s"], checks.Kept]:
    """Scores, target distributions and what is kept; a row whose classes are all taken out counts as masked."""
    scores, targets, kept = checks.classes(loss, where, sample_weights, axis=axis, ignore_label=ignore_label, **arrays)
    some = jnp.max(scores, axis) != -jnp.inf
    kept = kept._replace(mask=some if kept.mask is None else kept.mask & some)
    return scores, checks.masked(targets, some, axis % scores.ndim), kept
