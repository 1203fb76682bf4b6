"""One line of the table: a loss of ours beside a rival that computes the same number."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

import jaxlosses as jl


class Row(NamedTuple):
    """One line of the table."""

    name: str
    rival: str
    ours: Callable[..., Any]
    other: Callable[..., Any]
    inputs: tuple[Any, ...]


def against(rival: str, name: str, other: Callable[..., Any], *inputs: Any, **options: Any) -> Row:
    """The mean of our loss `name`, under `options`, beside the mean of `other`."""
    return Row(
        name,
        rival,
        lambda *inputs: jl.get(name)(*inputs, **options, reduction="mean"),
        lambda *inputs: jnp.mean(other(*inputs)),
        inputs,
    )
