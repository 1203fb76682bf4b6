"""Dice, Jaccard and Tversky: a value per image, the mean over its classes.

With probabilities p in [0, 1] and the truth g in [0, 1], summed over the pixels of an image, for each class:

    TP = Σ p g      FP = Σ p (1 - g)      FN = Σ (1 - p) g

    Dice     (2TP + s) / (Σp + Σg + s)             = F1 on hard masks
    Jaccard  (TP + s) / (TP + FP + FN + s)         = IoU;  Dice = 2J/(1 + J) at s = 0
    Tversky  (TP + s) / (TP + a FP + b FN + s)     Dice at a = b = 1/2, Jaccard at a = b = 1

Each loss is 1 minus its coefficient, in [0, 1], or with `log` minus its logarithm, in [0, ∞]. The smoothing s = 1 gives
an image without a target a useful gradient; at s = 0 such an image has loss 1 (∞ with `log`) and zero gradient, and
loss 0 if nothing is predicted either.

Soft truth. For 0 < g < 1 the losses above are not least at p = g. With `soft_labels` they are: then TP = Σ min(p, g),
which is (|p| + |g| - |p - g|)/2, FP = Σp - TP and FN = Σg - TP; hard truth gives the same values as before. The squares
of V-Net need no such care: Σpg is half of Σp² + Σg² - Σ(p - g)².

What is pooled. Each image and class has a coefficient of its own, and classes are averaged. `average="micro"` sums over
the classes first, and is never the default: between a softmax and one-hot truth it makes FP = FN, so that Tversky's two
weights mean nothing. `batch=True` sums over the images first, so that an image weighs as much as there is in it. Then
there is one value, of shape () or (classes,), which counts 1 in a mean; `where` and `sample_weights` act inside its
sums. In `shard_map` and `pmap`, `axis_name` sums over the devices as well, and each has the value of the whole batch.
"""

from collections.abc import Hashable, Sequence

from jax import Array
from jaxtyping import Float

from jaxlosses.core.numerics import abs_zero_grad, safe_divide, safe_log
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.segmentation._shared import Pixels, Regions, pixels, register_masks, split

__all__ = ["dice_loss", "jaccard_loss", "tversky_loss"]


@register_masks("dice_loss", aliases=("dice",), citation="arXiv:1606.04797")
def dice_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: Number = 1.0,
    squared: bool = False,
    soft_labels: bool = False,
    log: bool = False,
    activation: str | None = None,
    class_axis: int | None = -1,
    classes: str | Sequence[int] = "all",
    include_background: bool = True,
    average: str = "macro",
    per_class: bool = False,
    batch: bool = False,
    axis_name: Hashable | None = None,
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
        soft_labels: TP = Σ min(p, g), for truth between 0 and 1; not needed if `squared`.
        log: -log of the coefficient; where that is 0 (s = 0 and no overlap) it is +inf with zero gradient.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the truth (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, and is never the default, for
            between a softmax and one-hot truth that makes FP = FN, whatever their weights.
        per_class: return a value per image *and* class instead of their mean.
        batch: sum over the images first: one value for them all, of shape () or, if `per_class`, `(classes,)`.
        axis_name: with `batch`, the axis of devices to sum over as well.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or `batch` or a class axis is missing
            that another option needs.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.dice_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, smooth=0.0)
        Array([0.2632], dtype=float32)

    Reference:
        Milletari, Navab and Ahmadi, V-Net, 2016, arXiv:1606.04797.
    """
    x = pixels("dice_loss", probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    regions = split(x, classes, include_background, average, per_class, batch, axis_name)
    power = 2 if squared else 1
    sizes = regions.total(x.p**power) + regions.total(x.g**power)
    shared = regions.total(_shared(x, soft_labels and not squared))
    dice = safe_divide(2 * shared + smooth, sizes + smooth, otherwise=1.0)
    values, mask = regions.over_classes(_loss(dice, log), per_class)
    return reduce(values, mask, reduction)


@register_masks("jaccard_loss", aliases=("jaccard", "soft_iou"), citation="doi:10.1007/978-3-319-50835-1_22")
def jaccard_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: Number = 1.0,
    soft_labels: bool = False,
    log: bool = False,
    activation: str | None = None,
    class_axis: int | None = -1,
    classes: str | Sequence[int] = "all",
    include_background: bool = True,
    average: str = "macro",
    per_class: bool = False,
    batch: bool = False,
    axis_name: Hashable | None = None,
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
        soft_labels: TP = Σ min(p, g), for truth between 0 and 1.
        log: -log of the coefficient; where that is 0 (s = 0 and no overlap) it is +inf with zero gradient.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the truth (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, and is never the default, for
            between a softmax and one-hot truth that makes FP = FN, whatever their weights.
        per_class: return a value per image *and* class instead of their mean.
        batch: sum over the images first: one value for them all, of shape () or, if `per_class`, `(classes,)`.
        axis_name: with `batch`, the axis of devices to sum over as well.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or `batch` or a class axis is missing
            that another option needs.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.jaccard_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, smooth=0.0)
        Array([0.4167], dtype=float32)

    Reference:
        Rahman and Wang, Optimizing Intersection-over-Union in Deep Neural Networks, 2016,
        doi:10.1007/978-3-319-50835-1_22.
    """
    x = pixels("jaccard_loss", probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    regions = split(x, classes, include_background, average, per_class, batch, axis_name)
    jaccard = _tversky(x, regions, 1.0, 1.0, smooth, soft_labels)
    values, mask = regions.over_classes(_loss(jaccard, log), per_class)
    return reduce(values, mask, reduction)


@register_masks("tversky_loss", aliases=("tversky",), citation="arXiv:1706.05721")
def tversky_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    fp_weight: Number = 0.5,
    fn_weight: Number = 0.5,
    smooth: Number = 1.0,
    soft_labels: bool = False,
    log: bool = False,
    activation: str | None = None,
    class_axis: int | None = -1,
    classes: str | Sequence[int] = "all",
    include_background: bool = True,
    average: str = "macro",
    per_class: bool = False,
    batch: bool = False,
    axis_name: Hashable | None = None,
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
        soft_labels: TP = Σ min(p, g), for truth between 0 and 1.
        log: -log of the coefficient; where that is 0 (s = 0 and no overlap) it is +inf with zero gradient.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the truth (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, and is never the default, for
            between a softmax and one-hot truth that makes FP = FN, whatever their weights.
        per_class: return a value per image *and* class instead of their mean.
        batch: sum over the images first: one value for them all, of shape () or, if `per_class`, `(classes,)`.
        axis_name: with `batch`, the axis of devices to sum over as well.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or `batch` or a class axis is missing
            that another option needs.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> p, g = [[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]]
        >>> jl.tversky_loss(p, g, class_axis=None, smooth=0.0, fp_weight=0.3, fn_weight=0.7)
        Array([0.2784], dtype=float32)

    Reference:
        Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation, 2017, arXiv:1706.05721.
    """
    x = pixels("tversky_loss", probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    regions = split(x, classes, include_background, average, per_class, batch, axis_name)
    tversky = _tversky(x, regions, fp_weight, fn_weight, smooth, soft_labels)
    values, mask = regions.over_classes(_loss(tversky, log), per_class)
    return reduce(values, mask, reduction)


def _shared(x: Pixels, soft_labels: bool) -> Float[Array, "..."]:
    """What each pixel adds to TP."""
    # Each pixel for itself, and not the sums of |p|, |g| and |p - g|: what is not shared gives exactly 0.
    return (x.p + x.g - abs_zero_grad(x.p - x.g)) / 2 if soft_labels else x.p * x.g


def _tversky(
    x: Pixels, regions: Regions, fp_weight: Number, fn_weight: Number, smooth: Number, soft_labels: bool
) -> Float[Array, "..."]:
    tp = regions.total(_shared(x, soft_labels))
    fp, fn = regions.total(x.p) - tp, regions.total(x.g) - tp
    return safe_divide(tp + smooth, tp + fp_weight * fp + fn_weight * fn + smooth, otherwise=1.0)


def _loss(coefficient: Float[Array, "..."], log: bool) -> Float[Array, "..."]:
    return -safe_log(coefficient) if log else 1 - coefficient
