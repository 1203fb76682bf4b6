"""The guarded functions at their edges, against NumPy, with derivatives by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses.core.entropy import relative_entropy_term
from jaxlosses.core.numerics import (
    clip_below,
    multiply_inf_safe,
    negative_log_sigmoid,
    safe_log,
    scaled_square,
    softplus,
)

INF, NAN = np.inf, np.nan
LOWEST = np.finfo(np.float32).min


def derivatives(f, x):
    return jax.grad(f)(x), jax.grad(jax.grad(f))(x), jax.jvp(f, (x,), (jnp.float32(1),))[1]


@pytest.mark.parametrize("x", [-INF, -1e4, -100.0, -1.5, 0.0, 1.5, 30.0, 1e4, INF])
def test_softplus(x):
    """The slope is σ(x), and 0 where the value is infinite."""
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(np.float64(-x))) if x < INF else 0.0
    for f in (softplus, lambda x: negative_log_sigmoid(-x)):
        np.testing.assert_allclose(f(jnp.float32(x)), np.logaddexp(0, np.float64(x)), rtol=1e-6, atol=1e-37)
        first, second, forward = derivatives(f, jnp.float32(x))
        np.testing.assert_allclose([first, forward], p, rtol=2e-6, atol=1e-37)
        np.testing.assert_allclose(second, p * (1 - p), rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize(("factor", "x"), [(0.5, 3.0), (1e-6, 1e21), (0.0, 1e30), (2.0, 0.0)])
def test_a_scaled_square_overflows_only_if_it_must(factor, x):
    exact = factor * x * x
    np.testing.assert_allclose(scaled_square(factor, jnp.float32(x)), exact, rtol=1e-6)
    first, second, forward = derivatives(lambda x: scaled_square(factor, x), jnp.float32(x))
    np.testing.assert_allclose([first, forward], 2 * factor * x, rtol=1e-6)
    np.testing.assert_allclose(second, 2 * factor, rtol=1e-6)


def test_what_is_no_number_stays_no_number():
    for f in (
        softplus,
        safe_log,
        lambda x: multiply_inf_safe(x, jnp.float32(1)),
        lambda x: multiply_inf_safe(jnp.float32(0), x),
        lambda x: clip_below(x, 0.0),
    ):
        assert jnp.isnan(f(jnp.float32(NAN)))
    assert jnp.isnan(safe_log(jnp.float32(-1.0)))


@pytest.mark.parametrize("value", [-3.0, 0.0, 3e38, INF])
@pytest.mark.parametrize("weight", [0.0, np.finfo(np.float32).tiny, 0.5, 3e38])
def test_a_weight_of_zero_silences_infinity_and_nothing_else(weight, value):
    with np.errstate(over="ignore"):
        expected = 0.0 if weight == 0 else np.float32(weight) * np.float32(value)
    assert multiply_inf_safe(jnp.float32(weight), jnp.float32(value)) == expected
    by_weight, by_value = jax.grad(multiply_inf_safe, (0, 1))(jnp.float32(weight), jnp.float32(value))
    assert by_value == np.float32(weight)
    assert by_weight == (0.0 if np.isinf(value) else np.float32(value))


def test_a_logarithm_has_no_slope_at_zero():
    assert safe_log(jnp.float32(0)) == -INF
    np.testing.assert_array_equal(derivatives(safe_log, jnp.float32(0)), 0)
    np.testing.assert_allclose(derivatives(safe_log, jnp.float32(0.5)), [2, -4, 2])


def test_a_floor_has_no_slope_at_or_below_itself():
    for x, slope in ((-1.0, 0), (0.25, 0), (0.5, 1)):
        assert clip_below(jnp.float32(x), 0.25) == max(x, 0.25)
        np.testing.assert_array_equal(derivatives(lambda x: clip_below(x, 0.25), jnp.float32(x)), [slope, 0, slope])
        assert jax.grad(clip_below, 1)(jnp.float32(x), 0.25) == 1 - slope


@pytest.mark.parametrize(
    ("p", "log_p", "log_q", "value", "slopes"),
    [
        (0.0, LOWEST, -INF, 0.0, (0, 0, 0)),
        (0.0, LOWEST, -1.0, 0.0, (0, 0, 0)),
        (0.5, -1.0, -INF, INF, (0, 0.5, -0.5)),
        (0.5, -1.0, -3.0, 1.0, (2, 0.5, -0.5)),
    ],
)
def test_relative_entropy(p, log_p, log_q, value, slopes):
    given = [jnp.float32(x) for x in (p, log_p, log_q)]
    assert relative_entropy_term(*given) == value
    np.testing.assert_array_equal(jax.grad(relative_entropy_term, (0, 1, 2))(*given), slopes)


ONE, TWO = [jnp.ones((5, 4)) / 4], [jnp.ones((5, 4)) / 4] * 2
ARITHMETIC = {
    "entropy": ONE,
    "cross_entropy": TWO,
    "kl_divergence": TWO,
    "js_divergence": TWO,
    "sigmoid_binary_cross_entropy": TWO,
    "binary_cross_entropy": TWO,
    "discriminator_loss": TWO,
    "generator_loss": ONE,
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_a_value_is_arithmetic_alone(name):
    """XLA's CPU backend makes arrays of what it compares and selects on the way into a sum. Those of rows are small."""
    inputs = ARITHMETIC[name]
    equations = list(all_equations(jax.make_jaxpr(lambda *inputs: jl.get(name)(*inputs))(*inputs).jaxpr))
    assert any("log" in str(e.primitive) for e in equations)
    slow = [e for e in equations if str(e.primitive) in ("select_n", "eq", "le", "lt", "gt", "ge", "is_finite")]
    assert all(e.outvars[0].aval.size < inputs[0].size for e in slow), slow


def all_equations(jaxpr):
    for e in jaxpr.eqns:
        inner = [getattr(p, "jaxpr", p) for p in e.params.values() if hasattr(getattr(p, "jaxpr", p), "eqns")]
        yield from (x for j in inner for x in all_equations(j)) if inner else [e]
