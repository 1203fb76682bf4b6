"""Costs of nearly 0 keep their digits, mass on an excluded class is infinite and no slope, smoothing makes no arrays.

Expected values are the formulas in NumPy's float64, with log1p and expm1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl

INF = np.inf
SURE = [[17.0, 0.0, 0.0], [3.0, 80.0, -2.0], [20.0, 20.0, -5.0], [-1.0, 0.0, 40.0], [2e38, -2e38, 0.0]]
SURE_IDS = [0, 1, 1, 2, 0]


def others(z, k):
    """Σ_{j≠k} exp(z_j - z_k) in float64."""
    z = np.asarray(z, np.float64)
    return np.sum(np.exp(np.delete(z, k) - z[k]))


COSTS = {
    "softmax_cross_entropy": lambda r: np.log1p(r),
    "softmax_focal_loss": lambda r: (r / (1 + r)) ** 2 * np.log1p(r),
}


@pytest.mark.parametrize(("z", "k"), list(zip(SURE, SURE_IDS, strict=True)))
@pytest.mark.parametrize("form", ["class id", "one-hot"])
@pytest.mark.parametrize("loss", COSTS)
def test_the_cost_of_a_sure_label(loss, form, z, k):
    label = k if form == "class id" else np.eye(3, dtype=np.float32)[k]
    value, gradient = jax.value_and_grad(lambda z: jl.get(loss)(z, label))(jnp.array(z, jnp.float32))
    r = others(z, k)
    np.testing.assert_allclose(value, COSTS[loss](r), rtol=1e-5, atol=1e-37)
    if loss == "softmax_cross_entropy":
        np.testing.assert_allclose(gradient[k], -r / (1 + r), rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(jnp.sum(gradient), 0, atol=3e-7 * abs(gradient[k]) + 1e-37)


def test_one_sequence_of_sure_tokens():
    z = jnp.array([[[17.0, 0, 0], [0, 18.0, 0]]])
    value, gradient = jax.value_and_grad(lambda z: jl.sequence_cross_entropy(z, jnp.array([[0, 1]]))[0])(z)
    np.testing.assert_allclose(value, np.log1p(2 * np.exp(-17.0)) + np.log1p(2 * np.exp(-18.0)), rtol=1e-6)
    np.testing.assert_allclose(gradient[0, 0, 0], -2 / (np.exp(17.0) + 2), rtol=1e-6)


def test_second_derivatives_of_a_sure_label():
    r = np.exp(-17.0)
    hessian = jax.hessian(jl.softmax_cross_entropy)(jnp.array([17.0, 0.0]), 0)
    np.testing.assert_allclose(hessian, r / (1 + r) ** 2 * np.array([[1, -1], [-1, 1]]), rtol=1e-6)
    # Of a distribution it is that of L, whose slope p is a number near 1.
    hessian = jax.hessian(jl.softmax_cross_entropy)(jnp.array([17.0, 0.0]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(hessian, r / (1 + r) ** 2 * np.array([[1, -1], [-1, 1]]), atol=6e-8)


@pytest.mark.parametrize("total", [0.0, 0.3, 1.0, 7.0, 1e6])
@pytest.mark.parametrize("z", [[17.0, 0.0, 0.0], [1.0, 1.0, -3.0], [0.3, -1.2, 0.1], [-30.0, 40.0, 2.0]], ids=str)
def test_distributions_of_any_total(z, total):
    """Value, slopes and second derivatives by logits and labels are those of Σ t (log Σ exp z - z) in float64."""

    def formula(z, t):
        return jnp.sum(t * (jax.scipy.special.logsumexp(z) - z))

    def all_of(f, z, t):
        return f(z, t), jax.grad(f)(z, t), jax.grad(f, 1)(z, t), jax.hessian(f, (0, 1))(z, t)[0]

    for shares in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.5, 0.3]):
        inputs = np.float32(z), np.float32(total * np.array(shares))
        actual = all_of(jl.softmax_cross_entropy, *inputs)
        with jax.enable_x64(True):
            expected = all_of(formula, *map(np.float64, inputs))
        for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-7 * max(1, total))


@pytest.mark.parametrize("p", [1e-8, 1e-3, 0.4, 0.5, 0.6, 0.999])
@pytest.mark.parametrize("eps", [None, 1e-10, 1e-7, 0.01])
def test_one_minus_p_keeps_its_digits(p, eps):
    x = jnp.float32(p)
    floor = np.finfo(np.float32).eps if eps is None else eps
    value, slope = jax.value_and_grad(lambda p: jl.binary_cross_entropy(p, 0.0, eps=eps))(x)
    exact = np.float64(x)
    np.testing.assert_allclose(value, -np.log1p(-exact) if 1 - exact > floor else -np.log(floor), rtol=1e-6)
    np.testing.assert_allclose(slope, 1 / (1 - exact) if 1 - exact > floor else 0, rtol=1e-6)


@pytest.mark.parametrize("eps", [None, 1e-10, 1e-7, 0.01])
def test_the_floor_stands(eps):
    floor = np.finfo(np.float32).eps if eps is None else eps
    value, slope = jax.value_and_grad(lambda p: jl.binary_cross_entropy(p, 0.0, eps=eps))(jnp.float32(1))
    np.testing.assert_allclose(value, -np.log(floor), rtol=1e-6)
    assert slope == 0


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999999, np.float64(1 - 1e-9), 1])
def test_effective_numbers_round_beta_last(beta):
    n = np.array([1e5, 3000.0, 10.0])
    expected = 1 / n if beta == 1 else (1 - beta) / -np.expm1(n * np.log(beta)) if beta else np.ones(3)
    weights = jl.effective_number_weights(n, beta=beta)
    np.testing.assert_allclose(weights, expected / expected.sum() * 3, rtol=1e-5)


def test_alpha_is_rounded_last():
    for loss in ("sigmoid_binary_cross_entropy", "sigmoid_focal_loss"):
        weighted = jl.get(loss)(0.5, 0.0, alpha=0.9999999)
        np.testing.assert_allclose(weighted / jl.get(loss)(0.5, 0.0), 1e-7, rtol=1e-5)


EXCLUDED = [-INF, 0.0, 1.0]


@pytest.mark.parametrize("label", [0, [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1e-30, 1.0, 0.0]], ids=str)
@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("softmax_cross_entropy", {}),
        ("softmax_cross_entropy", {"label_smoothing": 0.1}),
        ("softmax_cross_entropy", {"class_weights": [0.5, 1.0, 2.0]}),
        ("softmax_focal_loss", {}),
        ("softmax_focal_loss", {"alpha": [0.5, 1.0, 2.0], "gamma": 0.0}),
        ("nll_loss", {}),
    ],
)
def test_mass_on_an_excluded_class_is_infinite_and_no_slope(loss, options, label):
    f = lambda z: jl.get(loss)(z, jnp.asarray(label), **options)  # noqa: E731
    z = jnp.array(EXCLUDED) - (1.3132617 if loss == "nll_loss" else 0)
    value, gradient = jax.value_and_grad(f)(z)
    assert value == INF
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(jax.hessian(f)(z), 0)
    np.testing.assert_array_equal(jax.jvp(f, (z,), (jnp.ones(3),))[1], 0)


@pytest.mark.parametrize("label", [0, [1.0, 0.0, 0.0]], ids=str)
def test_a_class_weight_of_zero_cancels_infinity(label):
    for loss, options in (("softmax_cross_entropy", "class_weights"), ("softmax_focal_loss", "alpha")):
        f = lambda z: jl.get(loss)(z, jnp.asarray(label), **{options: [0.0, 1.0, 1.0]})  # noqa: B023, E731
        value, gradient = jax.value_and_grad(f)(jnp.array(EXCLUDED))
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_no_mass_on_an_excluded_class_is_the_class_deleted():
    for label, short in ((2, 1), ([0.0, 0.25, 0.75], [0.25, 0.75])):
        for options in ({}, {"label_smoothing": 0.2}):
            f = lambda z, t: jl.softmax_cross_entropy(z, jnp.asarray(t), **options)  # noqa: B023, E731
            value, gradient = jax.value_and_grad(f)(jnp.array(EXCLUDED), label)
            expected, expected_gradient = jax.value_and_grad(f)(jnp.array(EXCLUDED[1:]), short)
            np.testing.assert_allclose(value, expected, rtol=1e-6)
            np.testing.assert_allclose(gradient, [0, *expected_gradient], rtol=1e-6)


@pytest.mark.parametrize("loss", ["sigmoid_binary_cross_entropy", "sigmoid_focal_loss"])
@pytest.mark.parametrize(
    ("x", "t", "value"), [(INF, 1.0, 0), (INF, 0.0, INF), (-INF, 1.0, INF), (-INF, 0.0, 0), (INF, 0.5, INF)]
)
def test_infinite_binary_logits(loss, x, t, value):
    f = lambda x: jl.get(loss)(x, t)  # noqa: E731
    assert f(x) == value
    assert jax.grad(f)(x) == 0
    assert jax.grad(jax.grad(f))(x) == 0


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 0.25]])
@pytest.mark.parametrize("scale", [1.0, 1e20, 1.5e38])
@pytest.mark.parametrize("label", [1, [0.1, 0.2, 0.3, 0.4]], ids=str)
def test_smoothing_over_the_whole_range(scale, weights, label):
    z = (scale * np.array([1.0, -0.25, 0.5, -1.0])).astype(np.float32)
    wide = np.float64(z)
    log_p = wide - wide.max() - np.log(np.sum(np.exp(wide - wide.max())))
    w, t = np.ones(4) if weights is None else np.array(weights), np.eye(4)[1] if label == 1 else np.array(label)
    smoothed = 0.9 * t + 0.1 / 4
    f = lambda z: jl.softmax_cross_entropy(z, jnp.asarray(label), label_smoothing=0.1, class_weights=weights)  # noqa: E731
    value, gradient = jax.value_and_grad(f)(jnp.asarray(z))
    np.testing.assert_allclose(value, -np.sum(w * smoothed * log_p), rtol=1e-5)
    np.testing.assert_allclose(gradient, np.sum(w * smoothed) * np.exp(log_p) - w * smoothed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "softmax_focal_loss", "sequence_cross_entropy", "entropy"])
def test_a_softmax_over_one_class_is_heard(loss):
    z, ids = jnp.ones((2, 3, 1)), jnp.zeros((2, 3), int)
    inputs, options = ((z,), {"input_type": "logits"}) if loss == "entropy" else ((z, ids), {})
    with pytest.raises(Exception, match=f"{loss}: .* must have more than one class: a softmax over one class"):
        jl.checked(lambda *x: jl.get(loss)(*x, **options))(*inputs)
    jl.checked(lambda *x: jl.get(loss)(*x, **options))(jnp.ones((2, 3, 2)), *inputs[1:])
