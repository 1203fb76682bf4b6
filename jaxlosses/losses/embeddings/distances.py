"""Distances and similarities of embeddings, paired or all against all, with gradients that are finite everywhere.

    squared    Σ (x - y)²
    Euclidean  |x - y|                          gradient 0 where x = y
    cosine     x·y / (|x| |y|)                  0 for a vector of zeros

Distances are differences first and squares second: |x|² + |y|² - 2 x·y would need one matrix product only and lose
half of the digits between rows that nearly coincide. `pairwise` makes no array of all N·M·features differences: the
values are a reduction, which XLA fuses, and the derivatives take some rows at a time.

Lengths of 1e20, whose squares overflow, and of 1e-20 are computed like any others, and ordinary ones pay nothing for it
(`_lengths.norm`).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.keywords import public_function
from jaxlosses.core.numerics import matmul_full_precision, safe_divide
from jaxlosses.core.types import ArrayLike, Number
from jaxlosses.losses.embeddings._lengths import has_extreme_rows, l2_unit, norm, norm_floor, squared_norm
from jaxlosses.losses.embeddings._shared import blockwise_vmap

__all__ = ["cosine_similarity", "euclidean_distance", "l2_normalize", "squared_distance"]


@public_function
def l2_normalize(x: ArrayLike, *, axis: int = -1, eps: Number = 1e-12) -> Float[Array, "..."]:
    """L2 normalisation: vectors scaled to length 1.

        x / √max(Σx², ε)

    A vector of zeros stays one; its gradient, 1/√ε, is large, and finite.

    Args:
        x: `(...)`, any numbers.
        axis: the axis of a vector.
        eps: ε > 0, the floor of the *squared* length; shorter vectors than √ε come out shorter than 1. It is raised
            to 6.1e-5 for float16, in which 1/√ε would overflow.

    Returns:
        The shape of `x`, in float32 (or float64).

    Raises:
        ValueError: if `x` has no such axis.

    Example:
        >>> import jaxlosses as jl
        >>> jl.l2_normalize([[3.0, 4.0], [0.0, 0.0]])
        Array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)

    Reference:
        Schroff, Kalenichenko and Philbin, FaceNet, 2015, arXiv:1503.03832.
    """
    (floats,) = checks.to_floats("l2_normalize", x=x)
    axis = checks.check_axis("l2_normalize", "x", floats, axis)
    return l2_unit(floats, norm_floor("l2_normalize", eps, x=x), axis)


@public_function
def squared_distance(x: ArrayLike, y: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Squared Euclidean distance, row by row or of all pairs of rows.

        d² = Σ (x - y)²

    Args:
        x: `(..., features)`.
        y: `(..., features)`, the same shape; or `(..., M, features)` against `(..., N, features)` if `pairwise`.
        pairwise: compare every row of `x` with every row of `y`.

    Returns:
        `(...)` >= 0, or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import jaxlosses as jl
        >>> jl.squared_distance([[1.0, 0.0]], [[0.8, 0.6], [0.0, 1.0]], pairwise=True)
        Array([[0.4, 2. ]], dtype=float32)

    Reference:
        Schoenberg, Remarks to Maurice Fréchet's article, 1935, doi:10.2307/1968654.
    """
    a, b = checks.prepare_pairwise("squared_distance", "features", pairwise=pairwise, origin=lambda row: row, x=x, y=y)
    return _pairwise_squares(a, b) if pairwise else squared_norm(a - b)


@public_function
def euclidean_distance(x: ArrayLike, y: ArrayLike, *, pairwise: bool = False) -> Float[Array, "..."]:
    """Euclidean distance, row by row or of all pairs of rows, with gradient 0 between equal points.

        d = √Σ (x - y)²

    Args:
        x: `(..., features)`.
        y: `(..., features)`, the same shape; or `(..., M, features)` against `(..., N, features)` if `pairwise`.
        pairwise: compare every row of `x` with every row of `y`.

    Returns:
        `(...)` >= 0, or `(..., N, M)` if `pairwise`.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import jaxlosses as jl
        >>> jl.euclidean_distance([0.0, 0.0], [3.0, 4.0])
        Array(5., dtype=float32)

    Reference:
        Fréchet, Sur quelques points du calcul fonctionnel, 1906, doi:10.1007/BF03018603.
    """
    a, b = checks.prepare_pairwise(
        "euclidean_distance", "features", pairwise=pairwise, origin=lambda row: row, x=x, y=y
    )
    return _pairwise_norms(a, b) if pairwise else norm(a - b, (a, b))


@public_function
def cosine_similarity(
    x: ArrayLike, y: ArrayLike, *, pairwise: bool = False, eps: Number = 1e-12
) -> Float[Array, "..."]:
    """Cosine similarity: the cosine of the angle between two vectors, row by row or of all pairs of rows.

        cos = x·y / √(max(Σx², ε) max(Σy², ε))

    Args:
        x: `(..., features)`.
        y: `(..., features)`, the same shape; or `(..., M, features)` against `(..., N, features)` if `pairwise`.
        pairwise: compare every row of `x` with every row of `y`.
        eps: ε > 0, the floor of each *squared* length, as in `l2_normalize`.

    Returns:
        `(...)` in [-1, 1] but for rounding, or `(..., N, M)` if `pairwise`; 0 for a vector of zeros.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import jaxlosses as jl
        >>> jl.cosine_similarity([1.0, 2.0, 3.0], [2.0, 0.0, 1.0])
        Array(0.5976, dtype=float32)

    Reference:
        Salton, Wong and Yang, A vector space model for automatic indexing, 1975, doi:10.1145/361219.361220.
    """
    a, b = checks.prepare_pairwise("cosine_similarity", "features", pairwise=pairwise, x=x, y=y)
    floor = norm_floor("cosine_similarity", eps, x=x, y=y)
    a, b = l2_unit(a, floor), l2_unit(b, floor)
    return matmul_full_precision(a, jnp.swapaxes(b, -1, -2)) if pairwise else jnp.sum(a * b, axis=-1)


@jax.custom_jvp
def _pairwise_norms(x: Float[Array, "*s N d"], y: Float[Array, "*s M d"]) -> Float[Array, "*s N M"]:
    """The lengths of all differences between rows."""
    a, b = x[..., :, None, :], y[..., None, :, :]
    return norm(a - b, (a, b), extreme=has_extreme_rows(x, y))


@_pairwise_norms.defjvp
def _pairwise_norms_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    lengths = _pairwise_norms(*primals)
    return lengths, _sum_along(_directions, *primals, *tangents, lengths)


def _directions(differences: Array, lengths: Array) -> Array:
    return safe_divide(differences, lengths[:, None])


@jax.custom_jvp
def _pairwise_squares(x: Float[Array, "*s N d"], y: Float[Array, "*s M d"]) -> Float[Array, "*s N M"]:
    """The squared lengths of all differences between rows."""
    return squared_norm(x[..., :, None, :] - y[..., None, :, :])


@_pairwise_squares.defjvp
def _pairwise_squares_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _pairwise_squares(*primals), _sum_along(lambda differences: 2 * differences, *primals, *tangents)


def _sum_along(slope: Callable[..., Array], x: Array, y: Array, dx: Array, dy: Array, *of_pairs: Array) -> Array:
    """Σ slope(x - y) (dx - dy) for all pairs of rows, over their features, in the memory of a few rows' differences.

    With a matrix product instead, Σ_j (x_i - y_j) = N x_i - Σ_j y_j, near rows would lose their digits.
    """
    if x.ndim > 2:
        return jax.vmap(functools.partial(_sum_along, slope))(x, y, dx, dy, *of_pairs)

    def of_row(x: Array, dx: Array, *of_row: Array) -> Array:
        return jnp.sum(slope(x[None] - y, *of_row) * (dx[None] - dy), axis=-1)

    return blockwise_vmap(of_row, max(1, 2**18 // max(1, y.size)), x, dx, *of_pairs)
