"""First and second derivatives, in forward and in reverse mode."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.testing.case import Case, as_vector_function
from jaxlosses.testing.laws._law import close, law


@law("gradients equal central differences")
def _gradients(case: Case) -> None:
    with jax.enable_x64(True):
        values, x = as_vector_function(case)
        cotangent = jax.random.normal(jax.random.key(7), jax.eval_shape(values, x).shape, jnp.float64)

        @jax.jit
        def compare(x: Array) -> tuple[Array, Array]:
            along = lambda x: jnp.vdot(values(x), cotangent)  # noqa: E731
            return jax.grad(along)(x), _central_differences(along, x, 1e-6)

        exact, numeric = compare(x)
        close(exact, numeric, rtol=1e-5, atol=1e-7)


@law("forward mode equals reverse mode")
def _modes(case: Case) -> None:
    with jax.enable_x64(True):
        values, x = as_vector_function(case)
        direction = jax.random.normal(jax.random.key(5), x.shape, jnp.float64)

        @jax.jit
        def both(x: Array) -> tuple[Array, Array]:
            out, forward = jax.jvp(values, (x,), (direction,))
            (back,) = jax.vjp(values, x)[1](jnp.cos(jnp.arange(out.size, dtype=jnp.float64)).reshape(out.shape))
            weights = jnp.cos(jnp.arange(out.size, dtype=jnp.float64)).reshape(out.shape)
            return jnp.vdot(weights, forward), jnp.vdot(back, direction)

        close(*both(x), rtol=1e-9, atol=1e-12)


@law("second derivatives equal central differences")
def _second(case: Case) -> None:
    with jax.enable_x64(True):
        values, x = as_vector_function(case)
        slope = jax.grad(lambda x: jnp.sum(values(x)))

        @jax.jit
        def compare(x: Array) -> tuple[Array, Array]:
            direction = jnp.cos(jnp.arange(x.size, dtype=jnp.float64)).reshape(x.shape)
            h = 1e-6
            after, before = jax.lax.map(slope, jnp.stack([x + h * direction, x - h * direction]))
            return jax.jvp(slope, (x,), (direction,))[1], (after - before) / (2 * h)

        close(*compare(x), rtol=1e-4, atol=1e-6)


def _central_differences(f: Callable[[Array], Array], x: Array, h: float) -> Array:
    steps = h * jnp.eye(x.size, dtype=x.dtype)
    after, before = jnp.split(jax.lax.map(f, jnp.concatenate([x[None] + steps, x[None] - steps])), 2)
    return (after - before) / (2 * h)
