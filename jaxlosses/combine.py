"""The scales: many losses, each with a multiplier, become one number.

A combiner takes a dict of scalar losses and returns `(total, weights)`, where `weights` holds d total / d loss of every
term. Objectives call these functions by name, and they work as well without one:

    sum          Σ m L
    uncertainty  Σ m (c e^-s L + r s)     s = log σ² is learned for every term; m L c e^-s -> m r at the optimum

The multiplier m of a term stands before its whole expression. Inside, it would be cancelled: the learned weight is r/L,
whatever scale L has. At m = 0 a term is off, with its regulariser: its s does not move, and a NaN in it does not reach
the total. (It can still reach a gradient, where 0 · NaN is NaN: only the stages of an objective stop a term from
running.)
"""

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlosses.registry import did_you_mean
from jaxlosses.types import Number

__all__ = ["Combiner", "named", "sum", "uncertainty"]

Scalars = Mapping[str, Number]
NLL = Mapping[str, tuple[float, float]]


def sum(losses: Scalars, weights: Scalars | None = None) -> tuple[Array, dict[str, Array]]:
    """Add losses up.

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
    multipliers = _multipliers(losses, weights)
    return _sum({name: silenced(losses[name], multipliers[name]) for name in losses}, multipliers)


def uncertainty(
    losses: Scalars, log_variances: Scalars, weights: Scalars | None = None, nll: NLL | None = None
) -> tuple[Array, dict[str, Array]]:
    """Weigh losses by what the model still gets wrong, learned beside the model (Kendall).

        total = Σ m (c e^-s L + r s),   d total / ds = m (r - c e^-s L)

    e^s is the variance that the model ascribes to a task. At the optimum every loss has the weight r/L: tasks count
    alike, whatever their units. The total may be negative. Losses must not be, or there is no optimum.

    Args:
        losses: a scalar >= 0 for each term.
        log_variances: s for each term; start at 0. Give them their own learning rate and no weight decay.
        weights: the multipliers m of some terms; 1 for the others.
        nll: (c, r) of some terms; (1, 1/2), right for cross-entropies, for the others. Squared errors have
            (1/2, 1/2), absolute errors (1, 1).

    Returns:
        The total, and for every term d total / d loss, which is m c e^-s.

    Raises:
        ValueError: if `log_variances` are not one per term, or `weights` or `nll` name a term that is not there.

    Example:
        >>> import jaxlosses as jl
        >>> losses, s = {"depth": 2.0, "flow": 3.0}, {"depth": 0.0, "flow": 0.6931472}
        >>> total, weights = jl.combine.uncertainty(losses, s, nll={"depth": (0.5, 0.5), "flow": (0.5, 0.5)})
        >>> round(float(total), 6), round(float(weights["flow"]), 6)
        (2.096574, 0.25)

    Reference:
        Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty, 2018, arXiv:1705.07115.
    """
    if set(log_variances) != set(losses):
        raise ValueError(f"uncertainty: log_variances must be {sorted(losses)}, got {sorted(log_variances)}")
    multipliers = _multipliers(losses, weights)
    constants = dict.fromkeys(losses, (1.0, 0.5)) | check_names("nll", nll or {}, losses)
    finite = {name: silenced(losses[name], multipliers[name]) for name in losses}
    return _uncertainty(finite, multipliers, log_variances, constants)


def silenced(loss: Number, multiplier: Number) -> Array:
    """The loss; 0 if it is not finite and its multiplier is 0. A finite loss keeps its slope by the multiplier."""
    return jnp.where((jnp.asarray(multiplier) == 0) & ~jnp.isfinite(loss), 0, loss)


def _sum(losses: Scalars, multipliers: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
    return _add(multipliers[name] * losses[name] for name in losses), dict(multipliers)


def _uncertainty(
    losses: Scalars, multipliers: Mapping[str, Array], log_variances: Mapping[str, Any], nll: NLL
) -> tuple[Array, dict[str, Array]]:
    precision = {name: nll[name][0] * jnp.exp(-jnp.asarray(log_variances[name])) for name in losses}
    total = _add(
        multipliers[name] * (precision[name] * losses[name] + nll[name][1] * log_variances[name]) for name in losses
    )
    return total, {name: multipliers[name] * precision[name] for name in losses}


class Combiner(NamedTuple):
    """How an objective uses a combiner: what it learns, and how it adds up."""

    init: Callable[[Mapping[str, tuple[float, float]], Scalars | None], dict[str, Array]]
    apply: Callable[[Scalars, Mapping[str, Array], Mapping[str, Any], NLL], tuple[Array, dict[str, Array]]]


def named(name: str) -> Combiner:
    """Find a combiner by name."""
    if name not in _combiners:
        raise ValueError(
            f"no combiner named {name!r}{did_you_mean(name, _combiners, f'there are {sorted(_combiners)}')}"
        )
    return _combiners[name]


def _initial_log_variances(nll: NLL, losses: Scalars | None) -> dict[str, Array]:
    """S = 0, or where its gradient is 0 for the given losses: s = log(c L / r)."""
    if losses is None:
        return {name: jnp.zeros(()) for name in nll}
    check_names("losses", losses, nll)
    if missing := [name for name in nll if name not in losses]:
        raise ValueError(f"losses: no loss for {missing}; give one for each of {list(nll)}")
    optimum = {name: c * jnp.asarray(losses[name], float) / r for name, (c, r) in nll.items()}
    return {name: jnp.where(best > 0, jnp.log(jnp.where(best > 0, best, 1)), 0) for name, best in optimum.items()}


_combiners = {
    "sum": Combiner(
        init=lambda nll, losses: {},
        apply=lambda losses, multipliers, params, nll: _sum(losses, multipliers),
    ),
    "uncertainty": Combiner(
        init=_initial_log_variances,
        apply=_uncertainty,
    ),
}


def _multipliers(losses: Scalars, weights: Scalars | None) -> dict[str, Array]:
    given = check_names("weights", weights or {}, losses)
    return {name: jnp.asarray(given.get(name, 1.0), jnp.result_type(float)) for name in losses}


def check_names(what: str, given: Mapping[str, Any], terms: Iterable[str]) -> dict[str, Any]:
    """`given` as a dict, once every name in it is the name of a term."""
    known = list(terms)
    for name in given:
        if name not in known:
            raise ValueError(f"{what}: no term {name!r}{did_you_mean(name, known, f'there are {sorted(known)}')}")
    return dict(given)


def _add(terms: Iterable[Array]) -> Array:
    return jnp.asarray(builtins.sum(terms))
