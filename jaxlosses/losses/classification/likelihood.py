"""The negative log-likelihood of the labels, from what is no logit: log-probabilities, or probabilities.

nll_loss    -Σ_k w_k t_k log p_k            from log p: `nll_loss(log_softmax(z), y)` is the cross-entropy of z
log_loss    -Σ_k w_k t_k log max(p_k, ε)    from p
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.numerics import clip_below, safe_log
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification.multiclass import (
    check_normalize,
    counts_of,
    example,
    register_class_loss,
    weigh_classes,
)

__all__ = ["log_loss", "nll_loss"]


def _log_example(key: Array) -> tuple[Array, Array]:
    logits, labels = example(key)
    return jax.nn.log_softmax(logits), labels


def _probability_example(key: Array) -> tuple[Array, Array]:
    logits, labels = example(key)
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
    normalize: str = "weight_sum",
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
        class_weights: `(C,)`, w >= 0.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        normalize: what a row counts for in a mean: `"weight_sum"` for the weight of its label, as in torch, or
            `"count"` for 1, as in Keras.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`; or what `reduction` makes of it. A label out of range gives NaN.

    Raises:
        ValueError: if the labels fit neither form, `class_weights` are not one per class, or `normalize` is another.
        TypeError: if class ids are not integers.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.nll_loss(jnp.log(jnp.array([0.3, 0.7])), 0)
        Array(1.2040, dtype=float32)

    Reference:
        Fisher, On the Mathematical Foundations of Theoretical Statistics, 1922, doi:10.1098/rsta.1922.0009.
    """
    check_normalize("nll_loss", normalize)
    log_p, truth, mask = checks.prepare_scores_and_labels(
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
    weights = weigh_classes(mask.loss, class_weights, log_p, axis)
    values = truth.expected_cost(jnp.negative, log_p, weights=weights)
    return reduce(values, mask, reduction, counts_of(truth, weights, normalize))


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
    normalize: str = "weight_sum",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The negative log-likelihood of the labels, from probabilities.

        l = -Σ_k w_k t_k log max(p_k, ε)

    From logits use `softmax_cross_entropy`, which needs no floor. Nothing is renormalised (scikit-learn's does).

    Args:
        probabilities: `(..., C)`, in [0, 1].
        labels: `(...)`, class ids in [0, C); or `(..., C)`, distributions.
        eps: ε > 0, the floor, with zero gradient below it; None for the machine epsilon of the precision computed in.
        axis: the class axis of the probabilities.
        class_weights: `(C,)`, w >= 0.
        ignore_label: a class id that counts as masked, such as -100 or 255.
        normalize: what a row counts for in a mean: `"weight_sum"` for the weight of its label, as in torch, or
            `"count"` for 1, as in Keras.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, -log ε], the shape without `axis`; or what `reduction` makes of it. A label out of range gives
        NaN.

    Raises:
        ValueError: if the labels fit neither form, `class_weights` are not one per class, or `normalize` is another.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.log_loss([[0.3, 0.7], [1.0, 0.0]], [0, 1]).round(4)
        Array([ 1.204 , 15.9424], dtype=float32)

    Reference:
        Good, Rational Decisions, 1952, doi:10.1111/j.2517-6161.1952.tb00104.x.
    """
    check_normalize("log_loss", normalize)
    p, truth, mask = checks.prepare_scores_and_labels(
        "log_loss",
        where,
        sample_weights,
        axis=axis,
        ignore_label=ignore_label,
        probabilities=probabilities,
        labels=labels,
    )
    checks.check_probabilities("log_loss", "probabilities", p)
    floor = jnp.asarray(jnp.finfo(p.dtype).eps if eps is None else eps, p.dtype)
    weights = weigh_classes(mask.loss, class_weights, p, axis)
    values = truth.expected_cost(lambda p: -safe_log(clip_below(p, floor)), p, weights=weights)
    return reduce(values, mask, reduction, counts_of(truth, weights, normalize))
