"""Dictionaries that can be hashed, so that what holds them can be a static argument of jit."""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from jax.core import Tracer


class FrozenDict(dict[str, Any]):
    """A dict that does not change and hashes by value."""

    def __hash__(self) -> int:  # type: ignore[override]  # dict is unhashable because it changes
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("terms and options do not change; make a new Objective, for instance by dataclasses.replace")

    # Every one of them narrows a signature of dict to "never", which is the point and what the type checker minds.
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]


def thawed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with plain dicts for its frozen ones, which JAX takes for trees."""
    return {key: thawed(entry) if isinstance(entry, FrozenDict) else entry for key, entry in value.items()}


def frozen(value: Any) -> Any:
    """`value` with its dicts, lists and arrays, nested or not, as hashable values."""
    check_depth(value)
    return _frozen(value)


def check_depth(value: Any) -> None:
    """Raise for dicts and lists that are nested too deeply to be meant, or contain themselves."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [entry for node in level for entry in _entries(node) if isinstance(entry, Mapping | list | tuple)]
        level = list({id(node): node for node in inner}.values())  # once each, also if they are shared
        if not level:
            return
    raise ValueError(f"lists and dicts are nested more than {_DEEPEST} deep, or contain themselves")


_DEEPEST = 50


def _entries(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()


def _frozen(value: Any) -> Any:
    if isinstance(value, Tracer):
        raise ValueError(
            "a traced value cannot be part of a term or objective, which are parts of the program; put it among the "
            "data of the call, and its path into inputs={...}, or pass weights= to the call"
        )
    if isinstance(value, Mapping):
        return FrozenDict({key: _frozen(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_frozen(entry) for entry in value)
    if hasattr(value, "tolist"):
        return _frozen(value.tolist())
    return value
