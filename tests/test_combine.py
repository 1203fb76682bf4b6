"""Combiners as plain functions: Kendall's formula, its optimum, and where a weight must stand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from jaxlosses.combine import uncertainty

HALVES = {"a": (0.5, 0.5), "b": (0.5, 0.5)}
LOSSES, S = {"a": 2.0, "b": 3.0}, {"a": 0.0, "b": float(np.log(2))}


def test_kendalls_two_regressions_and_two_classifications():
    np.testing.assert_allclose(uncertainty(LOSSES, S, nll=HALVES)[0], 2.0965735903, rtol=1e-6)
    np.testing.assert_allclose(uncertainty(LOSSES, S)[0], 3.8465735903, rtol=1e-6)


def test_weights_are_the_derivatives_of_the_total():
    for combine in (jl.combine.sum, lambda losses, weights: uncertainty(losses, S, weights, HALVES)):
        gradient = jax.grad(lambda losses, c=combine: c(losses, {"b": 0.7})[0])(LOSSES)
        reported = combine(LOSSES, {"b": 0.7})[1]
        np.testing.assert_allclose([gradient[k] for k in "ab"], [reported[k] for k in "ab"], rtol=1e-6)


def solved(loss, c, r, weight=1.0):
    """The learned weight c e^-s where the slope in s is 0, found by descent."""
    slope = jax.jit(jax.grad(lambda s: uncertainty({"k": loss}, {"k": s}, {"k": weight}, {"k": (c, r)})[0]))
    s, step = jnp.asarray(0.0, jnp.float32), optax.adam(0.05)
    state = step.init(s)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        for _ in range(1500):
            update, state = step.update(slope(s), state)
            s = s + update
    return float(uncertainty({"k": loss}, {"k": s}, {"k": weight}, {"k": (c, r)})[1]["k"])


@pytest.mark.parametrize("loss", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("c", [0.5, 1.0])
def test_the_learned_weight_is_r_over_the_loss_whatever_c(loss, c):
    np.testing.assert_allclose(solved(loss, c, 0.5), 0.5 / loss, rtol=1e-2)


def test_a_weight_stands_outside_where_it_is_not_cancelled():
    np.testing.assert_allclose(solved(1.0, 1.0, 0.5, weight=3.0), 1.5, rtol=1e-2)


def test_init_at_the_optimum():
    objective = jl.Objective(
        {"mse": jl.Term("squared_error", ("x", "y")), "mae": jl.Term("absolute_error", ("x", "y"))},
        combine="uncertainty",
    )
    data = {"x": jnp.array([1.0, 3.0]), "y": jnp.array([0.0, 0.0])}
    losses = objective(data, params=objective.init())[1]["loss"]
    params = objective.init(losses)
    np.testing.assert_allclose(
        [params["mse"], params["mae"]], [np.log(0.5 * 5.0 / 0.5), np.log(1.0 * 2.0 / 1.0)], rtol=1e-6
    )
    slopes = jax.grad(lambda params: objective(data, params=params)[0])(params)
    np.testing.assert_allclose([slopes["mse"], slopes["mae"]], 0, atol=1e-6)
    assert objective.init({"mse": 0.0, "mae": 0.0})["mse"] == 0


def test_w5_the_total_may_be_negative_while_every_loss_is_reported():
    total, weights = uncertainty({"a": 1e-4}, {"a": -8.0})
    assert total < 0
    assert weights["a"] > 0


def test_unknown_names():
    with pytest.raises(ValueError, match=r"^weights: no term 'c'; there are \['a', 'b'\]$"):
        jl.combine.sum(LOSSES, {"c": 1.0})
    with pytest.raises(ValueError, match=r"^uncertainty: log_variances must be \['a', 'b'\], got \['a'\]$"):
        uncertainty(LOSSES, {"a": 0.0})
    with pytest.raises(ValueError, match="nll: no term 'depht'; did you mean 'depth'"):
        uncertainty({"depth": 1.0}, {"depth": 0.0}, nll={"depht": (1.0, 1.0)})
