"""Which parameters of a function are inputs (arrays), which are options (keywords), and what these may be."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxlosses.core.errors import did_you_mean, shown, with_choices
from jaxlosses.core.option_values import admits, in_words, wrong_entry

SHARED_KEYWORDS = ("where", "sample_weights", "reduction")
"""The keywords that every loss takes, and that are therefore none of its own options."""

SYNONYMS = {
    "mask": "where",
    "masks": "where",
    "loss_mask": "where",
    "weights": "sample_weights",
    "sample_weight": "sample_weights",
    "example_weights": "sample_weights",
}
"""What other libraries call the shared keywords."""

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


def explain_unknown_keyword(name: str, keyword: str, known: Sequence[str]) -> str:
    """The message for a keyword that a call does not have: the one that may be meant, and those there are."""
    meant = SYNONYMS.get(keyword)
    hint = f"; did you mean {meant}=?" if meant in known else did_you_mean(keyword, known)
    return f"{name}: no argument {keyword!r}{with_choices(hint, 'arguments', known)}"


def check_option_values(
    what: str, function: Callable[..., Any], options: Mapping[str, Any], hint: str = "", *, lists: bool = False
) -> None:
    """Raise for a string, a bool or a function where an option takes a number, and the like.

    Args:
        what: what has the options, for messages.
        function: whose annotations say what an option may be; one without annotations takes anything.
        options: the values by name.
        hint: what to say of a path or a function in the place of a number, with `{option}` and `{value}`.
        lists: whether an option that is annotated as a number or an array may be a list of numbers as well.
    """
    parameters = parameters_of(function)
    for option, value in options.items():
        if option not in parameters:
            continue
        annotation = parameters[option].annotation
        if not admits(annotation, value, lists=lists):
            meant = _value_hint(option, wrong_entry(value), hint)
            raise ValueError(f"{what}: option {option!r} must be {in_words(annotation)}, got {shown(value)}{meant}")


def is_of_this_library(function: Callable[..., Any]) -> bool:
    """Whether the words of this library, such as the ranges of options, are about this function."""
    return (getattr(function, "__module__", None) or "").partition(".")[0] == __name__.partition(".")[0]


def _value_hint(option: str, value: Any, hint: str = "") -> str:
    """What may have been meant by a string or a function in the place of a number."""
    if isinstance(value, str):
        try:
            return f"; did you mean {float(value):g}, without quotes? (YAML reads 1e-5 as a string: write 1.0e-5)"
        except ValueError:
            pass
    is_path = callable(value) or (isinstance(value, str) and "." in value)
    shown = value if isinstance(value, str) else getattr(value, "__name__", repr(value))
    return hint.format(option=option, value=shown) if is_path else ""
