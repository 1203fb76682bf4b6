"""The lengths of padded rows, and the mask that they make."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

from jaxlosses.core import checks
from jaxlosses.core.types import ArrayLike


class Lengths(NamedTuple):
    """The lengths of rows whose padding comes last.

    Attributes:
        lengths: how many entries of each row are not padding.
        mask: which entries these are. A row whose length is out of range counts as full: its loss becomes NaN.
        in_range: whether the length of a row lies in [0, size].
    """

    lengths: Int[Array, "*rows"]
    mask: Bool[Array, "*rows size"]
    in_range: Bool[Array, "*rows"]


def prepare_lengths(loss: str, name: str, lengths: ArrayLike | None, shape: tuple[int, ...]) -> Lengths:
    """Check `lengths`, one for each row of an array of `shape`; None stands for full rows."""
    *rows, size = shape
    checked = jnp.full(rows, size) if lengths is None else checks.to_integers(loss, name, lengths)
    if checked.shape != tuple(rows):
        hint = f"did you mean {name}[:, 0]?" if checked.shape == (*rows, 1) else "one number for each sequence"
        raise ValueError(f"{loss}: {name} {checked.shape} must be {tuple(rows)}; {hint}")
    in_range = (checked >= 0) & (checked <= size)
    mask = jax.lax.broadcasted_iota(checked.dtype, shape, len(rows)) < checked[..., None]
    return Lengths(checked, mask | ~in_range[..., None], in_range)
