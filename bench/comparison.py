"""One comparison: a loss of ours beside a baseline that computes the same number."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

import jaxlosses as jl


class Comparison(NamedTuple):
    """One loss and its baseline.

    Attributes:
        name: of the loss.
        baseline_name: where the baseline comes from: optax, or jnp for the formula written by hand.
        ours: the loss, reduced to a scalar.
        baseline: the same scalar, of the same inputs.
        inputs: of both.
    """

    name: str
    baseline_name: str
    ours: Callable[..., Any]
    baseline: Callable[..., Any]
    inputs: tuple[Any, ...]


def against(baseline_name: str, name: str, baseline: Callable[..., Any], *inputs: Any, **options: Any) -> Comparison:
    """The mean of our loss `name`, under `options`, beside the mean of `baseline`."""
    return Comparison(
        name,
        baseline_name,
        lambda *inputs: jl.get(name)(*inputs, **options, reduction="mean"),
        lambda *inputs: jnp.mean(baseline(*inputs)),
        inputs,
    )
