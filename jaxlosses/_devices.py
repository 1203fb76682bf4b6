"""One program on many devices: what JAX wants to be told about values inside `shard_map`, whatever its version."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def zeros_like(shape: jax.ShapeDtypeStruct) -> Array:
    """Zeros that, for the types of `shard_map`, differ between devices over the same axes as what they stand for."""
    return _vary(jnp.zeros(shape.shape, shape.dtype), _varying_axes(shape))


def _varying_axes(like: Any) -> frozenset[str]:
    kind = getattr(like, "manual_axis_type", None)  # JAX 0.10
    return frozenset(kind.varying if kind is not None else getattr(like, "vma", None) or ())


def _vary(x: Array, axes: Iterable[str]) -> Array:
    if not axes:
        return x
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(x, tuple(axes), to="varying")
    return getattr(jax.lax, "pvary")(x, tuple(axes))  # noqa: B009  # JAX 0.8
