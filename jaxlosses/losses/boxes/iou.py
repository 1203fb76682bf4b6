"""Intersection over union (IoU) of axis-aligned boxes (x1, y1, x2, y2), and the penalties that extend it.

With the intersection I and union U of the two areas, the smallest box that encloses both (sides cw, ch, area C,
squared diagonal c² = cw² + ch²), and the squared distance ρ² of the centres:

    IoU   = I/U                                     in [0, 1]        no gradient between boxes that do not touch
    GIoU  = IoU - (C - U)/C                         in (-1, 1]       pulls distant boxes together
    DIoU  = IoU - ρ²/c²                             in (-1, 1]       pulls centres together, also inside a box
    CIoU  = DIoU - αv                               in (-1.5, 1]     and aspect ratios
    EIoU  = DIoU - (w - w')²/cw² - (h - h')²/ch²    in (-2.25, 1]    and widths and heights themselves
    CDIoU = IoU + λ(1 - d)                          in [0, 1 + λ]    d: mean distance of the four corners, over c

All are invariant to moving, scaling and mirroring both boxes, symmetric in their value, and largest for equal boxes.
Where U, C, c², cw or ch is 0, its quotient is 0 with zero gradient: two boxes without area have IoU 0, so padding
belongs under a mask. Coordinates are continuous (no "+1 pixel"), with x2 >= x1 and y2 >= y1.

A similarity is the IoU less a penalty, and a loss is 1 - IoU = (U - I)/U plus the penalty. U - I and C - U are sums of
products that are each 0 for equal boxes, and so are their derivatives: what is 0 there is 0 whatever the rounding.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float

from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.types import Number
from jaxlosses.losses.boxes.pair import ROOM, Axis, Box, Pair, length, turn

EXPENSIVE = "expensive to compute"
"""The name of what a gradient keeps from the forward pass; `compare` computes the rest again."""

Formula: TypeAlias = Callable[..., Any]
"""A function of a `Pair`, and of numbers if it has parameters. `compare` compiles it, so each is made once."""


@functools.cache
def similarity(penalty: Formula | None = None) -> Formula:
    """The IoU less a penalty."""
    if penalty is None:
        return iou
    return lambda pair, *parameters: iou(pair) - penalty(pair, *parameters)


@functools.cache
def cost(penalty: Formula | None = None) -> Formula:
    """1 - IoU, and a penalty."""
    if penalty is None:
        return _cost
    return lambda pair, *parameters: _cost(pair, penalty(pair, *parameters))


def iou(pair: Pair) -> Float[Array, "..."]:
    """I/U."""
    return _iou(pair.x, pair.y)


def _cost(pair: Pair, penalty: Float[Array, "..."] | float = 0.0) -> Float[Array, "..."]:
    """(U - I)/U and the penalty; of boxes without area 1 and the penalty."""
    distance, no_area = _iou_distance(pair.x, pair.y), _vanishes(_area(pair.x, pair.y) + _outside(pair.x, pair.y))
    # The select is last: XLA's CPU compiler makes one loop of what is before it, and fuses no select into a mean.
    return jnp.where(no_area, 1 + penalty, distance + penalty)


# Penalties


def giou_penalty(pair: Pair) -> Float[Array, "..."]:
    """(C - U)/C."""
    x, y = pair.x, pair.y
    union = _area(x, y) + _outside(x, y)
    corners = x.first_alone * y.second_alone + x.second_alone * y.first_alone
    return _share(corners + x.gap * y.enclosing + (x.enclosing - x.gap) * y.gap, union)


def diou_penalty(pair: Pair) -> Float[Array, "..."]:
    """ρ²/c²."""
    x, y = pair.in_one_unit()
    offset_x, offset_y = (x.low + x.high) / 2, (y.low + y.high) / 2
    return safe_divide(offset_x**2 + offset_y**2, x.enclosing**2 + y.enclosing**2)


def ciou_penalty(
    pair: Pair, iou_threshold: Number | None = None, *, detach_alpha: bool = True, aspect_gradient: str = "exact"
) -> Float[Array, "..."]:
    """ρ²/c² + αv."""
    v = 4 / jnp.pi**2 * checkpoint_name(_aspect_turn(pair.a, pair.b, aspect_gradient), EXPENSIVE) ** 2
    alpha = _share(v, _cost(pair))
    if iou_threshold is not None:
        alpha = jnp.where(iou(pair) < iou_threshold, 0, alpha)
    return diou_penalty(pair) + (jax.lax.stop_gradient(alpha) if detach_alpha else alpha) * v


@functools.cache
def ciou_penalty_with(**options: Any) -> Formula:
    """The same, with options that are not numbers."""
    return functools.partial(ciou_penalty, **options)


def eiou_penalty(pair: Pair) -> Float[Array, "..."]:
    """ρ²/c² + (w - w')²/cw² + (h - h')²/ch²."""
    width_penalty, height_penalty = (
        safe_divide(axis.first - axis.second, axis.enclosing) ** 2 for axis in (pair.x, pair.y)
    )
    return diou_penalty(pair) + width_penalty + height_penalty


def corner_distance(pair: Pair) -> Float[Array, "..."]:
    """Mean distance of corresponding corners, over the enclosing diagonal: in [0, 1), and 0 only for equal boxes."""
    x, y = pair.in_one_unit(2.0**43)  # so that few of their squares are 0
    distances = [length(dx, dy) for dx in (x.low, x.high) for dy in (y.low, y.high)]
    return safe_divide(sum(distances[1:], distances[0]) / 4, length(x.enclosing, y.enclosing))


@jax.custom_jvp
def _outside(x: Axis, y: Axis) -> Float[Array, "..."]:
    """U - I: the area that the boxes do not share."""
    alone = x.first_alone * y.first + x.second_alone * y.second
    return alone + x.intersection * (y.first_alone + y.second_alone)


@_outside.defjvp
def _outside_jvp(primals: tuple[Axis, Axis], tangents: tuple[Axis, Axis]) -> tuple[Array, Array]:
    (x, y), (dx, dy) = primals, tangents
    return _outside(x, y), _outside_slope(x, y, dx) + _outside_slope(y, x, dy)


def _outside_slope(x: Axis, y: Axis, dx: Axis) -> Array:
    """The derivative of U - I = A + B - 2I as the lengths along one axis change: 0 for equal boxes, term by term."""
    mismatch = jnp.where(x.overlap > 0, dx.mismatch, dx.first + dx.second)
    return y.first_alone * dx.first + y.second_alone * dx.second + y.intersection * mismatch


def _area(x: Axis, y: Axis) -> Float[Array, "..."]:
    """I: the area that the boxes share."""
    return x.intersection * y.intersection


@jax.custom_jvp
def _iou(x: Axis, y: Axis) -> Float[Array, "..."]:
    """I/U."""
    return safe_divide(_area(x, y), _area(x, y) + _outside(x, y))


@jax.custom_jvp
def _iou_distance(x: Axis, y: Axis) -> Float[Array, "..."]:
    """(U - I)/U."""
    return safe_divide(_outside(x, y), _area(x, y) + _outside(x, y))


@_iou.defjvp
def _iou_jvp(primals: tuple[Axis, Axis], tangents: tuple[Axis, Axis]) -> tuple[Array, Array]:
    return _iou(*primals), -_iou_distance_slope(*primals, *tangents)


@_iou_distance.defjvp
def _iou_distance_jvp(primals: tuple[Axis, Axis], tangents: tuple[Axis, Axis]) -> tuple[Array, Array]:
    return _iou_distance(*primals), _iou_distance_slope(*primals, *tangents)


def _iou_distance_slope(x: Axis, y: Axis, dx: Axis, dy: Axis) -> Array:
    """(I d(U - I) - (U - I) dI)/U², of which the area I might be too small for a float where the slope is not."""
    union = _area(x, y) + _outside(x, y)
    by_height, by_width = safe_divide(x.intersection, union), safe_divide(y.intersection, union)
    d_outside = _outside_slope(x, y, dx) + _outside_slope(y, x, dy)
    d_area = by_width * _intersection_slope(x, dx) + by_height * _intersection_slope(y, dy)
    return by_width * by_height * d_outside - _iou_distance(x, y) * d_area


def _intersection_slope(x: Axis, dx: Axis) -> Array:
    return jnp.where(x.overlap > 0, dx.overlap, 0)


@jax.custom_jvp
def _share(part: Float[Array, "..."], rest: Float[Array, "..."]) -> Float[Array, "..."]:
    """The quotient part / (part + rest), and 0 with zero gradient where both are 0."""
    return safe_divide(part, part + rest)


@_share.defjvp
def _share_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    part, rest = primals
    by_part, by_rest = (safe_divide(_share(x, y), part + rest) for x, y in ((rest, part), (part, rest)))
    return _share(part, rest), by_part * tangents[0] - by_rest * tangents[1]


def _vanishes(x: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Whether x is 0, or so small that 1/x overflows."""
    return jnp.abs(x) < jnp.finfo(x.dtype).tiny


def _aspect_turn(a: Box, b: Box, gradient: str) -> Float[Array, "..."]:
    """The angle atan(w/h) of b's diagonal less that of a's; a point has the angle 0."""
    first, second = _sides(a), _sides(b)
    if gradient == "exact":
        return turn(first, second)
    return jax.lax.stop_gradient(turn(first, second)) + _unnormalized_slope(b) - _unnormalized_slope(a)


def _sides(box: Box) -> tuple[Array, Array]:
    """Width and height in the box's own unit."""
    scale = box.units[0].or_larger(box.units[1]).scale
    return box.x2 * scale - box.x1 * scale, box.y2 * scale - box.y1 * scale


def _unnormalized_slope(box: Box) -> Float[Array, "..."]:
    """0, with the derivatives of the box's angle times w² + h²: h and -w."""
    unit = box.units[0].or_larger(box.units[1])
    width, height = jax.lax.stop_gradient(_sides(box))
    fixed = jax.lax.stop_gradient(box)
    x1, y1, x2, y2 = (x - constant for x, constant in zip(box, fixed, strict=True))
    return (height * (x2 - x1) - width * (y2 - y1)) * (unit.size / ROOM)
