"""Penalties over trees: numbers, paths, kinks, precision; structural risk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.linear_model

import jaxlosses as jl

W = np.array([1.0, -2.0, 0.5])
TREE = {"dense": {"kernel": jnp.array(W), "bias": jnp.array([3.0])}, "steps": jnp.array(7), "none": None}
PENALTIES = [jl.l1_penalty, jl.l2_penalty, jl.elastic_net_penalty]


def test_worked_numbers():
    with jax.enable_x64(True):
        w = jnp.asarray(W)
        values = [jl.l1_penalty(w), jl.l2_penalty(w), jl.l2_penalty(w, half=True)]
        np.testing.assert_allclose(values, [3.5, 5.25, 2.625], rtol=1e-12)
        np.testing.assert_allclose(jl.elastic_net_penalty(w, alpha=0.1, l1_ratio=0.5), 0.30625, rtol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_tree_is_the_sum_of_its_leaves(penalty):
    parts = sum(penalty(TREE["dense"][name]) for name in ("kernel", "bias"))
    np.testing.assert_allclose(jax.jit(penalty)(TREE), parts, rtol=1e-6)
    kernels = penalty(TREE, select=lambda path, leaf: path == "dense/kernel" and leaf.ndim == 1)
    np.testing.assert_allclose(kernels, penalty(W), rtol=1e-6)
    assert penalty({}) == penalty({"steps": jnp.array(7)}) == 0
    assert penalty([W.tolist(), 2.0]) == penalty([jnp.array(W), jnp.array(2.0)])


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradients_and_second_derivatives_at_rest(penalty):
    for derivative in (jax.grad(penalty), jax.grad(lambda w: jax.grad(penalty)(w).sum())):
        assert jnp.isfinite(derivative(jnp.zeros(3))).all()
    assert (jax.grad(penalty)(jnp.zeros(3)) == 0).all()
    np.testing.assert_allclose(jax.grad(jl.l1_penalty)(jnp.array(W)), np.sign(W))
    np.testing.assert_allclose(jax.grad(jl.l2_penalty)(jnp.array(W)), 2 * W)
    direction = jnp.ones(3)
    forward = jax.jvp(penalty, (jnp.array(W),), (direction,))[1]
    np.testing.assert_allclose(forward, jax.grad(penalty)(jnp.array(W)).sum(), rtol=1e-6)


def test_identities():
    for w in np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32):
        np.testing.assert_allclose(jl.l1_penalty(-3 * w), 3 * jl.l1_penalty(w), rtol=1e-6)
        np.testing.assert_allclose(
            jl.elastic_net_penalty(w, alpha=0.7, l1_ratio=1.0), 0.7 * jl.l1_penalty(w), rtol=1e-6
        )
        np.testing.assert_allclose(
            jl.elastic_net_penalty(w, alpha=0.7, l1_ratio=0.0), 0.7 * jl.l2_penalty(w, half=True), rtol=1e-6
        )
        λ1, λ2 = 0.7 * 0.3, 0.7 * (1 - 0.3) / 2
        np.testing.assert_allclose(
            jl.elastic_net_penalty(w, alpha=0.7, l1_ratio=0.3),
            λ1 * jl.l1_penalty(w) + λ2 * jl.l2_penalty(w),
            rtol=1e-5,
        )


@pytest.mark.parametrize("penalty", PENALTIES)
def test_half_precision_is_summed_in_float32(penalty):
    half = {"a": jnp.full(1000, 0.1, jnp.bfloat16), "b": jnp.ones(2, jnp.float32)}
    exact = {"a": half["a"].astype(jnp.float32), "b": half["b"]}
    assert penalty(half).dtype == jnp.float32
    np.testing.assert_allclose(penalty(half), penalty(exact), rtol=1e-6)
    with jax.enable_x64(True):
        assert penalty({"a": jnp.ones(2, jnp.float64), "b": jnp.ones(2, jnp.float32)}).dtype == jnp.float64


def test_a_complex_leaf_names_itself():
    with pytest.raises(
        TypeError, match=r"^l1_penalty: params\[a/b\] must be real, got complex64; did you mean params\[a/b\]\.real\?$"
    ):
        jl.l1_penalty({"a": {"b": np.ones(2, np.complex64)}})


def test_sklearn_minimises_the_same_elastic_net():
    """Its coefficients are where (half the mean squared error + our penalty) cannot be improved."""
    rng = np.random.default_rng(3)
    x, true = rng.normal(size=(60, 4)), np.array([1.5, -2.0, 0.0, 0.7])
    y = x @ true + 0.1 * rng.normal(size=60)
    w = (
        sklearn.linear_model.ElasticNet(alpha=0.3, l1_ratio=0.6, fit_intercept=False, tol=1e-12, max_iter=100_000)
        .fit(x, y)
        .coef_
    )
    with jax.enable_x64(True):

        def risk(w):
            return jl.structural_risk((x @ w - y) ** 2 / 2, jl.elastic_net_penalty(w, l1_ratio=0.6), 0.3)

        best = risk(jnp.asarray(w))
        for step in np.vstack([np.eye(4), -np.eye(4)]) * 1e-3:
            assert risk(jnp.asarray(w + step)) > best
        moved = w != 0
        np.testing.assert_allclose(np.asarray(jax.grad(risk)(jnp.asarray(w)))[moved], 0, atol=1e-6)


def test_soft_threshold_minimises_the_lasso():
    x, t = np.array([-2.0, -0.2, 0.0, 0.3, 1.0]), 0.5
    grid = np.linspace(-3, 3, 60_001)
    best = [grid[np.argmin((grid - v) ** 2 / 2 + t * np.abs(grid))] for v in x]
    np.testing.assert_allclose(jl.soft_threshold(x, t), best, atol=1e-4)


def test_structural_risk_is_affine_in_its_weight():
    losses, mask, weights = np.array([1.0, 3.0, np.nan]), np.array([True, True, False]), np.array([1.0, 3.0, 1.0])
    risk = lambda weight: jl.structural_risk(losses, 4.0, weight, where=mask, sample_weights=weights)  # noqa: E731
    np.testing.assert_allclose([risk(0.0), risk(0.1), risk(1.0)], [2.5, 2.9, 6.5], rtol=1e-6)
    np.testing.assert_allclose(jl.structural_risk(losses, 4.0, 0.1, where=np.zeros(3, bool)), 0.4, rtol=1e-6)
    assert jl.structural_risk(np.zeros(0), 4.0, 0.5) == 2.0


def test_a_penalty_is_a_term():
    objective = jl.Objective(
        {
            "fit": jl.Term("squared_error", ("out", "batch")),
            "decay": jl.Term("l2_penalty", ("params",), weight=0.1, options={"half": True}),
        }
    )
    data = {"out": jnp.ones(2), "batch": jnp.zeros(2), "params": TREE}
    total, aux = objective(data)
    np.testing.assert_allclose(total, 1 + 0.1 * (5.25 + 9) / 2, rtol=1e-6)
    np.testing.assert_allclose(aux["loss"]["decay"], (5.25 + 9) / 2, rtol=1e-6)


def test_factors_come_before_squares():
    w = {"w": jnp.array([1e20, -2e19])}
    np.testing.assert_allclose(jl.elastic_net_penalty(w, l1_ratio=1.0), 1.2e20, rtol=1e-6)
    np.testing.assert_allclose(jl.elastic_net_penalty(w, alpha=1e-4), 1e-4 * (0.6e20 + 0.26e40), rtol=1e-5)
    np.testing.assert_allclose(jl.l2_penalty({"w": jnp.array([2e19])}, half=True), 2e38, rtol=1e-6)
    gradient = jax.grad(lambda w: jl.elastic_net_penalty(w, l1_ratio=1.0))(w)["w"]
    np.testing.assert_array_equal(gradient, [1, -1])
