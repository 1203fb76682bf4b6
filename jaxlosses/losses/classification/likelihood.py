"""The negative log-likelihood of the labels, for models that give log-probabilities or probabilities and no logits.

nll_loss    -Σ_k w_k t_k log p_k            from log p: `nll_loss(log_softmax(z), y)` is the cross-entropy of z
log_loss    -Σ_k w_k t_k log max(p_k, ε)    from p
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.numerics import log_with_floor
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification._shared import (
    check_mean_over,
    example_logits_and_ids,
    mean_denominators,
    prepare_class_weights,
    register_class_loss,
)

__all__ = ["log_loss", "nll_loss"]


def _log_example(key: Array) -> tuple[Array, Array]:
    logits, labels = example_logits_and_ids(key)
    return jax.nn.log_softmax(logits), labels


def _probability_example(key: Array) -> tuple[Array, Array]:
    logits, labels = example_logits_and_ids(key)
    return jax.nn.softmax(logits), labels


@register_class_loss(
    "nll_loss",
    aliases=("nll",),
    domain=("log-probabilities", "class ids or distributions"),
    citation="Fisher 1922, doi:10.1098/rsta.1922.0009",
    example_inputs=_log_example,
)
def nll_loss(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    ignore_label: int | None = None,
    mean_over: str = "weights",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Negative log-likelihood of class labels, from log-probabilities: cross-entropy for models with a log-softmax.

        l = -Σ_k w_k t_k log p_k

    `nll_loss(log_softmax(z), y)` is `softmax_cross_entropy(z, y)`.

    Args:
        log_probabilities: `(..., C)`, <= 0; -inf is a probability of 0.
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        axis: the class axis of the log-probabilities.
        class_weights: `(C,)`, w >= 0.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        mean_over: what a mean divides by: `"weights"`, the sum of the labels' class weights, as in torch, or
            `"examples"`, the number of rows, as in Keras.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN.

    Raises:
        ValueError: if the shape of the labels is neither, `class_weights` are not one per class, or `mean_over` is
            another word.
        TypeError: if class ids are not integers.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.nll_loss(jnp.log(jnp.array([0.3, 0.7])), 0)
        Array(1.2040, dtype=float32)

    Reference:
        Fisher, On the Mathematical Foundations of Theoretical Statistics, 1922, doi:10.1098/rsta.1922.0009.
    """
    check_mean_over("nll_loss", mean_over)
    log_p, target, mask = checks.prepare_scores_and_labels(
        "nll_loss",
        where,
        sample_weights,
        axis=axis,
        ignore_label=ignore_label,
        log_probabilities=log_probabilities,
        labels=labels,
    )
    checks.check_values(
        "nll_loss", "log_probabilities", lambda: log_p <= 0, "be <= 0 (logits? see softmax_cross_entropy)"
    )
    all_weights = prepare_class_weights(mask.loss, class_weights, log_p, axis)
    log_p, weights = target.select(log_p, all_weights)
    values = target.expected_cost(-log_p, weights)
    return reduce(values, mask, reduction, mean_denominators(target, all_weights, mean_over))


@register_class_loss(
    "log_loss",
    domain=("probabilities", "class ids or distributions"),
    citation="doi:10.1111/j.2517-6161.1952.tb00104.x",
    example_inputs=_probability_example,
)
def log_loss(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    eps: Number | None = None,
    axis: int = -1,
    class_weights: ArrayLike | None = None,
    ignore_label: int | None = None,
    mean_over: str = "weights",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Multi-class log loss: negative log-likelihood (cross-entropy) of class labels, from probabilities floored at ε.

        l = -Σ_k w_k t_k log max(p_k, ε)

    From logits use `softmax_cross_entropy`, which needs no floor. The probabilities are not renormalised
    (scikit-learn's log loss does that).

    Args:
        probabilities: `(..., C)`, in [0, 1].
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        eps: ε >= 0, the floor, with zero gradient below it; None for the machine epsilon of the precision computed in.
        axis: the class axis of the probabilities.
        class_weights: `(C,)`, w >= 0.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        mean_over: what a mean divides by: `"weights"`, the sum of the labels' class weights, as in torch, or
            `"examples"`, the number of rows, as in Keras.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, -log ε], the shape without `axis`; or what `reduction` makes of it. A label out of range gives
        NaN.

    Raises:
        ValueError: if the shape of the labels is neither, `class_weights` are not one per class, or `mean_over` is
            another word.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.log_loss([[0.3, 0.7], [1.0, 0.0]], [0, 1]).round(4)
        Array([ 1.204 , 15.9424], dtype=float32)

    Reference:
        Good, Rational Decisions, 1952, doi:10.1111/j.2517-6161.1952.tb00104.x.
    """
    check_mean_over("log_loss", mean_over)
    p, target, mask = checks.prepare_scores_and_labels(
        "log_loss",
        where,
        sample_weights,
        axis=axis,
        ignore_label=ignore_label,
        probabilities=probabilities,
        labels=labels,
    )
    checks.check_probabilities("log_loss", "probabilities", p)
    all_weights = prepare_class_weights(mask.loss, class_weights, p, axis)
    p, weights = target.select(p, all_weights)
    floor = jnp.finfo(p.dtype).eps if eps is None else eps
    values = target.expected_cost(-log_with_floor(p, floor), weights)
    return reduce(values, mask, reduction, mean_denominators(target, all_weights, mean_over))
