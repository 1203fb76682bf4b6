"""Sensitivity and specificity as squared errors: the object and the background each have a mean of their own.

With the prediction p and the truth r, summed over the pixels of an image, for each class:

    missed  = Σ (r - p)² r / Σ r                  1 - sensitivity on hard masks
    claimed = Σ (r - p)² (1 - r) / Σ (1 - r)      1 - specificity on hard masks
    l       = λ missed + (1 - λ) claimed          in [0, 1], and 0 only for p = r

An object of a few pixels weighs as much as one of many. λ = Σr / pixels gives the mean squared error of all pixels.
Where there is no object, or no background, its term is 0 with zero gradient.
"""

from collections.abc import Hashable, Sequence

from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.segmentation._shared import pixels, register_masks, split

__all__ = ["sensitivity_specificity_loss"]


@register_masks("sensitivity_specificity_loss", citation="doi:10.1007/978-3-319-24574-4_1")
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
    batch: bool = False,
    axis_name: Hashable | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The squared error of the object and that of the background, weighed against each other.

        l = λ Σ (r - p)² r / Σ r + (1 - λ) Σ (r - p)² (1 - r) / Σ (1 - r)

    λ = 1 looks at the object alone, λ = 0 at the background alone.

    Args:
        probabilities: p, `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; logits if
            `activation` is given.
        targets: r, the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        sensitivity_weight: λ in [0, 1]; the authors found 0.01 to 0.1 to be much alike.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class.
        classes: `"all"`, `"present"` for those in the truth (an image without any counts as masked), or class ids.
        include_background: False to leave out class 0.
        average: `"macro"` for the mean over the classes; `"micro"` sums over them first, so that small classes hardly
            count.
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
        >>> jl.sensitivity_specificity_loss([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.0525], dtype=float32)

    Reference:
        Brosch et al., Deep Convolutional Encoder Networks for Multiple Sclerosis Lesion Segmentation, 2015,
        doi:10.1007/978-3-319-24574-4_1.
    """
    loss = "sensitivity_specificity_loss"
    x = pixels(loss, probabilities, targets, activation, class_axis, ignore_label, where, sample_weights)
    regions = split(x, classes, include_background, average, per_class, batch, axis_name)
    error, background = (x.g - x.p) ** 2, x.inside - x.g
    missed = safe_divide(regions.total(error * x.g), regions.total(x.g))
    claimed = safe_divide(regions.total(error * background), regions.total(background))
    values, mask = regions.over_classes(missed * sensitivity_weight + claimed * (1 - sensitivity_weight), per_class)
    return reduce(values, mask, reduction)
