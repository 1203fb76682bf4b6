"""Losses of overlap: 1 minus a similarity of two boxes, a value per pair. The formulas stand in `formulas`."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.boxes.iou import ciou, diou, door, eiou, giou, iou
from jaxlosses.registry import register

__all__ = ["ciou_loss", "diou_loss", "eiou_loss", "giou_loss", "iou_loss"]


def example(key: Array) -> tuple[Array, Array]:
    """Boxes that mostly overlap."""
    corners_key, sides_key = jax.random.split(key)
    corners = jax.random.uniform(corners_key, (2, 5, 3, 2))
    sides = jax.random.uniform(sides_key, (2, 5, 3, 2), minval=0.5, maxval=1.5)
    boxes, targets = jnp.concatenate([corners, corners + sides], axis=-1)
    return boxes, targets


register_box_loss = functools.partial(
    register,
    family="boxes",
    input_kind="box",
    num_event_axes=1,
    domain=("boxes x1 y1 x2 y2", "boxes x1 y1 x2 y2"),
    minimum=0.0,
    example_inputs=example,
)


@register_box_loss("iou_loss", aliases=("iou",), citation="arXiv:1608.01471")
def iou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    mode: str = "linear",
    eps: Number = 1e-6,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What two boxes do not share.

        l = 1 - IoU  ("linear", a metric)   or   l = -log max(IoU, ε)  ("log", UnitBox)

    Between boxes that do not overlap both are constant and their gradient is 0: see `giou_loss`.

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        mode: `"linear"` or `"log"`.
        eps: ε, the floor of the logarithm.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` in [0, 1], or in [0, -log ε]; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, the last axis is not 4, or `mode` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.iou_loss([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.6667, dtype=float32)

    Reference:
        Yu et al., UnitBox, 2016, arXiv:1608.01471.
    """
    if mode not in ("linear", "log"):
        raise ValueError(f"iou_loss: mode must be 'linear' or 'log', got {mode!r}")
    a, b, mask = door("iou_loss", boxes, targets, where, sample_weights)
    shared = iou(a, b)
    return reduce(1 - shared if mode == "linear" else -jnp.log(jnp.where(shared <= eps, eps, shared)), mask, reduction)


@register_box_loss("giou_loss", aliases=("giou",), citation="arXiv:1902.09630")
def giou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What two boxes do not share, and the void between them.

        l = 1 - IoU + (C - U)/C

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
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
    a, b, mask = door("giou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - giou(a, b), mask, reduction)


@register_box_loss("diou_loss", aliases=("diou",), citation="arXiv:1911.08287")
def diou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What two boxes do not share, and the distance of their centres.

        l = 1 - IoU + ρ²/c²

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
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
    a, b, mask = door("diou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - diou(a, b), mask, reduction)


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
    """What two boxes do not share, the distance of their centres, and the difference of their aspect ratios.

        l = 1 - IoU + ρ²/c² + αv,   v = (4/π²) (atan(w/h) - atan(w'/h'))²,   α = v / (1 - IoU + v)

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        detach_alpha: stop the gradient through α, as the authors' code does.
        iou_threshold: α = 0 where IoU is below it; the follow-up paper (arXiv:2005.03572) and mmdetection take 0.5.
        aspect_gradient: `"exact"`, or `"authors"` to leave out the factor 1/(w² + h²) of dv/dw and dv/dh, which
            explodes for small boxes in units of the image.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
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
    if aspect_gradient not in ("exact", "authors"):
        raise ValueError(f"ciou_loss: aspect_gradient must be 'exact' or 'authors', got {aspect_gradient!r}")
    a, b, mask = door("ciou_loss", boxes, targets, where, sample_weights)
    similarity = ciou(a, b, detach_alpha, iou_threshold, aspect_gradient)
    return reduce(1 - similarity, mask, reduction)


@register_box_loss("eiou_loss", aliases=("eiou",), citation="arXiv:2101.08158")
def eiou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """What two boxes do not share, the distance of their centres, and the differences of their sides.

        l = 1 - IoU + ρ²/c² + (w - w')²/cw² + (h - h')²/ch²

    mmdetection's loss of this name is another one, Extended-IoU (Peng and Yu, 2021).

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
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
    a, b, mask = door("eiou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - eiou(a, b), mask, reduction)
