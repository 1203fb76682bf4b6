"""The weighted sum: what is known about the weights is said, and nothing is learned."""

from typing import Any

from jax import Array

from jaxlosses.combine._shared import add, call_combiner
from jaxlosses.combine.combiner import Combiner, Scalars, register


def sum(losses: Scalars, weights: Scalars | None = None) -> tuple[Array, dict[str, Array]]:
    """Weighted sum of losses (linear scalarization): the weights are given, and nothing is learned.

        total = Σ m L

    Args:
        losses: a scalar for each term.
        weights: the multipliers m of some terms; 1 for the others.

    Returns:
        The total, and for every term d total / d loss, which is m.

    Raises:
        ValueError: if `weights` names a term that is not there.

    Example:
        >>> import jaxlosses as jl
        >>> total, weights = jl.combine.sum({"class": 0.5, "box": 2.0}, {"box": 3.0})
        >>> float(total)
        6.5
    """
    return call_combiner(weighted_sum, losses, weights)


def weighted_sum(
    losses: Any, multipliers: Any, batch_fractions: Any, params: Any, likelihoods: Any
) -> tuple[Array, dict[str, Array]]:
    """Σ m L."""
    return add(multipliers[name] * losses[name] for name in losses), dict(multipliers)


@register("sum")
def _make_sum() -> Combiner:
    return Combiner(weighted_sum, additive=True)
