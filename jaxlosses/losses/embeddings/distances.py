"""Distances and similarities of embeddings, paired or all against all, with gradients that are finite everywhere.

    squared    Σ (x - y)²
    Euclidean  |x - y|                          gradient 0 where x = y
    cosine     x·y / (|x| |y|)                  0 for a vector of zeros

Distances are differences first and squares second: |x|² + |y|² - 2 x·y would need one matrix product only and lose
half of the digits between rows that nearly coincide. Compiled for CPU, `pairwise` values need no further memory, and
their gradient needs the array of all N·M·features differences.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.keywords import public_function
from jaxlosses.core.numerics import matmul_full_precision, safe_divide
from jaxlosses.core.types import ArrayLike, Number

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
    return sum_of_squares(_difference("squared_distance", x, y, pairwise))


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
    return norm(_difference("euclidean_distance", x, y, pairwise))


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


def sum_of_squares(difference: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """The squared length of a difference."""
    return jnp.sum(difference * difference, axis=-1)


@jax.custom_jvp
def norm(difference: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """The length of a difference; its derivatives of every order are 0 at 0."""
    return jnp.sqrt(sum_of_squares(difference))


# The root's own second derivative overflows for short vectors; the derivative of a direction does not.
@norm.defjvp
def _norm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    length = norm(*primals)
    return length, jnp.sum(safe_divide(primals[0], length[..., None]) * tangents[0], axis=-1)


def l2_unit(x: Float[Array, "*s"], floor: Float[Array, ""], axis: int = -1) -> Float[Array, "*s"]:
    """The direction of a vector whose squared length is not below `floor`."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(x * x, axis=axis, keepdims=True), floor.astype(x.dtype)))


def norm_floor(loss: str, eps: Number, **arrays: ArrayLike) -> Float[Array, ""]:
    """`eps`, or more if the gradient 1/√ε overflows in the dtype of an array that it flows back to."""
    dtypes = [checks.to_array(loss, name, array).dtype for name, array in arrays.items()]
    tiny = [float(jnp.finfo(dtype).tiny) for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
    return jnp.maximum(jnp.asarray(eps, float), max(tiny, default=0.0))


def _difference(name: str, x: ArrayLike, y: ArrayLike, pairwise: bool) -> Float[Array, "..."]:
    a, b = checks.prepare_pairwise(name, "features", pairwise=pairwise, x=x, y=y)
    return a[..., :, None, :] - b[..., None, :, :] if pairwise else a - b
