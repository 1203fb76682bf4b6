"""What the methods share: the normalized Gram matrix, and convex problems solved by a fixed number of Newton steps.

Everything is computed from cosines and lengths, not from inner products: float32 holds the cosines of gradients whose
lengths are far apart, but not the eigenvalues of their products.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlosses.core.named_vectors import to_dict
from jaxlosses.core.numerics import matmul_full_precision, safe_divide
from jaxlosses.core.types import compute_dtype
from jaxlosses.gradients._trees import Gram

DEPENDENCE_THRESHOLD = 1e-6
"""Times K, the eigenvalue of the cosines at or below which gradients count as linearly dependent."""


class NormalizedGram(NamedTuple):
    """A Gram matrix as cosines and norms. A gradient of 0 is absent: its cosines and its norm are 0.

    Attributes:
        present: 1, and 0 for gradients of 0.
        norms: the lengths of the gradients.
        cosines: `(K, K)`, the inner products of the gradients' directions.
    """

    present: Array
    norms: Array
    cosines: Array

    @property
    def relative_norms(self) -> Array:
        """The norms as fractions of the largest one."""
        return safe_divide(self.norms, jnp.max(self.norms))

    @property
    def relative_inverse_norms(self) -> Array:
        """The inverse norms as fractions of the largest one; 0 for what is absent."""
        shortest = jnp.min(jnp.where(self.present == 0, jnp.finfo(self.norms.dtype).max, self.norms))
        return safe_divide(self.present * shortest, self.norms)

    @property
    def regularized_cosines(self) -> Array:
        """The cosines, made positive definite where gradients are linearly dependent."""
        return self.cosines + DEPENDENCE_THRESHOLD * len(self.norms) * jnp.eye(len(self.norms), dtype=self.norms.dtype)


def normalize_gram(call: str, gram: Gram) -> NormalizedGram:
    """Divide the gradients by their lengths, once there is a row and a column for every name."""
    matrix = jnp.asarray(gram.matrix)
    if matrix.shape != (len(gram.names),) * 2:
        raise ValueError(
            f"{call}: a Gram of {len(gram.names)} terms must have as many rows and columns, got {matrix.shape}"
        )
    matrix = matrix.astype(compute_dtype(matrix))
    norms = jnp.sqrt(jnp.diagonal(matrix))
    inverse, present = safe_divide(jnp.ones_like(norms), norms), (norms != 0).astype(norms.dtype)
    cosines = inverse[:, None] * matrix * inverse[None, :]
    return NormalizedGram(present, norms if gram.scales is None else norms * gram.scales, cosines)


def weights_by_term(gram: Gram, weights: Array, present: Array) -> dict[str, Array]:
    """The weights by name: 0 for what is absent, NaN if any gradient was not finite."""
    nan_unless_finite = 0 * jnp.max(jnp.abs(jnp.asarray(gram.matrix))).astype(weights.dtype)
    return to_dict(gram.names, jnp.where(present == 0, 0, weights) + nan_unless_finite)


def equal_projection(normalized: NormalizedGram) -> Array:
    """C⁺ 1: the weights of unit gradients whose sum has the product 1 with all of them; 0 if there is no such sum."""
    eigenvalues, vectors = jnp.linalg.eigh(normalized.cosines)
    on_ones = matmul_full_precision(normalized.present, vectors)
    inverse = jnp.where(eigenvalues <= DEPENDENCE_THRESHOLD * len(eigenvalues), 0, on_ones / eigenvalues)
    weights = matmul_full_precision(vectors, inverse)
    # The squared length of that sum. Products of 1 with unit vectors make it at least 1; rounding errors do not.
    return jnp.where(jnp.sum(inverse * on_ones) < 1e-3, 0, weights)


def nash_bargaining(cosines: Array, steps: int = 40) -> Array:
    """The positive b with b_i (C b)_i = 1, the minimum of ½ bᵀCb - Σ log b, by damped Newton steps."""
    start = jnp.sqrt(len(cosines) / jnp.sum(cosines)) * jnp.ones_like(cosines[0])

    def step(_: Any, b: Array) -> Array:
        # In Δb / b, where the Hessian is B C B + 1 and the function self-concordant: the damping always converges.
        hessian = b[:, None] * cosines * b[None, :] + jnp.eye(len(b), dtype=b.dtype)
        slope = 1 - b * matmul_full_precision(cosines, b)
        newton = jax.scipy.linalg.solve(hessian, slope, assume_a="pos")
        decrement = jnp.sqrt(jnp.maximum(matmul_full_precision(slope, newton), 0))
        return b * (1 + newton / (1 + decrement))

    return lax.fori_loop(0, steps, step, start)


def simplex_interior_point(
    model: Callable[[Array], tuple[Array, Array]], coefficients: Array, present: Array, steps: int = 40
) -> Array:
    """The x >= 0 with Σ a x = 1 that minimises a convex function, by a primal-dual interior-point method.

    `model(x)` is the gradient and the Hessian, or something that majorises the Hessian.
    """
    count = jnp.maximum(jnp.sum(present), 1)
    x = jnp.where(present == 0, 1, 1 / jnp.maximum(jnp.sum(coefficients), jnp.finfo(present.dtype).tiny))
    slope = jnp.max(jnp.abs(model(x)[0] * x))
    floor = 1e-7 * jnp.where(slope == 0, 1, slope)  # of x z, where the rounding errors of float32 take over
    multipliers = jnp.where(present == 0, 1, jnp.where(slope == 0, 1, slope) / x)

    def step(_: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, z = state
        gradient, hessian = model(x)
        centre = jnp.maximum(0.1 * jnp.sum(present * x * z) / count, floor)
        # In Δx over √(x/z) the matrix has no eigenvalue below 1.
        scale = jnp.sqrt(x / z)
        matrix = scale[:, None] * hessian * scale[None, :] + jnp.eye(len(x), dtype=x.dtype)
        sides = jnp.stack([present * scale * (centre / x - gradient), coefficients * scale], 1)
        free, bound = (scale[:, None] * jax.scipy.linalg.solve(matrix, sides, assume_a="pos")).T
        along = safe_divide(matmul_full_precision(coefficients, free), matmul_full_precision(coefficients, bound))
        dx = free - along * bound
        dz = present * (centre / x - z - z / x * dx)
        length = jnp.minimum(1, 0.9 * jnp.minimum(_max_step(x, dx), _max_step(z, dz)))
        return x + length * dx, z + length * dz

    return present * lax.fori_loop(0, steps, step, (x, multipliers))[0]


def _max_step(x: Array, dx: Array) -> Array:
    """The largest multiple of dx that can be added to x before a coordinate is 0; 2 for anything larger."""
    decreasing = dx < 0
    return jnp.min(jnp.where(decreasing, -x / jnp.where(decreasing, dx, 1), 2))
