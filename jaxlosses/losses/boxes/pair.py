"""Two boxes side by side, axis by axis: the lengths of which `iou` has the formulas.

Coordinates are scaled by a power of two, which rounds nothing, before they are subtracted and multiplied: boxes of side
1e20 and 1e-20 have areas like others, and gradients and second derivatives that are as large as they truly are. Each
axis has a scale of its own, for IoU and GIoU do not change if one axis is stretched.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core.numerics import safe_divide

ROOM = 2.0**16
"""The largest coordinate after scaling: far from 1, so that a product of two small lengths does not underflow soon."""


class Box(NamedTuple):
    """The four coordinates of boxes, each an array."""

    x1: Float[Array, "..."]
    y1: Float[Array, "..."]
    x2: Float[Array, "..."]
    y2: Float[Array, "..."]

    @property
    def units(self) -> tuple["Unit", "Unit"]:
        """Of the coordinates along x, and of those along y."""
        return _unit(self.x1, self.x2), _unit(self.y1, self.y2)


class Unit(NamedTuple):
    """A power of two that is a constant for derivatives, and 2¹⁶ over it, to multiply by: a division is slow."""

    size: Float[Array, "..."]
    scale: Float[Array, "..."]

    def or_larger(self, other: "Unit") -> "Unit":
        """The larger of two units."""
        return Unit(_larger(self.size, other.size), _smaller(self.scale, other.scale))


class Axis(NamedTuple):
    """What two boxes have along one axis, in scaled units."""

    first: Float[Array, "..."]  # the side of the first box
    second: Float[Array, "..."]  # and of the second
    low: Float[Array, "..."]  # how far the first box's lower coordinate lies above the second's
    high: Float[Array, "..."]  # the same for the upper coordinates
    mismatch: Float[Array, "..."]  # |low| + |high|
    overlap: Float[Array, "..."]  # the length that they have in common; less than 0 if there is a gap
    enclosing: Float[Array, "..."]  # the length from end to end

    @property
    def intersection(self) -> Float[Array, "..."]:
        """The length that the boxes have in common. Where they just touch, it is constant."""
        return jnp.where(self.overlap > 0, self.overlap, 0)

    @property
    def gap(self) -> Float[Array, "..."]:
        """The length between the boxes."""
        return jnp.where(self.overlap > 0, 0, -self.overlap)

    @property
    def first_alone(self) -> Float[Array, "..."]:
        """The first box's length outside the second."""
        return self.first - self.intersection

    @property
    def second_alone(self) -> Float[Array, "..."]:
        """The second box's length outside the first."""
        return self.second - self.intersection


class Pair(NamedTuple):
    """Two boxes, or two arrays of boxes that broadcast."""

    a: Box
    b: Box
    x: Axis
    y: Axis
    units: tuple[Unit, Unit]

    @classmethod
    def of(cls, a: Box, b: Box) -> "Pair":
        """Set two boxes side by side."""
        if a.x1.shape == b.x1.shape:
            unit_x, unit_y = _unit(a.x1, a.x2, b.x1, b.x2), _unit(a.y1, a.y2, b.y1, b.y2)
        else:  # once for each box, and not for each pair
            unit_x, unit_y = (unit.or_larger(other) for unit, other in zip(a.units, b.units, strict=True))
        x, y = _axis(unit_x.scale, a.x1, a.x2, b.x1, b.x2), _axis(unit_y.scale, a.y1, a.y2, b.y1, b.y2)
        return cls(a, b, x, y, (unit_x, unit_y))

    def in_one_unit(self, factor: float = 1.0) -> tuple[Axis, Axis]:
        """Both axes in the same unit, times a factor, for what is not invariant to stretching one of them."""
        scale = self.units[0].or_larger(self.units[1]).scale
        x, y = (
            Axis(*(length * (unit.size * scale * (factor / ROOM)) for length in axis))
            for axis, unit in zip((self.x, self.y), self.units, strict=True)
        )
        return x, y


def _unit(*coordinates: Array) -> Unit:
    """The power of two below the largest coordinate: its bits without those of the fraction, as an integer."""
    largest = jax.lax.stop_gradient(functools.reduce(_larger, map(jnp.abs, coordinates)))
    info = jnp.finfo(largest.dtype)
    integer = f"uint{info.bits}"
    bits_of = lambda x: np.asarray(x, largest.dtype).view(integer)  # noqa: E731
    exponent = jax.lax.bitcast_convert_type(largest, integer) & bits_of(np.inf)
    # For a box that is 0 the smallest unit whose scale is finite, for infinite ones the largest.
    exponent = jnp.clip(exponent, bits_of(2 * ROOM * float(info.tiny)), bits_of(2 / float(info.tiny)))
    size, scale = (
        jax.lax.bitcast_convert_type(bits, largest.dtype) for bits in (exponent, bits_of(ROOM) + bits_of(1) - exponent)
    )
    return Unit(size, scale)


@jax.custom_jvp
def _axis(scale: Array, a1: Array, a2: Array, b1: Array, b2: Array) -> Axis:
    a1, a2, b1, b2 = a1 * scale, a2 * scale, b1 * scale, b2 * scale
    low, high = a1 - b1, a2 - b2
    return Axis(
        first=a2 - a1,
        second=b2 - b1,
        low=low,
        high=high,
        mismatch=jnp.abs(low) + jnp.abs(high),
        overlap=_smaller(a2, b2) - _larger(a1, b1),
        enclosing=_larger(a2, b2) - _smaller(a1, b1),
    )


# Twice the smaller of two numbers is their sum less their distance, and the distance has slope 0 where they are equal.
@_axis.defjvp
def _axis_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Axis, Axis]:
    scale, a1, a2, b1, b2 = primals
    da1, da2, db1, db2 = (tangent * scale for tangent in tangents[1:])
    first, second, low, high = da2 - da1, db2 - db1, da1 - db1, da2 - db2
    mismatch = _sign(a1, b1) * low + _sign(a2, b2) * high
    slopes = Axis(first, second, low, high, mismatch, (first + second - mismatch) / 2, (first + second + mismatch) / 2)
    return _axis(*primals), slopes


@jax.custom_jvp
def length(x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """The root of x² + y², with zero gradient at 0."""
    return jnp.sqrt(x**2 + y**2)


@length.defjvp
def _length_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, y), value = primals, length(*primals)
    inverse = safe_divide(jnp.ones((), x.dtype), value)  # once, for XLA stores each quotient
    return value, x * inverse * tangents[0] + y * inverse * tangents[1]


@jax.custom_jvp
def turn(first: tuple[Array, Array], second: tuple[Array, Array]) -> Float[Array, "..."]:
    """The difference of two angles, atan(w'/h') - atan(w/h), exactly 0 for equal sides (w, h) >= 0."""
    (w, h), (other_w, other_h) = _direction(*first), _direction(*second)
    # One arctangent, for it takes longer than all the rest, of the cross and the dot product.
    return jnp.arctan2((other_w - w) * h - (other_h - h) * w, h * other_h + w * other_w)


@turn.defjvp
def _turn_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    first, second = (_turn_of_one(*sides, *slopes) for sides, slopes in zip(primals, tangents, strict=True))
    return turn(*primals), second - first


def _turn_of_one(w: Array, h: Array, dw: Array, dh: Array) -> Array:
    """The derivative of the angle, (h dw - w dh)/(w² + h²); 0 for a point."""
    scale = _unit(w, h).scale  # w² + h² would underflow for a short diagonal
    w, h = w * scale, h * scale
    return (h * (dw * scale) - w * (dh * scale)) / jnp.maximum(w**2 + h**2, 1)


def _direction(w: Array, h: Array) -> tuple[Array, Array]:
    """(w, h), so scaled that products neither overflow nor vanish; a point has the angle 0."""
    scale = _unit(w, h).scale
    return w * scale, jnp.where((w == 0) & (h == 0), ROOM, h * scale)


def _sign(x: Array, y: Array) -> Array:
    """The sign of x - y, which might overflow."""
    return jnp.where(x > y, 1.0, jnp.where(x < y, -1.0, 0.0)).astype(x.dtype)


# Unlike jnp.minimum and jnp.maximum these do not pass on NaN, which takes a CPU three instructions; the sides do.
def _smaller(x: Array, y: Array) -> Array:
    return jnp.where(x < y, x, y)


def _larger(x: Array, y: Array) -> Array:
    return jnp.where(x > y, x, y)
