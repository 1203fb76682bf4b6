"""On an Explicit mesh an objective is what it is on one device: stages, masks, combiners, balancers and gradients."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxlosses as jl
from jaxlosses import balance, gradients

MESH = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2, devices=jax.devices()[:4])
CONTEXTS = pytest.mark.parametrize(
    "context", [contextlib.nullcontext, lambda: jax.set_mesh(MESH)], ids=["no mesh set", "mesh set"]
)
RNG = np.random.default_rng(0)
DATA = {
    "x": RNG.normal(size=(8, 4)).astype(np.float32),
    "y": RNG.normal(size=(8, 4)).astype(np.float32),
    "label": np.arange(8) % 4,
    "known": np.arange(8) % 3 != 0,
}
PARAMS = {
    "kernel": RNG.normal(size=(4, 4)).astype(np.float32),
    "bias": RNG.normal(size=4).astype(np.float32),
}


def place(array, *spec):
    return jax.device_put(array, NamedSharding(MESH, P(*spec)))


def close(actual, expected):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=3e-5, atol=3e-6), actual, expected)


def placed():
    kernel, bias = place(PARAMS["kernel"], None, "model"), place(PARAMS["bias"], "model")
    return {"kernel": kernel, "bias": bias}, jax.tree.map(lambda array: place(array, "data"), DATA)


def network(params, data):
    return {**data, "x": jnp.tanh(data["x"] @ params["kernel"] + params["bias"][None])}


@CONTEXTS
@pytest.mark.parametrize(("combine", "step"), [("sum", 3), ("uncertainty", 12)])
def test_stages_and_combiners(combine, step, context):
    objective = jl.Objective(
        {
            "contrast": jl.Term("info_nce_loss", ("x", "y"), stop=1),
            "triplets": jl.Term("batch_hard_triplet_loss", ("x", "label"), start=1, ramp=5),
            "class": jl.Term("softmax_cross_entropy", ("x", "label"), where="known"),
        },
        boundaries=[10],
        combine=combine,
    )

    def loss(params, weights, data):
        return objective(network(params, data), step=step, params=weights)

    value_and_grads = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    params, data = placed()
    expected = value_and_grads(PARAMS, objective.init(), DATA)
    with context():
        close(value_and_grads(params, objective.init(), data), expected)


@CONTEXTS
@pytest.mark.parametrize("sequential", [False, True])
def test_methods_on_gradients_and_balancers(sequential, context):
    def losses(params, data):
        out = network(params, data)
        of_class = jl.softmax_cross_entropy(out["x"], out["label"], reduction="mean")
        return {"class": of_class, "contrast": jl.info_nce_loss(out["x"], out["y"], reduction="mean")}, {}

    balancer = balance.gradnorm()

    @jax.jit
    def step(params, data):
        values, _ = losses(params, data)
        grads, _ = gradients.per_term_gradients(losses, sequential=sequential)(params, data)
        gram = gradients.gram(grads)
        weights, _ = balancer.update(values, balancer.init(list(values)), norms=gram.norms())
        return weights, [gradients.weighted_sum(grads, f(gram)) for f in (gradients.pcgrad, gradients.conflict_free)]

    expected = step(PARAMS, DATA)
    params, data = placed()
    with context():
        actual = step(params, data)
        close(actual, expected)
    assert jax.typeof(actual[1][0]["kernel"]).sharding.spec == P(None, "model")
