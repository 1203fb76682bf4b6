"""What the arguments of an optax schedule may be, checked when it is made: optax itself warns, or finds out later."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxlosses.core.errors import did_you_mean, shown
from jaxlosses.core.ranges import ANY, POSITIVE, UNIT, Range, range_problem
from jaxlosses.core.signatures import check_option_values

LARGEST_STEP = 2**63 - 1
"""Steps may count tokens, but they are no more than 64 bits hold."""

_LEAST_STEP = {"transition_steps": 1, "decay_steps": 1, "warmup_steps": 0, "transition_begin": 0}
_RANGES: dict[str, Range] = {
    **dict.fromkeys(("decay_rate", "power", "exponent", "div_factor", "final_div_factor"), POSITIVE),
    **dict.fromkeys(("pct_start", "pct_final"), UNIT),
}


def to_arguments(name: str, function: Callable[..., Any], options: Mapping[Any, Any]) -> dict[str, Any]:
    """The arguments of a schedule, once they are possible; steps as integers, also from strings and from 1e4."""
    what, parameters = f"schedule {name!r}", inspect.signature(function).parameters
    for option in options:
        if option not in parameters:
            raise ValueError(f"{what} has no argument {option!r}{did_you_mean(option, parameters)}")
    arguments = {option: _to_steps(what, option, value) for option, value in options.items()}
    check_option_values(what, function, arguments)
    for option, value in arguments.items():
        _check_argument(what, option, value)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from None
    if (schedules := arguments.get("schedules")) is not None and len(arguments["boundaries"]) != len(schedules) - 1:
        raise ValueError(f"{what}: {len(schedules)} schedules need {len(schedules) - 1} boundaries between them")
    return arguments


def check_evaluates(what: str, schedule: Callable[[Any], Any]) -> None:
    """Raise for what optax itself refuses, which it does when the schedule is built, and for what gives no number."""
    try:
        result = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.result_type(float)))
    except Exception as error:
        raise ValueError(f"{what}: {error}") from error
    if jnp.shape(result) != ():
        raise ValueError(f"{what} must give a number for a step, not an array of shape {jnp.shape(result)}")


def _to_steps(what: str, option: str, value: Any) -> Any:
    """Integers for what counts steps: TOML and JSON write keys as strings, and 10000 may be written 1e4."""
    if option in _LEAST_STEP:
        return _whole(value)
    if option == "boundaries" and isinstance(value, list | tuple):
        return tuple(map(_whole, value))
    if option == "boundaries_and_scales" and isinstance(value, Mapping):
        steps = {}
        for step, scale in value.items():
            digits = isinstance(step, str) and step.isascii() and step.strip().isdigit() and len(step) < 20
            steps[int(step) if digits else _whole(step)] = scale
        if len(steps) < len(value):
            raise ValueError(f"{what}: option {option!r} has a step twice: {shown(value)}")
        return steps
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_argument(what: str, option: str, value: Any) -> None:
    problem = None
    if option in _LEAST_STEP:
        if not _is_step(value, _LEAST_STEP[option]):
            problem = f"must be a number of steps >= {_LEAST_STEP[option]}, got {shown(value)}"
    elif option in ("boundaries", "boundaries_and_scales") and value is not None:
        steps = list(value)
        if (
            not steps
            or not all(_is_step(step, 0) for step in steps)
            or (option == "boundaries" and steps != sorted(set(steps)))
        ):
            problem = f"must be increasing steps >= 0, and at least one, got {shown(value)}"
        elif isinstance(value, Mapping):
            problem = range_problem(ANY, value)
    else:
        problem = range_problem(_RANGES.get(option, ANY), value)
    if problem is not None:
        raise ValueError(f"{what}: option {option!r} {problem}")


def _is_step(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= LARGEST_STEP
