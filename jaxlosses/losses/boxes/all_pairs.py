"""All boxes against all targets, with gradients that need little more memory than the values."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core.types import Number
from jaxlosses.losses.boxes.iou import Formula
from jaxlosses.losses.boxes.pair import Box, Pair

_BLOCK = 2**18
"""How many pairs are differentiated at a time: few against a matrix that fills memory, enough to fill a processor."""


@functools.partial(jax.jit, static_argnums=0)
def compare_all_pairs(formula: Formula, a: Box, b: Box, *parameters: Number | None) -> Array:
    """The formula of `(..., N)` boxes with `(..., M)` others: `(..., N, M)`."""
    return _all_pairs(formula, a, b, parameters)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _all_pairs(formula: Formula, a: Box, b: Box, parameters: tuple[Any, ...]) -> Array:
    rows, columns = Box(*(x[..., :, None] for x in a)), Box(*(x[..., None, :] for x in b))
    return formula(Pair.of(rows, columns), *parameters)


# The values are one loop for XLA, but of their derivative in one piece it makes dozens of arrays of all pairs. Block by
# block these are small; and each block is computed again when it is differentiated in turn, for a gradient.
@_all_pairs.defjvp
def _all_pairs_jvp(
    formula: Formula, primals: tuple[Box, Box, Any], tangents: tuple[Box, Box, Any]
) -> tuple[Array, Array]:
    (a, b, parameters), (da, db, dparameters) = primals, tangents

    def slope_of_row(row: tuple[Box, Box]) -> Array:
        of_row = lambda a, b, parameters: formula(Pair.of(Box(*(x[..., None] for x in a)), b), *parameters)  # noqa: E731
        return jax.jvp(of_row, (row[0], b, parameters), (row[1], db, dparameters))[1]

    rows = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), (a, da))
    block = max(1, _BLOCK // max(1, b.x1.size))
    if block < a.x1.shape[-1]:
        # Inside a loop nothing can be shared with the forward pass, so the guard against it is needless.
        slopes = jax.lax.map(jax.checkpoint(slope_of_row, prevent_cse=False), rows, batch_size=block)
    else:
        slopes = jax.vmap(jax.checkpoint(slope_of_row))(rows)
    return _all_pairs(formula, a, b, parameters), jnp.moveaxis(slopes, 0, -2)
