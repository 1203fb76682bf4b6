"""What makes a loss the same on one device and on many.

psum, any_true, all_gather, ...    over the devices of `shard_map` or `pmap`, if there is an axis name
zeros_like, vary_like              what JAX wants to be told there
any_placement                      arrays sharded over a mesh, under `jit`
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import (
    AbstractMesh,
    AxisType,
    NamedSharding,
    PartitionSpec,
    get_abstract_mesh,
    reshard,
    use_abstract_mesh,
)
from jaxtyping import Bool, Int

AxisName: TypeAlias = Hashable
"""The mapped axis of `jax.shard_map` or `jax.pmap`, or a tuple of them; None or () for one device's batch alone."""

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

# Inside shard_map or pmap


def psum(x: Any, axis_name: AxisName | None) -> Any:
    """The sum over all devices."""
    return jax.lax.psum(x, axis_name) if _axes(axis_name) else x


def any_true(x: Bool[Array, "..."], axis_name: AxisName | None) -> Bool[Array, "..."]:
    """Where `x` is True on some device."""
    return jax.lax.psum(x.astype(jnp.int32), axis_name) > 0 if _axes(axis_name) else x


def all_gather(x: Any, axis_name: AxisName | None, *, axis: int = 0) -> Any:
    """The arrays of all devices, one behind the other along `axis`; gradients flow back to each."""
    if not _axes(axis_name):
        return x
    return jax.tree.map(lambda array: jax.lax.all_gather(array, axis_name, axis=axis, tiled=True), x)


def global_offset(size: int, axis_name: AxisName | None) -> Int[Array, ""] | int:
    """Where this device's `size` rows begin among those that `all_gather` returns."""
    return size * jax.lax.axis_index(axis_name) if _axes(axis_name) else 0


def check_axis_name(call: str, axis_name: AxisName | None) -> None:
    """Raise for an axis that is not there; and inside `shard_map` unless it is said what the batch is.

    There JAX knows the axes that are manual. (Inside `vmap` there is none: a batch of batches.)
    """
    if axis_name is None and (manual := manual_axes()):
        axes = repr(manual[0]) if len(manual) == 1 else repr(manual)
        raise ValueError(
            f"{call}: the batch is spread over devices here (mesh axes {manual}), and its examples depend on each "
            f"other; give axis_name={axes} for the batch of all devices, or axis_name=() if each device's own is meant"
        )
    if _axes(axis_name):
        try:
            jax.lax.axis_size(axis_name)
        except NameError:
            raise ValueError(
                f"{call}: axis_name={axis_name!r} is no mapped axis here; it is for calls inside jax.shard_map or "
                "jax.pmap over that axis, and on one device, or under jit alone, it is not needed"
            ) from None


def manual_axes() -> tuple[str, ...]:
    """The mesh axes over which the surrounding `shard_map` is manual."""
    return tuple(getattr(get_abstract_mesh(), "manual_axes", ()))


def zeros_like(shape: jax.ShapeDtypeStruct) -> Array:
    """Zeros that, for the types of `shard_map`, differ between devices over the same axes as what they stand for."""
    return _vary(jnp.zeros(shape.shape, shape.dtype), _varying_axes(shape))


def vary_like(x: _T, *others: Any) -> _T:
    """Arrays that, for the types of `shard_map`, differ between devices wherever others do: a scan's first carry."""
    axes = frozenset[str]().union(*(_varying_axes(jax.typeof(other)) for other in jax.tree.leaves(others)))
    return jax.tree.map(lambda array: _vary(array, axes), x)


def _axes(axis_name: AxisName | None) -> bool:
    return axis_name is not None and axis_name != ()


def _varying_axes(like: Any) -> frozenset[str]:
    kind = getattr(like, "manual_axis_type", None)  # JAX 0.10
    return frozenset(kind.varying if kind is not None else getattr(like, "vma", None) or ())


def _vary(x: Array, axes: Iterable[str]) -> Array:
    axes = tuple(sorted(set(axes) - _varying_axes(jax.typeof(x))))
    if not axes:
        return x
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(x, axes, to="varying")
    return getattr(jax.lax, "pvary")(x, axes)  # noqa: B009  # JAX 0.8


# Arrays sharded over a mesh


def any_placement(function: _F) -> _F:
    """`function`, for arguments that are sharded over an Explicit mesh as well. It must use no other arrays.

    There JAX wants to be told of every gather, sort, scan and reshape where its result lies. Inside the function the
    axes of the mesh are Auto instead, and XLA decides. A result is sharded like the first argument that is sharded
    along its leading axes: values like predictions, and a scalar not at all. Where no axis is Explicit (one device, an
    Auto mesh, `shard_map` over all axes) nothing is changed.

    An argument that is a function (a network) may use any arrays: it runs outside, as if the caller had called it.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays = [leaf for leaf in leaves if isinstance(leaf, Array)]
        mesh = _explicit_mesh(arrays)
        if mesh is None:
            return function(*args, **kwargs)
        region = _AutoRegion(mesh, tuple(map(jax.typeof, arrays)))

        def on_arrays(arrays: list[Array]) -> Any:
            following = iter(arrays)
            every = [next(following) if isinstance(leaf, Array) else leaf for leaf in leaves]
            args, kwargs = jax.tree.unflatten(tree, every)
            return region.run(function, args, kwargs)

        # What the gradient keeps must not be of the Auto mesh where JAX wants it outside: in `shard_map`, and before
        # JAX 0.10 in `scan` and `cond` too. It is computed again instead, unless XLA sees that it is the same.
        if manual_axes() or jax.__version_info__ < (0, 10):
            on_arrays = jax.checkpoint(on_arrays, prevent_cse=False)
        return on_arrays(arrays)

    return cast(_F, call)


@dataclasses.dataclass(frozen=True)
class _AutoRegion:
    """Code in which the Explicit axes of a mesh are Auto.

    Attributes:
        mesh: as it is outside.
        arguments: the types of the arrays that come in.
    """

    mesh: AbstractMesh
    arguments: tuple[Any, ...]

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a function inside."""
        with use_abstract_mesh(self._inside):
            args, kwargs = jax.tree.map(self._enter, (args, kwargs))
            out = function(*args, **kwargs)
        return jax.tree.map(self._leave, out)

    @property
    def _inside(self) -> AbstractMesh:
        return self.mesh.update_axis_types(dict.fromkeys(self.mesh.explicit_axes, AxisType.Auto))

    def _enter(self, leaf: Any) -> Any:
        if isinstance(leaf, Array):
            is_explicit = jax.typeof(leaf).sharding.mesh.explicit_axes
            return reshard(leaf, NamedSharding(self._inside, PartitionSpec())) if is_explicit else leaf
        return self._run_outside(leaf) if callable(leaf) and not isinstance(leaf, type) else leaf

    def _leave(self, leaf: Any) -> Any:
        if not isinstance(leaf, Array):
            return leaf
        return reshard(leaf, NamedSharding(self.mesh, _spec_of_leading_axes(leaf.shape, self.arguments)))

    def _run_outside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with use_abstract_mesh(self.mesh):
                args, kwargs = jax.tree.map(self._leave, (args, kwargs))
                out = function(*args, **kwargs)
            return jax.tree.map(self._enter, out)

        return call


def _explicit_mesh(arrays: list[Array]) -> AbstractMesh | None:
    """The mesh that has Explicit axes, of `jax.set_mesh` or else of an array; None if there is none."""
    meshes = itertools.chain([get_abstract_mesh()], (jax.typeof(array).sharding.mesh for array in arrays))
    return next((mesh for mesh in meshes if mesh.explicit_axes), None)


def _spec_of_leading_axes(shape: tuple[int, ...], arrays: tuple[Any, ...]) -> PartitionSpec:
    """How the first of the arrays that is sharded along the leading axes of `shape` is sharded there."""
    for array in arrays:
        axes = zip(array.sharding.spec, array.shape, shape, strict=False)
        spec = [names for names, *_ in itertools.takewhile(lambda axis: axis[1] == axis[2], axes)]
        if any(spec):
            return PartitionSpec(*spec)
    return PartitionSpec()
