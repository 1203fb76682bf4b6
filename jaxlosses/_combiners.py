"""What an objective needs to know of a combiner, how it finds one by name, and the formulas of our own."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses._numerics import safe_divide
from jaxlosses.registry import did_you_mean
from jaxlosses.types import Number

Scalars = Mapping[str, Number]
NLL = Mapping[str, tuple[float, float]]


class Combiner(NamedTuple):
    """How an objective adds its terms up.

    Attributes:
        apply: `(losses, multipliers, shares, params, nll) -> (total, weights)`, dicts by term: `losses` are scalars,
            `multipliers` m are 0 for a term that is off, `shares` tell which part of the whole batch this microbatch
            is (1 without microbatches; what does not come from the batch, such as a regulariser, is multiplied by it),
            `params` is what `init` made, as trained so far, `nll` the (c, r) of the losses. `weights` are the
            derivatives of the total by the losses.
        init: `(nll, losses or None) -> params`, a dict of what is learned; empty for most.
        additive: whether totals of microbatches add up to the total of the batch.
    """

    apply: Callable[[Scalars, Mapping[str, Array], Scalars, Mapping[str, Any], NLL], tuple[Array, dict[str, Array]]]
    init: Callable[[NLL, Scalars | None], dict[str, Array]] = lambda nll, losses: {}
    additive: bool = False


_Make = TypeVar("_Make", bound=Callable[..., Combiner])
_makers: dict[str, Callable[..., Combiner]] = {}


def register(name: str) -> Callable[[_Make], _Make]:
    """Give a combiner of your own a name, so that `Objective(..., combine=name)` finds it.

    Args:
        name: a name that no other combiner has.

    Returns:
        A decorator for a function that takes the combiner's options and makes a `Combiner`.

    Raises:
        ValueError: if the name is taken; the message says by which module.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> @jl.combine.register("largest")
        ... def largest():
        ...     def apply(losses, multipliers, shares, params, nll):
        ...         total = jnp.max(jnp.stack([multipliers[name] * losses[name] for name in losses]))
        ...         on = {name: multipliers[name] * losses[name] == total for name in losses}
        ...         return total, {name: jnp.where(on[name], multipliers[name], 0) for name in losses}
        ...     return jl.combine.Combiner(apply)
        >>> terms = {"a": jl.Term("squared_error", ("x", "y")), "b": jl.Term("absolute_error", ("x", "y"))}
        >>> print(jl.Objective(terms, combine="largest")({"x": jnp.array([3.0]), "y": jnp.array([0.0])})[0])
        9.0
    """

    def add(make: _Make) -> _Make:
        if name in _makers:
            raise ValueError(f"combine.register: {name!r} is already a combiner, of {_makers[name].__module__}")
        _makers[name] = make
        return make

    return add


def names() -> tuple[str, ...]:
    """The registered combiners, in the order of registration.

    Example:
        >>> import jaxlosses as jl
        >>> jl.combine.names()[:3]
        ('sum', 'uncertainty', 'revised_uncertainty')
    """
    return tuple(_makers)


def named(given: str | Mapping[str, Any]) -> Combiner:
    """Make the combiner that is meant by a name, or by `{"name": name, **options}`."""
    options = dict(given) if isinstance(given, Mapping) else {}
    name = given if isinstance(given, str) else options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"combine must be the name of a combiner, or {{'name': name, **options}}, got {given!r}")
    if name not in _makers:
        raise ValueError(f"no combiner named {name!r}{did_you_mean(name, _makers, f'there are {sorted(_makers)}')}")
    known = list(inspect.signature(_makers[name]).parameters)
    for option in options:
        if option not in known:
            raise ValueError(f"combiner {name!r} has no option {option!r}{did_you_mean(option, known)}")
    try:
        return _makers[name](**options)
    except TypeError as error:
        raise ValueError(f"combiner {name!r}: {error}") from error


def silenced(loss: Number, multiplier: Number) -> Array:
    """The loss; 0 if it is not finite and its multiplier is 0. A finite loss keeps its slope by the multiplier."""
    return jnp.where((jnp.asarray(multiplier) == 0) & ~jnp.isfinite(loss), 0, loss)


def check_names(what: str, given: Mapping[str, Any], terms: Iterable[str]) -> dict[str, Any]:
    """`given` as a dict, once every name in it is the name of a term."""
    known = list(terms)
    for name in given:
        if name not in known:
            raise ValueError(f"{what}: no term {name!r}{did_you_mean(name, known, f'there are {sorted(known)}')}")
    return dict(given)


# The formulas, as an objective calls them; see Combiner.


def add(losses: Any, multipliers: Any, shares: Any, params: Any, nll: Any) -> tuple[Array, dict[str, Array]]:
    return _add(multipliers[name] * losses[name] for name in losses), dict(multipliers)


def learned(price: Callable[[Any, Array], Array], limit: Number | None) -> Callable[..., Any]:
    """Both forms of uncertainty weighting: a loss over its variance, and what the variance costs."""

    def apply(losses: Any, multipliers: Any, shares: Any, params: Any, nll: Any) -> tuple[Array, dict[str, Array]]:
        s = {name: jnp.asarray(params[name]) for name in losses}
        if limit is not None:
            bound = jnp.asarray(limit)
            s = {name: bound * jnp.tanh(s[name] / bound) for name in losses}
        precision = {name: nll[name][0] * jnp.exp(-s[name]) for name in losses}
        total = _add(
            multipliers[name] * (precision[name] * losses[name] + shares[name] * price(nll[name][1], s[name]))
            for name in losses
        )
        return total, {name: multipliers[name] * precision[name] for name in losses}

    return apply


def add_logs(losses: Any, multipliers: Any, shares: Any, params: Any, nll: Any) -> tuple[Array, dict[str, Array]]:
    total = _add(multipliers[name] * _floored_log(losses[name]) for name in losses)
    return total, {name: safe_divide(multipliers[name], _like(losses[name], multipliers[name])) for name in losses}


def multiply(losses: Any, multipliers: Any, shares: Any, params: Any, nll: Any) -> tuple[Array, dict[str, Array]]:
    logs, slopes = add_logs(losses, multipliers, shares, params, nll)
    everything = _add(multipliers.values())
    on = {name: multiplier != 0 for name, multiplier in multipliers.items()}
    at_rest = functools.reduce(jnp.logical_or, (on[name] & (jnp.asarray(losses[name]) == 0) for name in losses))
    off = ~functools.reduce(jnp.logical_or, on.values())
    total = jnp.where(at_rest | off, 0, jnp.exp(safe_divide(logs, everything)))
    return total, {name: safe_divide(slopes[name], everything) * total for name in losses}


def by_inverse(temperature: Number) -> Callable[..., Any]:
    def apply(losses: Any, multipliers: Any, shares: Any, params: Any, nll: Any) -> tuple[Array, dict[str, Array]]:
        on = jnp.stack([multipliers[name] for name in losses]) != 0
        sizes = jax.lax.stop_gradient(jnp.stack([_like(losses[name], multipliers[name]) for name in losses]))
        sizes = jnp.maximum(jnp.where(on, sizes, 1), jnp.finfo(sizes.dtype).tiny)
        inverses = jnp.minimum(1 / (jnp.asarray(temperature, sizes.dtype) * sizes), jnp.finfo(sizes.dtype).max)
        shares_of_weight = jax.nn.softmax(inverses, where=on)
        weights = {name: multipliers[name] * shares_of_weight[place] for place, name in enumerate(losses)}
        return _add(weights[name] * losses[name] for name in losses), weights

    return apply


def _initial_log_variances(limit: Number | None, optimum: Callable[..., Any]) -> Callable[..., dict[str, Array]]:
    """S = 0, or where its gradient is 0 for given losses."""

    def init(nll: NLL, losses: Scalars | None) -> dict[str, Array]:
        if losses is None:
            return {name: jnp.zeros(()) for name in nll}
        check_names("losses", losses, nll)
        if missing := [name for name in nll if name not in losses]:
            raise ValueError(f"losses: no loss for {missing}; give one for each of {list(nll)}")
        variance = {name: optimum(c * jnp.asarray(losses[name], float), r) for name, (c, r) in nll.items()}
        s = {name: jnp.where(best > 0, jnp.log(jnp.where(best > 0, best, 1)), 0) for name, best in variance.items()}
        if limit is None:
            return s
        bound = jnp.asarray(limit)
        return {name: bound * jnp.arctanh(jnp.clip(start / bound, -0.9, 0.9)) for name, start in s.items()}

    return init


@register("sum")
def _make_sum() -> Combiner:
    return Combiner(add, additive=True)


@register("uncertainty")
def _make_uncertainty(limit: Number | None = None) -> Combiner:
    init = _initial_log_variances(limit, lambda cost, r: cost / r)
    return Combiner(learned(kendall, limit), init, additive=True)


@register("revised_uncertainty")
def _make_revised_uncertainty(limit: Number | None = None) -> Combiner:
    # c L / v = 2 r v / (1 + v), solved for the variance v
    init = _initial_log_variances(limit, lambda cost, r: (cost + jnp.sqrt(cost**2 + 8 * r * cost)) / (4 * r))
    return Combiner(learned(liebel, limit), init, additive=True)


@register("log")
def _make_log() -> Combiner:
    return Combiner(add_logs)


@register("geometric")
def _make_geometric() -> Combiner:
    return Combiner(multiply)


@register("soft_optimal")
def _make_soft_optimal(temperature: Number = 1.0) -> Combiner:
    return Combiner(by_inverse(temperature))


def kendall(r: Any, s: Array) -> Array:
    return r * s


def liebel(r: Any, s: Array) -> Array:
    return 2 * r * jax.nn.softplus(s)


def _floored_log(loss: Any) -> Array:
    """The logarithm, at 0 that of the smallest normal number with zero gradient; NaN for a negative loss."""
    loss = jnp.asarray(loss, jnp.result_type(float))
    tiny = jnp.finfo(loss.dtype).tiny
    small = (loss >= 0) & (loss < tiny)
    return jnp.log(jnp.where(small, tiny, loss))


def _like(loss: Any, multiplier: Array) -> Array:
    return jnp.asarray(loss).astype(multiplier.dtype)


def _add(terms: Iterable[Array]) -> Array:
    return jnp.asarray(sum(terms))
