"""Whether a value is what an annotation asks for, as far as data from a configuration file can be told apart."""

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

_SCALARS = {int: "an integer", bool: "True or False", str: "a string", type(None): "None"}
_NUMBERS = (float, complex, jax.Array, np.ndarray, np.number)


def admits(annotation: Any, value: Any, *, lists: bool) -> bool:
    """Whether an option with this annotation may be `value`; one that says nothing, or too much, admits anything.

    Args:
        annotation: of a parameter.
        value: None, a number, an array, a string or a function, or a list or dict of them.
        lists: whether an annotation of a number or an array takes a list of numbers as well. Those of this library say
            so if they do (`Sequence`), and an empty list is never meant.
    """
    members = _members(annotation)
    if not all(_is_known(member) for member in members):
        return True
    takes_number = any(_is_number(member) for member in members)
    if isinstance(value, bool):  # jax.typing.ArrayLike has bool in it, which no hyperparameter is
        return bool in members and not takes_number
    if isinstance(value, str | types.NoneType):
        return type(value) in members
    if isinstance(value, int | float):
        return takes_number or (int in members and isinstance(value, int))
    if isinstance(value, Mapping):
        values = [_entry_annotation(m, 1) for m in members if _is_subclass(m, Mapping)]
        values = [float | Sequence[Any] | Mapping[str, Any] if of is Any else of for of in values]
        return any(all(admits(of, entry, lists=lists) for entry in value.values()) for of in values)
    if isinstance(value, tuple | list):
        entries = [_entry_annotation(m, 0) for m in members if _is_list(m)]
        entries = [float | Sequence[Any] if of is Any else of for of in entries]
        if lists and takes_number:
            entries.append(float | Sequence[Any])
        return bool(value or lists) and any(all(admits(of, entry, lists=True) for entry in value) for of in entries)
    if hasattr(value, "dtype"):
        return takes_number
    return callable(value) and any((typing.get_origin(m) or m) is Callable for m in members)


def in_words(annotation: Any) -> str:
    """What an annotation that is known asks for, to follow "must be"."""
    members = _members(annotation)
    takes_number = any(_is_number(member) for member in members)
    words = ["a number"] if takes_number else []
    words += [word for kind, word in _SCALARS.items() if kind in members and not (takes_number and kind in (int, bool))]
    if any((typing.get_origin(member) or member) is Callable for member in members):
        words.append("a function")
    for entry in (_entry_annotation(member, 0) for member in members if _is_list(member)):
        words += [] if entry is Any else [f"a list of {_plural(entry)}"]
    if any(_is_subclass(member, Mapping) for member in members):
        words.append("a dict")
    return " or ".join(sorted(words, key=lambda word: word == "None"))


def _plural(annotation: Any) -> str:
    names = {int: "integers", str: "strings", Callable: "functions", dict: "dicts"}
    words = (names.get(typing.get_origin(member) or member, "numbers") for member in _members(annotation))
    return " or ".join(dict.fromkeys(words))


def wrong_entry(value: Any) -> Any:
    """What is to be explained of a value that is not admitted: its first string or function, or else itself."""
    entries = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(entries, list | tuple):
        return value
    leaves = [wrong_entry(entry) for entry in entries]
    return next((leaf for leaf in leaves if isinstance(leaf, str) or callable(leaf)), value)


def _members(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _is_known(member: Any) -> bool:
    is_callable = (typing.get_origin(member) or member) is Callable
    return member in _SCALARS or _is_number(member) or is_callable or _is_list(member) or _is_subclass(member, Mapping)


def _is_number(member: Any) -> bool:
    """Whether it is a float or an array: of NumPy, of JAX or its own protocol for literals, or of jaxtyping."""
    if not isinstance(member, type):
        return False
    return member in (*_NUMBERS, np.bool_) or hasattr(member, "array_type") or member.__module__[:4] == "jax."


def _is_list(member: Any) -> bool:
    origin = typing.get_origin(member) or member
    return origin is Iterable or (origin is not str and _is_subclass(member, Sequence))


def _is_subclass(member: Any, base: type) -> bool:
    origin = typing.get_origin(member) or member
    return isinstance(origin, type) and issubclass(origin, base)


def _entry_annotation(member: Any, place: int) -> Any:
    arguments = typing.get_args(member)
    return arguments[place] if len(arguments) > place else Any
