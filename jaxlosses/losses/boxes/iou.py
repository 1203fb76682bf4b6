"""Intersection over union (IoU) of axis-aligned boxes (x1, y1, x2, y2), and the similarities that extend it.

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
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.numerics import safe_divide, safe_sqrt
from jaxlosses.core.types import Number


class Box(NamedTuple):
    """The four coordinates, each an array, and what follows from them."""

    x1: Float[Array, "..."]
    y1: Float[Array, "..."]
    x2: Float[Array, "..."]
    y2: Float[Array, "..."]

    @property
    def width(self) -> Float[Array, "..."]:
        """x2 - x1."""
        return self.x2 - self.x1

    @property
    def height(self) -> Float[Array, "..."]:
        """y2 - y1."""
        return self.y2 - self.y1

    @property
    def area(self) -> Float[Array, "..."]:
        """Width times height."""
        return self.width * self.height

    @property
    def squared_diagonal(self) -> Float[Array, "..."]:
        """Width² + height²."""
        return self.width**2 + self.height**2


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
    offset_x, offset_y = (a.x1 + a.x2 - b.x1 - b.x2) / 2, (a.y1 + a.y2 - b.y1 - b.y2) / 2
    return iou(a, b) - safe_divide(offset_x**2 + offset_y**2, _enclosing(a, b).squared_diagonal)


def ciou(
    a: Box, b: Box, detach_alpha: bool = True, iou_threshold: Number | None = None, aspect_gradient: str = "exact"
) -> Float[Array, "..."]:
    """IoU - ρ²/c² - αv."""
    v = 4 / jnp.pi**2 * (_aspect_angle(b, aspect_gradient) - _aspect_angle(a, aspect_gradient)) ** 2
    overlap = iou(a, b)
    alpha = safe_divide(v, 1 - overlap + v)
    if iou_threshold is not None:
        alpha = jnp.where(overlap < iou_threshold, 0, alpha)
    return diou(a, b) - (jax.lax.stop_gradient(alpha) if detach_alpha else alpha) * v


def eiou(a: Box, b: Box) -> Float[Array, "..."]:
    """IoU - ρ²/c² - (w - w')²/cw² - (h - h')²/ch²."""
    enclosing = _enclosing(a, b)
    width_penalty = safe_divide(a.width - b.width, enclosing.width) ** 2
    height_penalty = safe_divide(a.height - b.height, enclosing.height) ** 2
    return diou(a, b) - width_penalty - height_penalty


def corner_distance(a: Box, b: Box) -> Float[Array, "..."]:
    """Mean distance of corresponding corners, over the enclosing diagonal: in [0, 1), and 0 only for equal boxes."""
    sides = [(a.x1 - b.x1, a.x2 - b.x2), (a.y1 - b.y1, a.y2 - b.y2)]
    distances = [safe_sqrt(dx**2 + dy**2) for dx in sides[0] for dy in sides[1]]
    return safe_divide(sum(distances[1:], distances[0]) / 4, safe_sqrt(_enclosing(a, b).squared_diagonal))


def _intersection_and_union(a: Box, b: Box) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    # relu rather than maximum: its gradient is 0, not 1/2, for boxes that just touch.
    width = jax.nn.relu(jnp.minimum(a.x2, b.x2) - jnp.maximum(a.x1, b.x1))
    height = jax.nn.relu(jnp.minimum(a.y2, b.y2) - jnp.maximum(a.y1, b.y1))
    return width * height, a.area + b.area - width * height


def _enclosing(a: Box, b: Box) -> Box:
    return Box(jnp.minimum(a.x1, b.x1), jnp.minimum(a.y1, b.y1), jnp.maximum(a.x2, b.x2), jnp.maximum(a.y2, b.y2))


def _aspect_angle(box: Box, gradient: str) -> Float[Array, "..."]:
    """Angle of the diagonal, atan(w/h); 0 with zero gradient for a box that is a point."""
    is_point = (box.width == 0) & (box.height == 0)
    # In units of the longer side, for w² + h² would underflow for tiny boxes.
    longer_side = jax.lax.stop_gradient(jnp.where(is_point, 1, jnp.maximum(jnp.abs(box.width), jnp.abs(box.height))))
    width, height = jnp.where(is_point, 0, box.width), jnp.where(is_point, 1, box.height)
    angle = jnp.arctan2(width / longer_side, height / longer_side)
    if gradient == "exact":
        return angle
    w, h = jax.lax.stop_gradient((box.width, box.height))
    slopes = h * box.width - w * box.height  # has the value 0, and the derivatives of the angle times w² + h²
    return jax.lax.stop_gradient(angle) + slopes
