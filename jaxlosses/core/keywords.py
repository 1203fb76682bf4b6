"""Validation of keywords before a function runs: what they may be is read from the annotations of its signature.

    annotation             what is accepted                         what the function gets
    Number                 one number: Python, NumPy, traced        a Python number, or an array in their precision
    bool, str              static: they choose the program          the same
    int                    static: an axis, a size, a class id      a Python int
    str | Sequence[int]    a word, or integers                      the word, or a tuple
    Callable               a function                               the same
    AxisName               the name of a mapped axis, or a tuple    the same

Arrays (`ArrayLike`) are checked where their shapes are known, in `jaxlosses.core.checks`.
"""

import functools
import math
import operator
import types
import typing
from collections.abc import Callable, Hashable, Sequence, Set
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxlosses.core.collectives import any_placement
from jaxlosses.core.errors import describe
from jaxlosses.core.ranges import check_number
from jaxlosses.core.signatures import accepts_var_keyword, explain_unknown_keyword, inputs_of, parameters_of
from jaxlosses.core.types import Number, precision_of

_F = TypeVar("_F", bound=Callable[..., Any])
_Check = Callable[[str, Any, Callable[[], Any]], Any]
"""From the beginning of a message ("call: keyword"), a value and the inputs' precision to the value that is used."""

_INT32, _FLOAT32 = np.iinfo(np.int32), np.finfo(np.float32)


def check_keywords(name: str, function: _F, *, values: bool = True, ranges: bool = False) -> _F:
    """`function`, whose keywords are checked against its annotations; unknown ones are explained.

    Args:
        name: the name of the call, for messages.
        function: its annotations say what its keywords may be; what is not annotated is not checked.
        values: check what keywords are, and not only whether they exist.
        ranges: check numbers against `jaxlosses.core.ranges` too, which is about this library's own functions.

    Returns:
        A function of the same signature.
    """

    @functools.cache  # at the first call, for reading signatures takes its time
    def facts() -> tuple[dict[str, _Check], tuple[str, ...], tuple[str, ...], bool]:
        parameters = parameters_of(function)
        found = {word: _check_for(p.annotation) for word, p in parameters.items() if values}
        checks = {word: check for word, check in found.items() if check is not None}
        return checks, tuple(parameters), inputs_of(function), accepts_var_keyword(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        checks, positional, inputs, any_keyword = facts()
        precision = lambda: precision_of(args, {word: kwargs[word] for word in inputs if word in kwargs})  # noqa: E731
        for word, value in kwargs.items():
            if check := checks.get(word):
                kwargs[word] = check(f"{name}: {word}", value, precision)
                if ranges:
                    check_number(name, word, kwargs[word])
            elif word not in positional and not any_keyword:
                known = tuple(word for word in positional if word != "self")
                raise TypeError(explain_unknown_keyword(name, word, known))
        if any(word in checks for word in positional[: len(args)]):
            by_position = zip(positional, args, strict=False)
            args = (
                tuple(
                    check(f"{name}: {word}", value, precision) if (check := checks.get(word)) else value
                    for word, value in by_position
                )
                + args[len(positional) :]
            )
        return function(*args, **kwargs)

    return typing.cast(_F, call)


def public_function(function: _F) -> _F:
    """A public function that is no registered loss: its keywords are checked, and its arrays may lie on any mesh."""
    return check_keywords(function.__name__, any_placement(function), ranges=True)


def kind_of(annotation: Any) -> str | None:
    """What a keyword of this annotation is: a key of the table below; None if anything goes, or an array."""
    kinds = {frozenset(members): kind for kind, (members, _) in _KINDS.items()}
    members = _members(annotation) - {type(None)}
    is_function = bool(members) and all(typing.get_origin(member) is Callable for member in members)
    return "function" if is_function else kinds.get(frozenset(members))


def is_optional(annotation: Any) -> bool:
    """Whether None is admitted."""
    return type(None) in _members(annotation)


def _members(annotation: Any) -> set[Any]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return set(typing.get_args(annotation) if is_union else (annotation,))


def _check_for(annotation: Any) -> _Check | None:
    """How a keyword of this annotation is checked; None for not at all."""
    kind = kind_of(annotation)
    if kind is None:
        return None
    _, check = _KINDS[kind]
    if not is_optional(annotation):
        return check
    return lambda what, value, precision: None if value is None else check(what, value, precision)


def _number(what: str, value: Any, precision: Callable[[], Any]) -> Any:
    if isinstance(value, jax.Array):
        if value.ndim or not _is_real(value.dtype):
            raise _wrong(what, "a number", value)
        return value.astype(precision())
    if isinstance(value, str | bool | np.bool_ | type(None)):
        raise _wrong(what, "a number", value)
    if not isinstance(value, int | float):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            raise _wrong(what, "a number", value) from None
        if not _is_real(array.dtype) or array.ndim or isinstance(value, Sequence):
            raise _wrong(what, "a number", value)
        value = float(array) if jnp.issubdtype(array.dtype, jnp.floating) else int(array)
    if isinstance(value, float):  # NumPy's float64 is one, and would widen float32 under x64
        beyond = abs(value) > float(_FLOAT32.max) and jnp.result_type(float) == jnp.float32
        return math.copysign(math.inf, value) if beyond else float(value)
    if abs(value) <= _INT32.max:
        return int(value)
    if abs(value) > 10**300:
        raise ValueError(f"{what} must be a number that a float can hold, got {str(value)[:12]}...")
    return float(value)


def _number_or_word(what: str, value: Any, precision: Callable[[], Any]) -> Any:
    return value if isinstance(value, str) else _number(what, value, precision)


def _flag(what: str, value: Any, precision: Callable[[], Any]) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise _wrong(what, "True or False", value, is_static=True)


def _word(what: str, value: Any, precision: Callable[[], Any]) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(what, "a string", value, is_static=True)


def _integer(what: str, value: Any, precision: Callable[[], Any]) -> int:
    if not isinstance(value, bool | np.bool_ | Tracer) and not (isinstance(value, jax.Array) and value.ndim):
        try:
            integer = operator.index(value)
        except TypeError:
            raise _wrong(what, "an integer", value, is_static=True) from None
        if abs(integer) < 2**64:
            return integer
        value = f"{str(integer)[:12]}..."
    raise _wrong(what, "an integer", value, is_static=True)


def _word_or_integers(what: str, value: Any, precision: Callable[[], Any]) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return tuple(_integer(f"{what}[{i}]", entry, precision) for i, entry in enumerate(value))
    raise _wrong(what, "a string or a list of integers", value, is_static=True)


def _axis_name(what: str, value: Any, precision: Callable[[], Any]) -> Hashable:
    names = value if isinstance(value, tuple) else (value,)
    if all(isinstance(name, Hashable) and not isinstance(name, jax.Array | np.generic | float | int) for name in names):
        return value
    raise _wrong(what, "the name of a mapped axis, or a tuple of names", value, is_static=True)


def _function(what: str, value: Any, precision: Callable[[], Any]) -> Any:
    if callable(value) and not isinstance(value, type):
        return value
    raise _wrong(what, "a function", value)


_NUMBER = frozenset(typing.get_args(Number))
_KINDS: dict[str, tuple[Set[Any], _Check]] = {
    "number": (_NUMBER, _number),
    "float": ({float}, _number),
    "number or word": (_NUMBER | {str}, _number_or_word),
    "flag": ({bool}, _flag),
    "word": ({str}, _word),
    "integer": ({int}, _integer),
    "word or integers": ({str, Sequence[int]}, _word_or_integers),
    "axis name": ({Hashable}, _axis_name),
    "function": ({Callable}, _function),
}


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _wrong(what: str, expected: str, value: Any, is_static: bool = False) -> Exception:
    """The error for a value that is not what was expected, with a hint if it is nearly that."""
    message = f"{what} must be {expected}, got {describe(value)}"
    if is_static and isinstance(value, Tracer):
        return TypeError(f"{message}; it chooses the program, so name it in static_argnames, or give it outside of jit")
    hint, kind = "", TypeError
    if expected == "a number":
        if isinstance(value, str):
            hint = f"; did you mean {value}, without quotes?" if _is_numeral(value) else ""
        elif np.ndim(value) if isinstance(value, jax.Array | np.ndarray) else isinstance(value, Sequence):
            hint, kind = "; for several values, did you mean jax.vmap?", ValueError
    elif expected == "True or False" and isinstance(value, int) and value in (0, 1):
        hint = f"; did you mean {bool(value)}?"
    elif expected == "an integer" and isinstance(value, float) and value == int(value if math.isfinite(value) else 0):
        hint = f"; did you mean {int(value)}?"
    elif expected == "an integer" and isinstance(value, str) and _is_numeral(value):
        hint = f"; did you mean {value}, without quotes?"
    elif expected == "a function" and isinstance(value, type):
        hint = "; did you mean an instance of that class?"
    elif expected == "an integer" and isinstance(value, tuple | list):
        hint = "; one integer, and not several"
    return kind(message + hint)


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
