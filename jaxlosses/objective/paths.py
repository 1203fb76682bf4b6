"""Where a term finds its arrays: dotted paths into whatever the caller passes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxlosses.core.errors import did_you_mean

Path = str | Callable[[Any], Any]


def look_up(data: Any, path: Path) -> Any:
    """Follow `"batch.box"` through mapping keys, sequence indices and attributes; or call a function of `data`."""
    if callable(path):
        try:
            return path(data)
        except (KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"the function for an input raised {type(error).__name__}: {error}") from error
    here, walked = data, "data"
    for step in path.split("."):
        found, here_next = _step(here, step)
        if not found:
            known = _entries(here)
            raise ValueError(f"no {path!r}: {walked} has {known}{did_you_mean(step, known)}")
        here, walked = here_next, step if walked == "data" else f"{walked}.{step}"
    return here


def _step(here: Any, step: str) -> tuple[bool, Any]:
    if isinstance(here, Mapping):
        key = int(step) if step not in here and step.isdigit() else step
        return key in here, here.get(key)
    if isinstance(here, Sequence) and step.isdigit():
        return int(step) < len(here), here[int(step)] if int(step) < len(here) else None
    return hasattr(here, step), getattr(here, step, None)


def _entries(here: Any) -> list[str]:
    if isinstance(here, Mapping):
        return sorted(map(str, here))
    if isinstance(here, tuple) and hasattr(here, "_fields"):
        return list(getattr(here, "_fields"))  # noqa: B009  # a NamedTuple, which has no type of its own
    if isinstance(here, Sequence):
        return [str(index) for index in range(len(here))]
    return sorted(name for name in vars(here) if not name.startswith("_")) if hasattr(here, "__dict__") else []
