"""The Dice loss: a value per image, the mean over its classes.

With probabilities p in [0, 1] and targets g in [0, 1], summed over the pixels of an image, for each class:

    D = (2 Σpg + s) / (Σp + Σg + s)     = F1 on hard masks

The loss is 1 - D, in [0, 1], or with `log` -log D, in [0, ∞]. The smoothing s = 1 gives an image without an object a
useful gradient; at s = 0 such an image has loss 1 (∞ with `log`) and zero gradient, and loss 0 if nothing is predicted
either.
"""

from collections.abc import Sequence

from jaxlosses.core.collectives import AxisName
from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.segmentation._shared import (
    prepare_regions,
    register_mask_loss,
    sum_intersection,
    to_loss,
)

__all__ = ["dice_loss"]


@register_mask_loss("dice_loss", aliases=("dice",), citation="arXiv:1606.04797")
def dice_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: Number = 1.0,
    squared_denominator: bool = False,
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
    """Soft Dice loss, 1 - 2|P∩G|/(|P|+|G|), for segmentation where the foreground is small.

        l = 1 - (2 Σpg + s) / (Σp + Σg + s),   or with p² and g² below if `squared_denominator` (V-Net)

    On the same probabilities `optax.losses.dice_loss` at `smooth=s` is this at `smooth=2s`.

    Args:
        probabilities: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        smooth: s >= 0, added above and below.
        squared_denominator: square p and g in the denominator.
        soft_labels: TP = Σ min(p, g), for targets between 0 and 1; not needed if `squared_denominator`.
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
        >>> jl.dice_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, smooth=0.0)
        Array([0.2632], dtype=float32)

    Reference:
        Milletari, Navab and Ahmadi, V-Net, 2016, arXiv:1606.04797.
    """
    x, pixels = prepare_regions(
        "dice_loss",
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
    power = 2 if squared_denominator else 1
    sizes = pixels.sum(x.predictions**power) + pixels.sum_targets(x, lambda p, g: g**power)
    tp = sum_intersection(x, pixels, soft_labels and not squared_denominator)
    dice = safe_divide(2 * tp + smooth, sizes + smooth, otherwise=1.0)
    return reduce(pixels.average_classes(to_loss(dice, log)), pixels.mask, reduction)
