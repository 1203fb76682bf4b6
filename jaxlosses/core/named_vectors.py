"""Numbers by name as a vector in the order of the sorted names, and back to a dict."""

from collections.abc import Iterable, Mapping

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.errors import did_you_mean
from jaxlosses.core.types import Number


def to_vector(call: str, argument: str, numbers: Mapping[str, Number], names: Iterable[str]) -> Float[Array, "K"]:
    """The numbers of some names as one vector, in float32; `numbers` may have further names."""
    ordered = sorted(names)
    for name in ordered:
        if name not in numbers:
            hint = did_you_mean(name, numbers, f"there are {sorted(numbers)}")
            raise ValueError(f"{call}: no {name!r} in {argument}{hint}")
    return jnp.stack([jnp.asarray(numbers[name]).astype(jnp.float32) for name in ordered])


def to_dict(names: Iterable[str], vector: Float[Array, "K"]) -> dict[str, Array]:
    """The entries of a vector by name."""
    return dict(zip(sorted(names), vector, strict=True))
