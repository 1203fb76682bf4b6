"""How much of each padded row is there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

from jaxlosses.core import checks
from jaxlosses.core.types import ArrayLike


class Lengths(NamedTuple):
    """How many entries of each row are there, which ones, and whether a row can have that many."""

    lengths: Int[Array, "*rows"]
    mask: Bool[Array, "*rows size"]
    known: Bool[Array, "*rows"]


def within(loss: str, name: str, lengths: ArrayLike | None, shape: tuple[int, ...]) -> Lengths:
    """Take in `lengths`, one for each row of an array of `shape`; None for full rows.

    A row that cannot be that long is there as a whole, for its loss to be NaN.
    """
    *rows, size = shape
    counts = jnp.full(rows, size) if lengths is None else to_ids(loss, name, lengths)
    if counts.shape != tuple(rows):
        hint = f"did you mean {name}[:, 0]?" if counts.shape == (*rows, 1) else "one number for each sequence"
        raise ValueError(f"{loss}: {name} {counts.shape} must be {tuple(rows)}; {hint}")
    known = (counts >= 0) & (counts <= size)
    mask = jax.lax.broadcasted_iota(counts.dtype, shape, len(rows)) < counts[..., None]
    return Lengths(counts, mask | ~known[..., None], known)


def to_ids(loss: str, name: str, ids: ArrayLike) -> Int[Array, "..."]:
    """An array of integers that can be compared with any class and any length."""
    array = checks.to_array(loss, name, ids)
    if array.size and not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{loss}: {name} must be integers, got {array.dtype}; {name}.astype(jnp.int32)?")
    return array.astype(jnp.int64 if array.dtype.itemsize > 4 else jnp.int32)
