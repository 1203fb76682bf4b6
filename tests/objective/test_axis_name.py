"""Inside `shard_map` an objective is told whether the devices' batches belong together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxlosses as jl

OBJECTIVE = jl.Objective(
    {
        "fit": jl.Term("squared_error", ("x", "y"), where="known"),
        "contrast": jl.Term("info_nce_loss", ("q", "k"), options={"temperature": 0.5}),
    }
)
RNG = np.random.default_rng(0)
DATA = {
    "x": jnp.asarray(RNG.normal(size=8), jnp.float32),
    "y": jnp.zeros(8),
    "known": jnp.asarray([True, False, True, True, False, False, False, True]),
    "q": jnp.asarray(RNG.normal(size=(8, 3)), jnp.float32),
    "k": jnp.asarray(RNG.normal(size=(8, 3)), jnp.float32),
}


def on_two_devices(axis_name, out_specs, check_vma=True):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def local(data):
        total, aux = OBJECTIVE(data, axis_name=axis_name)
        return total[None] if axis_name == () else total, aux["count"]["fit"][None]

    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=out_specs, check_vma=check_vma))(DATA)


@pytest.mark.parametrize("check_vma", [True, False])
def test_without_axis_name_it_is_an_error(check_vma):
    message = (
        r"^Objective: the batch is spread over devices here \(mesh axes \('data',\)\), and its examples depend on each "
        r"other; give axis_name='data' for the batch of all devices, or axis_name=\(\) if each device's own is meant$"
    )
    with pytest.raises(ValueError, match=message):
        on_two_devices(None, (P(), P("data")), check_vma)


def test_with_axis_name_it_sees_the_whole_batch():
    total, _ = on_two_devices("data", (P(), P(None)))
    np.testing.assert_allclose(total, OBJECTIVE(DATA)[0], rtol=1e-5)


def test_with_no_axes_each_device_has_its_own():
    totals, counts = on_two_devices((), (P("data"), P("data")))
    halves = [jax.tree.map(lambda x, k=k: x[4 * k : 4 * k + 4], DATA) for k in (0, 1)]
    np.testing.assert_allclose(totals, [OBJECTIVE(half)[0] for half in halves], rtol=1e-5)
    np.testing.assert_array_equal(counts, [3, 1])


def test_outside_of_shard_map_nothing_is_asked_for():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        np.testing.assert_allclose(jax.jit(OBJECTIVE)(DATA)[0], OBJECTIVE(DATA)[0], rtol=1e-6)
    stacked = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), DATA)
    assert jax.vmap(lambda data: OBJECTIVE(data)[0])(stacked).shape == (2,)


def test_given_negatives_on_devices():
    """MoCo: a queue of negatives needs no other device, and its values are averaged like any other loss's."""
    inputs = {"queries": "q", "positives": "k", "negatives": "queue"}
    objective = jl.Objective({"moco": jl.Term("info_nce_loss", inputs, options={"temperature": 0.5})})
    queue = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    local = lambda data, queue: objective({**data, "queue": queue}, axis_name="data")[0]  # noqa: E731
    total = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(P("data"), P()), out_specs=P()))(DATA, queue)
    np.testing.assert_allclose(total, objective({**DATA, "queue": queue})[0], rtol=1e-5)


def test_an_axis_name_that_is_not_mapped_is_explained():
    x = np.ones((4, 2), np.float32)
    for name, call in {
        "n_pair_loss": lambda: jl.n_pair_loss(x, x, axis_name="rows"),
        "info_nce_loss": lambda: jl.info_nce_loss(x, x, axis_name=("rows",)),
        "batch_all_triplet_loss": lambda: jl.batch_all_triplet_loss(x, [0, 0, 1, 1], axis_name="rows"),
        "dice_loss": lambda: jl.dice_loss(x, x, class_axis=None, per_image=False, axis_name="rows"),
        "sigmoid_focal_loss": lambda: jl.sigmoid_focal_loss(x, x, normalizer="positives", axis_name="rows"),
    }.items():
        with pytest.raises(ValueError, match=f"{name}: axis_name=.*rows.* is no mapped axis here"):
            call()
