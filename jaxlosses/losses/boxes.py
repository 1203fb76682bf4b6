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


def iou(a: Float[Array, "... 4"], b: Float[Array, "... 4"]) -> Float[Array, "..."]:
    return safe_divide(*_intersection_and_union(a, b))


def giou(a: Float[Array, "... 4"], b: Float[Array, "... 4"]) -> Float[Array, "..."]:
    _, union = _intersection_and_union(a, b)
    width, height = _enclosing_sides(a, b)
    return iou(a, b) - safe_divide(width * height - union, width * height)


def diou(a: Float[Array, "... 4"], b: Float[Array, "... 4"]) -> Float[Array, "..."]:
    (ax, ay), (bx, by) = _center(a), _center(b)
    width, height = _enclosing_sides(a, b)
    return iou(a, b) - safe_divide((ax - bx) ** 2 + (ay - by) ** 2, width**2 + height**2)


def ciou(
    a: Float[Array, "... 4"],
    b: Float[Array, "... 4"],
    detach_alpha: bool = True,
    iou_threshold: Number | None = None,
    aspect_gradient: str = "exact",
) -> Float[Array, "..."]:
    angle_gap = _aspect_angle(b, aspect_gradient) - _aspect_angle(a, aspect_gradient)
    v = 4 / jnp.pi**2 * angle_gap**2
    shared = iou(a, b)
    alpha = safe_divide(v, 1 - shared + v)
    if iou_threshold is not None:
        alpha = jnp.where(shared < iou_threshold, 0, alpha)
    return diou(a, b) - (jax.lax.stop_gradient(alpha) if detach_alpha else alpha) * v


def _aspect_angle(box: Float[Array, "... 4"], gradient: str) -> Float[Array, "..."]:
    """atan(w/h), and 0 with zero gradient for a box that is a point."""
    width, height = _sides(box)
    point = (width == 0) & (height == 0)
    angle = jnp.arctan2(jnp.where(point, 0, width), jnp.where(point, 1, height))
    if gradient == "exact":
        return angle
    w, h = jax.lax.stop_gradient((width, height))
    straight = h * width - w * height  # has the slopes of the angle times w² + h², and the value 0
    return jax.lax.stop_gradient(angle) + straight


def _intersection_and_union(
    a: Float[Array, "... 4"], b: Float[Array, "... 4"]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    # relu rather than maximum: its gradient is 0, not 1/2, for boxes that just touch.
    width = jax.nn.relu(jnp.minimum(a[..., 2], b[..., 2]) - jnp.maximum(a[..., 0], b[..., 0]))
    height = jax.nn.relu(jnp.minimum(a[..., 3], b[..., 3]) - jnp.maximum(a[..., 1], b[..., 1]))
    (aw, ah), (bw, bh) = _sides(a), _sides(b)
    return width * height, aw * ah + bw * bh - width * height


def _enclosing_sides(
    a: Float[Array, "... 4"], b: Float[Array, "... 4"]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    width = jnp.maximum(a[..., 2], b[..., 2]) - jnp.minimum(a[..., 0], b[..., 0])
    height = jnp.maximum(a[..., 3], b[..., 3]) - jnp.minimum(a[..., 1], b[..., 1])
    return width, height


def _sides(box: Float[Array, "... 4"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    return box[..., 2] - box[..., 0], box[..., 3] - box[..., 1]


def _center(box: Float[Array, "... 4"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    return (box[..., 0] + box[..., 2]) / 2, (box[..., 1] + box[..., 3]) / 2


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
    boxes, targets, kept = door("iou_loss", boxes, targets, where, sample_weights)
    shared = iou(boxes, targets)
    return reduce(1 - shared if mode == "linear" else -jnp.log(jnp.where(shared > eps, shared, eps)), kept, reduction)


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
    boxes, targets, kept = door("giou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - giou(boxes, targets), kept, reduction)


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
    boxes, targets, kept = door("diou_loss", boxes, targets, where, sample_weights)
    return reduce(1 - diou(boxes, targets), kept, reduction)


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
    boxes, targets, kept = door("ciou_loss", boxes, targets, where, sample_weights)
    similarity = ciou(boxes, targets, detach_alpha, iou_threshold, aspect_gradient)
    return reduce(1 - similarity, kept, reduction)


def door(
    loss: str, boxes: ArrayLike, targets: ArrayLike, where: ArrayLike | None, sample_weights: ArrayLike | None
) -> tuple[Array, Array, checks.Kept]:
    a, b, kept = checks.same_shape(loss, where, sample_weights, consumed=-1, boxes=boxes, targets=targets)
    return checks.boxes(loss, "boxes", a), checks.boxes(loss, "targets", b), kept
