"""From losses to trees of gradients, their products, one update, and a training step."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses import gradients

TREES = {
    "seg": {"w": jnp.array([[3.0, 4.0]]), "b": jnp.array(1.0)},
    "depth": {"w": jnp.array([[1.0, 0.0]]), "b": jnp.array(-2.0)},
    "a": {"w": jnp.array([[0.0, 0.0]]), "b": jnp.array(0.5)},
}


def test_gram_by_hand_and_sorted_by_name():
    products = gradients.gram(TREES)
    assert products.names == ("a", "depth", "seg")
    np.testing.assert_array_equal(products.matrix, [[0.25, -1, 0.5], [-1, 5, 1], [0.5, 1, 26]])
    np.testing.assert_allclose(products.norms()["seg"], 26**0.5, rtol=1e-6)
    assert products.names == gradients.gram(dict(reversed(TREES.items()))).names


def test_a_gram_is_a_tree():
    products = jax.jit(gradients.gram)(TREES)
    assert products.names == ("a", "depth", "seg")
    batched = jax.vmap(gradients.gram)(jax.tree.map(lambda x: jnp.stack([x, 2 * x]), TREES))
    np.testing.assert_allclose(batched.matrix[1], 4 * products.matrix)
    weights = jax.jit(jax.vmap(gradients.mgda))(batched)
    assert weights["seg"].shape == (2,)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_and_sums_are_taken_in_float32(dtype):
    x = jnp.full(10_000, 1 / 3, dtype)
    products = gradients.gram({"x": x, "y": 2 * x})
    assert products.matrix.dtype == jnp.float32
    exact = np.sum(np.asarray(x, np.float64) ** 2)
    np.testing.assert_allclose(products.matrix, exact * np.array([[1, 2], [2, 4]]), rtol=1e-5)
    total = gradients.weighted_sum({"x": x, "y": x}, {"x": 1000.0, "y": -999.0})
    assert total.dtype == x.dtype
    np.testing.assert_array_equal(total, x)


def test_weighted_sum_by_name_with_leaves_that_gram_was_not_given():
    total = gradients.weighted_sum(TREES, {"depth": 2.0, "seg": jnp.array(0.5), "a": 0.0})
    np.testing.assert_allclose(total["w"], [[3.5, 2.0]])
    np.testing.assert_allclose(total["b"], -3.5)


def test_errors_name_the_term():
    with pytest.raises(
        ValueError, match=r"weighted_sum: weights must be one per term \['a', 'depth', 'seg'\], got \['a', 'dpth'\]"
    ):
        gradients.weighted_sum(TREES, {"a": 1.0, "dpth": 1.0})
    with pytest.raises(
        ValueError, match=r"gram: the gradients of 'a' and 'b' must be trees of one structure, got .* and"
    ):
        gradients.gram({"a": {"w": jnp.ones(2)}, "b": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"'a' and 'b' must have equal shapes, got \(2,\) and \(3,\)"):
        gradients.gram({"a": jnp.ones(2), "b": jnp.ones(3)})
    with pytest.raises(TypeError, match="gram: the gradient of 'a' must be of real floating-point arrays, got int32"):
        gradients.gram({"a": jnp.ones(2, int)})
    with pytest.raises(ValueError, match="gram: no gradients; give a tree for every term"):
        gradients.gram({})
    with pytest.raises(
        ValueError, match=r"per_term_gradients: loss 'b' must be a scalar, got shape \(2,\); reduce it first"
    ):
        gradients.per_term_gradients(lambda x: ({"a": x.sum(), "b": x}, None))(jnp.ones(2))
    with pytest.raises(
        TypeError, match=r"per_term_gradients: the function must return \(dict of losses, aux\), got dict"
    ):
        gradients.per_term_gradients(lambda x: {"a": x.sum()})(jnp.ones(2))


def test_the_core_does_not_load_what_is_optional():
    script = "import jaxlosses, sys; assert not {'jaxlosses.gradients', 'jaxlosses.balance'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


X, Y = jax.random.normal(jax.random.key(0), (2, 16, 4))


def heads(features, batch_y):
    near = jnp.mean((features @ jnp.ones((8,)) - batch_y[:, 0]) ** 2)
    return {"z": near, "b": jnp.mean(features**4), "m": 0.0 * near}, {"mean": features.mean()}


def encoder(params):
    return jnp.tanh(X @ params["w"]) + params["b"]


def losses(params, batch_y):
    return heads(encoder(params), batch_y)


PARAMS = {"w": jax.random.normal(jax.random.key(1), (4, 8)), "b": jnp.zeros((16, 8))}


@pytest.mark.parametrize("sequential", [False, True])
def test_per_term_gradients_are_those_of_each_loss(sequential):
    grads, aux = jax.jit(gradients.per_term_gradients(losses, sequential=sequential))(PARAMS, batch_y=Y)
    np.testing.assert_allclose(aux["mean"], encoder(PARAMS).mean(), rtol=1e-5)
    assert set(grads) == {"z", "b", "m"}
    for name in grads:
        expected = jax.grad(lambda params, name=name: losses(params, Y)[0][name])(PARAMS)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), grads[name], expected)


def test_one_after_the_other_takes_less_memory():
    inputs = jnp.ones((4096, 32))

    def deep(params):
        x = inputs
        for _ in range(6):
            x = jnp.tanh(x @ params)
        return {f"l{k}": jnp.mean((x[:, k] - k) ** 2) for k in range(8)}, None

    all_at_once, one_by_one = (
        jax.jit(gradients.per_term_gradients(deep, sequential=sequential))
        .lower(jnp.eye(32))
        .compile()
        .memory_analysis()
        for sequential in (False, True)
    )
    assert one_by_one.temp_size_in_bytes < all_at_once.temp_size_in_bytes / 3


def test_losses_of_two_dtypes():
    def mixed(x):
        return {"half": jnp.sum(x.astype(jnp.bfloat16)), "full": jnp.sum(x**2)}, None

    for sequential in (False, True):
        grads, _ = gradients.per_term_gradients(mixed, sequential=sequential)(jnp.array([1.0, 2.0]))
        np.testing.assert_allclose([grads["half"], grads["full"]], [[1, 1], [2, 4]])


def test_the_encoder_is_passed_once():
    features, pull = jax.vjp(encoder, PARAMS)
    grads, _ = gradients.per_term_gradients(heads)(features, Y)
    weights = {"z": 0.3, "b": 2.0, "m": 1.0}
    (update,) = pull(gradients.weighted_sum(grads, weights))
    expected = gradients.weighted_sum(gradients.per_term_gradients(losses)(PARAMS, Y)[0], weights)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), update, expected)


OBJECTIVE = jl.Objective(
    {"near": jl.Term("squared_error", ("out", "near")), "far": jl.Term("absolute_error", ("out", "far"), weight=3.0)}
)


@pytest.mark.parametrize(
    "method", sorted(set(gradients.__all__) - {"Gram", "gram", "per_term_gradients", "weighted_sum"})
)
def test_two_tasks_descend_in_one_compiled_step(method):
    traces = []
    data = {"near": Y @ jnp.ones(4), "far": Y @ jnp.array([1.0, 1.0, 1.0, -1.0])}

    def vector(params):
        _, aux = OBJECTIVE({"out": X @ params, **data})
        return aux["loss"], aux

    @jax.jit
    def step(params):
        traces.append(params)
        grads, aux = gradients.per_term_gradients(vector)(params)
        weights = getattr(gradients, method)(gradients.gram(grads))
        return params - 0.02 * gradients.weighted_sum(grads, weights), aux["loss"]

    params = 3 * jnp.ones(4)
    first = vector(params)[0]
    for _ in range(200):
        params, last = step(params)
    assert len(traces) == 1
    assert last["near"] < 0.97 * first["near"]
    assert last["far"] < 0.97 * first["far"]
