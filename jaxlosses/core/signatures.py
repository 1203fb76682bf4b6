"""Which parameters of a function are inputs (arrays), and which are options (keywords)."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

SHARED_KEYWORDS = ("where", "sample_weights", "reduction")
"""The keywords that every loss takes, and that are therefore none of its own options."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters in a function's signature."""
    return inspect.signature(function).parameters


def inputs_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a loss that are arrays: positional, and without a default."""
    return tuple(p.name for p in parameters_of(function).values() if p.kind in _POSITIONAL and p.default is p.empty)


def max_inputs(function: Callable[..., Any]) -> float:
    """How many arrays a loss can take by position; optax gives some of them a default."""
    kinds = [p.kind for p in parameters_of(function).values()]
    positional = sum(kind in _POSITIONAL for kind in kinds)
    return float("inf") if inspect.Parameter.VAR_POSITIONAL in kinds else positional


def keywords_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a loss that are keywords: those with a default, and the keyword-only ones."""
    named = (p for p in parameters_of(function).values() if p.kind is not p.VAR_KEYWORD)
    return tuple(p.name for p in named if p.name not in inputs_of(function))


def options_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The keywords of a loss that are its own: without `where`, `sample_weights` and `reduction`."""
    return tuple(name for name in keywords_of(function) if name not in SHARED_KEYWORDS)


def accepts_var_keyword(function: Callable[..., Any]) -> bool:
    """Whether a function takes any keyword, by `**kwargs`."""
    return any(p.kind is p.VAR_KEYWORD for p in parameters_of(function).values())
