"""Methods on Gram matrices against their direct forms on vectors: written down, solved by SciPy, or published."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxlosses import gradients
from tests import test_api

METHODS = ["aligned_mtl", "cagrad", "conflict_free", "imtl_g", "mgda", "nash_mtl", "pcgrad"]
RNG = np.random.default_rng(0)
GRADS = RNG.normal(size=(40, 3, 6)) + RNG.normal(size=(40, 1, 6)) * RNG.choice([0, 1], size=(40, 1, 1))
GRADS *= 10 ** RNG.uniform(-1, 1, size=(40, 3, 1))  # lengths a hundred times apart


def gram_of(grads):
    """Of a batch of K explicit vectors, `(..., K, n)`; float64 products, rounded to float32."""
    names = tuple(f"t{k}" for k in range(grads.shape[-2]))
    return gradients.Gram(names, jnp.asarray(grads @ np.swapaxes(grads, -1, -2), jnp.float32))


@functools.cache
def compiled(method, **options):
    return jax.jit(jax.vmap(functools.partial(getattr(gradients, method), **options)))


def weights_of(method, grads, **options):
    """The weights of one set of vectors, or of a batch."""
    if grads.ndim == 2:
        return weights_of(method, grads[None].repeat(40, 0), **options)[0]
    weights = compiled(method, **options)(gram_of(grads))
    return np.stack([np.asarray(weights[name], np.float64) for name in sorted(weights)], -1)


def updates_of(method, grads, **options):
    return np.einsum("...k,...kn->...n", weights_of(method, grads, **options), grads)


@pytest.mark.parametrize("name", sorted(set(gradients.__all__) - {"Gram"}))
def test_docstrings_have_the_agreed_form(name, monkeypatch):
    monkeypatch.setitem(test_api.PUBLIC, name, getattr(gradients, name))
    test_api.test_a_docstring_has_its_parts(name)


# What other implementations published

PUBLISHED = {  # of [-4, 1, 1] and [6, 1, 1], in the documentation of TorchJD
    "aligned_mtl": 2 * np.array([0.2133, 0.9673, 0.9673]),  # theirs is a mean, ours a sum
    "cagrad": np.array([0.1835, 1.2041, 1.2041]) / 1.25,  # theirs is not divided by 1 + c²
    "conflict_free": [0.1588, 2.0706, 2.0706],
    "imtl_g": [0.0767, 1.0, 1.0],
    "mgda": [0.0, 1.0, 1.0],
    "nash_mtl": 2**0.5 * np.array([0.0542, 0.7061, 0.7061]),  # theirs is clipped at the length 1
    "pcgrad": [0.5848, 3.8012, 3.8012],
}


@pytest.mark.parametrize("method", METHODS)
def test_published_values(method):
    update = updates_of(method, np.array([[-4.0, 1, 1], [6.0, 1, 1]]))
    np.testing.assert_allclose(update, PUBLISHED[method], rtol=2e-4, atol=2e-4)


# Direct forms


def projected(grads, orders):
    parts = []
    for i, order in enumerate(orders):
        part = grads[i].copy()
        for j in order:
            if j != i and part @ grads[j] < 0:
                part -= part @ grads[j] / (grads[j] @ grads[j]) * grads[j]
        parts.append(part)
    return np.sum(parts, 0)


def test_pcgrad_projects_vectors():
    expected = [projected(grads, [range(3)] * 3) for grads in GRADS]
    np.testing.assert_allclose(updates_of("pcgrad", GRADS), expected, rtol=1e-4, atol=1e-4)


def test_pcgrad_draws_an_order_for_every_term():
    grads = np.array([[1.0, 0.1, 0.0], [-0.9, 0.5, 0.2], [-0.4, -1.0, 0.3]])
    orders = itertools.product(itertools.permutations(range(3)), repeat=3)
    possible = np.unique(np.round([projected(grads, order) for order in orders], 4), axis=0)
    assert len(possible) > 2
    keys = jax.random.split(jax.random.key(0), 200)
    weights = jax.jit(jax.vmap(lambda key: gradients.pcgrad(gram_of(grads), key)))(keys)
    drawn = np.stack([weights[f"t{k}"] for k in range(3)], -1) @ grads
    distances = np.abs(drawn[:, None] - possible[None]).max(-1)
    assert distances.min(1).max() < 2e-4
    assert set(distances.argmin(1)) == set(range(len(possible)))


def least_gain(grads, c):
    """The largest min_i g_i · d in the ball of CAGrad, by SciPy on the dual, from several starts."""
    mean = grads.mean(0)

    def dual(x):
        return (x @ grads) @ mean + c * np.linalg.norm(mean) * np.linalg.norm(x @ grads)

    sum_to_1 = {"type": "eq", "fun": lambda x: x.sum() - 1}
    starts = [np.ones(3) / 3, *(0.1 + 0.7 * np.eye(3))]
    return min(
        minimize(dual, x, bounds=[(0, 1)] * 3, constraints=sum_to_1, options={"ftol": 1e-12}).fun for x in starts
    )


def test_cagrad_maximises_the_least_gain_within_its_ball():
    c = 0.4
    for grads, update in zip(GRADS, updates_of("cagrad", GRADS, c=c) * (1 + c**2), strict=True):
        mean, unit = grads.mean(0), np.linalg.norm(grads.mean(0))
        assert np.linalg.norm(update - mean) <= c * unit * (1 + 1e-4)
        tolerance = 1e-4 * unit * np.linalg.norm(grads, axis=1).max()
        np.testing.assert_allclose((grads @ update).min(), least_gain(grads, c), rtol=0, atol=tolerance)


def test_cagrad_without_radius_is_the_mean():
    np.testing.assert_allclose(weights_of("cagrad", GRADS, c=0.0), 1 / 3, rtol=1e-5)
    sweep = jax.jit(jax.vmap(lambda c: gradients.cagrad(gram_of(GRADS[0]), c=c)))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(sweep["t1"][1], weights_of("cagrad", GRADS[0])[1], rtol=1e-4)


def test_mgda_is_the_point_of_least_norm():
    """x is it exactly where x · g_i >= |x|² for every vertex of the hull, as a point of the hull."""
    weights, points = weights_of("mgda", GRADS), updates_of("mgda", GRADS)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert weights.min() >= 0
    shortest = np.linalg.norm(GRADS, axis=2).min(1)
    slack = np.einsum("bkn,bn->bk", GRADS, points).min(1) - (points**2).sum(1)
    assert (slack / shortest**2).min() > -2e-4
    two = np.array([[1.0, 0.0], [-1.0, 1.0]])  # the paper's closed form: γ = (g_2 - g_1) · g_2 / |g_1 - g_2|² = 3/5
    np.testing.assert_allclose(weights_of("mgda", two), [0.6, 0.4], rtol=1e-5)


def test_nash_mtl_solves_the_bargain_whatever_the_scale_of_the_losses():
    weights, updates = weights_of("nash_mtl", GRADS), updates_of("nash_mtl", GRADS)
    np.testing.assert_allclose(np.einsum("bkn,bn->bk", GRADS, updates) * weights, 1, rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(updates, axis=1), 3**0.5, rtol=1e-3)
    other = GRADS * np.array([1.0, 1e-4, 1e3])[:, None]
    np.testing.assert_allclose(updates_of("nash_mtl", other), updates, rtol=1e-3, atol=1e-4)


def test_imtl_g_has_equal_projections():
    weights, updates = weights_of("imtl_g", GRADS), updates_of("imtl_g", GRADS)
    units = GRADS / np.linalg.norm(GRADS, axis=2, keepdims=True)
    uphill = (np.linalg.inv(units @ np.swapaxes(units, 1, 2)).sum(2) / np.linalg.norm(GRADS, axis=2)).sum(1) <= 0
    assert 0 < uphill.sum() < 20
    np.testing.assert_array_equal(weights[uphill], 0)
    np.testing.assert_allclose(weights[~uphill].sum(1), 1, rtol=1e-4)
    projections = np.einsum("bkn,bn->bk", units, updates)[~uphill]
    np.testing.assert_allclose(projections, projections[:, :1].repeat(3, 1), rtol=1e-3)
    assert projections.min() > 0


def test_aligned_mtl_makes_gradients_orthogonal_and_equally_long():
    rotations = np.linalg.svd(GRADS, full_matrices=False)
    expected = rotations.S[:, -1, None] * np.einsum("bkr,brn->bn", rotations.U, rotations.Vh)
    lengths = 3**0.5 * rotations.S[:, -1]
    well = rotations.S[:, -1] > 0.02 * rotations.S[:, 0]  # below, float32 does not know the least eigenvalue
    assert well.sum() > 20
    errors = np.linalg.norm(updates_of("aligned_mtl", GRADS) - expected, axis=1) / lengths
    assert errors[well].max() < 5e-3


def test_conflict_free_has_equal_cosines_and_the_sum_of_the_projections():
    updates = updates_of("conflict_free", GRADS)
    units = GRADS / np.linalg.norm(GRADS, axis=2, keepdims=True)
    expected = np.linalg.pinv(units) @ np.ones(3)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    expected *= np.einsum("bkn,bn->b", GRADS, expected)[:, None]
    np.testing.assert_allclose(updates, expected, rtol=1e-3, atol=1e-3)
    cosines = np.einsum("bkn,bn->bk", units, updates) / np.linalg.norm(updates, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, cosines[:, :1].repeat(3, 1), rtol=1e-3)


@pytest.mark.parametrize("method", ["nash_mtl", "imtl_g", "conflict_free"])
def test_two_gradients_are_bisected(method):
    updates = updates_of(method, GRADS[:, :2])
    bisectors = (GRADS[:, :2] / np.linalg.norm(GRADS[:, :2], axis=2, keepdims=True)).sum(1)
    cosines = (updates * bisectors).sum(1) / np.linalg.norm(updates, axis=1) / np.linalg.norm(bisectors, axis=1)
    np.testing.assert_allclose(cosines, 1, rtol=1e-5)


# Edges


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_of_zero_is_as_if_the_term_were_not_there(method):
    absent = np.concatenate([GRADS[:, :2], np.zeros((40, 1, 6)), GRADS[:, 2:]], 1)
    weights = weights_of(method, absent)
    np.testing.assert_array_equal(weights[:, 2], 0)
    together = np.einsum("bk,bkn->bn", weights[:, [0, 1, 3]], GRADS)
    scale = np.abs(weights[:, [0, 1, 3], None] * GRADS).max((1, 2))[:, None] + 1e-9
    np.testing.assert_allclose(together / scale, updates_of(method, GRADS) / scale, atol=2e-3)
    np.testing.assert_array_equal(weights_of(method, np.zeros((3, 6))), 0)


G = np.array([3.0, -4.0, 0.0, 0.0, 0.0, 0.0])
PARALLEL = {"pcgrad": 3, "cagrad": 1.5 * 1.5 / 1.25, "mgda": 1, "imtl_g": 4 / 3, "aligned_mtl": 3, "conflict_free": 3}
OPPOSITE = {
    "pcgrad": 0,
    "cagrad": -0.5 * 0.5 / 1.25,
    "mgda": 0,
    "imtl_g": 0,
    "aligned_mtl": -1,
    "conflict_free": 0,
    "nash_mtl": 0,
}


@pytest.mark.parametrize("method", METHODS)
def test_parallel_and_opposite_gradients(method):
    """Of g with 2g, and with -2g, in multiples of g."""
    expected = PARALLEL.get(method, 2**0.5 / 5) * G
    np.testing.assert_allclose(updates_of(method, np.stack([G, 2 * G])), expected, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(updates_of(method, np.stack([G, -2 * G])), OPPOSITE[method] * G, rtol=2e-3, atol=3e-3)
    balanced = updates_of(method, np.stack([G, -G]))
    np.testing.assert_allclose(balanced, 0, atol=3e-3)


@pytest.mark.parametrize("method", ["conflict_free", "imtl_g", "mgda", "pcgrad"])
def test_rounding_errors_of_opposite_gradients_are_not_amplified(method):
    pairs = GRADS[:, :1] * np.array([1.0, -1.7])[:, None]
    assert np.abs(weights_of(method, pairs)).max() < 3
    lengths = np.linalg.norm(pairs[:, 0], axis=1)
    assert (np.linalg.norm(updates_of(method, pairs), axis=1) / lengths).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_of_opposite_gradients_does_not_stop_a_third(method):
    third = np.array([0.0, 0, 1, 0, 0, 0])
    update = updates_of(method, np.stack([G, -G, third]))
    assert np.isfinite(update).all()
    np.testing.assert_allclose(update[[0, 1, 3, 4, 5]], 0, atol=2e-2)
    assert update[2] >= 0 if method == "mgda" else update[2] > 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_makes_every_weight_nan(method, bad):
    grads = GRADS[0].copy()
    grads[1, 2] = bad
    with np.errstate(invalid="ignore"):
        assert np.isnan(weights_of(method, grads)).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_the_gradients_does_not_matter(method):
    expected = weights_of(method, GRADS)
    for scale in (1e-14, 1e14):
        weights = weights_of(method, GRADS * scale) * (scale if method == "nash_mtl" else 1)
        np.testing.assert_allclose(weights, expected, rtol=2e-2, atol=2e-4)


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"mgda: a Gram of 2 terms must have as many rows and columns, got \(3, 3\)"):
        gradients.mgda(gradients.Gram(("a", "b"), jnp.eye(3)))
