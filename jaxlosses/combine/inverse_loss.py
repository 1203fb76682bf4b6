"""Weights from the losses themselves: a softmax over their inverses."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.combine._shared import add, call_combiner, like
from jaxlosses.combine.combiner import Combiner, Scalars, register
from jaxlosses.core.ranges import check_range
from jaxlosses.core.types import Number


def soft_optimal(
    losses: Scalars, weights: Scalars | None = None, *, temperature: Number = 1.0
) -> tuple[Array, dict[str, Array]]:
    """Analytical uncertainty weighting (UW-SO): the weights are a softmax over the inverse losses.

    It is uncertainty weighting with each variance at its optimum, and with weights that sum to 1.

        total = Σ m w L,   w = softmax(1/(T L)), a constant for the gradient

    Args:
        losses: a scalar >= 0 for each term.
        weights: the multipliers m of some terms; 1 for the others. A term of 0 is left out of the softmax.
        temperature: T > 0, in units of 1/L: losses that are all far below 1/T leave all the weight to the smallest one.
            The paper tunes it for every data set and gives no default; 1 is a placeholder.

    Returns:
        The total, and for every term d total / d loss, which is m w.

    Raises:
        ValueError: if `weights` names a term that is not there, or `temperature` is a number that is not above 0.

    Example:
        >>> import jaxlosses as jl
        >>> total, weights = jl.combine.soft_optimal({"class": 0.5, "box": 2.0})
        >>> round(float(weights["class"]), 4), round(float(total), 4)
        (0.8176, 0.7736)

    Reference:
        Kirchdorfer et al., Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning, 2024, arXiv:2408.07985.
    """
    check_range("soft_optimal", "temperature", temperature)
    return call_combiner(inverse_loss_softmax(temperature), losses, weights)


def inverse_loss_softmax(temperature: Number) -> Callable[..., Any]:
    """Σ m w L with w = softmax(1/(T L)) over the terms that are on."""

    def apply(
        losses: Any, multipliers: Any, batch_fractions: Any, params: Any, likelihoods: Any
    ) -> tuple[Array, dict[str, Array]]:
        on = jnp.stack([multipliers[name] for name in losses]) != 0
        sizes = jax.lax.stop_gradient(jnp.stack([like(losses[name], multipliers[name]) for name in losses]))
        # A loss of 0 would have an infinite inverse, and two of them a softmax of NaN.
        sizes = jnp.maximum(jnp.where(on, sizes, 1), jnp.finfo(sizes.dtype).tiny)
        inverses = jnp.minimum(1 / (jnp.asarray(temperature, sizes.dtype) * sizes), jnp.finfo(sizes.dtype).max)
        softmax_weights = jax.nn.softmax(inverses, where=on)
        weights = {name: multipliers[name] * softmax_weights[place] for place, name in enumerate(losses)}
        return add(weights[name] * losses[name] for name in losses), weights

    return apply


@register("soft_optimal")
def _make_soft_optimal(temperature: Number = 1.0) -> Combiner:
    return Combiner(inverse_loss_softmax(temperature), nonnegative=True)
