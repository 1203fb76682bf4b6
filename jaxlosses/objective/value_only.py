"""What becomes of an objective's auxiliary output where an optimiser has no use for it."""

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["value_only"]


def value_only(function: Callable[..., Any]) -> Callable[..., Any]:
    """Drop the auxiliary output of a loss function, for optimisers that call it themselves: L-BFGS, line searches.

        value_only(f)(*args) = f(*args)[0]

    Args:
        function: returns `(value, aux)`.

    Returns:
        A function of the same signature, by which optax routes extra arguments, that returns the value. If the
        objective has stages or schedules, take a fresh `jax.value_and_grad` in each step: values that optax has cached
        are those of the step before.

    Raises:
        TypeError: at its call, if `function` returns no pair.

    Example:
        >>> import jaxlosses as jl
        >>> jl.value_only(lambda params, batch: (params * batch, {"count": 3}))(2.0, batch=4.0)
        8.0

    Reference:
        `optax.value_and_grad_from_state`, 2024.
    """

    @functools.wraps(function)
    def value(*args: Any, **kwargs: Any) -> Any:
        result, _ = function(*args, **kwargs)
        return result

    return value
