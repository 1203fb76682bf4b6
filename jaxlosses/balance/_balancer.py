"""What balancers share: their form, and the way from dicts of scalars to vectors and back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.errors import did_you_mean
from jaxlosses.core.types import Number

Scalars = Mapping[str, Number]


class Balancer(NamedTuple):
    """A pair of functions, as in optax.

    Attributes:
        init: `(names) -> state`; an objective's `terms` will do.
        update: `(losses, state, ...) -> (weights, state)`, with the losses at hand. Some want more; see there.
    """

    init: Callable[[Iterable[str]], Any]
    update: Callable[..., tuple[dict[str, Array], Any]]


def sorted_names(call: str, names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"{call}: init takes the names of the terms, got the one name {names!r}; give a list")
    found = sorted(set(names))
    if not found:
        raise ValueError(f"{call}: init takes the names of the terms, got none")
    return found


def vector(call: str, what: str, given: Scalars, names: Iterable[str]) -> Float[Array, "K"]:
    """The numbers in the order of the sorted names, constants for any gradient; 0 for those that are not finite."""
    ordered = sorted(names)
    for name in ordered:
        if name not in given:
            raise ValueError(f"{call}: no {name!r} in {what}{did_you_mean(name, given, f'there are {sorted(given)}')}")
    numbers = jax.lax.stop_gradient(jnp.stack([jnp.asarray(given[name]).astype(jnp.float32) for name in ordered]))
    return jnp.where(jnp.isfinite(numbers), numbers, 0)


def zeros(names: Sequence[str]) -> Float[Array, "K"]:
    """An array of its own for every field of a state: a buffer cannot be donated twice."""
    return jnp.zeros(len(names), jnp.float32)


def named(names: Iterable[str], numbers: Float[Array, "K"]) -> dict[str, Array]:
    return dict(zip(sorted(names), numbers, strict=True))
