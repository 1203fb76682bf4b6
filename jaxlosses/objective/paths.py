"""Where a term finds its arrays: dotted paths into whatever the caller passes."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxlosses.core.errors import did_you_mean

Path = str | Callable[[Any], Any]


class MissingPathError(ValueError):
    """The data has nothing at a path."""


def look_up(data: Any, path: Path) -> Any:
    """Follow `"batch.box"` through mapping keys, sequence indices and attributes; or call a function of `data`."""
    if callable(path):
        try:
            return path(data)
        except (KeyError, IndexError, AttributeError) as error:
            if isinstance(error, AttributeError) and isinstance(error.obj, types.ModuleType):
                raise  # a typo in the function, such as jnp.logg, and nothing that the data lacks
            message = f"the function for an input raised {type(error).__name__}: {error}"
            raise MissingPathError(message) from error
    current, walked = data, "data"
    for step in path.split("."):
        found, following = _follow(current, step)
        if not found:
            known = _entries(current)
            raise MissingPathError(f"no {path!r}: {walked} has {known}{did_you_mean(step, known)}")
        current, walked = following, step if walked == "data" else f"{walked}.{step}"
    return current


def describe_path(path: Any) -> str:
    """A path as a word: itself, or the name of the function that it is."""
    return path if isinstance(path, str) else getattr(path, "__name__", repr(path))


def _follow(node: Any, step: str) -> tuple[bool, Any]:
    if isinstance(node, Mapping):
        key = int(step) if step not in node and step.isdigit() else step
        return key in node, node.get(key)
    if isinstance(node, Sequence) and step.isdigit():
        return int(step) < len(node), node[int(step)] if int(step) < len(node) else None
    return hasattr(node, step), getattr(node, step, None)


def _entries(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        return sorted(map(str, node))
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return list(getattr(node, "_fields"))  # noqa: B009  # a NamedTuple, which has no type of its own
    if isinstance(node, Sequence):
        return [str(index) for index in range(len(node))]
    return sorted(name for name in vars(node) if not name.startswith("_")) if hasattr(node, "__dict__") else []
