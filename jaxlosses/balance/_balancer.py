"""What balancers share: the pair of functions that each is, and how they read the losses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.named_vectors import to_vector
from jaxlosses.core.types import Number

Scalars = Mapping[str, Number]


class Balancer(NamedTuple):
    """A pair of functions, as in optax.

    Attributes:
        init: `(names) -> state`; an objective's `terms` will do.
        update: `(losses, state, ...) -> (weights, state)`, with the current losses. Some balancers take more.
    """

    init: Callable[[Iterable[str]], Any]
    update: Callable[..., tuple[dict[str, Array], Any]]


def sorted_names(call: str, names: Iterable[str]) -> list[str]:
    """The names of the terms, each once, in the order that the vectors of a state have."""
    if isinstance(names, str):
        raise ValueError(f"{call}: init takes the names of the terms, got the one name {names!r}; give a list")
    ordered = sorted(set(names))
    if not ordered:
        raise ValueError(f"{call}: init takes the names of the terms, got none")
    return ordered


def finite_vector(call: str, argument: str, numbers: Scalars, names: Iterable[str]) -> Float[Array, "K"]:
    """The numbers of the terms as a vector that no gradient flows through, with 0 for those that are not finite."""
    vector = jax.lax.stop_gradient(to_vector(call, argument, numbers, names))
    return jnp.where(jnp.isfinite(vector), vector, 0)


def zeros(names: Sequence[str]) -> Float[Array, "K"]:
    """An array of its own for every field of a state: a buffer cannot be donated twice."""
    return jnp.zeros(len(names), jnp.float32)
