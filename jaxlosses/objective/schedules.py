"""Weights that follow the step, as values that compare and hash: optax's schedules by name, and the ramp of a stage."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from jaxlosses.core.errors import did_you_mean, shown
from jaxlosses.objective.frozen import frozen
from jaxlosses.objective.schedule_arguments import check_evaluates, to_arguments

__all__ = ["Schedule", "schedule"]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A schedule of optax, by its name and arguments: what `schedule` makes."""

    name: str
    options: Mapping[str, Any]

    def __call__(self, step: Any) -> Any:
        """The value at a step."""
        # Steps may count tokens: JAX takes no Python integer beyond int32, but any float.
        return getattr(optax, self.name)(**{key: _large_as_float(x) for key, x in self.options.items()})(step)


def schedule(name: str, **options: Any) -> Schedule:
    """An optax schedule, for a term's weight, that can be compared, hashed and saved as optax's closures cannot.

    Args:
        name: the function's name in optax, such as `"linear_schedule"`.
        **options: its arguments.

    Returns:
        A function of the step, for instance for a term's `weight`.

    Raises:
        ValueError: if optax has no such schedule, it no such argument, or an argument cannot be what it is given.

    Example:
        >>> import jaxlosses as jl
        >>> warm = jl.schedule("linear_schedule", init_value=0.0, end_value=1.0, transition_steps=500)
        >>> float(warm(250))
        0.5
    """
    return make_schedule(name, options)


def make_schedule(name: Any, options: Mapping[Any, Any]) -> Schedule:
    """A schedule whose name and arguments are data, of which any may be wrong."""
    known = [word for word in dir(optax.schedules) if not word.startswith(("_", "inject", "Inject"))]
    known = [word for word in known if inspect.isfunction(getattr(optax, word, None))]
    if name not in known:
        raise ValueError(f"optax has no schedule {shown(name)}{did_you_mean(name, known, f'there are {known}')}")
    arguments = to_arguments(name, getattr(optax, name), frozen(options))
    made = Schedule(name, frozen(arguments))
    check_evaluates(f"schedule {name!r}", made)
    return made


@dataclasses.dataclass(frozen=True)
class Ramp:
    """A weight that fades in over `length` steps from the step `begin` on."""

    weight: Any
    begin: int
    length: int

    def __call__(self, step: Any) -> Any:
        """The weight at a step."""
        step, weight = jnp.asarray(step), weight_at(self.weight, step)
        if not self.length:
            return weight
        if not can_reach(step, self.begin):
            return 0 * weight
        begin = jnp.asarray(self.begin, step.dtype)
        elapsed = jnp.where(step > begin, step - begin, 0)  # before the boundary an unsigned difference wraps around
        return weight * jnp.clip(jnp.asarray(elapsed, float) / float(self.length), 0, 1)


def _large_as_float(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_large_as_float(key): _large_as_float(x) for key, x in value.items()}
    if isinstance(value, tuple):
        return [_large_as_float(x) for x in value]
    return float(value) if type(value) is int and abs(value) > jnp.iinfo(jnp.int32).max else value


def weight_at(weight: Any, step: Any) -> Any:
    """A term's weight at a step: a number, or what its schedule says."""
    if isinstance(weight, Ramp) or not callable(weight):
        return weight(step) if callable(weight) else weight
    step = jnp.asarray(step)
    if jnp.issubdtype(step.dtype, jnp.unsignedinteger) and isinstance(weight, Schedule):
        step = step.astype(float)
    elif jnp.issubdtype(step.dtype, jnp.unsignedinteger):
        # nnx.Optimizer counts in uint32, in which differences of steps would wrap around. A function of one's own may
        # look steps up in a table, and gets an integer; it stays at the largest there is.
        signed = jnp.result_type(int)
        step = jnp.minimum(step, min(jnp.iinfo(signed).max, jnp.iinfo(step.dtype).max)).astype(signed)
    return weight(step)


def can_reach(step: Array, boundary: int) -> bool:
    """Whether a step of this dtype can be as large as a boundary."""
    return not jnp.issubdtype(step.dtype, jnp.integer) or boundary <= jnp.iinfo(step.dtype).max
