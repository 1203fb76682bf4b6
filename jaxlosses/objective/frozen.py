"""Dictionaries that can be hashed, so that what holds them can be a static argument of jit."""

from collections.abc import Mapping
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

    # Every one of them narrows a signature of dict to "never", which is the point.
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]


def thawed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with plain dicts for its frozen ones, which JAX takes for trees."""
    return {key: thawed(entry) if isinstance(entry, FrozenDict) else entry for key, entry in value.items()}


def frozen(value: Any) -> Any:
    """`value` with its dicts, lists and arrays, nested or not, as hashable values."""
    if isinstance(value, Tracer):
        raise ValueError(
            "a traced value cannot be part of a term or objective, which are parts of the program; put it among the "
            "data of the call, and its path into inputs={...}, or pass weights= to the call"
        )
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(entry) for entry in value)
    if hasattr(value, "tolist"):
        return frozen(value.tolist())
    return value
