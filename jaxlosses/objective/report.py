"""What an objective says of itself: a table of its terms, with shapes if there is data to look at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from jaxlosses.objective.evaluation import alone, evaluated, inputs_of
from jaxlosses.objective.paths import look_up
from jaxlosses.objective.schedules import Schedule

if TYPE_CHECKING:
    from jaxlosses.objective import Objective
    from jaxlosses.objective.term import Term


def table(objective: "Objective") -> str:
    """Terms, stages and weights."""
    rows = [("term", "loss", "inputs", "stages", "weight")]
    for name, term in objective.terms.items():
        rows.append((name, term.spec.name, _paths(term), _stages(term, objective), _weight(term)))
    return f"{_aligned(rows)}\n\n{_summary(objective)}"


def checked_table(objective: "Objective", data: Any) -> str:
    """The same with the shapes of `data`, once every term has been traced on it."""
    rows = [("term", "loss", "inputs", "mask", "stages", "weight")]
    shapes = jax.tree.map(_described, data)
    for name, term in objective.terms.items():
        _trace(name, term, shapes)
        read = inputs_of(term, shapes)
        keys = term.inputs.values() if isinstance(term.inputs, Mapping) else term.inputs
        inputs = ", ".join(f"{_path(key)} {_shape(x)}" for key, x in zip(keys, read.values(), strict=True))
        mask = "all" if term.where is None else f"{_path(term.where)} {_shape(look_up(shapes, term.where))}"
        rows.append((name, term.spec.name, inputs, mask, _stages(term, objective), _weight(term)))
    unread = _unread(objective, shapes)
    more = f"\nnot read by any term: {', '.join(unread)}" if unread else ""
    return f"{_aligned(rows)}\n\n{_summary(objective)}{more}"


def _described(leaf: Any) -> Any:
    """The shape of an array or a number; anything else, such as a file's name that travels in the batch, as it is."""
    is_array = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    return (
        jax.eval_shape(lambda: leaf)
        if isinstance(leaf, bool | int | float)
        else (jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if is_array else leaf)
    )


def _trace(name: str, term: "Term", shapes: Any) -> None:
    """Evaluate the term on shapes, and raise what it raises."""
    leaves, structure = jax.tree.flatten(shapes)
    traced = [isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves]

    def evaluate(arrays: list[Any]) -> Any:
        following = iter(arrays)
        whole = [next(following) if is_array else leaf for leaf, is_array in zip(leaves, traced, strict=True)]
        return evaluated(name, alone(term), jax.tree.unflatten(structure, whole))

    jax.eval_shape(evaluate, [leaf for leaf, is_array in zip(leaves, traced, strict=True) if is_array])


def _summary(objective: "Objective") -> str:
    steps = [0, *objective.boundaries]
    stages = "; ".join(f"stage {stage} from step {step}" for stage, step in enumerate(steps))
    learned = sorted(objective.init())
    return f"combine: {objective.combine}{f', learning {learned}' if learned else ''}\n{stages}"


def _stages(term: "Term", objective: "Objective") -> str:
    if not objective.boundaries:
        return "always"
    last = len(objective.boundaries) if term.stop is None else term.stop - 1
    stages = str(term.start) if last == term.start else f"{term.start} to {last}"
    return stages + (f", ramp {term.ramp}" if term.ramp else "")


def _weight(term: "Term") -> str:
    if isinstance(term.weight, Schedule):
        return f"{term.weight.name}({', '.join(f'{key}={value}' for key, value in term.weight.options.items())})"
    if callable(term.weight):
        return getattr(term.weight, "__qualname__", repr(term.weight))
    return f"{term.weight:g}" if term.weight else "0 (not in the program)"


def _paths(term: "Term") -> str:
    if isinstance(term.inputs, Mapping):
        return ", ".join(f"{name}={_path(path)}" for name, path in term.inputs.items())
    return ", ".join(map(_path, term.inputs))


def _path(path: Any) -> str:
    return path if isinstance(path, str) else getattr(path, "__name__", repr(path))


def _shape(value: Any) -> str:
    leaves = jax.tree.leaves(value)
    return str(tuple(leaves[0].shape)) if len(leaves) == 1 else f"a tree of {len(leaves)}"


def _unread(objective: "Objective", data: Any) -> list[str]:
    """Entries two levels down that no path touches; unknown if a path is a function."""
    paths = []
    for term in objective.terms.values():
        inputs = term.inputs.values() if isinstance(term.inputs, Mapping) else term.inputs
        paths += [path for path in (*inputs, term.where, term.sample_weights) if path is not None]
    if not isinstance(data, Mapping) or any(callable(path) for path in paths):
        return []
    entries = []
    for key, value in data.items():
        entries += [f"{key}.{inner}" for inner in value] if isinstance(value, Mapping) else [str(key)]
    touches = lambda path, entry: f"{path}.".startswith(f"{entry}.") or f"{entry}.".startswith(f"{path}.")  # noqa: E731
    return [entry for entry in entries if not any(touches(path, entry) for path in paths)]


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
