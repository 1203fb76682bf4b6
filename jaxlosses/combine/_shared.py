"""What the combiners share: how one is called without an objective, and sums of scalars."""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlosses.combine.combiner import Likelihoods, Scalars, zero_if_disabled
from jaxlosses.core.errors import check_names
from jaxlosses.core.types import Likelihood


def call_combiner(
    apply: Callable[..., Any],
    losses: Scalars,
    weights: Scalars | None,
    name: str = "",
    log_variances: Scalars | None = None,
    likelihoods: Likelihoods | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Call a combiner without an objective, on losses and multipliers as a user gives them."""
    if log_variances is not None and set(log_variances) != set(losses):
        raise ValueError(f"{name}: log_variances must be {sorted(losses)}, got {sorted(log_variances)}")
    given = check_names("weights", weights or {}, losses)
    multipliers = {name: jnp.asarray(given.get(name, 1.0), jnp.result_type(float)) for name in losses}
    constants = dict.fromkeys(losses, Likelihood()) | check_names("likelihoods", likelihoods or {}, losses)
    finite = {name: zero_if_disabled(losses[name], multipliers[name]) for name in losses}
    return apply(finite, multipliers, dict.fromkeys(losses, 1.0), log_variances, constants)


def add(terms: Iterable[Array]) -> Array:
    """The sum of scalars."""
    return jnp.asarray(sum(terms))


def like(loss: Any, multiplier: Array) -> Array:
    """A loss in the dtype of its multiplier."""
    return jnp.asarray(loss).astype(multiplier.dtype)
