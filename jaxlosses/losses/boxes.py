"""Overlap of axis-aligned boxes (x1, y1, x2, y2): a value per pair of boxes.

With the intersection I and union U of the two areas, the smallest box that encloses both (sides cw, ch, area C,
squared diagonal c² = cw² + ch²), and the squared distance ρ² of the centres:

    IoU  = I/U                      in [0, 1]    no gradient between boxes that do not touch
    GIoU = IoU - (C - U)/C          in (-1, 1]   pulls distant boxes together
    DIoU = IoU - ρ²/c²              in (-1, 1]   pulls centres together, also inside a box
    CIoU = DIoU - αv                             and aspect ratios

Each loss is 1 minus its similarity. All are invariant to moving, scaling and mirroring both boxes, symmetric in their
value, and 0 for equal boxes. Where U, C or c² is 0, its quotient is 0 with zero gradient: two boxes without area have
IoU 0 and loss 1, so padding belongs under `where`. Coordinates are continuous (no "+1 pixel"), with x2 >= x1 and
y2 >= y1; inverted boxes are an error under `jaxlosses.checked`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses import checks
from jaxlosses._numerics import safe_divide
from jaxlosses.reduction import reduce
from jaxlosses.registry import register
from jaxlosses.types import ArrayLike, Number, Reduced

__all__ = ["ciou_loss", "diou_loss", "giou_loss", "iou_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    corners_key, sides_key = jax.random.split(key)
    corners = jax.random.uniform(corners_key, (2, 5, 3, 2))
    sides = jax.random.uniform(sides_key, (2, 5, 3, 2), minval=0.5, maxval=1.5)
    boxes, targets = jnp.concatenate([corners, corners + sides], axis=-1)
    return boxes, targets


_register = functools.partial(
    register,
    family="boxes",
    consumes="box",
    mask_lacks=1,
    domain=("boxes x1 y1 x2 y2", "boxes x1 y1 x2 y2"),
    minimum=0.0,
    example=_example,
)


class Box(NamedTuple):
    """The four coordinates, each an array, and what follows from them."""

    x1: Float[Array, "..."]
    y1: Float[Array, "..."]
    x2: Float[Array, "..."]
    y2: Float[Array, "..."]

    @property
    def width(self) -> Float[Array, "..."]:
        return self.x2 - self.x1

    @property
    def height(self) -> Float[Array, "..."]:
        return self.y2 - self.y1

    @property
    def area(self) -> Float[Array, "..."]:
        return self.width * self.height


def iou(a: Box, b: Box) -> Float[Array, "..."]:
    """I/U."""
    return safe_divide(*_intersection_and_union(a, b))


def giou(a: Box, b: Box) -> Float[Array, "..."]:
    """IoU - (C - U)/C."""
    intersection, union = _intersection_and_union(a, b)
    enclosing = _enclosing(a, b).area
    return safe_divide(intersection, union) - safe_divide(enclosing - union, enclosing)


def diou(a: Box, b: Box) -> Float[Array, "..."]:
    """IoU - ρ²/c²."""
    enclosing = _enclosing(a, b)
    offset_x, offset_y = (a.x1 + a.x2 - b.x1 - b.x2) / 2, (a.y1 + a.y2 - b.y1 - b.y2) / 2
    return iou(a, b) - safe_divide(offset_x**2 + offset_y**2, enclosing.width**2 + enclosing.height**2)


def ciou(
    a: Box, b: Box, detach_alpha: bool = True, iou_threshold: Number | None = None, aspect_gradient: str = "exact"
) -> Float[Array, "..."]:
    """IoU - ρ²/c² - αv."""
    v = 4 / jnp.pi**2 * (_aspect_angle(b, aspect_gradient) - _aspect_angle(a, aspect_gradient)) ** 2
    shared = iou(a, b)
    alpha = safe_divide(v, 1 - shared + v)
    if iou_threshold is not None:
        alpha = jnp.where(shared < iou_threshold, 0, alpha)
    return diou(a, b) - (jax.lax.stop_gradient(alpha) if detach_alpha else alpha) * v


def _intersection_and_union(a: Box, b: Box) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    # relu rather than maximum: its gradient is 0, not 1/2, for boxes that just touch.
    width = jax.nn.relu(jnp.minimum(a.x2, b.x2) - jnp.maximum(a.x1, b.x1))
    height = jax.nn.relu(jnp.minimum(a.y2, b.y2) - jnp.maximum(a.y1, b.y1))
    return width * height, a.area + b.area - width * height


def _enclosing(a: Box, b: Box) -> Box:
    return Box(jnp.minimum(a.x1, b.x1), jnp.minimum(a.y1, b.y1), jnp.maximum(a.x2, b.x2), jnp.maximum(a.y2, b.y2))


def _aspect_angle(box: Box, gradient: str) -> Float[Array, "..."]:
    """Angle of the diagonal, atan(w/h); 0 with zero gradient for a box that is a point."""
    point = (box.width == 0) & (box.height == 0)
    # In units of the longer side, for w² + h² would underflow for tiny boxes.
    unit = jax.lax.stop_gradient(jnp.where(point, 1, jnp.maximum(jnp.abs(box.width), jnp.abs(box.height))))
    angle = jnp.arctan2(jnp.where(point, 0, box.width) / unit, jnp.where(point, 1, box.height) / unit)
    if gradient == "exact":
        return angle
    w, h = jax.lax.stop_gradient((box.width, box.height))
    straight = h * box.width - w * box.height  # has the slopes of the angle times w² + h², and the value 0
    return jax.lax.stop_gradient(angle) + straight


@_register("iou_loss", aliases=("iou",), citation="arXiv:1608.01471")
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
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.reduction`.
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
    a, b, kept = door("iou_loss", boxes, targets, where, sample_weights)
    shared = iou(a, b)
    return reduce(1 - shared if mode == "linear" else -jnp.log(jnp.where(shared <= eps, eps, shared)), kept, reduction)


@_register("giou_loss", aliases=("giou",), citation="arXiv:1902.09630")
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
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.reduction`.
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
    a, b, kept = door("giou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - giou(a, b), kept, reduction)


@_register("diou_loss", aliases=("diou",), citation="arXiv:1911.08287")
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
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.reduction`.
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
    a, b, kept = door("diou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - diou(a, b), kept, reduction)


@_register("ciou_loss", aliases=("ciou",), citation="arXiv:1911.08287", exact_gradient=(("detach_alpha", False),))
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
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.reduction`.
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
    a, b, kept = door("ciou_loss", boxes, targets, where, sample_weights)
    similarity = ciou(a, b, detach_alpha, iou_threshold, aspect_gradient)
    return reduce(1 - similarity, kept, reduction)


def door(
    loss: str, boxes: ArrayLike, targets: ArrayLike, where: ArrayLike | None, sample_weights: ArrayLike | None
) -> tuple[Box, Box, checks.Kept]:
    """Check two arrays of boxes, aligned in pairs, and take them apart."""
    a, b, kept = checks.same_shape(loss, where, sample_weights, consumed=-1, boxes=boxes, targets=targets)
    return take_apart(loss, "boxes", a), take_apart(loss, "targets", b), kept


def take_apart(loss: str, argument: str, array: Float[Array, "..."]) -> Box:
    """The coordinates, once each: an index for every use would cost a padded array each in the gradient."""
    if array.shape[-1:] != (4,):
        raise ValueError(f"{loss}: {argument} {array.shape} must end in an axis of 4: x1, y1, x2, y2")
    box = Box(*jnp.unstack(array, axis=-1))
    checks.expect(
        loss,
        argument,
        lambda: (box.width >= 0) & (box.height >= 0),
        "have x2 >= x1 and y2 >= y1 (not x, y, w, h)",
    )
    return box
