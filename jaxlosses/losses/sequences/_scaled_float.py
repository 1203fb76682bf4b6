"""Positive numbers of any size, as m · 2^e: probabilities of long paths, without a logarithm in the loop.

The product of a thousand probabilities underflows every float. Its logarithm does not, but each sum then costs an exp
and a log, and a logarithm of -5000 keeps no more than four decimals of it. Here a float carries the digits and a second
one the exponent: sums and products are exact to the digits of m, they cost no more than shifts, and the derivative
with respect to m is the ordinary one, for e is piecewise constant. At or below 2^`lowest` a number is 0.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Wide(NamedTuple):
    """The number `m · 2^e`; m > 0, and e is a whole number in the dtype of m."""

    m: Array
    e: Array


def lowest(dtype: Any) -> float:
    """The exponent of 0: so low that no product of probabilities comes near, so high that two of them add up."""
    return float(jnp.finfo(dtype).min) / 8


def from_log(x: Array) -> Wide:
    """The number whose logarithm is `x`; its m lies in [0.7, 1.5]."""
    e = jnp.maximum(jnp.round(x / math.log(2)), lowest(x.dtype))
    return Wide(jnp.exp(jnp.clip(x - e * math.log(2), -1, 1)), e)


def log(w: Wide) -> Array:
    """The logarithm of a normalised number; -inf for 0."""
    return jnp.where(is_zero(w), -jnp.inf, jnp.log(w.m / 2) + (w.e + 1) * math.log(2))


def is_zero(w: Wide) -> Array:
    """Whether a number is 0."""
    return w.e < lowest(w.e.dtype) / 2


def times(a: Wide, b: Wide) -> Wide:
    """The product, not normalised."""
    return Wide(a.m * b.m, a.e + b.e)


def add(*numbers: Wide) -> Wide:
    """The sum, not normalised: a sum of three at most triples the largest m."""
    e = functools.reduce(jnp.maximum, (w.e for w in numbers))
    m = functools.reduce(jnp.add, (w.m * power_of_two(w.e - e) for w in numbers))
    return Wide(m, jnp.maximum(e, lowest(e.dtype)))


def total(w: Wide) -> Wide:
    """The sum along the first axis, normalised."""
    e = jnp.max(w.e, axis=0, initial=lowest(w.e.dtype))
    return normalised(Wide(jnp.sum(w.m * power_of_two(w.e - e[None]), axis=0), e))


def normalised(w: Wide) -> Wide:
    """The same number with m in [1, 2)."""
    bits, digits, bias = _layout(w.m.dtype)
    shift = (jax.lax.bitcast_convert_type(w.m, bits) >> digits) - bias
    return Wide(w.m * _power_of_two(-shift, w.m.dtype), jnp.maximum(w.e + shift.astype(w.e.dtype), lowest(w.e.dtype)))


def power_of_two(e: Array) -> Array:
    """The float 2^e of a whole number; 0 where it is too small for a float."""
    bits, _, bias = _layout(e.dtype)
    return _power_of_two(jnp.clip(e, -bias, bias).astype(bits), e.dtype)


def _power_of_two(e: Array, dtype: Any) -> Array:
    _, digits, bias = _layout(dtype)
    return jax.lax.bitcast_convert_type((e + bias) << digits, dtype)


def _layout(dtype: Any) -> tuple[Any, int, int]:
    """The integer type as wide as a float, how many of its bits are digits, and the exponent that its bits add."""
    info = jnp.finfo(dtype)
    return jnp.dtype(f"int{info.bits}"), int(info.nmant), 1 - int(info.minexp)
