"""The length of a vector, over the whole range of floats.

norm             |x|, for lengths whose squares overflow or vanish too
squared_norm     |x|²
weighted_square  w |x|², which is 0 for w = 0, from a known |x|
nearer_by        |a - x|² - |a - y|², where both overflow too
l2_unit          x / |x|
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core import checks
from jaxlosses.core.numerics import clip_below, directional, power_of_two_near, quotient, safe_divide, scale_tangent
from jaxlosses.core.types import ArrayLike, Number


def squared_norm(x: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """The squared length of a vector."""
    return jnp.sum(x * x, axis=-1)


@jax.custom_jvp
def norm(
    x: Float[Array, "*s d"],
    terms: tuple[Array, Array] | None = None,
    where: Bool[Array, "..."] | None = None,
    extreme: Bool[Array, ""] | None = None,
) -> Float[Array, "*s"]:
    """The length of a vector; its derivatives of every order are 0 at 0.

    Where a sum of squares overflows, or is so small that squares have vanished in it, all lengths are computed again
    from coordinates near 1. A length of 0 is small too, so say where that is known not to matter.

    Args:
        x: the vectors.
        terms: two arrays whose difference `x` is; with them XLA need not keep an array of all differences.
        where: which vectors are to be looked at; None for all.
        extreme: whether to compute them again, if it is known (`has_extreme_rows`).
    """
    return _norm(x, terms, where, extreme)


# The root's own second derivative overflows for short vectors; the derivative of a direction does not.
@norm.defjvp
def _norm_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    length = norm(*primals)
    return length, jnp.sum(safe_divide(primals[0], length[..., None]) * tangents[0], axis=-1)


# Compiled, so that eager calls do not trace the loop again and again.
@jax.jit
def _norm(x: Array, terms: tuple[Array, Array] | None, where: Array | None, extreme: Array | None) -> Array:
    squares = squared_norm(x)
    if extreme is None:
        smallest, largest = _range_of_squares(x.dtype, x.shape[-1])
        is_extreme = (squares < smallest) | (squares > largest)
        extreme = jnp.any(is_extreme if where is None else is_extreme & where)

    def rescale(state: tuple[Array, Array]) -> tuple[Array, Array]:
        # Barriers, or XLA would share the differences between here and there: an array as large as they all are.
        extreme, parts = jax.lax.optimization_barrier((state[0], (x,) if terms is None else terms))
        size, parts = jax.lax.optimization_barrier((jnp.max(jnp.abs(_difference(*parts)), -1, initial=0), parts))
        scale = power_of_two_near(size)
        return extreme & ~extreme, scale * jnp.sqrt(squared_norm(_difference(*parts) / scale[..., None]))

    # A loop of one turn at most: under vmap, `cond` would compute both branches.
    return jax.lax.while_loop(lambda state: state[0], rescale, (extreme, jnp.sqrt(squares)))[1]


def _difference(x: Array, y: Array | None = None) -> Array:
    return x if y is None else x - y


@jax.custom_jvp
def weighted_square(
    weight: Float[Array, "*s"], x: Float[Array, "*s d"], length: Float[Array, "*s"]
) -> Float[Array, "*s"]:
    """The squared length of `x`, times a weight before it is squared: no square overflows that counts nothing."""
    return weight * length * length


@functools.partial(weighted_square.defjvp, symbolic_zeros=True)
def _weighted_square_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    weight, x, length = primals
    slope = jnp.sum(scale_tangent(tangents[1], 2 * weight[..., None] * x), axis=-1)
    return weighted_square(weight, x, length), slope + scale_tangent(tangents[0], length) * length


@jax.custom_jvp
def nearer_by(a: Float[Array, "*s d"], x: Float[Array, "*s d"], y: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """|a - x|² - |a - y|²: by how much a is nearer to y than to x, in squared distances.

    Where both overflow, they are computed again from coordinates near 1; their difference may be infinite.
    """
    return _nearer_by(a, x, y)


@functools.partial(nearer_by.defjvp, symbolic_zeros=True)
def _nearer_by_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    a, x, y = primals
    return nearer_by(a, x, y), 2 * jnp.sum(directional(tangents, (y - x, x - a, a - y)), axis=-1)


@jax.jit
def _nearer_by(a: Array, x: Array, y: Array) -> Array:
    far, near = squared_norm(a - x), squared_norm(a - y)
    both = jnp.isinf(far) & jnp.isinf(near)

    def rescale(state: tuple[Array, Array]) -> tuple[Array, Array]:
        overflows, rows = jax.lax.optimization_barrier((state[0], (a, x, y)))
        scale = power_of_two_near(functools.reduce(jnp.maximum, (jnp.max(jnp.abs(row), -1) for row in rows)))
        a_, x_, y_ = (row / scale[..., None] for row in rows)
        gap = scale * (scale * (squared_norm(a_ - x_) - squared_norm(a_ - y_)))
        return overflows & ~overflows, jnp.where(both, gap, state[1])

    gap = jnp.where(both, 0, far) - jnp.where(both, 0, near)
    return jax.lax.while_loop(lambda state: state[0], rescale, (jnp.any(both), gap))[1]


def has_extreme_rows(*arrays: Float[Array, "..."]) -> Bool[Array, ""]:
    """Whether a row is so long, or so short, that squared differences between rows overflow or vanish."""
    extreme = []
    for array in arrays:
        smallest, largest = map(math.sqrt, _range_of_squares(array.dtype, array.shape[-1]))
        size = jnp.max(jnp.abs(array), axis=-1, initial=0)
        extreme.append(jnp.any((size > largest / (2 * math.sqrt(array.shape[-1]))) | ((size > 0) & (size < smallest))))
    return functools.reduce(jnp.logical_or, extreme)


def excess_unit(rows: Float[Array, "n d"]) -> Float[Array, ""]:
    """The power of two by which rows are too long for the squares of their differences; 1 for ordinary ones."""
    exponent = jnp.finfo(rows.dtype).maxexp // 2 - 2 - math.ceil(math.log2(max(1, rows.shape[-1])) / 2)
    return jnp.maximum(power_of_two_near(jnp.max(jnp.abs(rows), initial=0)) * 2.0**-exponent, 1)


def excess_scale(*rows: Float[Array, "..."]) -> Float[Array, ""]:
    """The power of two by which coordinates are too large to be multiplied with others; 1 for ordinary ones."""
    info = jnp.finfo(rows[0].dtype)
    size = functools.reduce(jnp.maximum, (jnp.max(jnp.abs(x), initial=0) for x in rows))
    return jnp.clip(power_of_two_near(size) * 2.0 ** (8 - info.maxexp // 2), 1, 2.0 ** (info.maxexp // 2 - 1))


def _range_of_squares(dtype: Any, features: int) -> tuple[float, float]:
    """Between which bounds a sum of squares is right: it has not overflowed, and what vanished in it is rounding."""
    info = jnp.finfo(dtype)
    return features * float(info.tiny) / float(info.eps), float(info.max)


def l2_unit(x: Float[Array, "*s"], floor: Float[Array, ""], axis: int = -1) -> Float[Array, "*s"]:
    """The direction of a vector whose squared length is not below `floor`; 0 for a vector of zeros."""
    length = clip_below(norm(jnp.moveaxis(x, axis, -1)), jnp.sqrt(floor).astype(x.dtype))
    return quotient(x, jnp.expand_dims(jnp.where(length == 0, 1, length), axis))


def norm_floor(loss: str, eps: Number, **arrays: ArrayLike) -> Float[Array, ""]:
    """`eps`, or more if the gradient 1/√ε overflows in the dtype of an array that it flows back to: in float16."""
    dtypes = [checks.to_array(loss, name, array).dtype for name, array in arrays.items()]
    tiny = float(jnp.finfo(jnp.float16).tiny) if jnp.float16 in dtypes else 0.0
    return jnp.maximum(jnp.asarray(eps, float), tiny)
