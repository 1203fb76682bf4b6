"""Softmax losses, for one right class of several: each is the expected cost of a class under the label.

    l = Σ_k w_k t_k cost_k

with t the target distribution (one-hot for class ids), w the class weights, and a cost that grows as the model's
probability p_k falls: -log p_k, or for focal losses -(1 - p_k)^γ log p_k. A mean divides by Σ_k w_k t_k of each row
(over Σ_k t_k, if that is not 1).

A logit of -inf excludes a class: its probability is 0, and the loss is that of the other classes alone. A row of
nothing else counts as masked. An excluded class that is the label, or has a part of the distribution, costs +inf, with
zero gradient for its row.

Value and gradient keep their digits also where p is nearly 1.
"""

import jax.numpy as jnp

from jaxlosses.core import checks
from jaxlosses.core.reduction import reduce
from jaxlosses.core.softmax import check_classes, label_costs, log_one_minus
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification._shared import (
    check_mean_over,
    divide_by_normalizer,
    mean_denominators,
    prepare_class_weights,
    prepare_per_class,
    register_class_loss,
    smoothed_cross_entropy,
)

__all__ = ["softmax_cross_entropy", "softmax_focal_loss"]


@register_class_loss("softmax_cross_entropy", aliases=("softmax_ce", "ce"), citation="doi:10.1007/978-3-642-76153-9_28")
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    label_smoothing: Number = 0.0,
    ignore_label: int | None = None,
    mean_over: str = "weights",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Softmax (categorical) cross-entropy of logits against class ids or distributions: one right class of several.

        l = -Σ_k w_k t'_k log softmax(z)_k,   t' = (1 - ε) t + ε/C;   dl/dz = softmax(z) - t  (w = 1, ε = 0)

    Labels of one axis less than the logits are class ids (integers); labels of the same shape are distributions.

    Args:
        logits: `(..., C)`, any numbers; -inf excludes a class.
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        axis: the class axis of the logits.
        class_weights: `(C,)`, w >= 0; see `inverse_frequency_weights` and its siblings.
        label_smoothing: ε in [0, 1], distributed evenly over the classes that are not excluded.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        mean_over: what a mean divides by: `"weights"`, the sum of the labels' class weights, as in torch, or
            `"examples"`, the number of rows, as in Keras.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the logits' shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN, in
        the gradient too (optax reads -1 as the last class).

    Raises:
        ValueError: if the shape of the labels is neither, `class_weights` are not one per class, or `mean_over` is
            another word.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.softmax_cross_entropy([[2.0, 1.0, 0.1], [0.0, 0.0, 0.0]], [0, 2]).round(4)
        Array([0.417 , 1.0986], dtype=float32)

    Reference:
        Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990,
        doi:10.1007/978-3-642-76153-9_28. Label smoothing: Szegedy et al., 2015, arXiv:1512.00567.
    """
    z, target, mask = checks.prepare_scores_and_labels(
        "softmax_cross_entropy",
        where,
        sample_weights,
        axis=axis,
        ignore_label=ignore_label,
        logits=logits,
        labels=labels,
    )
    check_classes(mask.loss, "logits", z, axis)
    check_mean_over(mask.loss, mean_over)
    weights = prepare_class_weights(mask.loss, class_weights, z, axis)
    values = smoothed_cross_entropy(z, target, label_smoothing, weights)
    return reduce(values, mask.with_classes(z, axis), reduction, mean_denominators(target, weights, mean_over))


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
    """Multi-class focal loss: softmax cross-entropy times (1 - p)^γ, for imbalanced classes with many easy examples.

        l = -Σ_k α_k t_k (1 - p_k)^γ log p_k,  p = softmax(z)

    What is already classified well weighs less: at γ = 0 it is the cross-entropy; at γ = 2 a row with p = 0.9 weighs a
    hundred times less.

    Args:
        logits: `(..., C)`, any numbers; -inf excludes a class.
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        gamma: γ >= 0, the focus.
        alpha: a number, or `(C,)` with one per class; None for 1. Unlike class weights it does not change what the
            mean divides by.
        normalizer: what every value is divided by, or 1 if that is larger. RetinaNet: the number of rows that are not
            background, with `reduction="sum"`.
        axis: the class axis of the logits.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the logits' shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN.

    Raises:
        ValueError: if the shape of the labels is neither, or `alpha` is neither a number nor one per class.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.softmax_focal_loss([[2.0, 1.0, 0.1], [2.0, 1.0, 0.1]], [0, 1]).round(4)
        Array([0.0485, 0.8132], dtype=float32)

    Reference:
        Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection, 2017, arXiv:1708.02002.
    """
    z, target, mask = checks.prepare_scores_and_labels(
        "softmax_focal_loss", where, sample_weights, axis=axis, ignore_label=ignore_label, logits=logits, labels=labels
    )
    check_classes(mask.loss, "logits", z, axis)
    alphas = None if alpha is None else prepare_per_class(mask.loss, "alpha", alpha, z, axis)
    cost = label_costs(z, target)
    is_infinite = jnp.isinf(cost)  # the value is infinite too, whatever the focus
    focus = jnp.exp(gamma * log_one_minus(jnp.where(is_infinite, 1, cost)))
    cost = jnp.where(is_infinite, cost, focus * jnp.where(is_infinite, 1, cost))
    (weights,) = target.select(alphas)
    values = target.expected_cost(cost, weights)
    return reduce(divide_by_normalizer(values, normalizer), mask.with_classes(z, axis), reduction)
