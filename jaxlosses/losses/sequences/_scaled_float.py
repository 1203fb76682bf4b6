"""Floats with an exponent of their own: probabilities of long paths, without a logarithm in the loop.

The product of a thousand probabilities underflows every float. Its logarithm does not, but each sum then costs an exp
and a log, and a logarithm of -5000 has no more than four correct decimals. Here a number is `mantissa · 2^exponent`,
two floats: sums and products are exact to the digits of the mantissa and cost no more than shifts, and the derivative
with respect to the mantissa is the ordinary one, for the exponent is piecewise constant.

Arithmetic lets the mantissas grow; `normalized` brings them back to [1, 2), every few operations.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class ScaledFloat(NamedTuple):
    """The number `mantissa · 2^exponent`, >= 0, elementwise for arrays.

    Attributes:
        mantissa: greater than 0, also in a number that is 0.
        exponent: a whole number, in the dtype of the mantissa; a number is 0 if it is close to `zero_exponent`.
    """

    mantissa: Array
    exponent: Array

    def __mul__(self, other: "ScaledFloat") -> "ScaledFloat":  # type: ignore[override]  # not repetition
        return ScaledFloat(self.mantissa * other.mantissa, self.exponent + other.exponent)

    def __add__(self, other: "ScaledFloat") -> "ScaledFloat":  # type: ignore[override]  # not concatenation
        return add(self, other)

    def times_power_of_two(self, exponent: Array) -> "ScaledFloat":
        """The product with `2^exponent`."""
        return ScaledFloat(self.mantissa, self.exponent + exponent)

    def is_zero(self) -> Array:
        """Whether a number is 0."""
        return self.exponent < zero_exponent(self.exponent.dtype) / 2

    def normalized(self) -> "ScaledFloat":
        """The same number with its mantissa in [1, 2)."""
        dtype = self.mantissa.dtype
        bits, mantissa_bits, bias = _bit_layout(dtype)
        shift = (jax.lax.bitcast_convert_type(self.mantissa, bits) >> mantissa_bits) - bias
        exponent = jnp.maximum(self.exponent + shift.astype(dtype), zero_exponent(dtype))
        return ScaledFloat(self.mantissa * _power_of_two(-shift, dtype), exponent)

    def sum(self) -> "ScaledFloat":
        """The sum along the first axis, normalized."""
        exponent = jnp.max(self.exponent, axis=0, initial=zero_exponent(self.exponent.dtype))
        mantissa = jnp.sum(self.mantissa * power_of_two(self.exponent - exponent[None]), axis=0)
        return ScaledFloat(mantissa, exponent).normalized()

    def log(self) -> Array:
        """The logarithm of a normalized number; -inf for 0."""
        log = jnp.log(self.mantissa / 2) + (self.exponent + 1) * math.log(2)
        return jnp.where(self.is_zero(), -jnp.inf, log)

    def entries(self, start: int | None, stop: int | None) -> "ScaledFloat":
        """The slice `[start:stop]` of the first axis."""
        return ScaledFloat(self.mantissa[start:stop], self.exponent[start:stop])

    def pad_zeros(self, before: int, after: int) -> "ScaledFloat":
        """With zeros before and after it along the first axis."""
        widths = [(before, after)] + [(0, 0)] * (self.mantissa.ndim - 1)
        exponent = jnp.pad(self.exponent, widths, constant_values=zero_exponent(self.exponent.dtype))
        return ScaledFloat(jnp.pad(self.mantissa, widths, constant_values=1), exponent)


def from_log(x: Array) -> ScaledFloat:
    """The number whose logarithm is `x`; its mantissa lies in [0.7, 1.5]."""
    exponent = jnp.maximum(jnp.round(x / math.log(2)), zero_exponent(x.dtype))
    return ScaledFloat(jnp.exp(jnp.clip(x - exponent * math.log(2), -1, 1)), exponent)


def add(*numbers: ScaledFloat) -> ScaledFloat:
    """The sum, not normalized: a sum of three at most triples the largest mantissa, and costs less than two of two."""
    exponent = functools.reduce(jnp.maximum, (x.exponent for x in numbers))
    mantissa = functools.reduce(jnp.add, (x.mantissa * power_of_two(x.exponent - exponent) for x in numbers))
    return ScaledFloat(mantissa, jnp.maximum(exponent, zero_exponent(exponent.dtype)))


def zero_exponent(dtype: Any) -> float:
    """The exponent of 0: so low that no product of probabilities comes near, so high that two of them add up."""
    return float(jnp.finfo(dtype).min) / 8


def power_of_two(exponent: Array) -> Array:
    """The float `2^exponent` of a whole number; 0 where it is too small for a float."""
    bits, _, bias = _bit_layout(exponent.dtype)
    return _power_of_two(jnp.clip(exponent, -bias, bias).astype(bits), exponent.dtype)


def _power_of_two(exponent: Array, dtype: Any) -> Array:
    _, mantissa_bits, bias = _bit_layout(dtype)
    return jax.lax.bitcast_convert_type((exponent + bias) << mantissa_bits, dtype)


def _bit_layout(dtype: Any) -> tuple[Any, int, int]:
    """The integer type as wide as a float, how many of its bits are the mantissa's, and the bias of its exponent."""
    info = jnp.finfo(dtype)
    return jnp.dtype(f"int{info.bits}"), int(info.nmant), 1 - int(info.minexp)
