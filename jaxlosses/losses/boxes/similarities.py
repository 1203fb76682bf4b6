"""The similarities behind the box losses, between boxes in pairs or between all boxes and all targets.

`1 - box_giou(predicted, true, pairwise=True)` is a cost matrix for matching. The formulas stand in `iou`.
"""

from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.keywords import public_function
from jaxlosses.core.types import ArrayLike, Number
from jaxlosses.losses.boxes._shared import compare, lower_corner, unstack_corners
from jaxlosses.losses.boxes.all_pairs import compare_all_pairs
from jaxlosses.losses.boxes.iou import (
    Formula,
    ciou_penalty,
    corner_distance,
    diou_penalty,
    eiou_penalty,
    giou_penalty,
    iou,
    similarity,
)
from jaxlosses.losses.boxes.pair import Pair

__all__ = ["box_cdiou", "box_ciou", "box_diou", "box_eiou", "box_giou", "box_iou"]


@public_function
def box_iou(boxes: ArrayLike, targets: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Intersection over union (IoU) of two boxes, in pairs or of all boxes with all targets.

        IoU = I/U

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape; or `(..., M, 4)` against `(..., N, 4)` if `pairwise`.
        pairwise: compare every box with every target.

    Returns:
        `(...)` in [0, 1], or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_iou([[0.0, 0.0, 4.0, 4.0]], [[1.0, 1.0, 6.0, 5.0], [0.0, 0.0, 4.0, 4.0]], pairwise=True).round(4)
        Array([[0.3333, 1.    ]], dtype=float32)

    Reference:
        Jaccard, Étude comparative de la distribution florale, 1901.
    """
    return _compare("box_iou", similarity(), boxes, targets, pairwise)


@public_function
def box_giou(boxes: ArrayLike, targets: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Generalised IoU (GIoU): IoU less the share of the enclosing box that neither box fills.

        GIoU = IoU - (C - U)/C

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape; or `(..., M, 4)` against `(..., N, 4)` if `pairwise`.
        pairwise: compare every box with every target.

    Returns:
        `(...)` in (-1, 1], or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_giou([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.2333, dtype=float32)

    Reference:
        Rezatofighi et al., Generalized Intersection over Union, 2019, arXiv:1902.09630.
    """
    return _compare("box_giou", similarity(giou_penalty), boxes, targets, pairwise)


@public_function
def box_diou(boxes: ArrayLike, targets: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Distance IoU (DIoU): IoU less the squared distance of the centres in units of the enclosing diagonal.

        DIoU = IoU - ρ²/c²

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape; or `(..., M, 4)` against `(..., N, 4)` if `pairwise`.
        pairwise: compare every box with every target.

    Returns:
        `(...)` in (-1, 1], or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_diou([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.2801, dtype=float32)

    Reference:
        Zheng et al., Distance-IoU Loss, 2020, arXiv:1911.08287.
    """
    return _compare("box_diou", similarity(diou_penalty), boxes, targets, pairwise)


@public_function
def box_ciou(boxes: ArrayLike, targets: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Complete IoU (CIoU): DIoU less a penalty for unequal aspect ratios. See `ciou_loss` for α and v.

        CIoU = IoU - ρ²/c² - αv

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape; or `(..., M, 4)` against `(..., N, 4)` if `pairwise`.
        pairwise: compare every box with every target.

    Returns:
        `(...)` in (-1.5, 1], or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_ciou([0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 2.0])
        Array(0.2371, dtype=float32)

    Reference:
        Zheng et al., Distance-IoU Loss, 2020, arXiv:1911.08287.
    """
    return _compare("box_ciou", similarity(ciou_penalty), boxes, targets, pairwise)


@public_function
def box_eiou(boxes: ArrayLike, targets: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Efficient IoU (EIoU): DIoU less the squared differences of the sides in units of the enclosing box.

        EIoU = IoU - ρ²/c² - (w - w')²/cw² - (h - h')²/ch²

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape; or `(..., M, 4)` against `(..., N, 4)` if `pairwise`.
        pairwise: compare every box with every target.

    Returns:
        `(...)` in (-2.25, 1], or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_eiou([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.2523, dtype=float32)

    Reference:
        Zhang et al., Focal and Efficient IOU Loss, 2021, arXiv:2101.08158.
    """
    return _compare("box_eiou", similarity(eiou_penalty), boxes, targets, pairwise)


@public_function
def box_cdiou(
    boxes: ArrayLike, targets: ArrayLike, *, weight: Number = 0.001, pairwise: bool = False
) -> Float[Array, "..."]:
    """Control-distance IoU (CDIoU), a measure for evaluation: IoU, and a little more for corners that are close.

        CDIoU = IoU + λ(1 - d),   d = Σ |corner - corner'| / 4c

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape; or `(..., M, 4)` against `(..., N, 4)` if `pairwise`.
        weight: λ >= 0; the paper's best is the default.
        pairwise: compare every box with every target.

    Returns:
        `(...)` in [0, 1 + λ], or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit, or the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_cdiou([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.3341, dtype=float32)

    Reference:
        Chen and Miao, Control Distance IoU and Control Distance IoU Loss Function, 2021, arXiv:2103.11696.
    """
    return _compare("box_cdiou", _cdiou, boxes, targets, pairwise, weight)


def _cdiou(pair: Pair, weight: Number) -> Float[Array, "..."]:
    return iou(pair) + weight * (1 - corner_distance(pair))


def _compare(
    name: str, formula: Formula, boxes: ArrayLike, targets: ArrayLike, pairwise: bool, *parameters: Number
) -> Float[Array, "..."]:
    a, b = checks.prepare_pairwise(name, 4, pairwise=pairwise, origin=lower_corner, boxes=boxes, targets=targets)
    first, second = unstack_corners(name, "boxes", a), unstack_corners(name, "targets", b)
    return (compare_all_pairs if pairwise else compare)(formula, first, second, *parameters)
