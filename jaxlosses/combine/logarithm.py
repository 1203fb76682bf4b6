"""Sums and means of the logarithms of losses: every loss counts alike, whatever its units, and nothing is learned."""

import functools
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlosses.combine._shared import add, call_combiner, like
from jaxlosses.combine.combiner import Combiner, Scalars, register
from jaxlosses.core.numerics import safe_divide


def log(losses: Scalars, weights: Scalars | None = None) -> tuple[Array, dict[str, Array]]:
    """Sum of the logarithms of losses: scale-invariant weighting with nothing to learn.

        total = Σ m log L

    It is uncertainty weighting with each s at its optimum, and so right for a line search. It is unbounded below: a
    term that can be fitted exactly takes over as its loss goes to 0. A loss of exactly 0 is at rest: its weight is 0.

    Args:
        losses: a scalar >= 0 for each term.
        weights: the multipliers m of some terms; 1 for the others.

    Returns:
        The total, and for every term d total / d loss, which is m/L.

    Raises:
        ValueError: if `weights` names a term that is not there.

    Example:
        >>> import jaxlosses as jl
        >>> total, weights = jl.combine.log({"class": 0.5, "box": 2.0})
        >>> float(total), float(weights["class"])
        (0.0, 2.0)

    Reference:
        The SI baseline of Navon et al., Multi-Task Learning as a Bargaining Game, 2022, arXiv:2202.01017.
    """
    return call_combiner(weighted_log_sum, losses, weights)


def geometric(losses: Scalars, weights: Scalars | None = None) -> tuple[Array, dict[str, Array]]:
    """Geometric mean of losses (geometric loss strategy): scale-invariant; its gradient shrinks with the losses.

        total = (Π L^m)^(1/Σm)

    Its gradient has the direction of `log`, and the size of the losses. Where one loss is 0, so is the total, at rest.

    Args:
        losses: a scalar >= 0 for each term.
        weights: the multipliers m of some terms; 1 for the others. A term of 0 is left out.

    Returns:
        The total, and for every term d total / d loss, which is m/Σm · total/L.

    Raises:
        ValueError: if `weights` names a term that is not there.

    Example:
        >>> import jaxlosses as jl
        >>> total, weights = jl.combine.geometric({"class": 0.5, "box": 8.0})
        >>> round(float(total), 4), round(float(weights["box"]), 4)
        (2.0, 0.125)

    Reference:
        Chennupati et al., MultiNet++, 2019, arXiv:1904.08492.
    """
    return call_combiner(weighted_geometric_mean, losses, weights)


def weighted_log_sum(
    losses: Any, multipliers: Any, batch_fractions: Any, params: Any, likelihoods: Any
) -> tuple[Array, dict[str, Array]]:
    """Σ m log L."""
    total = add(multipliers[name] * _floored_log(losses[name]) for name in losses)
    return total, {name: safe_divide(multipliers[name], like(losses[name], multipliers[name])) for name in losses}


def weighted_geometric_mean(
    losses: Any, multipliers: Any, batch_fractions: Any, params: Any, likelihoods: Any
) -> tuple[Array, dict[str, Array]]:
    """The exponential of Σ m log L / Σ m, at rest where a loss is 0 or all terms are off."""
    logs, slopes = weighted_log_sum(losses, multipliers, batch_fractions, params, likelihoods)
    multiplier_sum = add(multipliers.values())
    on = {name: multiplier != 0 for name, multiplier in multipliers.items()}
    any_zero_loss = functools.reduce(jnp.logical_or, (on[name] & (jnp.asarray(losses[name]) == 0) for name in losses))
    all_disabled = ~functools.reduce(jnp.logical_or, on.values())
    total = jnp.where(any_zero_loss | all_disabled, 0, jnp.exp(safe_divide(logs, multiplier_sum)))
    return total, {name: safe_divide(slopes[name], multiplier_sum) * total for name in losses}


def _floored_log(loss: Any) -> Array:
    """The logarithm, at 0 that of the smallest normal number with zero gradient; NaN for a negative loss."""
    loss = jnp.asarray(loss, jnp.result_type(float))
    tiny = jnp.finfo(loss.dtype).tiny
    small = (loss >= 0) & (loss < tiny)
    return jnp.log(jnp.where(small, tiny, loss))


@register("log")
def _make_log() -> Combiner:
    return Combiner(weighted_log_sum, nonnegative=True)


@register("geometric")
def _make_geometric() -> Combiner:
    return Combiner(weighted_geometric_mean, nonnegative=True)
