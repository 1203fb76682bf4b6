"""Divergences in all their forms: probabilities, logarithms, logits; JS between them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.spatial.distance
import scipy.special
from hypothesis import given

from tests import compiled as jl
from tests.losses.test_properties import distributions, logits

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.3])
INF = np.inf


def test_js_of_the_specification():
    with jax.enable_x64(True):
        np.testing.assert_allclose(jl.js_divergence(P, Q), 0.0508746125, rtol=1e-8)
        np.testing.assert_allclose(jl.js_divergence(Q, P, log_base=2), 0.0508746125 / np.log(2), rtol=1e-8)
        jeffreys = jl.kl_divergence(P, Q, input_type="probabilities") + jl.kl_divergence(
            Q, P, input_type="probabilities"
        )
        np.testing.assert_allclose(jeffreys, 0.4175988551, rtol=1e-8)


def test_the_waste_of_a_code_in_bits():
    lengths, weather = np.array([2.0, 2, 3, 3, 4, 4, 5, 5]), [0.01, 0.01, 0.04, 0.04, 0.1, 0.1, 0.35, 0.35]
    np.testing.assert_allclose(
        jl.kl_divergence(2.0**-lengths, weather, input_type="probabilities", log_base=2), 2.35102754106, rtol=1e-6
    )


@given(distributions, distributions)
def test_js_family(p, q):
    js = jl.js_divergence
    value = js(p, q)
    np.testing.assert_allclose(value, scipy.spatial.distance.jensenshannon(p, q, axis=1) ** 2, atol=2e-6)
    np.testing.assert_allclose(js(q, p), value, atol=1e-7)
    assert (value >= -1e-7).all()
    assert (value <= np.log(2) + 1e-6).all()
    np.testing.assert_allclose(js(p, p), 0, atol=1e-7)
    middle = (p + q) / 2
    entropy = jl.entropy
    np.testing.assert_allclose(value, entropy(middle) - (entropy(p) + entropy(q)) / 2, atol=3e-6)


@given(logits, logits)
def test_the_forms_agree(a, b):
    p, q = scipy.special.softmax(a, 1), scipy.special.softmax(b, 1)
    log_p, log_q = scipy.special.log_softmax(a, 1), scipy.special.log_softmax(b, 1)
    for loss in ("kl_divergence", "js_divergence"):
        value = getattr(jl, loss)(a, b, input_type="logits")
        np.testing.assert_allclose(getattr(jl, loss)(log_p, log_q, input_type="log"), value, rtol=1e-4, atol=1e-4)
    near = np.abs(a).max() < 10 and np.abs(b).max() < 10
    if near:  # probabilities of exp(-100) have lost their digits
        np.testing.assert_allclose(
            jl.kl_divergence(p, q, input_type="probabilities"),
            scipy.special.rel_entr(q, p).sum(1),
            rtol=1e-3,
            atol=1e-4,
        )
        np.testing.assert_allclose(jl.entropy(a, input_type="logits"), jl.entropy(p), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        jl.entropy(log_p, input_type="log"), jl.entropy(a, input_type="logits"), rtol=1e-4, atol=1e-4
    )
    assert (jl.kl_divergence(a, b, input_type="logits") >= -1e-4).all()


def test_log_targets_as_in_optax():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = optax.losses.kl_divergence_with_log_targets(np.log(Q), np.log(P))
    np.testing.assert_allclose(jl.kl_divergence(np.log(Q), np.log(P), input_type="log"), expected, rtol=1e-5)


def test_the_gradients_of_the_formulas():
    z, y = jnp.array([2.0, 1.0, 0.1]), jnp.array([0.3, -0.4, 1.2])
    p, q = jax.nn.softmax(y), jax.nn.softmax(z)
    np.testing.assert_allclose(jax.grad(lambda z: jl.kl_divergence(z, y, input_type="logits"))(z), q - p, atol=1e-6)
    entropy = jl.entropy(q)
    np.testing.assert_allclose(
        jax.grad(lambda z: jl.entropy(z, input_type="logits"))(z), -q * (jnp.log(q) + entropy), atol=1e-6
    )
    np.testing.assert_allclose(jax.grad(jl.entropy)(q), -(jnp.log(q) + 1), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(jl.js_divergence)(p, q), jnp.log(2 * p / (p + q)) / 2, rtol=1e-4)


def test_a_log_target_of_minus_infinity():
    value, gradients = jax.value_and_grad(lambda q, p: jl.kl_divergence(q, p, input_type="log"), argnums=(0, 1))(
        jnp.log(jnp.array([0.25, 0.5, 0.25])), jnp.array([-INF, 0.0, -INF])
    )
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert all(jnp.isfinite(g).all() for g in gradients)
    assert (gradients[0] == jnp.array([0.0, -1.0, 0.0])).all()


@pytest.mark.parametrize("form", ["probabilities", "log", "logits"])
@pytest.mark.parametrize("loss", ["kl_divergence", "js_divergence"])
def test_nothing_against_nothing(loss, form):
    """A class that neither has: no cost, and a finite gradient, also a second one."""
    pair = [jnp.array([0.0, 0.4, 0.6]), jnp.array([0.0, 0.5, 0.5])]
    inputs = (
        pair if form == "probabilities" else [jnp.where(x == 0, -INF, jnp.log(jnp.where(x == 0, 1, x))) for x in pair]
    )
    f = lambda *inputs: jl.get(loss)(*inputs, input_type=form)  # noqa: E731
    short = f(*(x[1:] for x in inputs))
    np.testing.assert_allclose(f(*inputs), short, rtol=1e-6, atol=1e-6)
    assert all((g[0] == 0) & jnp.isfinite(g).all() for g in jax.grad(f, argnums=(0, 1))(*inputs))
    assert jnp.isfinite(jax.hessian(f)(*inputs)).all()


def test_js_of_distributions_that_share_nothing():
    p, q = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(jl.js_divergence(p, q, log_base=2), 1.0)
    np.testing.assert_allclose(jax.grad(jl.js_divergence)(p, q), [np.log(2) / 2, 0], rtol=1e-6)


def test_a_row_without_classes_counts_as_masked():
    z = jnp.array([[1.0, 2.0], [-INF, -INF]])
    for loss, inputs in (("entropy", (z,)), ("kl_divergence", (z, z)), ("js_divergence", (z, z[:, ::-1]))):
        parts = jl.get(loss)(*inputs, input_type="logits", reduction="parts")
        assert parts.count == 1
        assert jnp.isfinite(
            jax.grad(lambda *x, loss=loss: jl.get(loss)(*x, input_type="logits", reduction="mean"))(*inputs)
        ).all()


def test_probabilities_in_the_place_of_their_logarithms_are_flagged():
    with pytest.raises(Exception, match="kl_divergence: log_predictions must be <= 0"):
        jl.checked(jl.kl_divergence)(P, P)
    with pytest.raises(Exception, match=r"js_divergence: q must lie in \[0, 1\]"):
        jl.checked(jl.js_divergence)(P, [2.0, 0.1, -0.3])


def test_an_unknown_form():
    with pytest.raises(
        ValueError, match=r"^entropy: input_type must be one of 'probabilities', 'log', 'logits', got 'prob'$"
    ):
        jl.entropy(P, input_type="prob")
    with pytest.raises(ValueError, match=r"must be one of 'log_predictions', 'probabilities', 'log', 'logits'"):
        jl.kl_divergence(P, P, input_type="log_p")


def test_the_smallest_probability_is_not_nothing():
    tiny = np.finfo(np.float32).tiny
    assert jl.cross_entropy([0.0, 1.0], [tiny, 1.0]) == INF
    assert jl.cross_entropy([0.0, 1.0], [0.0, 1.0]) == 0
    assert jl.kl_divergence([-INF, 0.0], [tiny, 1.0]) == INF
    assert jl.kl_divergence([-INF, 0.0], [0.0, 1.0]) == 0


def test_a_negative_probability_is_loud():
    for form in ("entropy", "js_divergence"):
        given = [[-0.1, 1.1]] * (1 if form == "entropy" else 2)
        assert jnp.isnan(getattr(jl, form)(*given))
    assert jnp.isnan(jl.kl_divergence([0.1, 0.9], [-0.1, 1.1], input_type="probabilities"))


# Rounding


def test_agreement_is_zero_and_never_less():
    k = 3 * jax.random.normal(jax.random.key(0), (500, 10))
    log_p, p = jax.nn.log_softmax(k), jax.nn.softmax(k)
    mixed = jl.kl_divergence(log_p, p)
    assert (mixed >= 0).all()
    assert (mixed < 2e-6).all()
    for loss in ("kl_divergence", "js_divergence"):
        for form, x in (("logits", k), ("log", log_p), ("probabilities", p)):
            np.testing.assert_array_equal(jl.get(loss)(x, x, input_type=form), 0)
        gradients = jax.grad(lambda a, b, loss=loss: jl.get(loss)(a, b, input_type="logits").sum(), (0, 1))(k, k)
        np.testing.assert_allclose(gradients, 0, atol=2e-8)


def test_next_to_agreement():
    """KL and JS of p and p (1 ± h) are h²/2 and h²/8 and more, which the cancelling of logarithms would drown."""
    h, steps = 2.0**-11, np.array([1.0, -1.0, 1.0, -1.0])
    p = np.full(4, 0.25)
    q = p * (1 + h * steps)
    js = np.sum(scipy.special.rel_entr(p, (p + q) / 2) + scipy.special.rel_entr(q, (p + q) / 2)) / 2
    np.testing.assert_allclose(jl.js_divergence(p.astype(np.float32), q.astype(np.float32)), js, rtol=1e-5)
    slope = jax.grad(jl.js_divergence)(jnp.asarray(p, jnp.float32), jnp.asarray(q, jnp.float32))
    np.testing.assert_allclose(slope, np.log(2 * p / (p + q)) / 2, rtol=1e-6)
    logits = np.log1p(h * steps).astype(np.float32)
    exact = scipy.special.softmax(np.float64(logits))
    kl = jl.kl_divergence(jnp.asarray(logits), jnp.zeros(4), input_type="logits")
    np.testing.assert_allclose(kl, np.sum(scipy.special.rel_entr(p, exact)), rtol=1e-3)
    gradient = jax.grad(lambda z: jl.kl_divergence(z, jnp.zeros(4), input_type="logits"))(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, exact - p, rtol=1e-3)


def test_rows_that_do_not_sum_to_one_may_be_negative():
    p, q = np.array([0.1, 0.2]), np.array([0.4, 0.3])
    for scale in (1.0, 1e-3):  # what is nearer to 0 than the rounding of 1 counts as 0
        value = jl.kl_divergence(scale * q, scale * p, input_type="probabilities")
        np.testing.assert_allclose(value, scale * np.sum(p * np.log(p / q)), rtol=1e-5)
        assert value < 0


@pytest.mark.parametrize(
    ("p", "q"), [([1, 2e-38], [1, 0]), ([1, 1e-40], [1, 0]), ([0, 1], [1, 0]), ([1, 0], [1, 1e-45])]
)
def test_js_of_what_is_hardly_there(p, q):
    p, q = np.array(p, np.float32), np.array(q, np.float32)
    middle = (np.float64(p) + q) / 2
    expected = (scipy.special.rel_entr(p, middle) + scipy.special.rel_entr(q, middle)).sum() / 2
    for a, b in ((p, q), (q, p)):
        value, gradient = jax.value_and_grad(jl.js_divergence)(jnp.asarray(a), jnp.asarray(b))
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-37)
        assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("form", ["probabilities", "log", "logits"])
def test_mass_where_nothing_is_predicted_is_infinite_and_no_slope(form):
    q, p = jnp.array([0.0, 0.4, 0.6]), jnp.array([0.2, 0.3, 0.5])
    inputs = (q, p) if form == "probabilities" else (jnp.log(q), jnp.log(p))
    f = lambda *x: jl.kl_divergence(*x, input_type=form)  # noqa: E731
    assert f(*inputs) == INF
    np.testing.assert_array_equal(jax.grad(f, (0, 1))(*inputs), 0)
    assert jnp.isfinite(jax.hessian(f)(*inputs)).all()
    if form == "probabilities":
        assert jl.cross_entropy(q, p) == INF
        np.testing.assert_array_equal(jax.grad(jl.cross_entropy, (0, 1))(q, p), 0)


@pytest.mark.parametrize("scale", [17.0, 80.0, 3e38])
def test_sure_logits_and_huge_ones(scale):
    z = scale * jnp.array([1.0, 0.0, 0.0])
    r = np.exp(-np.float64(scale))
    value, gradient = jax.value_and_grad(lambda z: jl.entropy(z, input_type="logits"))(z)
    rest = 0.0 if r == 0 else 2 * r / (1 + 2 * r) * (scale + np.log1p(2 * r))
    np.testing.assert_allclose(value, np.log1p(2 * r) / (1 + 2 * r) + rest, rtol=1e-5, atol=1e-37)
    assert jnp.isfinite(gradient).all()
    for loss in ("kl_divergence", "js_divergence"):
        value, gradients = jax.value_and_grad(lambda a, b: jl.get(loss)(a, b, input_type="logits"), (0, 1))(z, -z)  # noqa: B023
        assert value >= 0
        assert all(jnp.isfinite(g).all() for g in gradients)
