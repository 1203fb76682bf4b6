"""Uncertainty weighting: every loss is divided by a variance that is learned beside the model.

Both forms read a loss as a negative log-likelihood with a learned variance, and differ in what the variance costs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.combine._shared import add, call_combiner
from jaxlosses.combine.combiner import Combiner, Likelihoods, Scalars, register
from jaxlosses.core.errors import check_names
from jaxlosses.core.ranges import check_range
from jaxlosses.core.types import Number


def uncertainty(
    losses: Scalars,
    log_variances: Scalars,
    weights: Scalars | None = None,
    likelihoods: Likelihoods | None = None,
    *,
    limit: Number | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Homoscedastic uncertainty weighting (Kendall): losses weighted by variances that are learned beside the model.

        total = Σ m (c e^-s L + r s),   d total / ds = m (r - c e^-s L)

    e^s is the variance that the model ascribes to a task. At the optimum every loss has the weight r/L: tasks count
    alike, whatever their units. The total may be negative. Losses must not be, or there is no optimum. As a loss goes
    to 0 its weight grows without bound, unless there is a `limit`.

    Args:
        losses: a scalar >= 0 for each term.
        log_variances: s for each term. Start them at 0, or at the optimum for the losses of a batch (`Objective.init`
            does that), which makes the whole run independent of units. Give them their own learning rate, no weight
            decay, and an optimiser without momentum, such as `optax.adam(1e-2, b1=0.0)`: with momentum, the s of a
            term that is off would coast on.
        weights: the multipliers m of some terms; 1 for the others.
        likelihoods: (c, r) of some terms; (1, 1/2), right for cross-entropies, for the others. Squared errors have
            (1/2, 1/2), absolute errors (1, 1).
        limit: > 0; keep s within ±limit, smoothly: limit · tanh(s/limit) takes its place. None for no bound.

    Returns:
        The total, and for every term d total / d loss, which is m c e^-s.

    Raises:
        ValueError: if `log_variances` are not one per term, `weights` or `likelihoods` name an unknown term, or `limit`
            is a number that is not above 0.

    Example:
        >>> import jaxlosses as jl
        >>> losses, s = {"depth": 2.0, "flow": 3.0}, {"depth": 0.0, "flow": 0.6931472}
        >>> total, weights = jl.combine.uncertainty(losses, s, likelihoods={"depth": (0.5, 0.5), "flow": (0.5, 0.5)})
        >>> round(float(total), 4), round(float(weights["flow"]), 4)
        (2.0966, 0.25)

    Reference:
        Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty, 2018, arXiv:1705.07115.
    """
    check_range("uncertainty", "limit", limit)
    return call_combiner(
        uncertainty_weighting(kendall_regularizer, limit), losses, weights, "uncertainty", log_variances, likelihoods
    )


def revised_uncertainty(
    losses: Scalars,
    log_variances: Scalars,
    weights: Scalars | None = None,
    likelihoods: Likelihoods | None = None,
    *,
    limit: Number | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Revised uncertainty weighting (Liebel and Körner): its regulariser, and so the total, is never negative.

        total = Σ m (c e^-s L + 2r log(1 + e^s))

    The total is positive. Its weights are not free of scale: a loss of 1e-4 gets 70 where `uncertainty` gives 5000.

    Args:
        losses: a scalar >= 0 for each term.
        log_variances: s for each term; start at 0. Give them their own learning rate and no weight decay.
        weights: the multipliers m of some terms; 1 for the others.
        likelihoods: (c, r) of some terms; (1, 1/2) for the others. The paper has (1/2, 1/2).
        limit: > 0; keep s within ±limit, as in `uncertainty`.

    Returns:
        The total, and for every term d total / d loss, which is m c e^-s.

    Raises:
        ValueError: if `log_variances` are not one per term, `weights` or `likelihoods` name an unknown term, or `limit`
            is a number that is not above 0.

    Example:
        >>> import jaxlosses as jl
        >>> halves, s = {"depth": (0.5, 0.5), "flow": (0.5, 0.5)}, {"depth": 0.0, "flow": 0.6931472}
        >>> total, weights = jl.combine.revised_uncertainty({"depth": 2.0, "flow": 3.0}, s, likelihoods=halves)
        >>> round(float(total), 4)
        3.5418

    Reference:
        Liebel and Körner, Auxiliary Tasks in Multi-task Learning, 2018, arXiv:1805.06334.
    """
    check_range("revised_uncertainty", "limit", limit)
    return call_combiner(
        uncertainty_weighting(liebel_regularizer, limit),
        losses,
        weights,
        "revised_uncertainty",
        log_variances,
        likelihoods,
    )


def uncertainty_weighting(regularizer: Callable[[Any, Array], Array], limit: Number | None) -> Callable[..., Any]:
    """Both forms of uncertainty weighting: a loss over its variance, and what the variance costs."""

    def apply(
        losses: Any, multipliers: Any, batch_fractions: Any, params: Any, likelihoods: Any
    ) -> tuple[Array, dict[str, Array]]:
        s = {name: jnp.asarray(params[name]) for name in losses}
        if limit is not None:
            bound = jnp.asarray(limit)
            s = {name: bound * jnp.tanh(s[name] / bound) for name in losses}
        precision = {name: likelihoods[name][0] * jnp.exp(-s[name]) for name in losses}
        total = add(
            multipliers[name]
            * (precision[name] * losses[name] + batch_fractions[name] * regularizer(likelihoods[name][1], s[name]))
            for name in losses
        )
        return total, {name: multipliers[name] * precision[name] for name in losses}

    return apply


def kendall_regularizer(r: Any, s: Array) -> Array:
    """The log-variance itself: what a Gaussian or Laplace likelihood pays for it."""
    return r * s


def liebel_regularizer(r: Any, s: Array) -> Array:
    """2r log(1 + e^s), which is never negative."""
    return 2 * r * jax.nn.softplus(s)


def _initial_log_variances(limit: Number | None, optimum: Callable[..., Any]) -> Callable[..., dict[str, Array]]:
    """Start at s = 0, or where the gradient by s is 0 for given losses."""

    def init(likelihoods: Likelihoods, losses: Scalars | None) -> dict[str, Array]:
        if losses is None:
            return {name: jnp.zeros(()) for name in likelihoods}
        check_names("losses", losses, likelihoods)
        if missing := [name for name in likelihoods if name not in losses]:
            raise ValueError(f"losses: no loss for {missing}; give one for each of {list(likelihoods)}")
        optima = {name: optimum(c * jnp.asarray(losses[name], float), r) for name, (c, r) in likelihoods.items()}
        s = {name: jnp.where(best > 0, jnp.log(jnp.where(best > 0, best, 1)), 0) for name, best in optima.items()}
        if limit is None:
            return s
        bound = jnp.asarray(limit)
        return {name: bound * jnp.arctanh(jnp.clip(start / bound, -0.9, 0.9)) for name, start in s.items()}

    return init


@register("uncertainty")
def _make_uncertainty(limit: Number | None = None) -> Combiner:
    init = _initial_log_variances(limit, lambda cost, r: cost / r)
    return Combiner(uncertainty_weighting(kendall_regularizer, limit), init, additive=True, nonnegative=True)


@register("revised_uncertainty")
def _make_revised_uncertainty(limit: Number | None = None) -> Combiner:
    # c L / v = 2 r v / (1 + v), solved for the variance v
    init = _initial_log_variances(limit, lambda cost, r: (cost + jnp.sqrt(cost**2 + 8 * r * cost)) / (4 * r))
    return Combiner(uncertainty_weighting(liebel_regularizer, limit), init, additive=True, nonnegative=True)
