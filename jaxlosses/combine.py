"""The scales: many losses, each with a multiplier, become one number.

A combiner takes a dict of scalar losses and returns `(total, weights)`, where `weights` holds d total / d loss of every
term. Objectives call these functions by name, and they work as well without one:

    sum                  Σ m L
    uncertainty          Σ m (c e^-s L + r s)              s = log σ² is learned for every term; weight r/L at rest
    revised_uncertainty  Σ m (c e^-s L + 2r log(1 + e^s))  the same, with a total that stays positive
    log                  Σ m log L                         uncertainty with s solved for: nothing is learned
    geometric            exp(Σ m log L / Σ m)              the same direction, and a step in proportion to the loss
    soft_optimal         Σ m w L                           w = softmax(1/(T L)), a constant for the gradient

The multiplier m of a term stands before its whole expression. Inside, it would be cancelled: the learned weight is r/L,
whatever scale L has. At m = 0 a term is off, with its regulariser: its s does not move, and a NaN in it does not reach
the total. (It can still reach a gradient, where 0 · NaN is NaN: only the stages of an objective stop a term from
running.) None of the last three adds up over microbatches.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlosses._combiners import (
    NLL,
    Combiner,
    Scalars,
    add,
    add_logs,
    by_inverse,
    check_names,
    kendall,
    learned,
    liebel,
    multiply,
    named,
    names,
    register,
    silenced,
)
from jaxlosses.types import Number

__all__ = [
    "Combiner",
    "geometric",
    "log",
    "named",
    "names",
    "register",
    "revised_uncertainty",
    "soft_optimal",
    "sum",
    "uncertainty",
]


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
    return _call(add, losses, weights)


def uncertainty(
    losses: Scalars,
    log_variances: Scalars,
    weights: Scalars | None = None,
    nll: NLL | None = None,
    *,
    limit: Number | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Weigh losses by what the model still gets wrong, learned beside the model (Kendall).

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
        nll: (c, r) of some terms; (1, 1/2), right for cross-entropies, for the others. Squared errors have
            (1/2, 1/2), absolute errors (1, 1).
        limit: keep s within ±limit, smoothly: limit · tanh(s/limit) takes its place. None for no bound.

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
    return _call(learned(kendall, limit), losses, weights, "uncertainty", log_variances, nll)


def revised_uncertainty(
    losses: Scalars,
    log_variances: Scalars,
    weights: Scalars | None = None,
    nll: NLL | None = None,
    *,
    limit: Number | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Uncertainty weighting whose regulariser never pays for a small variance (Liebel and Körner).

        total = Σ m (c e^-s L + 2r log(1 + e^s))

    The total is positive. Its weights are not free of scale: a loss of 1e-4 gets 70 where `uncertainty` gives 5000.

    Args:
        losses: a scalar >= 0 for each term.
        log_variances: s for each term; start at 0. Give them their own learning rate and no weight decay.
        weights: the multipliers m of some terms; 1 for the others.
        nll: (c, r) of some terms; (1, 1/2) for the others. The paper has (1/2, 1/2).
        limit: keep s within ±limit, as in `uncertainty`.

    Returns:
        The total, and for every term d total / d loss, which is m c e^-s.

    Raises:
        ValueError: if `log_variances` are not one per term, or `weights` or `nll` name a term that is not there.

    Example:
        >>> import jaxlosses as jl
        >>> halves, s = {"depth": (0.5, 0.5), "flow": (0.5, 0.5)}, {"depth": 0.0, "flow": 0.6931472}
        >>> total, weights = jl.combine.revised_uncertainty({"depth": 2.0, "flow": 3.0}, s, nll=halves)
        >>> round(float(total), 4)
        3.5418

    Reference:
        Liebel and Körner, Auxiliary Tasks in Multi-task Learning, 2018, arXiv:1805.06334.
    """
    return _call(learned(liebel, limit), losses, weights, "revised_uncertainty", log_variances, nll)


def log(losses: Scalars, weights: Scalars | None = None) -> tuple[Array, dict[str, Array]]:
    """Add the logarithms of losses: every term counts alike, whatever its units, and nothing is learned.

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
    return _call(add_logs, losses, weights)


def geometric(losses: Scalars, weights: Scalars | None = None) -> tuple[Array, dict[str, Array]]:
    """The geometric mean of losses.

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
    return _call(multiply, losses, weights)


def soft_optimal(
    losses: Scalars, weights: Scalars | None = None, *, temperature: Number = 1.0
) -> tuple[Array, dict[str, Array]]:
    """Weigh losses by a softmax over their inverses: uncertainty weighting at its optimum, with weights that sum to 1.

        total = Σ m w L,   w = softmax(1/(T L)), a constant for the gradient

    Args:
        losses: a scalar >= 0 for each term.
        weights: the multipliers m of some terms; 1 for the others. A term of 0 is left out of the softmax.
        temperature: T > 0, in units of 1/L: losses that are all far below 1/T leave all the weight to the smallest one.
            The paper tunes it for every data set and gives no default; 1 is a placeholder.

    Returns:
        The total, and for every term d total / d loss, which is m w.

    Raises:
        ValueError: if `weights` names a term that is not there.

    Example:
        >>> import jaxlosses as jl
        >>> total, weights = jl.combine.soft_optimal({"class": 0.5, "box": 2.0})
        >>> round(float(weights["class"]), 4), round(float(total), 4)
        (0.8176, 0.7736)

    Reference:
        Kirchdorfer et al., Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning, 2024, arXiv:2408.07985.
    """
    return _call(by_inverse(temperature), losses, weights)


def _call(
    apply: Callable[..., Any],
    losses: Scalars,
    weights: Scalars | None,
    name: str = "",
    log_variances: Scalars | None = None,
    nll: NLL | None = None,
) -> tuple[Array, dict[str, Array]]:
    """A combiner without an objective."""
    if log_variances is not None and set(log_variances) != set(losses):
        raise ValueError(f"{name}: log_variances must be {sorted(losses)}, got {sorted(log_variances)}")
    given = check_names("weights", weights or {}, losses)
    multipliers = {name: jnp.asarray(given.get(name, 1.0), jnp.result_type(float)) for name in losses}
    constants = dict.fromkeys(losses, (1.0, 0.5)) | check_names("nll", nll or {}, losses)
    finite = {name: silenced(losses[name], multipliers[name]) for name in losses}
    return apply(finite, multipliers, dict.fromkeys(losses, 1.0), log_variances, constants)
