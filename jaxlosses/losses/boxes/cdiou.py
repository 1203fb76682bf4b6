"""Control-distance IoU: how far corresponding corners lie apart, added to any IoU loss."""

import functools

from jax import Array
from jaxtyping import Float

from jaxlosses.core.errors import one_of
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.boxes._shared import compare, prepare_boxes, register_box_loss
from jaxlosses.losses.boxes.iou import (
    Formula,
    ciou_penalty,
    corner_distance,
    cost,
    diou_penalty,
    eiou_penalty,
    giou_penalty,
)
from jaxlosses.losses.boxes.pair import Pair

__all__ = ["cdiou_loss"]

_PENALTIES = {"iou": None, "giou": giou_penalty, "diou": diou_penalty, "ciou": ciou_penalty, "eiou": eiou_penalty}


@register_box_loss("cdiou_loss", aliases=("cdiou",), citation="arXiv:2103.11696")
def cdiou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    similarity: str = "iou",
    weight: Number = 1.0,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Control-distance IoU loss: the IoU loss plus the mean distance between corresponding corners.

        l = 1 - IoU + λ d,   d = Σ |corner - corner'| / 4c,   c the diagonal of the enclosing box

    The paper calls d "diou", which it is not. The authors' code trains with `similarity="giou", weight=0.00025`: it
    divides by 4 twice, and weighs the result by 0.001.

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        similarity: what stands in the place of IoU: `"iou"`, `"giou"`, `"diou"`, `"ciou"` or `"eiou"`.
        weight: λ >= 0.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 1 + λ) over IoU, 0 only for equal boxes; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, the last axis is not 4, or `similarity` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.cdiou_loss([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.9004, dtype=float32)

    Reference:
        Chen and Miao, Control Distance IoU and Control Distance IoU Loss Function, 2021, arXiv:2103.11696.
    """
    one_of("cdiou_loss", "similarity", similarity, _PENALTIES)
    a, b, mask = prepare_boxes("cdiou_loss", boxes, targets, where, sample_weights)
    return reduce(compare(_formula(_PENALTIES[similarity]), a, b, weight), mask, reduction)


@functools.cache
def _formula(penalty: Formula | None) -> Formula:
    def with_corners(pair: Pair, weight: Array) -> Float[Array, "..."]:
        corners = weight * corner_distance(pair)
        return corners if penalty is None else penalty(pair) + corners

    return cost(with_corners)
