"""A table of an objective's terms, stages and weights, with the shapes of the data if there is some."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxlosses.objective.evaluation import evaluate_parts, find_inputs, missing_path, on_one_device
from jaxlosses.objective.paths import describe_path, look_up
from jaxlosses.objective.schedules import Schedule
from jaxlosses.objective.term import Term


def describe(
    terms: Mapping[str, Term], boundaries: Sequence[int], combine: Any, learned: Sequence[str], data: Any = None
) -> str:
    """A table of terms, stages and weights; with the shapes of `data`, once every term has been traced on it."""
    if data is None:
        rows = [("term", "loss", "inputs", "stages", "weight")]
        for name, term in terms.items():
            rows.append((name, term.spec.name, _inputs(term), _stages(term, boundaries), _weight(term)))
        return f"{_table(rows)}\n\n{_summary(boundaries, combine, learned)}"
    shapes = jax.tree.map(_to_shape, data)
    rows = [("term", "loss", "inputs", "mask", "stages", "weight")]
    for name, term in terms.items():
        inputs, mask = _trace(name, term, shapes)
        rows.append((name, term.spec.name, inputs, mask, _stages(term, boundaries), _weight(term)))
    unread = _unread(terms, shapes)
    more = f"\nnot read by any term: {', '.join(unread)}" if unread else ""
    return f"{_table(rows)}\n\n{_summary(boundaries, combine, learned)}{more}"


def _to_shape(leaf: Any) -> Any:
    """The shape of an array or a number; anything else, such as a file's name that travels in the batch, as it is."""
    if isinstance(leaf, bool | int | float):
        return jax.eval_shape(lambda: leaf)
    is_array = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if is_array else leaf


def _trace(name: str, term: Term, shapes: Any) -> tuple[str, str]:
    """Evaluate the term on shapes, and raise what it raises; what it reads, and its mask."""
    leaves, structure = jax.tree.flatten(shapes)
    is_array = [isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves]

    missing = None

    def evaluate(arrays: list[Any]) -> Any:
        nonlocal missing
        following = iter(arrays)
        filled = [next(following) if array else leaf for leaf, array in zip(leaves, is_array, strict=True)]
        data = jax.tree.unflatten(structure, filled)
        if (missing := missing_path(term, data)) is not None:
            return [], None
        evaluate_parts(name, on_one_device(term), data)
        mask = None if term.where is None else look_up(data, term.where)
        return jax.tree.map(_array_or_none, ([*find_inputs(term, data).values()], mask))

    inputs, mask = jax.eval_shape(evaluate, [leaf for leaf, array in zip(leaves, is_array, strict=True) if array])
    if missing is not None:
        return f"off: {missing}", ""
    paths = term.inputs.values() if isinstance(term.inputs, Mapping) else term.inputs
    described = ", ".join(f"{describe_path(path)} {_shape(x)}" for path, x in zip(paths, inputs, strict=True))
    return described, "all" if term.where is None else f"{describe_path(term.where)} {_shape(mask)}"


def _array_or_none(leaf: Any) -> Any:
    return leaf if hasattr(leaf, "shape") or isinstance(leaf, bool | int | float) else None


def _summary(boundaries: Sequence[int], combine: Any, learned: Sequence[str]) -> str:
    stages = "; ".join(f"stage {stage} from step {step}" for stage, step in enumerate([0, *boundaries]))
    return f"combine: {combine}{f', learning {list(learned)}' if learned else ''}\n{stages}"


def _stages(term: Term, boundaries: Sequence[int]) -> str:
    if not boundaries:
        return "always"
    last = len(boundaries) if term.stop is None else min(term.stop - 1, len(boundaries))
    stages = str(term.start) if last == term.start else f"{term.start} to {last}"
    return stages + (f", ramp {term.ramp}" if term.ramp else "")


def _weight(term: Term) -> str:
    fixed = ", fixed" if term.is_fixed else ""
    if isinstance(term.weight, Schedule):
        options = ", ".join(f"{key}={value}" for key, value in term.weight.options.items())
        return f"{term.weight.name}({options}){fixed}"
    if callable(term.weight):
        return getattr(term.weight, "__qualname__", repr(term.weight)) + fixed
    return f"{term.weight:g}{fixed}" if term.weight else "0 (not in the program)"


def _inputs(term: Term) -> str:
    if isinstance(term.inputs, Mapping):
        return ", ".join(f"{name}={describe_path(path)}" for name, path in term.inputs.items())
    return ", ".join(map(describe_path, term.inputs))


def _shape(value: Any) -> str:
    leaves = jax.tree.leaves(value)
    return str(tuple(leaves[0].shape)) if len(leaves) == 1 else f"a tree of {len(leaves)}"


def _unread(terms: Mapping[str, Term], data: Any) -> list[str]:
    """Entries two levels down that no path touches; unknown if a path is a function."""
    paths = [path for term in terms.values() for path in term.paths]
    if not isinstance(data, Mapping) or any(callable(path) for path in paths):
        return []
    entries = []
    for key, value in data.items():
        entries += [f"{key}.{inner}" for inner in value] if isinstance(value, Mapping) else [str(key)]
    touches = lambda path, entry: f"{path}.".startswith(f"{entry}.") or f"{entry}.".startswith(f"{path}.")  # noqa: E731
    return [entry for entry in entries if not any(touches(path, entry) for path in paths)]


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
