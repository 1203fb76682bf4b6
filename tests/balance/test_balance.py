"""Balancers against their papers' formulas in numpy, by hand, and in training steps that are compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from jaxlosses import balance, gradients
from tests import test_api

NAMES = ["seg", "depth", "flow"]  # not in the order of the alphabet
RNG = np.random.default_rng(0)


def scalars(numbers, names=NAMES):
    return dict(zip(names, map(float, numbers), strict=True))


def vector(weights, names=NAMES):
    return np.array([weights[name] for name in names], np.float64)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def adam(slopes, learning_rate, x):
    """The iterates of Adam (2014), for a function from x and the time to the slope."""
    m, v, iterates = 0, 0, []
    for t in range(len(slopes)):
        g = slopes[t](x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x - learning_rate * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        iterates.append(x)
    return iterates


@pytest.mark.parametrize("name", ["dwa", "famo", "gradnorm", "rlw"])
def test_docstrings_have_the_agreed_form(name, monkeypatch):
    monkeypatch.setitem(test_api.PUBLIC, name, getattr(balance, name))
    test_api.test_a_docstring_has_its_parts(name)


# Formulas


def test_dwa_by_hand():
    balancer = balance.dwa(temperature=1.0)
    state = balancer.init(["a", "b"])
    history = [{"a": 2.0, "b": 5.0}, {"a": 1.0, "b": 5.0}, {"a": 1.0, "b": 2.5}]
    weights = []
    for losses in history:
        now, state = balancer.update(losses, state)
        weights.append([float(now["a"]), float(now["b"])])
    e = np.exp
    expected = [
        [1, 1],
        np.array([e(0.5), e(1.0)]) * 2 / (e(0.5) + e(1.0)),
        np.array([e(1.0), e(0.5)]) * 2 / (e(0.5) + e(1.0)),
    ]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_dwa_averages_over_a_period():
    every, batches = balance.dwa(), balance.dwa(period=4)
    means, state, states = every.init(NAMES), batches.init(NAMES), []
    losses = RNG.uniform(0.5, 2, size=(12, 3))
    for t, row in enumerate(losses):
        _, state = batches.update(scalars(row), state)
        states.append(vector(state.weights))
        if t % 4 == 3:
            _, means = every.update(scalars(losses[t - 3 : t + 1].mean(0)), means)
            np.testing.assert_allclose(states[-1], vector(means.weights), rtol=1e-5)
    assert len(np.unique(np.round(states, 5), axis=0)) == 3  # ones in the first two periods


def test_famo_is_the_authors_algorithm():
    """Adam with weight decay on J (log D_before - log D_after), as in the authors' famo.py."""
    balancer = balance.famo(0.025, decay=0.01, minimum=scalars([0.1, 0.0, 0.2]))
    update, state, least = jax.jit(balancer.update), balancer.init(NAMES), np.array([0.1, 0.0, 0.2])
    before, after = RNG.uniform(0.5, 2, size=(2, 6, 3))

    def slope(t):
        def of(x):
            z = softmax(x)
            delta = np.log(before[t] - least + 1e-8) - np.log(after[t] - least + 1e-8)
            return (np.diag(z) - np.outer(z, z)) @ delta + 0.01 * x

        return of

    for t, logits in enumerate(adam([slope(t) for t in range(6)], 0.025, np.zeros(3))):
        weights, state = update(scalars(after[t]), state, before=scalars(before[t]))
        np.testing.assert_allclose(vector(state.shares), softmax(logits), rtol=1e-5)
        quotients = softmax(logits) / (after[t] - least + 1e-8)
        np.testing.assert_allclose(vector(weights), quotients / quotients.sum(), rtol=1e-5)


def test_famo_takes_the_last_losses_for_those_before():
    balancer, losses = balance.famo(), RNG.uniform(0.5, 2, size=(5, 3))
    update, without_before, with_before = jax.jit(balancer.update), balancer.init(NAMES), balancer.init(NAMES)
    for t, row in enumerate(losses):
        _, without_before = update(scalars(row), without_before)
        _, with_before = update(scalars(row), with_before, before=scalars(losses[max(t - 1, 0)]))
    np.testing.assert_allclose(vector(without_before.weights), vector(with_before.weights), rtol=1e-6)


def test_famo_shares_in_an_objective_of_logarithms():
    """Its gradient is that of the weights z/L over their sum, up to one factor."""
    terms = {"a": jl.Term("squared_error", ("x", "zero")), "b": jl.Term("absolute_error", ("x", "one"))}
    data = {"zero": jnp.zeros(3), "one": jnp.ones(3)}
    x, shares = jnp.array([2.0, -1.0, 0.5]), {"a": 0.3, "b": 0.7}
    log = jl.Objective(terms, combine="log")
    gradient = jax.grad(lambda x: log({"x": x, **data}, weights=shares)[0])(x)
    losses = log({"x": x, **data})[1]["loss"]
    quotients = {name: shares[name] / losses[name] for name in shares}
    weights = {name: quotient / sum(quotients.values()) for name, quotient in quotients.items()}
    expected = jax.grad(lambda x: jl.Objective(terms)({"x": x, **data}, weights=weights)[0])(x)
    np.testing.assert_allclose(gradient, expected * sum(quotients.values()), rtol=1e-5)


def test_gradnorm_descends_on_the_papers_loss():
    balancer = balance.gradnorm(alpha=1.2, learning_rate=0.05)
    update, state = jax.jit(balancer.update), balancer.init(NAMES)
    losses, norms = RNG.uniform(0.5, 2, size=(2, 6, 3))

    def slope(t):
        def of(v):
            w, relative = 3 * softmax(v), losses[t] / losses[0]
            target = (w * norms[t]).mean() * (relative / relative.mean()) ** 1.2
            by_w = np.sign(w * norms[t] - target) * norms[t]
            return (np.diag(w) - np.outer(w, w) / 3) @ by_w

        return of

    for t, v in enumerate(adam([slope(t) for t in range(6)], 0.05, np.zeros(3))):
        weights, state = update(scalars(losses[t]), state, scalars(norms[t]))
        np.testing.assert_allclose(vector(weights), 3 * softmax(v), rtol=1e-4)


def test_gradnorm_ends_with_equal_lengths_or_longer_ones_for_slow_losses():
    norms = np.array([4.0, 1.0, 0.5])
    for last, expected in (([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]), ([0.5, 0.5, 1.0], np.array([0.75, 0.75, 1.5]))):
        balancer = balance.gradnorm(alpha=1.0, learning_rate=optax.cosine_decay_schedule(0.1, 500))
        first = balancer.update(scalars([1.0, 1.0, 1.0]), balancer.init(NAMES), scalars(norms))[1]
        step = lambda _, state, b=balancer, x=last: b.update(scalars(x), state, scalars(norms))[1]  # noqa: E731
        lengths = (
            vector(jax.jit(lambda state, step=step: jax.lax.fori_loop(0, 500, step, state))(first).weights) * norms
        )
        np.testing.assert_allclose(lengths / lengths.mean(), expected, rtol=0.02)


def test_rlw_draws_by_name():
    balancer = balance.rlw()
    update, state = jax.jit(balancer.update), balancer.init(NAMES)
    np.testing.assert_allclose(vector(state.weights), 1 / 3, rtol=1e-6)
    one, _ = update(scalars([1, 1, 1]), state, jax.random.key(0))
    same, _ = balancer.update(scalars([3, 2, 1], sorted(NAMES)), balancer.init(sorted(NAMES)), jax.random.key(0))
    np.testing.assert_allclose(vector(one), vector(same), rtol=1e-6)
    many = jax.vmap(lambda key: balancer.update(scalars([1, 1, 1]), state, key)[0])(
        jax.random.split(jax.random.key(1), 4000)
    )
    weights = np.stack([many[name] for name in NAMES])
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.mean(1), 1 / 3, rtol=0.04)
    draws = np.log(weights) - np.log(weights).mean(0)  # normal ones, less their mean
    np.testing.assert_allclose(draws.var(1), 2 / 3, rtol=0.1)


# Pitfalls and edges


def further_arguments(name, numbers):
    return {"rlw": (jax.random.key(0),), "gradnorm": (scalars(numbers),)}.get(name, ())


@pytest.mark.parametrize(("name", "total"), [("dwa", 3), ("gradnorm", 3), ("famo", 1), ("rlw", 1)])
def test_weights_are_normalised_over_all_terms_and_not_one_by_one(name, total):
    """Divided each by its own mean they would be 1 for ever."""
    balancer = getattr(balance, name)()
    state = balancer.init(NAMES)
    for losses in ([1.0, 2.0, 3.0], [0.9, 1.0, 3.1], [0.8, 0.2, 3.0]):
        weights, state = balancer.update(scalars(losses), state, *further_arguments(name, [5.0, 1.0, 0.1]))
    np.testing.assert_allclose(vector(weights).sum(), total, rtol=1e-5)
    assert np.abs(vector(weights) / total * 3 - 1).min() > 1e-3
    assert vector(weights).min() > 0
    assert state.weights is weights or vector(state.weights).tolist() == vector(weights).tolist()


@pytest.mark.parametrize("name", ["dwa", "famo", "gradnorm"])
@pytest.mark.parametrize("absent", [0.0, np.nan, np.inf])
def test_a_loss_that_was_not_active_changes_no_weight(name, absent):
    """The weights of the other two are to each other as if there were only them; a NaN does not stay in the state."""
    balancer = getattr(balance, name)()
    three, two = balancer.init(NAMES), balancer.init(["seg", "flow"])
    norms = [5.0, 100.0, 0.1]
    for losses in ([1.0, absent, 2.0], [0.7, absent, 1.9], [0.6, absent, 1.0]):
        _, three = balancer.update(scalars(losses), three, *further_arguments(name, norms))
        _, two = balancer.update(scalars(losses), two, *further_arguments(name, norms))
    others, alone = (vector(state.weights, ["seg", "flow"]) for state in (three, two))
    assert abs(alone[0] / alone[1] - 1) > 0.02
    np.testing.assert_allclose(others / others.sum(), alone / alone.sum(), rtol=1e-4)
    np.testing.assert_allclose(vector(three.weights).sum(), vector(balancer.init(NAMES).weights).sum(), rtol=1e-5)
    assert three.weights["depth"] > 0
    weights, _ = balancer.update(scalars([0.6, 3.0, 1.0]), three, *further_arguments(name, norms))
    assert np.isfinite(vector(weights)).all()


def test_dwa_compares_with_the_last_period_in_which_a_term_was_active():
    balancer = balance.dwa(temperature=1.0)
    state = balancer.init(["a", "b"])
    for a in (4.0, 0.0, 2.0):
        weights, state = balancer.update({"a": a, "b": 1.0}, state)
        if a == 0:
            assert (weights["a"], weights["b"]) == (1.0, 1.0)
    np.testing.assert_allclose(weights["a"] / weights["b"], np.exp(0.5 - 1.0), rtol=1e-5)


def test_famo_keeps_the_share_of_a_term_until_its_first_loss():
    balancer = balance.famo()
    weights, state = balancer.update(scalars([1.0, 0.0, 3.0]), balancer.init(NAMES))
    np.testing.assert_allclose(vector(weights), [1 / 2, 1 / 3, 1 / 6], rtol=1e-5)
    weights, _ = balancer.update(scalars([1.0, 2.0, 3.0]), state)
    np.testing.assert_allclose(vector(weights), np.array([6, 3, 2]) / 11, rtol=1e-5)


def test_errors_name_the_balancer_and_the_term():
    for name in ("dwa", "famo", "gradnorm", "rlw"):
        balancer = getattr(balance, name)()
        with pytest.raises(ValueError, match=rf"{name}: no 'depth' in losses; did you mean 'dpth'\?"):
            balancer.update({"dpth": 1.0}, balancer.init(["depth"]), *further_arguments(name, [1, 1, 1]))
        with pytest.raises(
            ValueError, match=f"{name}: init takes the names of the terms, got the one name 'depth'; give a list"
        ):
            balancer.init("depth")
        with pytest.raises(ValueError, match=f"{name}: init takes the names of the terms, got none"):
            balancer.init([])
        weights, _ = balancer.update(
            scalars([1, 2, 3]), balancer.init(["seg", "flow"]), *further_arguments(name, [1, 1, 1])
        )
        assert set(weights) == {"seg", "flow"}
    with pytest.raises(ValueError, match=r"gradnorm: no 'depth' in norms; there are \['seg'\]"):
        balance.gradnorm().update(scalars([1, 2, 3]), balance.gradnorm().init(NAMES), {"seg": 1.0})


def test_numbers_may_be_traced():
    @jax.jit
    def run(number):
        for make in (balance.dwa, balance.famo, balance.gradnorm):
            balancer = make(number)
            yield_of = balancer.update(
                scalars([1, 2, 3]), balancer.init(NAMES), *further_arguments(make.__name__, [1, 2, 3])
            )
            assert set(yield_of[0]) == set(NAMES)
        return yield_of[0]["seg"]

    assert jnp.isfinite(run(0.5))


# In training

OBJECTIVE = jl.Objective(
    {"near": jl.Term("squared_error", ("out", "near")), "far": jl.Term("absolute_error", ("out", "far"), weight=2.0)}
)
X, Y = jax.random.normal(jax.random.key(0), (2, 16, 4))
TARGETS = {"near": Y @ jnp.ones(4), "far": Y @ jnp.array([1.0, 1.0, 1.0, -1.0])}


def losses_of(params, weights=None):
    return OBJECTIVE({"out": X @ params, **TARGETS}, weights=weights)


def train(name, update):
    """A hundred compiled steps; the losses before and after, and the last weights."""
    traces = []

    @functools.partial(jax.jit, donate_argnames="state")
    def step(params, state, key):
        traces.append(name)
        (_, aux), gradient = jax.value_and_grad(losses_of, has_aux=True)(params, state.weights)
        stepped = params - 0.02 * gradient
        _, state = update(aux["loss"], state, params, stepped, key)
        return stepped, state, aux

    params, state = 3 * jnp.ones(4), getattr(balance, name)().init(OBJECTIVE.terms)
    first = losses_of(params)[1]["loss"]
    for key in jax.random.split(jax.random.key(0), 100):
        params, state, aux = step(params, state, key)
    assert len(traces) == 1
    np.testing.assert_allclose(aux["weight"]["far"], 2 * state.weights["far"], rtol=0.3 if name != "rlw" else 9)
    return first, aux["loss"], state.weights


def after_the_step(losses, state, params, stepped, key):
    return balance.famo().update(losses_of(stepped)[1]["loss"], state, before=losses)


def with_norms(losses, state, params, stepped, key):
    grads, _ = gradients.per_term_gradients(lambda params: (losses_of(params)[1]["loss"], None))(params)
    return balance.gradnorm().update(losses, state, gradients.gram(grads).norms())


@pytest.mark.parametrize(
    ("name", "update"),
    [
        ("dwa", lambda losses, state, *_: balance.dwa(period=10).update(losses, state)),
        ("rlw", lambda losses, state, *rest: balance.rlw().update(losses, state, rest[-1])),
        ("famo", lambda losses, state, *_: balance.famo().update(losses, state)),
        ("famo", after_the_step),
        ("gradnorm", with_norms),
    ],
    ids=["dwa", "rlw", "famo-lagged", "famo", "gradnorm"],
)
def test_a_training_step_is_compiled_once_and_descends(name, update):
    first, last, weights = train(name, update)
    assert all(last[term] < 0.97 * first[term] for term in first)
    assert all(jnp.isfinite(weights[term]) for term in first)


@pytest.mark.parametrize("scale", [1e10, 1e20, 1e25])
def test_the_scale_of_all_losses_does_not_matter(scale):
    def weights(name, update, scale):
        balancer, base = getattr(balance, name)(), np.array([1.0, 2.0, 3.0])
        state = balancer.init(["a", "b", "c"])
        for step in range(5):
            losses = dict(zip("abc", np.float32(scale * base * np.array([0.9, 0.8, 0.7]) ** step), strict=True))
            result, state = update(balancer, losses, state)
        return np.array([float(x) for x in result.values()])

    updates = {
        "dwa": lambda b, losses, state: b.update(losses, state),
        "famo": lambda b, losses, state: b.update(losses, state),
        "gradnorm": lambda b, losses, state: b.update(losses, state, losses),
    }
    with jax.debug_infs(True), jax.debug_nans(True):
        for name, update in updates.items():
            np.testing.assert_allclose(weights(name, update, scale), weights(name, update, 1.0), rtol=1e-4)
