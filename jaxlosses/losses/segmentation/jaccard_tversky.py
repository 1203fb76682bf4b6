"""The Jaccard loss, and the Tversky loss, of which it is a special case: a value per image, the mean over its classes.

With probabilities p in [0, 1] and targets g in [0, 1], summed over the pixels of an image, for each class:

    TP = Σ p g      FP = Σ p (1 - g)      FN = Σ (1 - p) g

    Jaccard  (TP + s) / (TP + FP + FN + s)         = IoU on hard masks; Dice = 2J/(1 + J) at s = 0
    Tversky  (TP + s) / (TP + a FP + b FN + s)     Dice at a = b = 1/2, Jaccard at a = b = 1

Each loss is 1 minus its coefficient, in [0, 1], or with `log` minus its logarithm, in [0, ∞]. The smoothing does what
it does in the Dice loss.
"""

from collections.abc import Sequence

from jax import Array
from jaxtyping import Float

from jaxlosses.core.collectives import AxisName
from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.segmentation._shared import (
    MaskInputs,
    PixelReduction,
    prepare_regions,
    register_mask_loss,
    sum_intersection,
    to_loss,
)

__all__ = ["jaccard_loss", "tversky_loss"]


@register_mask_loss("jaccard_loss", aliases=("jaccard", "soft_iou"), citation="doi:10.1007/978-3-319-50835-1_22")
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
    per_image: bool = True,
    axis_name: AxisName | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Soft Jaccard (IoU) loss, 1 - |P∩G|/(|P|+|G|-|P∩G|), for segmentation that is scored by IoU.

        l = 1 - (TP + s) / (TP + FP + FN + s)

    Args:
        probabilities: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        smooth: s >= 0, added above and below.
        soft_labels: TP = Σ min(p, g), for targets between 0 and 1.
        log: -log of the coefficient; where that is 0 (s = 0 and no overlap) it is +inf with zero gradient.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the targets (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, and is never the default, for
            between a softmax and one-hot targets that makes FP = FN, whatever their weights.
        per_class: return a value per image *and* class instead of their mean.
        per_image: False sums over the images first: one value for them all, of shape () or, if `per_class`,
            `(classes,)`.
        axis_name: with `per_image=False` inside `shard_map` or `pmap`, the axis of devices to sum over as well; `()`
            for the images of each device alone.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. `jaxlosses.core.reduction`
            explains this and the next two.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or lacks another that it needs; inside
            `shard_map` also for `per_image=False` without `axis_name`.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.jaccard_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, smooth=0.0)
        Array([0.4167], dtype=float32)

    Reference:
        Rahman and Wang, Optimizing Intersection-over-Union in Deep Neural Networks, 2016,
        doi:10.1007/978-3-319-50835-1_22.
    """
    x, pixels = prepare_regions(
        "jaccard_loss",
        where,
        sample_weights,
        probabilities=probabilities,
        targets=targets,
        activation=activation,
        class_axis=class_axis,
        ignore_label=ignore_label,
        classes=classes,
        include_background=include_background,
        average=average,
        per_class=per_class,
        per_image=per_image,
        axis_name=axis_name,
    )
    jaccard = _tversky_index(x, pixels, 1.0, 1.0, smooth, soft_labels)
    return reduce(pixels.average_classes(to_loss(jaccard, log)), pixels.mask, reduction)


@register_mask_loss("tversky_loss", aliases=("tversky",), citation="arXiv:1706.05721")
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
    per_image: bool = True,
    axis_name: AxisName | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Tversky loss: Dice with separate weights for false positives and negatives, to trade precision for recall.

        l = 1 - (TP + s) / (TP + a FP + b FN + s),   a = fp_weight, b = fn_weight

    a = 0.3 and b = 0.7, the paper's best, favour recall. a = b = 1/2 at smoothing s is Dice at smoothing 2s.

    Args:
        probabilities: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        fp_weight: a >= 0, the weight of false positives (α in the paper).
        fn_weight: b >= 0, the weight of false negatives (β in the paper).
        smooth: s >= 0, added above and below.
        soft_labels: TP = Σ min(p, g), for targets between 0 and 1.
        log: -log of the coefficient; where that is 0 (s = 0 and no overlap) it is +inf with zero gradient.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the targets (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, and is never the default, for
            between a softmax and one-hot targets that makes FP = FN, whatever their weights.
        per_class: return a value per image *and* class instead of their mean.
        per_image: False sums over the images first: one value for them all, of shape () or, if `per_class`,
            `(classes,)`.
        axis_name: with `per_image=False` inside `shard_map` or `pmap`, the axis of devices to sum over as well; `()`
            for the images of each device alone.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. `jaxlosses.core.reduction`
            explains this and the next two.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` in [0, 1], or `(batch, classes)` if `per_class`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or lacks another that it needs; inside
            `shard_map` also for `per_image=False` without `axis_name`.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> p, g = [[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]]
        >>> jl.tversky_loss(p, g, class_axis=None, smooth=0.0, fp_weight=0.3, fn_weight=0.7)
        Array([0.2784], dtype=float32)

    Reference:
        Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation, 2017, arXiv:1706.05721.
    """
    x, pixels = prepare_regions(
        "tversky_loss",
        where,
        sample_weights,
        probabilities=probabilities,
        targets=targets,
        activation=activation,
        class_axis=class_axis,
        ignore_label=ignore_label,
        classes=classes,
        include_background=include_background,
        average=average,
        per_class=per_class,
        per_image=per_image,
        axis_name=axis_name,
    )
    tversky = _tversky_index(x, pixels, fp_weight, fn_weight, smooth, soft_labels)
    return reduce(pixels.average_classes(to_loss(tversky, log)), pixels.mask, reduction)


def _tversky_index(
    x: MaskInputs, pixels: PixelReduction, fp_weight: Number, fn_weight: Number, smooth: Number, soft_labels: bool
) -> Float[Array, "..."]:
    tp = sum_intersection(x, pixels, soft_labels)
    fp, fn = pixels.sum(x.predictions) - tp, pixels.sum_targets(x, lambda p, g: g) - tp
    return safe_divide(tp + smooth, tp + fp_weight * fp + fn_weight * fn + smooth, otherwise=1.0)
