"""Where the arrays lie: on one device, sharded over a mesh, or spread by `shard_map`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlosses.core.types import Parts
from jaxlosses.testing.case import Case, split_floats
from jaxlosses.testing.laws._law import close, law

_MeanAndValues = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Array, Array]]
"""The mean of a loss, and its unreduced values, of inputs and masks."""


@law("an explicit mesh changes nothing")
def _explicit_mesh(case: Case) -> None:
    inputs, masks = _batch_for_devices(case)
    mesh = _mesh(AxisType.Explicit)
    rows, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    # Every array in another way: the first input and `where` are sharded, the others are on all devices, or in NumPy.
    first, *others = inputs
    placed = (jax.device_put(first, rows), *jax.device_put(others, everywhere))
    placed_masks = {**masks, "where": jax.device_put(masks["where"], rows)}
    loss = _with_gradient(_mean_and_values(case))
    _compare(loss(placed, placed_masks), case)
    with jax.set_mesh(mesh):  # all sharded, without masks; what JAX refuses it refuses when it traces
        loss.trace(jax.device_put(inputs, rows), {})


@law("shard_map changes nothing")
def _shard_map(case: Case) -> None:
    options = case.spec.options
    if case.is_batch_dependent and "axis_name" not in options:
        return
    pools = case.is_batch_reduced
    axis_name = {"axis_name": "data"} if "axis_name" in options and (pools or not case.spec.may_reduce_batch) else {}

    def local(inputs: tuple[Array, ...], masks: dict[str, Array]) -> tuple[Array, Array]:
        parts = case.loss(*inputs, **masks, **axis_name, reduction="parts")
        if not pools:  # one by one: jax 0.8.0 does not differentiate a psum of which only one part has a tangent
            parts = Parts(*(jax.lax.psum(part, "data") for part in parts))
        return parts.mean(), case.loss(*inputs, **masks, **axis_name)

    specs = {"in_specs": P("data"), "out_specs": (P(), P() if pools else P("data"))}
    loss = _with_gradient(jax.shard_map(local, mesh=_mesh(AxisType.Auto), **specs))
    inputs, masks = _batch_for_devices(case)
    _compare(loss(inputs, masks), case)
    loss.trace(inputs, {})


def _mesh(axis_type: AxisType) -> Mesh:
    """As many as there are of four devices, or two, or one."""
    devices = jax.devices()
    size = next(size for size in (4, 2, 1) if size <= len(devices))
    return jax.make_mesh((size,), ("data",), axis_types=(axis_type,), devices=devices[:size])


def _batch_for_devices(case: Case) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """Examples of four seeds, which four devices share evenly, with a mask and weights of examples."""
    inputs = tuple(np.concatenate(arrays) for arrays in zip(*map(case.inputs, range(4)), strict=True))
    index = np.arange(len(inputs[0]))
    return inputs, {"where": index % 5 != 1, "sample_weights": 0.5 + (index % 3).astype(np.float32)}


def _mean_and_values(case: Case) -> _MeanAndValues:
    return lambda inputs, masks: (case.loss(*inputs, **masks, reduction="mean"), case.loss(*inputs, **masks))


def _with_gradient(loss: _MeanAndValues) -> Any:
    """The mean, the values, and the gradients of the mean with respect to every input of floats, compiled."""

    @jax.jit
    def evaluate(inputs: tuple[Any, ...], masks: dict[str, Any]) -> tuple[Array, Array, list[Array]]:
        floats, rebuild = split_floats(inputs)
        value_and_grad = jax.value_and_grad(lambda floats: loss(rebuild(floats), masks), has_aux=True)
        (mean, values), grads = value_and_grad(floats)
        return mean, values, grads

    return evaluate


@functools.lru_cache(maxsize=256)
def _on_one_device(case: Case) -> tuple[Array, Array, list[Array]]:
    return _with_gradient(_mean_and_values(case))(*_batch_for_devices(case))


def _compare(placed: tuple[Array, Array, list[Array]], case: Case) -> None:
    for actual, expected in zip(jax.tree.leaves(placed), jax.tree.leaves(_on_one_device(case)), strict=True):
        close(actual, expected, rtol=2e-5, atol=1e-6 * float(np.max(np.abs(expected), initial=0)))
