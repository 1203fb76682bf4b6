"""What the combiners share: how one is called without an objective, and sums of scalars."""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlosses.combine.combiner import Likelihoods, Scalars
from jaxlosses.core.errors import check_names
from jaxlosses.core.types import Likelihood, Number


def call_combiner(
    apply: Callable[..., Any],
    losses: Scalars,
    weights: Scalars | None,
    name: str = "",
    log_variances: Scalars | None = None,
    likelihoods: Likelihoods | None = None,
) -> tuple[Array, dict[str, Array]]:
    """A combiner without an objective."""
    if log_variances is not None and set(log_variances) != set(losses):
        raise ValueError(f"{name}: log_variances must be {sorted(losses)}, got {sorted(log_variances)}")
    given = check_names("weights", weights or {}, losses)
    multipliers = {name: jnp.asarray(given.get(name, 1.0), jnp.result_type(float)) for name in losses}
    constants = dict.fromkeys(losses, Likelihood()) | check_names("likelihoods", likelihoods or {}, losses)
    finite = {name: zero_if_disabled(losses[name], multipliers[name]) for name in losses}
    return apply(finite, multipliers, dict.fromkeys(losses, 1.0), log_variances, constants)


def zero_if_disabled(loss: Number, multiplier: Number) -> Array:
    """The loss; 0 if it is not finite and its multiplier is 0. A finite loss keeps its slope by the multiplier."""
    return jnp.where((jnp.asarray(multiplier) == 0) & ~jnp.isfinite(loss), 0, loss)


def add(terms: Iterable[Array]) -> Array:
    return jnp.asarray(sum(terms))


def like(loss: Any, multiplier: Array) -> Array:
    return jnp.asarray(loss).astype(multiplier.dtype)
