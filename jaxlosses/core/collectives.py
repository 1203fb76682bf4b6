"""Sums and gathers over devices, if there is an axis name; and what JAX wants to be told inside `shard_map`."""

from collections.abc import Hashable, Iterable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

AxisName: TypeAlias = Hashable
"""The mapped axis of `jax.shard_map` or `jax.pmap`, or a tuple of them; None or () for one device's batch alone."""


def psum(x: Any, axis_name: AxisName | None) -> Any:
    """The sum over all devices."""
    return jax.lax.psum(x, axis_name) if _axes(axis_name) else x


def any_true(x: Bool[Array, "..."], axis_name: AxisName | None) -> Bool[Array, "..."]:
    """Where `x` is True on some device."""
    return jax.lax.psum(x.astype(jnp.int32), axis_name) > 0 if _axes(axis_name) else x


def all_gather(x: Any, axis_name: AxisName | None, *, axis: int = 0) -> Any:
    """The arrays of all devices, one behind the other along `axis`; gradients flow back to each."""
    if not _axes(axis_name):
        return x
    return jax.tree.map(lambda array: jax.lax.all_gather(array, axis_name, axis=axis, tiled=True), x)


def global_offset(size: int, axis_name: AxisName | None) -> Int[Array, ""] | int:
    """Where this device's `size` rows begin among those that `all_gather` returns."""
    return size * jax.lax.axis_index(axis_name) if _axes(axis_name) else 0


def check_axis_name(call: str, axis_name: AxisName | None) -> None:
    """Raise inside `shard_map` unless it is said whether the devices' parts of the batch belong together.

    There JAX knows the axes that are manual. (Inside `vmap` there is none: a batch of batches.)
    """
    if axis_name is None and (manual := manual_axes()):
        axes = repr(manual[0]) if len(manual) == 1 else repr(manual)
        raise ValueError(
            f"{call}: the batch is spread over devices here (mesh axes {manual}), and its examples depend on each "
            f"other; give axis_name={axes} for the batch of all devices, or axis_name=() if each device's own is meant"
        )


def manual_axes() -> tuple[str, ...]:
    """The mesh axes over which the surrounding `shard_map` is manual."""
    return tuple(getattr(jax.sharding.get_abstract_mesh(), "manual_axes", ()))


def zeros_like(shape: jax.ShapeDtypeStruct) -> Array:
    """Zeros that, for the types of `shard_map`, differ between devices over the same axes as what they stand for."""
    return _vary(jnp.zeros(shape.shape, shape.dtype), _varying_axes(shape))


def _axes(axis_name: AxisName | None) -> bool:
    return axis_name is not None and axis_name != ()


def _varying_axes(like: Any) -> frozenset[str]:
    kind = getattr(like, "manual_axis_type", None)  # JAX 0.10
    return frozenset(kind.varying if kind is not None else getattr(like, "vma", None) or ())


def _vary(x: Array, axes: Iterable[str]) -> Array:
    if not axes:
        return x
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(x, tuple(axes), to="varying")
    return getattr(jax.lax, "pvary")(x, tuple(axes))  # noqa: B009  # JAX 0.8
