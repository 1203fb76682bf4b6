"""One device or eight, one batch or four microbatches: the same losses and gradients, with masks that differ."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxlosses as jl

BATCH, DEVICES, MICRO = 32, 8, 4
OBJECTIVES = {
    combine: jl.Objective(
        {
            "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label"), where="batch.known"),
            "focal": jl.Term("softmax_focal_loss", ("out.logits", "batch.label"), start=1, ramp=10),
            "box": jl.Term("ciou_loss", ("out.box", "batch.box"), where="batch.has_box", start=1, weight=2.0),
            "depth": jl.Term("huber_loss", ("out.depth", "batch.depth"), where="batch.valid", sample_weights="batch.w"),
            "never": jl.Term("absolute_error", ("out.depth", "batch.depth"), where="batch.nothing"),
        },
        boundaries=[100],
        combine=combine,
    )
    for combine in ("sum", "uncertainty", "revised_uncertainty")
}


def make_batch():
    rng = np.random.default_rng(0)
    corners, sides = rng.random((BATCH, 2)), 0.5 + rng.random((BATCH, 2))
    ragged = rng.random(BATCH) < np.repeat(np.linspace(0.1, 0.9, DEVICES), BATCH // DEVICES)
    ragged[:4] = False  # the first device and the first microbatch have hardly anything
    return {
        "x": rng.normal(size=(BATCH, 6)),
        "label": rng.integers(0, 5, BATCH),
        "box": np.concatenate([corners, corners + sides], 1),
        "depth": np.where(rng.random((BATCH, 3)) < 0.2, np.nan, rng.normal(size=(BATCH, 3))),
        "known": ragged,
        "has_box": rng.random(BATCH) < 0.4,
        "valid": rng.random((BATCH, 3)) < 0.5,
        "w": rng.random(BATCH),
        "nothing": np.zeros(BATCH, bool),
    }


def net(params, x):
    h = jnp.tanh(x @ params["hidden"])
    first = h @ params["corner"]
    return {
        "logits": h @ params["class"],
        "box": jnp.concatenate([first, first + jnp.exp(h @ params["sides"])], axis=1),
        "depth": h @ params["depth"],
    }


def setting(combine):
    shapes = {"hidden": (6, 8), "class": (8, 5), "corner": (8, 2), "sides": (8, 2), "depth": (8, 3)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    objective = OBJECTIVES[combine]
    weights = {n: jax.random.normal(k, s) / 3 for k, (n, s) in zip(keys, shapes.items(), strict=True)}
    params = {"net": weights, "loss": jax.tree.map(lambda s: s + 0.3, objective.init())}
    batch = {k: jnp.asarray(v, jnp.float32) if v.dtype == float else jnp.asarray(v) for k, v in make_batch().items()}
    batch["depth"] = jnp.where(jnp.isnan(batch["depth"]) & batch["valid"], 0, batch["depth"])  # NaN only where masked
    return objective, params, batch


def loss(objective, params, batch, step, **keywords):
    return objective(
        {"out": net(params["net"], batch["x"]), "batch": batch}, step=step, params=params["loss"], **keywords
    )


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), one, other)


@functools.cache
def on_one_device(combine, step):
    objective, params, batch = setting(combine)
    return jax.jit(jax.value_and_grad(functools.partial(loss, objective), has_aux=True))(params, batch, step)


@pytest.fixture
def mesh():
    return Mesh(np.array(jax.devices()[:DEVICES]), ("data",))


# Stage 0 of a sum, stage 1 of learned weights: the other pairs have the same code.
SETTINGS = pytest.mark.parametrize(("combine", "step"), [("sum", 50), ("uncertainty", 105)])


@SETTINGS
def test_jit_with_sharded_arrays(combine, step, mesh):
    objective, params, batch = setting(combine)
    batch = jax.device_put(batch, NamedSharding(mesh, P("data")))
    params = jax.device_put(params, NamedSharding(mesh, P()))
    close(
        jax.jit(jax.value_and_grad(functools.partial(loss, objective), has_aux=True))(params, batch, step),
        on_one_device(combine, step),
    )


@pytest.mark.parametrize("vma", [True, False], ids=["checked", "unchecked"])
@SETTINGS
def test_shard_map(combine, step, vma, mesh):
    objective, params, batch = setting(combine)

    def local(params, batch, step):
        value = functools.partial(loss, objective, axis_name="data")
        (total, aux), grads = jax.value_and_grad(value, has_aux=True)(params, batch, step)
        return (total, aux), jax.lax.pmean(grads, "data")

    step_of_all = jax.shard_map(local, mesh=mesh, in_specs=(P(), P("data"), P()), out_specs=P(), check_vma=vma)
    close(jax.jit(step_of_all)(params, batch, jnp.asarray(step)), on_one_device(combine, step))


@pytest.mark.filterwarnings("ignore:.*pmap.*:DeprecationWarning")
@SETTINGS
def test_pmap(combine, step):
    objective, params, batch = setting(combine)

    @functools.partial(jax.pmap, axis_name="data", in_axes=(None, 0, None))
    def local(params, batch, step):
        value = functools.partial(loss, objective, axis_name="data")
        (total, aux), grads = jax.value_and_grad(value, has_aux=True)(params, batch, step)
        return (total, aux), jax.lax.pmean(grads, "data")

    shards = jax.tree.map(lambda x: x.reshape(DEVICES, BATCH // DEVICES, *x.shape[1:]), batch)
    close(jax.tree.map(lambda x: x[0], local(params, shards, jnp.asarray(step))), on_one_device(combine, step))


@pytest.mark.parametrize(("combine", "step"), [("sum", 50), ("uncertainty", 105), ("revised_uncertainty", 105)])
def test_microbatches_add_up(combine, step):
    objective, params, batch = setting(combine)
    out = jax.eval_shape(net, params["net"], batch["x"])  # no forward pass of the whole batch
    counts = objective.counts({"out": out, "batch": batch})
    micro = jax.tree.map(lambda x: x.reshape(MICRO, BATCH // MICRO, *x.shape[1:]), batch)

    @jax.jit
    def add(params, micro, counts):
        value = lambda params, part: loss(objective, params, part, step, counts=counts)  # noqa: E731
        parts = [
            jax.value_and_grad(value, has_aux=True)(params, jax.tree.map(lambda x, i=i: x[i], micro))
            for i in range(MICRO)
        ]
        totals, grads = [part[0][0] for part in parts], [part[1] for part in parts]
        return sum(totals), jax.tree.map(lambda *g: sum(g), *grads)

    total, grads = add(params, micro, counts)
    (expected, _), expected_grads = on_one_device(combine, step)
    close((total, grads), (expected, expected_grads))


def test_means_of_means_are_wrong():
    """What the two tests above would see without counts and axis_name: the masks are ragged enough to matter."""
    objective, params, batch = setting("sum")
    parts = [jax.tree.map(lambda x, i=i: x[i * 8 : i * 8 + 8], batch) for i in range(MICRO)]
    mean = sum(loss(objective, params, part, 105)[0] for part in parts) / MICRO
    assert abs(mean - on_one_device("sum", 105)[0][0]) > 0.01


@pytest.mark.parametrize("combine", ["log", "geometric", "soft_optimal"])
def test_what_does_not_add_up_refuses_counts(combine):
    objective = jl.Objective({"a": jl.Term("squared_error", ("x", "y"))}, combine=combine)
    data = {"x": jnp.ones(2), "y": jnp.zeros(2)}
    with pytest.raises(
        ValueError, match=f"^totals of '{combine}' do not add up over microbatches: counts= needs a sum$"
    ):
        objective(data, counts=objective.counts(data))
    with pytest.raises(ValueError, match="counts: no term 'b'; there are"):
        jl.Objective({"a": jl.Term("squared_error", ("x", "y"))})(data, counts={"b": 1.0})
