"""Control distance: how far corresponding corners lie apart, added to any loss of overlap."""

from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.boxes import iou as formulas
from jaxlosses.losses.boxes.iou_losses import register_box_loss

__all__ = ["cdiou_loss"]

_BASES = {
    "iou": formulas.iou,
    "giou": formulas.giou,
    "diou": formulas.diou,
    "ciou": formulas.ciou,
    "eiou": formulas.eiou,
}


@register_box_loss("cdiou_loss", aliases=("cdiou",), citation="arXiv:2103.11696")
def cdiou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    base: str = "iou",
    weight: Number = 1.0,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What two boxes do not share, and the distances of their corners.

        l = 1 - IoU + λ d,   d = Σ |corner - corner'| / 4c,   c the diagonal of the enclosing box

    The paper calls d "diou", which it is not. `base="giou", weight=0.00025` is what the authors' code trains with: it
    divides by 4 twice, and weighs the result by 0.001.

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        base: the similarity in the place of IoU: `"iou"`, `"giou"`, `"diou"`, `"ciou"` or `"eiou"`.
        weight: λ >= 0.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 1 + λ) over IoU, 0 only for equal boxes; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, the last axis is not 4, or `base` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.cdiou_loss([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.9004, dtype=float32)

    Reference:
        Chen and Miao, Control Distance IoU and Control Distance IoU Loss Function, 2021, arXiv:2103.11696.
    """
    if base not in _BASES:
        raise ValueError(f"cdiou_loss: base must be one of {', '.join(map(repr, _BASES))}, got {base!r}")
    a, b, mask = formulas.door("cdiou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - _BASES[base](a, b) + weight * formulas.corner_distance(a, b), mask, reduction)
