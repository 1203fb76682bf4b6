"""The whole range of floating numbers: what is very large or very small is an ordinary input."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlosses.testing.case import Case, is_float, split_floats
from jaxlosses.testing.laws._law import law


@law("scaled inputs give scaled values")
def _scaled(case: Case) -> None:
    """Values and gradients in float32, of inputs times 1e-20 and 1e20, against those in float64."""
    degree = case.spec.homogeneous_degree
    if degree is None:
        return
    for scale in (1e-20, 1e20):
        inputs = tuple(np.float32(x * np.float32(scale)) if is_float(x) else x for x in case.inputs())
        options = {name: case.option(name) * scale**power for name, power in case.spec.scaled_options}
        values, grads = _values_and_grads(case, inputs, options)
        with jax.enable_x64(True):
            doubles = tuple(np.float64(x) if is_float(x) else x for x in inputs)
            expected_values, expected_grads = _values_and_grads(case, doubles, options)
        _close_where_it_fits(f"values at {scale}", values, expected_values)
        for grad, expected in zip(grads, expected_grads, strict=True):
            _close_where_it_fits(f"a gradient at {scale}", grad, expected)


def _values_and_grads(case: Case, inputs: tuple[Any, ...], options: dict[str, float]) -> tuple[Array, list[Array]]:
    floats, rebuild = split_floats(inputs)

    def total(floats: list[Array]) -> tuple[Array, Array]:
        values = case.loss(*rebuild(floats), **options)
        return jnp.sum(values), values

    grads, values = jax.jit(jax.grad(total, has_aux=True))(floats)
    return values, grads


def _close_where_it_fits(what: str, actual: Any, expected: Any) -> None:
    """Raise unless float32 has what float64 has, wherever that is a float32: neither too large nor too small."""
    info = np.finfo(np.float32)
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    fits = np.abs(expected) < 0.5 * float(info.max)
    size = np.max(np.abs(expected[fits]), initial=0)
    tolerance = np.maximum(1e-4 * np.abs(expected) + 1e-5 * size, 100 * float(info.tiny))
    wrong = fits & ~(np.abs(actual - expected) <= tolerance)
    assert not wrong.any(), f"{what}: {actual[wrong][:3]} instead of {expected[wrong][:3]}"
