"""One program for every platform: each loss and its gradient lower for CPU, GPU and TPU, to plain operations."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from tests.cases import CASES, OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
def test_a_loss_and_its_gradient_lower_for_three_platforms(name):
    case = CASES[name]
    inputs = case.inputs()
    floats = tuple(index for index, x in enumerate(inputs) if jnp.issubdtype(x.dtype, jnp.floating))
    step = jax.jit(jax.value_and_grad(lambda *inputs: case.loss(*inputs, reduction="mean"), argnums=floats))
    exported = export.export(step, platforms=["cpu", "cuda", "tpu"])(*inputs)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "custom_call" not in exported.mlir_module()
