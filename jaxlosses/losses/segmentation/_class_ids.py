"""Sums over the pixels of each class, for targets that are class ids: no one-hot array is made.

XLA's CPU compiler would store one: it fuses no comparison into a sum (see the top of `jaxlosses.core.numerics`). There
each pixel is added to the sum of its class. GPUs and TPUs fuse the comparison, and are slow at adding to a few places.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int


def sum_by_class(
    x: Float[Array, "batch ..."], ids: Int[Array, "batch ..."], num_classes: int, *, per_image: bool
) -> Float[Array, "..."]:
    """Σ x over the pixels of each class, `(batch, classes)`, or `(classes,)` for all images together.

    Args:
        x: a number for each pixel; 0 for those that are in no class.
        ids: their classes, all in range.
        num_classes: how many there are.
        per_image: sum the images one by one.
    """
    sums = _sums_of_images(x, ids, num_classes)
    return sums if per_image else jnp.sum(sums, axis=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _sums_of_images(x: Float[Array, "batch ..."], ids: Int[Array, "batch ..."], num_classes: int) -> Array:
    if _has_explicit_sharding(x):
        return _by_comparison(num_classes, x, ids)
    return _by_platform(num_classes, x, ids)


@_sums_of_images.defjvp
def _sums_of_images_jvp(num_classes: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    # The transpose of adding to a place is to look it up, which is small and fast everywhere.
    (x, ids), (tangent, _) = primals, tangents
    linear = _by_comparison if _has_explicit_sharding(x) else _by_place
    return _sums_of_images(x, ids, num_classes), linear(num_classes, tangent, ids)


@functools.partial(jax.jit, static_argnums=0)  # compiled once for eager calls, whose branches would be new each time
def _by_platform(num_classes: int, x: Array, ids: Array) -> Array:
    by_place, by_comparison = (functools.partial(f, num_classes) for f in (_by_place, _by_comparison))
    return lax.platform_dependent(x, ids, cpu=by_place, default=by_comparison)


def _by_comparison(num_classes: int, x: Array, ids: Array) -> Array:
    is_class = jnp.expand_dims(ids, -1) == lax.broadcasted_iota(ids.dtype, (*ids.shape, num_classes), ids.ndim)
    return jnp.sum(jnp.where(is_class, jnp.expand_dims(x, -1), 0), axis=tuple(range(1, x.ndim)))


def _by_place(num_classes: int, x: Array, ids: Array) -> Array:
    # First in runs of pixels: one long sum of float32 would lose digits.
    batch, pixels = x.shape[0], math.prod(x.shape[1:])
    runs = math.ceil(pixels / _RUN)
    image, pixel = (lax.broadcasted_iota(ids.dtype, (batch, pixels), axis) for axis in (0, 1))
    place = num_classes * (runs * image + pixel // _RUN) + ids.reshape(batch, pixels)
    zeros = jnp.zeros(batch * runs * num_classes, x.dtype)
    sums = zeros.at[place.ravel()].add(x.ravel(), mode="promise_in_bounds")
    return jnp.sum(sums.reshape(batch, runs, num_classes), axis=1)


_RUN = 256


def _has_explicit_sharding(x: Array) -> bool:
    """Whether the array is sharded over axes of a mesh that JAX does not partition by itself."""
    return any(axes is not None for axes in jax.typeof(x).sharding.spec)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def softmax(z: Float[Array, "*s"], axis: int) -> Float[Array, "*s"]:
    """Probabilities of logits; 0 for all classes, with gradient 0, in a row of -inf alone."""
    largest = jnp.maximum(jnp.max(z, axis, keepdims=True), jnp.finfo(z.dtype).min)
    unnormalized = jnp.exp(z - largest)
    return unnormalized / jnp.maximum(jnp.sum(unnormalized, axis, keepdims=True), 0.5)  # at least 1 if there is a class


@softmax.defjvp
def _softmax_jvp(axis: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # In terms of the result, which alone is kept for the gradient.
    p = softmax(*primals, axis)
    return p, p * (tangents[0] - jnp.sum(p * tangents[0], axis, keepdims=True))
