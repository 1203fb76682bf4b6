"""Overlap of masks: a value per image, the mean over its classes.

With probabilities p in [0, 1] and the truth g in [0, 1], summed over the pixels of an image, for each class:

    TP = Σ p g      FP = Σ p (1 - g)      FN = Σ (1 - p) g

    Dice     (2TP + s) / (Σp + Σg + s)             = F1 on hard masks
    Jaccard  (TP + s) / (TP + FP + FN + s)         = IoU;  Dice = 2J/(1 + J) at s = 0
    Tversky  (TP + s) / (TP + a FP + b FN + s)     Dice at a = b = 1/2, Jaccard at a = b = 1

Each loss is 1 minus its coefficient, in [0, 1]. The smoothing s = 1 gives an image without a target a useful gradient;
at s = 0 such an image has loss 1 and zero gradient, and loss 0 if nothing is predicted either.

Classes are averaged per image and never pooled: pooling one-hot targets under a softmax makes FP = FN, and the two
weights of Tversky would mean nothing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses import checks
from jaxlosses._numerics import log_partition, log_softmax, safe_divide
from jaxlosses.reduction import reduce
from jaxlosses.registry import register
from jaxlosses.types import ArrayLike, Number, Reduced

__all__ = ["dice_loss", "jaccard_loss", "tversky_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    probabilities_key, targets_key = jax.random.split(key)
    probabilities = jax.nn.softmax(jax.random.normal(probabilities_key, (4, 3, 2, 3)))
    return probabilities, jax.random.randint(targets_key, (4, 3, 2), 0, 3)


_register = functools.partial(
    register,
    family="segmentation",
    consumes="pixels",
    mask_lacks=1,
    domain=("probabilities", "[0, 1] or class ids"),
    minimum=0.0,
    example=_example,
)


@_register("dice_loss", aliases=("dice",), citation="arXiv:1606.04797")
def dice_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: Number = 1.0,
    squared: bool = False,
    activation: str | None = None,
    class_axis: int | None = -1,
    per_class: bool = False,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What predicted and true masks do not share, relative to their sizes.

        l = 1 - (2 Σpg + s) / (Σp + Σg + s),   or with p² and g² in the denominator if `squared` (V-Net)

    On the same probabilities `optax.losses.dice_loss` at `smooth=s` is this at `smooth=2s`.

    Args:
        probabilities: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        smooth: s >= 0, added above and below.
        squared: square p and g in the denominator.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        per_class: return a value per image *and* class instead of their mean.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `activation` is another.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.dice_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, smooth=0.0)
        Array([0.2632], dtype=float32)

    Reference:
        Milletari, Navab and Ahmadi, V-Net, 2016, arXiv:1606.04797.
    """
    x = _pixels("dice_loss", probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    power = 2 if squared else 1
    sizes = x.total(x.p**power) + x.total(x.g**power)
    dice = safe_divide(2 * x.total(x.p * x.g) + smooth, sizes + smooth, otherwise=1.0)
    return reduce(_over_classes(1 - dice, class_axis, per_class), x.kept, reduction)


@_register("jaccard_loss", aliases=("jaccard", "soft_iou"), citation="doi:10.1007/978-3-319-50835-1_22")
def jaccard_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: Number = 1.0,
    activation: str | None = None,
    class_axis: int | None = -1,
    per_class: bool = False,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What predicted and true masks do not share, relative to their union (soft IoU).

        l = 1 - (TP + s) / (TP + FP + FN + s)

    Args:
        probabilities: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        smooth: s >= 0, added above and below.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        per_class: return a value per image *and* class instead of their mean.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `activation` is another.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.jaccard_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, smooth=0.0)
        Array([0.4167], dtype=float32)

    Reference:
        Rahman and Wang, Optimizing Intersection-over-Union in Deep Neural Networks, 2016,
        doi:10.1007/978-3-319-50835-1_22.
    """
    x = _pixels("jaccard_loss", probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    jaccard = _tversky(x, 1.0, 1.0, smooth)
    return reduce(_over_classes(1 - jaccard, class_axis, per_class), x.kept, reduction)


@_register("tversky_loss", aliases=("tversky",), citation="arXiv:1706.05721")
def tversky_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    fp_weight: Number = 0.5,
    fn_weight: Number = 0.5,
    smooth: Number = 1.0,
    activation: str | None = None,
    class_axis: int | None = -1,
    per_class: bool = False,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Dice with a price of its own for false positives and for false negatives.

        l = 1 - (TP + s) / (TP + a FP + b FN + s),   a = fp_weight, b = fn_weight

    a = 0.3 and b = 0.7, the paper's best, favour recall. a = b = 1/2 at smoothing s is Dice at smoothing 2s.

    Args:
        probabilities: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        fp_weight: a >= 0, the weight of false positives (α in the paper).
        fn_weight: b >= 0, the weight of false negatives (β in the paper).
        smooth: s >= 0, added above and below.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        per_class: return a value per image *and* class instead of their mean.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `activation` is another.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> p, g = [[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]]
        >>> jl.tversky_loss(p, g, class_axis=None, smooth=0.0, fp_weight=0.3, fn_weight=0.7)
        Array([0.2784], dtype=float32)

    Reference:
        Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation, 2017, arXiv:1706.05721.
    """
    x = _pixels("tversky_loss", probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    tversky = _tversky(x, fp_weight, fn_weight, smooth)
    return reduce(_over_classes(1 - tversky, class_axis, per_class), x.kept, reduction)


class _Pixels(NamedTuple):
    """Probabilities and truth with 0 where masked, their sum over the pixels, and the images that are kept."""

    p: Float[Array, "..."]
    g: Float[Array, "..."]
    total: Callable[[Array], Array]
    kept: checks.Kept


def _tversky(x: _Pixels, fp_weight: Number, fn_weight: Number, smooth: Number) -> Float[Array, "..."]:
    tp = x.total(x.p * x.g)
    fp, fn = x.total(x.p) - tp, x.total(x.g) - tp
    return safe_divide(tp + smooth, tp + fp_weight * fp + fn_weight * fn + smooth, otherwise=1.0)


def _over_classes(values: Float[Array, "..."], class_axis: int | None, per_class: bool) -> Float[Array, "..."]:
    return values if class_axis is None or per_class else jnp.mean(values, axis=1)


def _pixels(
    loss: str,
    probabilities: ArrayLike,
    targets: ArrayLike,
    activation: str | None,
    class_axis: int | None,
    ignore_label: int | None,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
) -> _Pixels:
    if class_axis is None:
        counted = None if ignore_label is None else checks.to_array(loss, "targets", targets) != ignore_label
        p, g, kept = checks.same_shape(
            loss, where, sample_weights, counted=counted, probabilities=probabilities, targets=targets
        )
    else:
        p, labels, kept = checks.classes(
            loss,
            where,
            sample_weights,
            axis=class_axis,
            ignore_label=ignore_label,
            probabilities=probabilities,
            targets=targets,
        )
        if labels.ids is not None and labels.classes == 1:
            raise ValueError(f"{loss}: class ids need more than one class; did you mean targets[..., None]?")
        g = labels.dense(p.dtype)
        class_axis %= p.ndim
    if p.ndim < 2 or class_axis == 0:
        form = "(batch, *space)" if class_axis is None else "(batch, *space, classes), or class_axis=None"
        raise ValueError(f"{loss}: probabilities {p.shape} must be {form}")
    if activation == "softmax" and class_axis is not None:  # a pixel whose classes are all taken out is gone
        kept = kept.only(jnp.max(p, class_axis) != -jnp.inf)
    # Activated zeros and one-hot zeros are not 0: a masked pixel has neither prediction nor truth.
    p = checks.masked(_activate(loss, p, activation, class_axis), kept.mask, class_axis)
    g = checks.masked(g, kept.mask, class_axis)
    checks.probabilities(loss, "probabilities", p)
    checks.probabilities(loss, "targets", g)
    pixel_weights, kept = kept.by_example(weigh_inside=sample_weights is not None and np.ndim(sample_weights) > 1)
    if pixel_weights is not None and class_axis is not None:
        pixel_weights = jnp.expand_dims(pixel_weights, class_axis)
    space = tuple(axis for axis in range(1, p.ndim) if axis != class_axis)
    return _Pixels(p, g, lambda x: jnp.sum(x if pixel_weights is None else x * pixel_weights, axis=space), kept)


def _activate(loss: str, x: Float[Array, "*s"], activation: str | None, class_axis: int | None) -> Float[Array, "*s"]:
    if activation is None:
        return x
    if activation == "sigmoid":
        return jax.nn.sigmoid(x)
    if activation != "softmax":
        raise ValueError(f"{loss}: activation must be None, 'sigmoid' or 'softmax', got {activation!r}")
    if class_axis is None:
        raise ValueError(f"{loss}: activation='softmax' needs a class axis; did you mean 'sigmoid'?")
    return jnp.exp(log_softmax(x, *log_partition(x, class_axis)))
