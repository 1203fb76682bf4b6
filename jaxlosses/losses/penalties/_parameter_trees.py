"""The parameters in a tree, by their paths: Flax nnx and linen, Haiku, Equinox, and any other tree of arrays.

    tree                                  what counts                        a path
    nnx module, nnx state                 `nnx.Param` and its subclasses     "encoder/kernel"
    linen or Haiku parameters, dicts      every floating array               "encoder/kernel", "linear/w"
    Equinox module                        every floating array               "layers/0/weight"

No framework is imported. A node of a tree is known by the names of its classes.
"""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.errors import did_you_mean

Select: TypeAlias = str | Sequence[str] | Callable[[str, Any], bool]
"""Which parameters count: a pattern of paths such as `"*/kernel"`, several patterns, or a function of path and leaf."""

_KeyPath: TypeAlias = tuple[Any, ...]
_NUM_PATHS_SHOWN = 6


def select_parameters(call: str, tree: Any, select: Select | None) -> list[tuple[str, Array | np.ndarray]]:
    """The floating arrays in `tree` that count, each with its path.

    In a pattern `*` stands for anything, `/` included, `?` for one character and `[ab]` for one of these (`fnmatch`).
    A leading `*/` may stand for nothing: `"*/kernel"` takes the top-level `kernel` too.

    Args:
        call: the name of the penalty, for messages.
        tree: the parameters.
        select: which of them count; None for all.

    Raises:
        ValueError: if `select`, or one of its patterns, takes none of them.
        TypeError: if `select` is neither patterns nor a function, or a leaf is no array.
    """
    # Complex arrays go on to the penalty, which refuses them.
    parameters = [(path, x) for path, x in _arrays_with_path(call, tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    if select is None:
        return parameters
    if callable(select):
        selected = [(path, x) for path, x in parameters if select(path, x)]
    else:
        patterns = _to_patterns(call, select)
        idle = [pattern for pattern in patterns if not any(_matches(path, pattern) for path, _ in parameters)]
        if idle and len(patterns) > 1:
            known = _known_paths(idle[0], [path for path, _ in parameters])
            raise ValueError(f"{call}: {idle[0]!r} in select={select!r} takes no parameter; {known}")
        selected = [(path, x) for path, x in parameters if any(_matches(path, pattern) for pattern in patterns)]
    if not selected:
        known = _known_paths(select, [path for path, _ in parameters])
        raise ValueError(f"{call}: select={_describe(select)} takes no parameter; {known}")
    return selected


def _arrays_with_path(call: str, tree: Any) -> Iterator[tuple[str, Any]]:
    for outer, node in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_framework_node):
        for inner, leaf in _leaves(node):
            path = jax.tree_util.keystr(outer + inner, simple=True, separator="/")
            yield (
                path,
                leaf
                if hasattr(leaf, "dtype")
                else checks.to_array(call, f"params[{path}]" if path else "params", leaf),
            )


def _leaves(node: Any) -> list[tuple[_KeyPath, Any]]:
    """What counts of a leaf, or of a node that `_is_framework_node` names."""
    if _is_nnx_container(node):
        return _nnx_leaves(node)
    if _is_box(node):
        return _unboxed(node)
    leaves = jax.tree_util.tree_leaves_with_path(node)
    if _is_instance(node, "equinox", {"Module"}):  # its leaves are activation functions and Python numbers too
        return [(keys, leaf) for keys, leaf in leaves if isinstance(leaf, Array | np.ndarray)]
    return leaves


def _nnx_leaves(node: Any) -> list[tuple[_KeyPath, Any]]:
    """The `nnx.Param`s of a module or state; one without any Variable (`nnx.as_pure`) is a tree like any other."""
    if _is_instance(node, "flax.nnx", {"FlatState"}):  # a sequence of pairs, which JAX flattens to positions
        node = {"/".join(map(str, path)): leaf for path, leaf in node}
    leaves = jax.tree_util.tree_leaves_with_path(node, is_leaf=_is_box)
    variables = [(keys, leaf) for keys, leaf in leaves if _is_box(leaf)]
    if not variables:
        return leaves
    # Layers that share a Variable have one parameter, as in `nnx.state`. (Not inside `jax.jit(f)(module)`, where JAX
    # hands over two Variables: `nnx.jit`, or `nnx.split` outside, keep them one.)
    unique: dict[int, tuple[_KeyPath, Any]] = {}
    for keys, variable in variables:
        unique.setdefault(id(variable), (keys, variable))
    return [(keys + inner, leaf) for keys, variable in unique.values() for inner, leaf in _unboxed(variable)]


def _unboxed(box: Any) -> list[tuple[_KeyPath, Any]]:
    """What is inside, without the name of the field that it is in; nothing if it is a Variable but no `nnx.Param`."""
    if _is_instance(box, "flax.nnx", {"Variable"}) and not _is_instance(box, "flax.nnx", {"Param"}):
        return []
    return [(keys[1:], leaf) for keys, leaf in jax.tree_util.tree_leaves_with_path(box)]


def _is_framework_node(node: Any) -> bool:
    return _is_nnx_container(node) or _is_box(node) or _is_instance(node, "equinox", {"Module"})


def _is_nnx_container(node: Any) -> bool:
    return _is_instance(node, "flax.nnx", {"Module", "Pytree", "State", "FlatState"})


def _is_box(node: Any) -> bool:
    """Whether it is an array with metadata: a Variable of nnx, or a `Partitioned` of linen."""
    return _is_instance(node, "flax.nnx", {"Variable"}) or _is_instance(node, "flax.core", {"AxisMetadata"})


def _is_instance(node: Any, package: str, names: set[str]) -> bool:
    """`isinstance`, for classes that cannot be imported here."""
    return any(cls.__name__ in names and f"{cls.__module__}.".startswith(f"{package}.") for cls in type(node).__mro__)


def _to_patterns(call: str, select: Any) -> list[str]:
    patterns = [select] if isinstance(select, str) else select
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(
            f"{call}: select must be a pattern such as '*/kernel', a list of patterns, or a function of (path, leaf), "
            f"got {select!r}"
        )
    return list(patterns)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern.removeprefix("*/"))


def _describe(select: Select) -> str:
    return getattr(select, "__name__", repr(select)) if callable(select) else repr(select)


def _known_paths(select: Select, paths: list[str]) -> str:
    """The paths there are, and the pattern that may have been meant."""
    if not paths:
        return "there are no floating arrays (or, for nnx, no nnx.Param) in the tree"
    shown = ", ".join(map(repr, paths[:_NUM_PATHS_SHOWN]))
    more = f" and {len(paths) - _NUM_PATHS_SHOWN} more" if len(paths) > _NUM_PATHS_SHOWN else ""
    there_are = f"there are {shown}{more}"
    if callable(select):
        return there_are
    ends = [f"*/{path.rpartition('/')[2]}" for path in paths]
    patterns = [select] if isinstance(select, str) else select
    hints = (did_you_mean(pattern, [*paths, *ends]) for pattern in patterns)
    return there_are + next((hint for hint in hints if hint), "")
