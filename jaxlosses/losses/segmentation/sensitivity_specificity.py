"""Sensitivity and specificity as squared errors: the object and the background each have a mean of their own.

With the prediction p and the target r, summed over the pixels of an image, for each class:

    sensitivity error = Σ (r - p)² r / Σ r                  1 - sensitivity on hard masks
    specificity error = Σ (r - p)² (1 - r) / Σ (1 - r)      1 - specificity on hard masks

    l = λ · sensitivity error + (1 - λ) · specificity error     in [0, 1], and 0 only for p = r

An object of a few pixels weighs as much as one of many. λ = Σr / pixels gives the mean squared error of all pixels.
Where there is no object, or no background, its term is 0 with zero gradient.
"""

from collections.abc import Sequence

from jaxlosses.core.collectives import AxisName
from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.segmentation._shared import prepare_regions, register_mask_loss

__all__ = ["sensitivity_specificity_loss"]


@register_mask_loss("sensitivity_specificity_loss", citation="doi:10.1007/978-3-319-24574-4_1")
def sensitivity_specificity_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    sensitivity_weight: Number = 0.05,
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
    """Sensitivity-specificity loss: separate mean squared errors of foreground and background, for extreme imbalance.

        l = λ Σ (r - p)² r / Σ r + (1 - λ) Σ (r - p)² (1 - r) / Σ (1 - r)

    λ = 1 looks at the object alone, λ = 0 at the background alone.

    Args:
        probabilities: p, `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: r, the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        sensitivity_weight: λ in [0, 1]; the authors found 0.01 to 0.1 to be much alike.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the targets (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, so that small classes hardly
            count.
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
        >>> jl.sensitivity_specificity_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.0525], dtype=float32)

    Reference:
        Brosch et al., Deep Convolutional Encoder Networks for Multiple Sclerosis Lesion Segmentation, 2015,
        doi:10.1007/978-3-319-24574-4_1.
    """
    x, pixels = prepare_regions(
        "sensitivity_specificity_loss",
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
    error, background = (x.targets - x.predictions) ** 2, x.valid - x.targets
    object_error = pixels.sum_targets(x, lambda p, r: (r - p) ** 2 * r)
    sensitivity_error = safe_divide(object_error, pixels.sum_targets(x, lambda p, r: r))
    specificity_error = safe_divide(pixels.sum(error * background), pixels.sum(background))
    values = sensitivity_error * sensitivity_weight + specificity_error * (1 - sensitivity_weight)
    return reduce(pixels.average_classes(values), pixels.mask, reduction)
