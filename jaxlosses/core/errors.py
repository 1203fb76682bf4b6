"""The phrases that error messages share. A message names the call, what came, what was expected, and the likely fix."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

_LONGEST_SHOWN = 300


class AlignmentError(ValueError):
    """A mask or weight whose shape is no prefix of the shape it belongs to."""

    def __init__(self, loss: str, argument: str, shape: tuple[int, ...], expected: tuple[int, ...], hint: str):
        prefixes = sorted({expected[:k] for k in range(1, len(expected) + 1)}, key=len) or [()]
        super().__init__(f"{loss}: {argument} {shape} must be {' or '.join(map(str, prefixes))}; {hint}")
        self.argument, self.shape, self.expected = argument, shape, expected
        self._arguments = (loss, argument, shape, expected, hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return AlignmentError, self._arguments


def describe(value: Any) -> str:
    """A value as messages show it: arrays by dtype and shape, anything else by what Python writes, cut short."""
    if isinstance(value, jax.Array | np.ndarray):
        kind = "a traced array" if isinstance(value, Tracer) else "an array"
        return f"{kind} {value.dtype}{list(value.shape)}"
    return shown(value)


def did_you_mean(word: Any, known: Iterable[Any], otherwise: str = "") -> str:
    """The end of an error message about an unknown word: the nearest known one, or else `otherwise`."""
    words = [name for name in known if isinstance(name, str)]
    near = difflib.get_close_matches(word, words, n=1) if isinstance(word, str) else []
    return f"; did you mean {near[0]!r}?" if near else f"; {otherwise}" if otherwise else ""


def shown(value: Any) -> str:
    """`value` as a message shows it: `repr`, cut short, and of a monstrous integer the size alone."""
    try:
        text = repr(value)
    except (ValueError, RecursionError) as error:  # Python writes no integers of more than 4300 digits
        return f"{type(value).__name__} ({error})"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def with_choices(hint: str, what: str, known: Iterable[str]) -> str:
    """A hint of `did_you_mean`, or none, and all the words there are: `what` says what these are."""
    listed = ", ".join(map(str, known)) or "none"
    return f"{hint} ({what}: {listed})" if hint else f"; {what}: {listed}"


def one_of(loss: str, argument: str, value: object, allowed: Iterable[object]) -> None:
    """Raise unless `value` is one of a few allowed ones."""
    allowed = tuple(allowed)
    if not isinstance(value, str | int | float | None) or value not in allowed:
        words = [word for word in allowed if isinstance(word, str)]
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        raise ValueError(
            f"{loss}: {argument} must be one of {', '.join(map(repr, allowed))}, got {describe(value)}{hint}"
        )


def shape_hint(first: str, a: tuple[int, ...], second: str, b: tuple[int, ...]) -> str:
    """The likely fix where `first` of shape `a` and `second` of shape `b` should have one shape."""
    for name, longer, shorter in ((second, b, a), (first, a, b)):
        if longer[-1:] == (1,) and longer[:-1] == shorter:
            return f"did you mean {name}{index_last(len(longer))}?"
    transposed = f"did you mean to transpose {second}?" if sorted(a) == sorted(b) else ""
    try:
        both = np.broadcast_shapes(a, b)
    except ValueError:
        return transposed or "losses do not broadcast"
    if both not in (a, b):  # a column against a row
        pairs = f"each with each is jnp.broadcast_arrays({first}, {second})"
        return f"{transposed} If not, {pairs}" if transposed else f"losses do not broadcast; {pairs}, if that is meant"
    smaller = second if both == a else first
    return f"losses do not broadcast: jnp.broadcast_to({smaller}, {both}) if that is meant"


def index_last(ndim: int) -> str:
    """How to index the only entry of the last of `ndim` axes."""
    return index_of(ndim - 1)


def index_of(axis: int) -> str:
    """How to index the only entry of an axis."""
    return "[" + ":, " * axis + "0]"


def check_names(what: str, given: Mapping[str, Any], terms: Iterable[str]) -> dict[str, Any]:
    """`given` as a dict, once every name in it is the name of a term."""
    known = list(terms)
    for name in given:
        if name not in known:
            raise ValueError(f"{what}: no term {name!r}{did_you_mean(name, known, f'there are {sorted(known)}')}")
    return dict(given)
