"""What every loss over a batch of embeddings needs: its door, the items of all devices, and anchors in blocks."""

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

from jaxlosses.core import checks
from jaxlosses.core.masks import LossMask
from jaxlosses.core.types import ArrayLike

AxisName: TypeAlias = Hashable
"""The mapped axis of `jax.shard_map` or `jax.pmap`, or a tuple of them."""


def matrices(
    loss: str, where: ArrayLike | None, sample_weights: ArrayLike | None, **arrays: Any
) -> tuple[*tuple[Array, ...], LossMask]:
    """Take in arrays of one shape `(batch, features)`: floats with 0 where masked, and what is kept."""
    *rows, mask = checks.prepare_same_shape(loss, where, sample_weights, consumed=-1, **arrays)
    if rows[0].ndim != 2:
        raise ValueError(f"{loss}: {next(iter(arrays))} {rows[0].shape} must be (batch, features)")
    return *rows, mask


def one_each(loss: str, name: str, values: ArrayLike, first: str, rows: Array) -> Array:
    """Take in what there must be one of for each row of embeddings."""
    array = checks.to_array(loss, name, values)
    if array.shape != rows.shape[:-1]:
        hint = f"did you mean {name}[:, 0]?" if array.shape == (*rows.shape[:-1], 1) else "one for each embedding"
        raise ValueError(f"{loss}: {first} {rows.shape} need {name} {rows.shape[:-1]}, got {array.shape}; {hint}")
    return array


def ids_each(loss: str, labels: ArrayLike, first: str, rows: Array) -> Int[Array, "..."]:
    """Take in a class id for each row of embeddings; any integer may be one."""
    ids = one_each(loss, "labels", labels, first, rows)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{loss}: class ids must be integers, got labels {ids.dtype}; labels.astype(jnp.int32)?")
    return ids


def everyone(array: Array, axis_name: AxisName | None) -> Array:
    """The rows of all devices, in the order of the devices; gradients flow back to each."""
    return array if axis_name is None else jax.lax.all_gather(array, axis_name, tiled=True)


def places(rows: Array, axis_name: AxisName | None) -> Int[Array, "rows"]:
    """Where this device's rows stand among those of `everyone`."""
    here = jnp.arange(rows.shape[0])
    return here if axis_name is None else here + rows.shape[0] * jax.lax.axis_index(axis_name)


def present(rows: Array, mask: LossMask, axis_name: AxisName | None) -> Bool[Array, "everyone"] | None:
    """Which of everyone's rows are kept; None for all."""
    return None if mask.where is None else everyone(jnp.broadcast_to(mask.where, rows.shape[:1]), axis_name)


def by_blocks(function: Callable[..., Any], block_size: int | None, *arrays: Array) -> Any:
    """`jax.vmap(function)(*arrays)`, so many rows at a time, with each block computed again for its gradient."""
    if block_size is None or block_size >= arrays[0].shape[0]:
        return jax.vmap(function)(*arrays)
    # Inside a loop nothing can be shared with the forward pass, so the guard against it is needless.
    again = jax.checkpoint(lambda row: function(*row), prevent_cse=False)
    return jax.lax.map(again, arrays, batch_size=block_size)
