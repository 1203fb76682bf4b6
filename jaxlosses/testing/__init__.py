"""The laws that every loss obeys, to be run on ours and on yours.

    >>> import jax, jaxlosses as jl
    >>> from jaxlosses import testing
    >>> testing.check("huber_loss", options={"delta": 0.5}, laws=["jit equals eager", "masking equals deletion"])

A law takes a `Case`, a loss with example inputs and options, and raises AssertionError if the loss breaks it. The
inputs are made by `example_inputs` in the registry, so a loss of your own must be registered with it. Laws
that need double precision switch it on for themselves.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxlosses import registry
from jaxlosses.core.errors import did_you_mean
from jaxlosses.core.signatures import SHARED_KEYWORDS, keywords_of
from jaxlosses.testing.case import Case
from jaxlosses.testing.laws import LAWS

__all__ = ["LAWS", "Case", "check"]


def check(
    loss: str | Callable[..., Any] | registry.LossSpec,
    *,
    options: Mapping[str, Any] | None = None,
    laws: Iterable[str] | None = None,
) -> None:
    """Check that a loss obeys the laws.

    Args:
        loss: a registered name, a registered function, or a `LossSpec`.
        options: keywords of the loss.
        laws: names from `LAWS`; None for all.

    Raises:
        AssertionError: if the loss breaks a law; the message names the law and the loss.
        ValueError: if the loss is not registered, or takes no masks (a penalty), or there is no such law.

    Example:
        >>> import jaxlosses as jl
        >>> @jl.register("sloppy_error", example_inputs=jl.get("squared_error").example_inputs)
        ... def sloppy_error(predictions, targets, *, where=None, sample_weights=None, reduction="none"):
        ...     return (predictions - targets) ** 2
        >>> check("sloppy_error", laws=["all masked is zero"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        AssertionError: sloppy_error breaks the law 'all masked is zero': ...
        >>> jl.unregister("sloppy_error")
    """
    if isinstance(loss, str):
        spec = registry.get(loss)
    elif isinstance(loss, registry.LossSpec):
        spec = loss
    else:
        spec = registry.find_by_function(loss)
    if spec is None:
        raise ValueError(f"{loss!r} is not registered; see jaxlosses.register")
    if not set(SHARED_KEYWORDS) <= set(keywords_of(spec.function)):
        raise ValueError(
            f"check: the laws are for losses with where, sample_weights and reduction; {spec.name} has not all"
        )
    chosen = tuple(LAWS) if laws is None else tuple(laws)
    for name in chosen:
        if name not in LAWS:
            raise ValueError(f"check: no law {name!r}{did_you_mean(name, LAWS, f'there are {list(LAWS)}')}")
    case = Case(spec, options or {})
    exceptions = dict(spec.law_exceptions)
    for name in (name for name in chosen if name not in exceptions):
        try:
            LAWS[name](case)
        except Exception as error:
            raise AssertionError(f"{spec.name} breaks the law {name!r}: {error}") from error
