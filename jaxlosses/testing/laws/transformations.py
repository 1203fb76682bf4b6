"""What JAX does to a loss: jit, vmap, one trace for all values."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxlosses.testing.case import Case, numeric_options
from jaxlosses.testing.laws._law import close, law


@law("jit equals eager")
def _jit(case: Case) -> None:
    inputs = case.inputs()
    close(case.values(*inputs), case.loss(*map(jnp.asarray, inputs)), rtol=2e-6)


@law("vmap equals a loop")
def _vmap(case: Case) -> None:
    stack = [case.inputs(seed) for seed in range(3)]
    mapped = jax.jit(jax.vmap(case.loss))(*map(np.stack, zip(*stack, strict=True)))
    close(mapped, np.stack([case.values(*inputs) for inputs in stack]), rtol=2e-6)


@law("one trace serves all values")
def _one_trace(case: Case) -> None:
    numbers = numeric_options(case)
    once = jax.jit(chex.assert_max_traces(lambda inputs, numbers: case.loss(*inputs, **numbers), n=1))
    chex.clear_trace_counter()
    for seed, scale in ((0, 1.0), (1, 0.75)):
        scaled = {name: scale * number for name, number in numbers.items()}
        traced = once(case.inputs(seed), jax.tree.map(jnp.asarray, scaled))
        close(traced, case.loss(*case.inputs(seed), **scaled), rtol=2e-5)
