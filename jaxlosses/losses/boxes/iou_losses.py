"""The IoU losses: 1 minus the IoU of two boxes, and a penalty; a value per pair. The formulas stand in `iou`."""

from jaxlosses.core.errors import one_of
from jaxlosses.core.numerics import log_with_floor
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.boxes._shared import compare, prepare_boxes, register_box_loss
from jaxlosses.losses.boxes.iou import ciou_penalty_with, cost, diou_penalty, eiou_penalty, giou_penalty, iou

__all__ = ["ciou_loss", "diou_loss", "eiou_loss", "giou_loss", "iou_loss"]


@register_box_loss("iou_loss", aliases=("iou",), citation="arXiv:1608.01471")
def iou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    variant: str = "linear",
    eps: Number = 1e-6,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """IoU loss of paired boxes, 1 - IoU or -log IoU (UnitBox); no gradient where boxes are disjoint.

        l = 1 - IoU  ("linear", a metric)   or   l = -log max(IoU, ε)  ("log", UnitBox)

    Between boxes that do not overlap both are constant and their gradient is 0: see `giou_loss`.

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        variant: `"linear"` or `"log"`.
        eps: ε, the floor of the logarithm.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 1], or in [0, -log ε]; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, the last axis is not 4, or `variant` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.iou_loss([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.6667, dtype=float32)

    Reference:
        Yu et al., UnitBox, 2016, arXiv:1608.01471.
    """
    one_of("iou_loss", "variant", variant, ("linear", "log"))
    a, b, mask = prepare_boxes("iou_loss", boxes, targets, where, sample_weights)
    if variant == "linear":
        return reduce(compare(cost(), a, b), mask, reduction)
    return reduce(-log_with_floor(compare(iou, a, b), eps), mask, reduction)


@register_box_loss("giou_loss", aliases=("giou",), citation="arXiv:1902.09630")
def giou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Generalized IoU loss: IoU loss plus the empty share of the enclosing box, so that disjoint boxes are attracted.

        l = 1 - IoU + (C - U)/C

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 2); or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.giou_loss([0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0])
        Array(1.3333, dtype=float32)

    Reference:
        Rezatofighi et al., Generalized Intersection over Union, 2019, arXiv:1902.09630.
    """
    a, b, mask = prepare_boxes("giou_loss", boxes, targets, where, sample_weights)
    return reduce(compare(cost(giou_penalty), a, b), mask, reduction)


@register_box_loss("diou_loss", aliases=("diou",), citation="arXiv:1911.08287")
def diou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Distance-IoU loss: the IoU loss plus the normalised squared distance between box centres.

        l = 1 - IoU + ρ²/c²

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 2); or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.diou_loss([0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0])
        Array(1.4, dtype=float32)

    Reference:
        Zheng et al., Distance-IoU Loss, 2020, arXiv:1911.08287.
    """
    a, b, mask = prepare_boxes("diou_loss", boxes, targets, where, sample_weights)
    return reduce(compare(cost(diou_penalty), a, b), mask, reduction)


@register_box_loss(
    "ciou_loss",
    aliases=("ciou",),
    citation="arXiv:1911.08287",
    options_without_stop_gradient=(("detach_alpha", False),),
)
def ciou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    detach_alpha: bool = True,
    iou_threshold: Number | None = None,
    aspect_gradient: str = "exact",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Complete-IoU loss: the DIoU loss plus an aspect-ratio penalty, common in YOLO detectors.

        l = 1 - IoU + ρ²/c² + αv,   v = (4/π²) (atan(w/h) - atan(w'/h'))²,   α = v / (1 - IoU + v)

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        detach_alpha: stop the gradient through α, as the authors' code does.
        iou_threshold: α = 0 where IoU is below it; the follow-up paper (arXiv:2005.03572) and mmdetection take 0.5.
        aspect_gradient: `"exact"`, or `"authors"` to leave out the factor 1/(w² + h²) of dv/dw and dv/dh, which
            explodes for small boxes in units of the image.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 2.5), and the DIoU loss for equal aspect ratios; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, the last axis is not 4, or `aspect_gradient` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.ciou_loss([0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 2.0])
        Array(0.7629, dtype=float32)

    Reference:
        Zheng et al., Distance-IoU Loss, 2020, arXiv:1911.08287.
    """
    one_of("ciou_loss", "aspect_gradient", aspect_gradient, ("exact", "authors"))
    a, b, mask = prepare_boxes("ciou_loss", boxes, targets, where, sample_weights)
    penalty = ciou_penalty_with(detach_alpha=detach_alpha, aspect_gradient=aspect_gradient)
    return reduce(compare(cost(penalty), a, b, iou_threshold), mask, reduction)


@register_box_loss("eiou_loss", aliases=("eiou",), citation="arXiv:2101.08158")
def eiou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Efficient-IoU loss: the DIoU loss plus penalties on width and height errors, in place of CIoU's aspect ratio.

        l = 1 - IoU + ρ²/c² + (w - w')²/cw² + (h - h')²/ch²

    mmdetection's loss of this name is another one, Extended-IoU (Peng and Yu, 2021).

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 3.25), and the DIoU loss for equal sides; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.eiou_loss([0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 2.0])
        Array(1.2292, dtype=float32)

    Reference:
        Zhang et al., Focal and Efficient IOU Loss, 2021, arXiv:2101.08158.
    """
    a, b, mask = prepare_boxes("eiou_loss", boxes, targets, where, sample_weights)
    return reduce(compare(cost(eiou_penalty), a, b), mask, reduction)
