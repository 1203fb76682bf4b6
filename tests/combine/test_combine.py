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
    np.testing.assert_allclose(uncertainty(LOSSES, S, likelihoods=HALVES)[0], 2.0965735903, rtol=1e-6)
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


def test_the_total_may_be_negative_while_every_loss_is_reported():
    total, weights = uncertainty({"a": 1e-4}, {"a": -8.0})
    assert total < 0
    assert weights["a"] > 0


def test_unknown_names():
    with pytest.raises(ValueError, match=r"^weights: no term 'c'; there are \['a', 'b'\]$"):
        jl.combine.sum(LOSSES, {"c": 1.0})
    with pytest.raises(ValueError, match=r"^uncertainty: log_variances must be \['a', 'b'\], got \['a'\]$"):
        uncertainty(LOSSES, {"a": 0.0})
    with pytest.raises(ValueError, match="likelihoods: no term 'depht'; did you mean 'depth'"):
        uncertainty({"depth": 1.0}, {"depth": 0.0}, likelihoods={"depht": (1.0, 1.0)})


# The other combiners

BY_NAME = {
    "sum": jl.combine.sum,
    "log": jl.combine.log,
    "geometric": jl.combine.geometric,
    "uncertainty": lambda losses, weights: uncertainty(losses, S, weights, HALVES, limit=2.0),
    "revised_uncertainty": lambda losses, weights: jl.combine.revised_uncertainty(losses, S, weights, HALVES),
}


def test_liebel_and_koerner():
    np.testing.assert_allclose(
        jl.combine.revised_uncertainty(LOSSES, S, likelihoods=HALVES)[0], 3.5417594692, rtol=1e-6
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_every_combiner_reports_the_derivatives_of_its_total(name):
    for weights in ({}, {"b": 0.7}, {"a": 0.0}):
        total = lambda losses, w=weights: BY_NAME[name](losses, w)[0]  # noqa: E731
        gradient, reported = jax.grad(total)(LOSSES), BY_NAME[name](LOSSES, weights)[1]
        np.testing.assert_allclose([gradient[k] for k in "ab"], [reported[k] for k in "ab"], rtol=1e-5)
        forward = jax.jvp(total, (LOSSES,), (dict.fromkeys(LOSSES, 1.0),))[1]
        np.testing.assert_allclose(forward, sum(reported.values()), rtol=1e-5)


def test_log_is_uncertainty_at_its_optimum():
    """With s solved for, c e^-s L + r s has the weight r/L: twice the direction of log, at r = 1/2."""
    best = {name: float(np.log(2 * 0.5 * loss)) for name, loss in LOSSES.items()}
    solved_for = uncertainty(LOSSES, best, likelihoods=HALVES)[1]
    directly = jl.combine.log(LOSSES)[1]
    np.testing.assert_allclose([2 * solved_for[k] for k in "ab"], [directly[k] for k in "ab"], rtol=1e-6)
    np.testing.assert_allclose(jl.combine.log(LOSSES)[0], np.log(6.0), rtol=1e-6)


def test_geometric_mean():
    np.testing.assert_allclose(jl.combine.geometric(LOSSES)[0], 6.0**0.5, rtol=1e-6)
    np.testing.assert_allclose(jl.combine.geometric(LOSSES, {"a": 3.0})[0], (2.0**3 * 3.0) ** 0.25, rtol=1e-6)
    np.testing.assert_allclose(jl.combine.geometric(LOSSES, {"a": 0.0})[0], 3.0, rtol=1e-6)


def test_soft_optimal():
    total, weights = jl.combine.soft_optimal(LOSSES, temperature=0.5)
    expected = np.exp([1.0, 2 / 3]) / np.exp([1.0, 2 / 3]).sum()
    np.testing.assert_allclose([weights["a"], weights["b"]], expected, rtol=1e-6)
    np.testing.assert_allclose(total, expected @ [2.0, 3.0], rtol=1e-6)
    alone = jl.combine.soft_optimal(LOSSES, {"a": 0.0})[1]
    assert (alone["a"], alone["b"]) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["log", "geometric", "soft_optimal"])
def test_a_loss_that_reaches_zero_stays_finite(name):
    combine = getattr(jl.combine, name)
    for losses in ({"a": 0.0, "b": 3.0}, {"a": 0.0, "b": 0.0}):
        total, weights = combine(losses)
        gradient = jax.grad(lambda losses: combine(losses)[0])(losses)
        assert jnp.isfinite(total)
        assert all(jnp.isfinite(x) for x in (*weights.values(), *gradient.values()))
    assert jnp.isnan(combine({"a": -1.0, "b": 1.0})[0]) or name == "soft_optimal"
    off = combine({"a": 1.0, "b": jnp.nan}, {"b": 0.0})
    assert jnp.isfinite(off[0])
    nothing = combine(LOSSES, {"a": 0.0, "b": 0.0})
    assert nothing[0] == 0


def test_a_limit_keeps_the_variance_within_bounds():
    """At L = 0 the slope in s is m r for ever; under a limit it dies out."""
    free, bound = ({"k": -50.0}, {"k": 0.0}), {"k": -50.0}
    weight = uncertainty({"k": 0.0}, bound, limit=3.0)[1]["k"]
    np.testing.assert_allclose(weight, np.exp(3.0), rtol=1e-5)
    slope = jax.grad(lambda s: uncertainty({"k": 0.0}, s, limit=3.0)[0])(free[0])["k"]
    assert abs(slope) < 1e-6
    near = jax.grad(lambda s: uncertainty({"k": 2.0}, s, limit=3.0)[0])(free[1])["k"]
    np.testing.assert_allclose(near, 0.5 - 2.0, rtol=1e-6)


@pytest.mark.parametrize("combine", ["uncertainty", "revised_uncertainty"])
@pytest.mark.parametrize("limit", [None, 8.0])
def test_both_start_at_rest_for_given_losses(combine, limit):
    combiner = jl.combine.get_combiner({"name": combine, "limit": limit})
    nll = {"a": (0.5, 0.5), "b": (1.0, 1.0)}
    start = combiner.init(nll, LOSSES)
    ones = {name: jnp.ones(()) for name in LOSSES}
    slope = jax.grad(lambda s: combiner.apply(LOSSES, ones, ones, s, nll)[0])(start)
    np.testing.assert_allclose([slope["a"], slope["b"]], 0, atol=1e-5)


def test_a_combiner_of_your_own_and_words_that_are_none():
    with pytest.raises(
        ValueError, match=r"combine.register: 'log' is already a combiner, of jaxlosses.combine.logarithm"
    ):
        jl.combine.register("log")(lambda: jl.combine.get_combiner("sum"))
    with pytest.raises(ValueError, match=r"no combiner named 'uncertanty'; did you mean 'uncertainty'\?"):
        jl.combine.get_combiner("uncertanty")
    with pytest.raises(
        ValueError, match=r"combiner 'soft_optimal' has no option 'temprature'; did you mean 'temperature'\?"
    ):
        jl.combine.get_combiner({"name": "soft_optimal", "temprature": 2.0})
    with pytest.raises(
        ValueError, match=r"combine must be the name of a combiner, or \{'name': name, \*\*options\}, got \{'T': 1\}"
    ):
        jl.combine.get_combiner({"T": 1})


@pytest.mark.parametrize("s", [-30.0, -1.0, 0.0, 30.0])
def test_the_logarithm_of_a_variance_may_have_any_sign(s):
    """Where sigma itself is learned it turns negative, and its logarithm is NaN."""
    total, weights = uncertainty({"k": 2.0}, {"k": s})
    np.testing.assert_allclose(weights["k"], np.exp(-s), rtol=1e-5)
    np.testing.assert_allclose(total, 2 * np.exp(-s) + s / 2, rtol=1e-5)
    assert jnp.isfinite(jax.grad(lambda s: uncertainty({"k": 2.0}, {"k": s})[0])(s))


def test_the_half_belongs_to_squared_errors_and_not_to_cross_entropies():
    """As in Kendall's paper: L/(2 sigma^2) for a regression, L/sigma^2 for a classification, + log sigma for both."""
    objective = jl.Objective(
        {
            "depth": jl.Term("squared_error", ("x", "y")),
            "class": jl.Term("softmax_cross_entropy", ("z", "label")),
        },
        combine="uncertainty",
    )
    data = {"x": jnp.ones(2), "y": jnp.zeros(2), "z": jnp.zeros((2, 4)), "label": jnp.array([0, 1])}
    sigma = {"depth": 0.5, "class": 3.0}
    total, aux = objective(data, params={name: jnp.asarray(2 * np.log(value)) for name, value in sigma.items()})
    expected = 1 / (2 * 0.5**2) + np.log(0.5) + np.log(4) / 3.0**2 + np.log(3.0)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose([aux["weight"]["depth"], aux["weight"]["class"]], [2.0, 1 / 9], rtol=1e-5)
