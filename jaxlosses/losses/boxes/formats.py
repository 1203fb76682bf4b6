"""Box formats. The losses read corners: x1, y1, x2, y2."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.keywords import public_function
from jaxlosses.core.types import ArrayLike

__all__ = ["box_convert", "box_sort_corners"]

FORMATS = ("xyxy", "xywh", "cxcywh")


@public_function
def box_convert(boxes: ArrayLike, source: str, target: str) -> Float[Array, "... 4"]:
    """Convert boxes between formats: corners, corner and size, centre and size.

        xyxy    x1, y1, x2, y2           two corners
        xywh    x1, y1, w, h             a corner and the sides:   w = x2 - x1
        cxcywh  cx, cy, w, h             the centre and the sides: cx = (x1 + x2)/2

    Args:
        boxes: `(..., 4)` in any unit.
        source: the format they are in: `"xyxy"`, `"xywh"` or `"cxcywh"`.
        target: the format to be returned.

    Returns:
        `(..., 4)`, floating.

    Raises:
        ValueError: if the last axis is not 4, or a format is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_convert([2.0, 1.0, 4.0, 2.0], "cxcywh", "xyxy")
        Array([0., 0., 4., 2.], dtype=float32)

    Reference:
        The formats of COCO (xywh, Lin et al., 2014, arXiv:1405.0312) and YOLO (cxcywh, Redmon et al., 2015,
        arXiv:1506.02640).
    """
    one_of("box_convert", "source", source, FORMATS)
    one_of("box_convert", "target", target, FORMATS)
    array = _to_boxes("box_convert", boxes)
    if source == target:  # exactly, without a round trip through corners
        return array
    first, second = array[..., :2], array[..., 2:]
    if source == "cxcywh":
        first = first - second / 2
    size = second - first if source == "xyxy" else second
    if target == "cxcywh":
        first = first + size / 2
    return jnp.concatenate([first, first + size if target == "xyxy" else size], axis=-1)


@public_function
def box_sort_corners(boxes: ArrayLike) -> Float[Array, "... 4"]:
    """Sort the corners of inverted boxes, as the GIoU paper's algorithm does before it compares.

        x1, x2 = min(x1, x2), max(x1, x2);   y in the same way

    No loss does this by itself: an inverted box is either a mistake, which `jaxlosses.checked` finds, or a prediction
    that needs this on purpose.

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2.

    Returns:
        `(..., 4)` with x2 >= x1 and y2 >= y1, floating.

    Raises:
        ValueError: if the last axis is not 4.

    Example:
        >>> import jaxlosses as jl
        >>> jl.box_sort_corners([4.0, 0.0, 1.0, 2.0])
        Array([1., 0., 4., 2.], dtype=float32)

    Reference:
        Rezatofighi et al., Generalized Intersection over Union, 2019, arXiv:1902.09630, Algorithm 2.
    """
    array = _to_boxes("box_sort_corners", boxes)
    first, second = array[..., :2], array[..., 2:]
    return jnp.concatenate([jnp.minimum(first, second), jnp.maximum(first, second)], axis=-1)


def _to_boxes(name: str, boxes: ArrayLike) -> Float[Array, "... 4"]:
    (array,) = checks.to_floats(name, boxes=boxes)
    if array.shape[-1:] != (4,):
        raise ValueError(f"{name}: boxes {array.shape} must end in an axis of 4")
    return array
