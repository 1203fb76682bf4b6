"""On an Explicit mesh a loss is what it is on one device, whatever is sharded, and however it is called.

Every loss with its batch sharded: the law "an explicit mesh changes nothing".
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxlosses as jl
from jaxlosses.core import checks
from tests.cases import CASES

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 8, 4)).astype(np.float32)
IDS = np.arange(8) % 4
MESH = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2, devices=jax.devices()[:4])


def place(array, *spec, mesh=MESH):
    return jax.device_put(array, NamedSharding(mesh, P(*spec)))


def close(actual, expected):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), actual, expected)


def info_nce(a, b):
    return jl.info_nce_loss(a, b, reduction="mean")


@pytest.mark.parametrize(
    "context", [contextlib.nullcontext, lambda: jax.set_mesh(MESH)], ids=["no mesh set", "mesh set"]
)
def test_each_way_to_call(context):
    a, b = place(A, "data", "model"), place(B, "data")
    value_and_grads = jax.value_and_grad(info_nce, (0, 1))
    expected = jax.jit(value_and_grads)(A, B)
    with context():
        close(jax.jit(value_and_grads)(a, b), expected)
        close(jax.jit(info_nce)(a, B), expected[0])
        direction = jax.jit(lambda a, b: jax.jvp(jax.grad(info_nce), (a, b), (b, a))[1])
        close(direction(a, b), direction(A, B))


def test_without_jit():
    close(info_nce(place(A, "data"), place(B, "data")), info_nce(A, B))


SECOND_AXIS = {
    "softmax_cross_entropy-2": ("data", None, "model"),  # with class weights, of sharded classes
    "kl_divergence": ("data", "model"),
    "ciou_loss": ("data", None, "model"),
    "tversky_loss-2": ("data", None, "model"),
    "lovasz_softmax_loss": (None, None, "data"),
    "lovasz_hinge_loss": ("data", None, "model"),
    "style_loss": ("data", None, "model"),
    "ctc_loss": ("data", "model"),
    "sequence_cross_entropy": ("data", "model"),
}


@pytest.mark.parametrize("name", SECOND_AXIS)
def test_other_axes_than_the_batch(name):
    """Classes, coordinates, pixels, frames: those that two devices share evenly."""
    case = CASES[name]
    inputs = tuple(np.concatenate(arrays) for arrays in zip(case.inputs(0), case.inputs(1), strict=True))
    if "time" in case.spec.input_kind:
        inputs = tuple(np.concatenate([x, x], axis=1) for x in inputs)

    def sharded(x):
        axes = zip(SECOND_AXIS[name], x.shape, strict=False)
        return place(x, *(mesh_axis if size % 2 == 0 else None for mesh_axis, size in axes))

    assert any(len(set(jax.typeof(sharded(x)).sharding.spec[1:]) - {None}) for x in inputs)
    close(case.mean(*map(sharded, inputs)), case.mean(*inputs))


@pytest.mark.parametrize(
    "name", ["squared_error", "softmax_cross_entropy", "sigmoid_focal_loss", "dice_loss", "iou_loss"]
)
def test_nothing_is_gathered_of_what_needs_no_other_rows(name):
    case = CASES[name]
    inputs = tuple(place(x[:4], "data") for x in case.inputs())
    values_and_pull = jax.jit(lambda x, *others: jax.vjp(lambda x: case.loss(x, *others), x)[1](case.loss(x, *others)))
    assert "all-gather" not in values_and_pull.lower(*inputs).compile().as_text()
    assert jax.typeof(case.values(*inputs)).sharding.spec[0] == "data"


def test_results_are_sharded_like_the_first_argument_that_is():
    values = jax.jit(jl.squared_error)(A, place(B, "data", "model"))
    assert jax.typeof(values).sharding.spec == P("data", "model")
    values, mean = jax.jit(lambda a: (info_nce(a, a), jl.info_nce_loss(a, a)))(place(A, "data", "model"))
    assert jax.typeof(values).sharding.spec == P()
    assert jax.typeof(mean).sharding.spec == P("data")


def test_options_that_are_arrays():
    def loss(a, ids, class_weights, label_smoothing):
        keywords = {"class_weights": class_weights, "label_smoothing": label_smoothing}
        return jl.softmax_cross_entropy(a, ids, **keywords, reduction="mean")

    grads = jax.jit(jax.grad(loss, (0, 2, 3)))
    weights, smoothing = np.arange(1, 5, dtype=np.float32), np.float32(0.1)
    placed = place(A, "data", "model"), place(IDS, "data"), place(weights, "model"), place(smoothing)
    close(grads(*placed), grads(A, IDS, weights, smoothing))


def test_a_network_uses_arrays_of_the_mesh():
    images, targets = RNG.random((2, 4, 4, 4, 3)).astype(np.float32)
    kernel = RNG.normal(size=(3, 4)).astype(np.float32)

    def loss(kernel, images, targets):
        extract = lambda x: {"wide": jnp.tanh(x @ kernel), "deep": jnp.tanh(x @ kernel)[:, ::2]}  # noqa: E731
        return jl.style_loss(images, targets, extract=extract, reduction="mean")

    value_and_grads = jax.jit(jax.value_and_grad(loss, (0, 1)))
    placed = place(kernel, None, "model"), place(images, "data"), place(targets, "data")
    close(value_and_grads(*placed), value_and_grads(kernel, images, targets))


TRANSFORMATIONS = {
    "vmap": lambda loss: lambda s, t: jnp.sum(jax.vmap(loss)(s, t)),
    "map": lambda loss: lambda s, t: jnp.sum(jax.lax.map(lambda x: loss(*x), (s, t))),
    "cond": lambda loss: (
        lambda s, t: jax.lax.cond(jnp.sum(t) > 1e6, lambda s, t: 0.0, lambda s, t: loss(s[0], t[0]), s, t)
    ),
    "checkpoint": lambda loss: lambda s, t: jax.checkpoint(loss)(s[1], t[1]),
    "jit": lambda loss: lambda s, t: jax.jit(loss)(s[2], t[2]),
}


@pytest.mark.parametrize(
    "context", [contextlib.nullcontext, lambda: jax.set_mesh(MESH)], ids=["no mesh set", "mesh set"]
)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_gradients_through_transformations(transformation, context):
    f = jax.jit(jax.value_and_grad(TRANSFORMATIONS[transformation](info_nce), (0, 1)))
    stacks = np.stack([A, B, A + B]), np.stack([B, 2 * A, A])
    expected = f(*stacks)
    with context():
        close(f(*(place(stack, None, "data", "model") for stack in stacks)), expected)


def test_vmap_over_what_is_sharded():
    f = jax.jit(jax.vmap(jax.grad(info_nce)))
    stacks = np.stack([A, B]), np.stack([B, 2 * A])
    close(f(*(place(stack, "data", None, "model") for stack in stacks)), f(*stacks))


def test_shard_map_over_one_axis_of_an_explicit_mesh():
    local = lambda a, b: jax.lax.pmean(jl.info_nce_loss(a, b, axis_name="data", reduction="mean"), "data")  # noqa: E731
    over_rows = jax.shard_map(local, mesh=MESH, in_specs=P("data"), out_specs=P(), axis_names={"data"})
    with jax.set_mesh(MESH):
        value_and_grads = jax.jit(jax.value_and_grad(over_rows, (0, 1)))
        actual = value_and_grads(place(A, "data", "model"), place(B, "data", "model"))
    close(actual, jax.value_and_grad(info_nce, (0, 1))(A, B))


def test_checked():
    loss = jl.checked(jax.jit(lambda a, ids: jl.softmax_cross_entropy(a, ids, reduction="mean")))
    a, ids = place(A, "data", "model"), place(IDS, "data")
    close(loss(a, ids), jl.softmax_cross_entropy(A, IDS, reduction="mean"))
    with pytest.raises(Exception, match=r"labels must be class ids in \[0, 4\)"):
        loss(a, ids + 1)


def test_a_loss_of_ones_own_may_use_other_arrays():
    offset = place(np.ones(4, np.float32), "model")

    @jl.register("shifted_error")
    def shifted_error(predictions, targets, *, where=None, sample_weights=None, reduction="none"):
        p, t, _ = checks.prepare_same_shape("shifted_error", None, None, predictions=predictions, targets=targets)
        return p - t + offset[None]

    try:
        close(jax.jit(shifted_error)(place(A, "data", "model"), place(B, "data", "model")), A - B + 1)
    finally:
        jl.unregister("shifted_error")


def test_an_auto_mesh():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    f = jax.jit(jax.value_and_grad(lambda a: jl.semi_hard_triplet_loss(a, IDS, reduction="mean")))
    with jax.set_mesh(mesh):
        actual = f(place(A, "data", mesh=mesh))
    close(actual, f(A))
