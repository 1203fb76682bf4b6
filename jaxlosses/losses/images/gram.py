"""The Gram matrix of a feature map: the inner products of its channels, which style losses compare."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.keywords import public_function
from jaxlosses.core.numerics import FULL_PRECISION
from jaxlosses.core.types import ArrayLike

__all__ = ["gram_matrix"]

VARIANTS = ("johnson", "gatys")


@public_function
def gram_matrix(features: ArrayLike, *, variant: str = "johnson") -> Float[Array, "N C C"]:
    """Gram matrix of a feature map: the inner products of its channels over all positions, for style losses.

        G = F Fᵀ / (C H W)  ("johnson"),   or   G = F Fᵀ  ("gatys"),   F: the map as C rows of H·W positions

    Computed in full float32, also where matrix products are less precise by default (GPU, TPU).

    Args:
        features: `(N, H, W, C)`, any numbers.
        variant: `"johnson"` or `"gatys"`.

    Returns:
        `(N, C, C)`, symmetric and without negative eigenvalues; the same for any order of the positions.

    Raises:
        ValueError: if there are not four axes, or `variant` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.gram_matrix([[[[1.0, 0.0], [2.0, 1.0]]]])
        Array([[[1.25, 0.5 ],
                [0.5 , 0.25]]], dtype=float32)

    Reference:
        Gatys, Ecker and Bethge, A Neural Algorithm of Artistic Style, 2015, arXiv:1508.06576.
        Johnson, Alahi and Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016, arXiv:1603.08155.
    """
    one_of("gram_matrix", "variant", variant, VARIANTS)
    (f,) = checks.to_floats("gram_matrix", features=features)
    if f.ndim != 4 or 0 in f.shape[1:]:
        raise ValueError(f"gram_matrix: features {f.shape} must be (N, H, W, C), one map and not empty")
    return normalized_gram(f) if variant == "johnson" else _channel_products(_flatten_positions(f))


def normalized_gram(f: Float[Array, "N H W C"]) -> Float[Array, "N C C"]:
    """F Fᵀ / (C H W)."""
    _, height, width, channels = f.shape
    return _channel_products(_flatten_positions(f)) / (channels * height * width)


def _flatten_positions(f: Float[Array, "N H W C"]) -> Float[Array, "N P C"]:
    return f.reshape(f.shape[0], f.shape[1] * f.shape[2], f.shape[3])


@jax.custom_jvp
def _channel_products(f: Float[Array, "N P C"]) -> Float[Array, "N C C"]:
    """F Fᵀ: for every two channels, the sum of their product over the positions."""
    return _cross(f, f)


# JAX would differentiate by both factors, at the price of two matrix products. One is the transpose of the other.
@_channel_products.defjvp
def _channel_products_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    half = _cross(primals[0], tangents[0])
    return _channel_products(primals[0]), half + jnp.swapaxes(half, 1, 2)


def _cross(f: Float[Array, "N P C"], g: Float[Array, "N P C"]) -> Float[Array, "N C C"]:
    return jnp.einsum("npc,npd->ncd", f, g, precision=FULL_PRECISION)
