"""What a combiner is, and how an objective finds one by its name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
from jax import Array

from jaxlosses.core.errors import did_you_mean, with_choices
from jaxlosses.core.ranges import check_option_ranges
from jaxlosses.core.signatures import check_option_values, is_of_this_library
from jaxlosses.core.types import Number

Scalars = Mapping[str, Number]
Likelihoods = Mapping[str, tuple[float, float]]


class Combiner(NamedTuple):
    """A combiner: how an objective's losses become one total, and what is learned for that.

    Attributes:
        apply: `(losses, multipliers, batch_fractions, params, likelihoods) -> (total, weights)`, all dicts by term.
            `losses` are scalars; `multipliers` m are 0 for a term that is off; `batch_fractions` tell which part of the
            whole batch this microbatch is (1 without microbatches; what does not come from the batch, such as a
            regulariser, is multiplied by it); `params` is what `init` made, as trained so far; `likelihoods` are the
            (c, r) of the losses. `weights` are the derivatives of the total by the losses.
        init: `(likelihoods, losses or None) -> params`, a dict of what is learned; empty for most.
        additive: whether totals of microbatches add up to the total of the batch.
        nonnegative: whether the losses must not be negative.
    """

    apply: Callable[
        [Scalars, Mapping[str, Array], Scalars, Mapping[str, Any], Likelihoods], tuple[Array, dict[str, Array]]
    ]
    init: Callable[[Likelihoods, Scalars | None], dict[str, Array]] = lambda likelihoods, losses: {}
    additive: bool = False
    nonnegative: bool = False


_Factory = TypeVar("_Factory", bound=Callable[..., Combiner])
_factories: dict[str, Callable[..., Combiner]] = {}


def register(name: str) -> Callable[[_Factory], _Factory]:
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
        ...     def apply(losses, multipliers, batch_fractions, params, likelihoods):
        ...         total = jnp.max(jnp.stack([multipliers[name] * losses[name] for name in losses]))
        ...         on = {name: multipliers[name] * losses[name] == total for name in losses}
        ...         return total, {name: jnp.where(on[name], multipliers[name], 0) for name in losses}
        ...     return jl.combine.Combiner(apply)
        >>> terms = {"a": jl.Term("squared_error", ("x", "y")), "b": jl.Term("absolute_error", ("x", "y"))}
        >>> print(jl.Objective(terms, combine="largest")({"x": jnp.array([3.0]), "y": jnp.array([0.0])})[0])
        9.0
    """

    def add(factory: _Factory) -> _Factory:
        if name in _factories:
            raise ValueError(f"combine.register: {name!r} is already a combiner, of {_factories[name].__module__}")
        _factories[name] = factory
        return factory

    return add


def names() -> tuple[str, ...]:
    """The registered combiners, in the order of registration.

    Example:
        >>> import jaxlosses as jl
        >>> jl.combine.names()[:3]
        ('sum', 'uncertainty', 'revised_uncertainty')
    """
    return tuple(_factories)


def get_combiner(given: str | Mapping[str, Any]) -> Combiner:
    """Find a combiner by its name, or by `{"name": name, **options}`, and make it.

    Args:
        given: what `Objective(..., combine=...)` takes.

    Raises:
        ValueError: for an unknown name or option, or a value that an option cannot have.

    Example:
        >>> import jaxlosses as jl
        >>> jl.combine.get_combiner({"name": "uncertainty", "limit": 3.0}).additive
        True
    """
    options = dict(given) if isinstance(given, Mapping) else {}
    name = given if isinstance(given, str) else options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"combine must be the name of a combiner, or {{'name': name, **options}}, got {given!r}")
    if name not in _factories:
        raise ValueError(
            f"no combiner named {name!r}{did_you_mean(name, _factories, f'there are {sorted(_factories)}')}"
        )
    known = list(inspect.signature(_factories[name]).parameters)
    for option in options:
        if option not in known:
            hint = with_choices(did_you_mean(option, known), "options", known)
            raise ValueError(f"combiner {name!r} has no option {option!r}{hint}")
    is_ours = is_of_this_library(_factories[name])
    check_option_values(f"combiner {name!r}", _factories[name], options, lists=not is_ours)
    if is_ours:
        check_option_ranges(f"combiner {name!r}", name, options)
    try:
        return _factories[name](**options)
    except TypeError as error:
        raise ValueError(f"combiner {name!r}: {error}") from error


def zero_if_disabled(loss: Number, multiplier: Number) -> Array:
    """The loss; 0 if it is not finite and its multiplier is 0. A finite loss keeps its slope by the multiplier."""
    return jnp.where((jnp.asarray(multiplier) == 0) & ~jnp.isfinite(loss), 0, loss)
