"""Embeddings of any length: 1e20, whose squares overflow, 1e-20, whose squares vanish, and both at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses.core.numerics import power_of_two_near
from tests.losses.embeddings.test_values import MINING, loops

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 6, 4)).astype(np.float32)
IDS = np.array([0, 0, 1, 1, 2, 2])
SCALES = {
    "long": np.full((6, 1), 1e20),
    "short": np.full((6, 1), 1e-20),
    "mixed": np.array([1e20, 1e-20, 1, 1e-20, 1e20, 1])[:, None],
}
scales = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def scaled(scale):
    return np.float32(X * scale), np.float32(Y * scale)


def against_doubles(function, *inputs, second=False):
    """Values and derivatives of `function` in float32 are those of `expected`, where these are numbers of float32."""
    ours, expected = function if isinstance(function, tuple) else (function, function)

    def all_of(f, dtype):
        arrays = [jnp.asarray(x, dtype) for x in inputs]
        argnums = tuple(range(len(arrays)))
        scalar = lambda *a: jnp.sum(jnp.cos(jnp.arange(f(*a).size, dtype=dtype)) * f(*a).ravel())  # noqa: E731
        results = [f(*arrays), *jax.jit(jax.grad(scalar, argnums))(*arrays)]
        if second:
            direction = tuple(jnp.sin(1 + jnp.arange(a.size, dtype=dtype)).reshape(a.shape) * a for a in arrays)
            results += jax.jit(lambda *a: jax.jvp(jax.grad(scalar, argnums), a, direction)[1])(*arrays)
        return [np.asarray(x, float) for x in results]

    actual = all_of(ours, jnp.float32)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        right = all_of(expected, jnp.float64)
    for a, b in zip(actual, right, strict=True):
        size = np.max(np.abs(b), -1, keepdims=True) if a.ndim > 1 else 0
        np.testing.assert_array_less(np.abs(a - b), 1e-4 * np.abs(b) + 1e-5 * size + 1e-36)


def plain_distance(x, y):
    return jnp.sqrt(jnp.sum((x - y) ** 2, -1))


def plain_cosine(x, y):
    return jnp.sum(x * y, -1) / jnp.sqrt(jnp.sum(x * x, -1) * jnp.sum(y * y, -1))


def test_powers_of_two():
    x = np.array([0.0, 1, -3, 1e20, -1e-20, 3e38, 1e-45, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(power_of_two_near(jnp.asarray(x)), [1, 1, 2, 2.0**66, 2.0**-67, 2.0**126, 1, 1, 1])
    assert (jax.grad(lambda x: jnp.sum(power_of_two_near(x)))(jnp.array([1.0, 5.0])) == 0).all()


@scales
def test_paired_distances_and_cosines(scale):
    x, y = scaled(scale)
    against_doubles((jl.euclidean_distance, plain_distance), x, y, second=True)
    against_doubles((functools.partial(jl.cosine_similarity, eps=0.0), plain_cosine), x, y, second=True)
    np.testing.assert_allclose(jl.cosine_similarity([6e19, -2e19, 3e19], [1, 2, -0.5]), 0.0311740, rtol=1e-5)


@scales
def test_all_pairs(scale):
    x, y = scaled(scale)
    y = y[:5]
    pairs = lambda f: lambda x, y: f(x[:, None], y[None])  # noqa: E731
    against_doubles((functools.partial(jl.euclidean_distance, pairwise=True), pairs(plain_distance)), x, y, second=True)
    against_doubles((functools.partial(jl.cosine_similarity, pairwise=True, eps=0.0), pairs(plain_cosine)), x, y)
    batches = jax.vmap(functools.partial(jl.euclidean_distance, pairwise=True))(np.stack([x, X]), np.stack([y, Y[:5]]))
    np.testing.assert_array_equal(batches[1], jl.euclidean_distance(X, Y[:5], pairwise=True))
    stacked = jl.euclidean_distance(np.stack([x, X]), np.stack([y, Y[:5]]), pairwise=True)
    np.testing.assert_allclose(stacked, batches, rtol=1e-6)


@scales
def test_directions(scale):
    x, _ = scaled(scale)
    unit = lambda x: x / jnp.sqrt(jnp.sum(x * x, -1, keepdims=True))  # noqa: E731
    against_doubles((functools.partial(jl.l2_normalize, eps=0.0), unit), x, second=True)
    np.testing.assert_allclose(
        jl.l2_normalize(x), x / np.maximum(np.linalg.norm(np.float64(x), axis=1, keepdims=True), 1e-6), rtol=1e-5
    )


def test_without_a_floor_a_vector_of_zeros_stays_one():
    x = jnp.zeros(3)
    assert (jl.l2_normalize(x, eps=0.0) == 0).all()
    assert jnp.isfinite(jax.jacrev(functools.partial(jl.l2_normalize, eps=0.0))(x)).all()


def test_a_vmapped_distance_is_rescaled_where_it_must_be():
    x, y = np.stack([X, np.float32(1e20) * X]), np.stack([Y, np.float32(1e20) * Y])
    for row in (0, 1):
        alone = jl.euclidean_distance(x[row], y[row])
        np.testing.assert_array_equal(jax.vmap(jl.euclidean_distance)(x, y)[row], alone)


@scales
def test_given_pairs_and_triplets(scale):
    x, y = scaled(scale)
    z = np.roll(y, 1, axis=1)

    def plain_triplet(a, p, n):
        return jax.nn.relu(plain_distance(a, p) - plain_distance(a, n) + 0.2)

    against_doubles((functools.partial(jl.triplet_loss, squared=False), plain_triplet), x, y, z)
    where = np.arange(6) != 2
    masked = jl.triplet_loss(x, np.where(where[:, None], y, np.nan), z, squared=False, where=where)
    np.testing.assert_array_equal(masked, np.where(where, jl.triplet_loss(x, y, z, squared=False), 0))
    value, gradient = jax.value_and_grad(lambda x: jl.contrastive_loss(x, y, 0 * IDS, reduction="sum"))(x)
    far = np.float64(x) - np.float64(y)
    expected = np.maximum(1 - np.linalg.norm(far, axis=1), 0) ** 2 / 2
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-5)
    assert np.isfinite(gradient).all()


@scales
@pytest.mark.parametrize("name", MINING)
def test_mined_triplets(name, scale):
    x, _ = scaled(scale)
    loss = functools.partial(jl.get(name).function, labels=IDS, squared=False)
    expected = loops(x.astype(float), IDS, [True] * 6, 0.2, False)[name][:, 0]
    np.testing.assert_allclose(loss(x), expected, rtol=1e-5)
    against_doubles(loss, x)


LONG = np.float32(X * np.linspace(0.5, 2, 6)[:, None]) * np.float32(1e20)


@pytest.mark.parametrize("name", MINING)
def test_mined_triplets_whose_squares_overflow(name):
    """A difference of squares is 0 after the hinge, or truly infinite; the slopes are finite."""
    loss = functools.partial(jl.get(name).function, labels=IDS)
    with np.errstate(over="ignore"):
        expected = np.float32(loops(LONG.astype(float), IDS, [True] * 6, 0.2, True)[name][:, 0])
    assert (expected == 0).any() or name == "batch_all_triplet_loss"
    np.testing.assert_array_equal(loss(LONG), expected)
    gradient = jax.grad(lambda x: loss(x).sum())(LONG)
    with jax.enable_x64(True):
        exact = jax.grad(lambda x: loss(x).sum())(LONG.astype(float))
    np.testing.assert_allclose(gradient, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_given_triplets_whose_squares_overflow():
    a, p, n = LONG, np.roll(LONG, 1, axis=0), np.roll(LONG, 2, axis=0)
    squares = lambda x, y: np.sum((x - y).astype(float) ** 2, axis=1)  # noqa: E731
    gap = squares(np.float64(a), np.float64(p)) - squares(np.float64(a), np.float64(n))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(jl.triplet_loss(a, p, n), np.float32(np.maximum(gap + 0.2, 0)))
    assert (gap < 0).any()
    assert (gap > 0).any()
    np.testing.assert_allclose(jl.triplet_loss(a, p, p), 0.2)
    slopes = jax.grad(lambda *x: jl.triplet_loss(*x).sum(), (0, 1, 2))(a, p, n)
    attracted = (gap > 0)[:, None]
    for slope, by in zip(slopes, (n - p, p - a, a - n), strict=True):
        np.testing.assert_allclose(slope, np.where(attracted, 2 * by, 0), rtol=1e-5)


@scales
@pytest.mark.parametrize(
    "options", [{}, {"symmetric": True}, {"negatives": Y[:2]}, {"labels": IDS, "same_label": "positive"}]
)
def test_info_nce_of_cosines(scale, options):
    x, y = scaled(scale)
    loss = functools.partial(jl.info_nce_loss, temperature=0.5, **options)
    against_doubles(loss, x, y)
    if np.min(scale) > 1:
        np.testing.assert_allclose(loss(x, y), loss(X, Y), rtol=1e-5)


@pytest.mark.parametrize("variant", ["multi_class", "one_vs_one"])
@pytest.mark.parametrize("power", [10, 18, 20, 25])
def test_products_that_overflow(variant, power):
    """A row costs nothing but its penalty where its own candidate is the nearest, however large the products are."""
    rows = np.eye(4, dtype=np.float32) * np.float32(10.0**power)
    loss = functools.partial(jl.n_pair_loss, variant=variant, reg_lambda=1e-20)
    against_doubles(loss, rows, rows)
    expected = 1e-20 / 2 * np.diagonal(rows).astype(float) ** 2
    np.testing.assert_allclose(loss(rows, rows), expected, rtol=1e-5)
    against_doubles(functools.partial(jl.info_nce_loss, normalize=False), rows, rows)
    against_doubles(functools.partial(jl.info_nce_loss, normalize=False, negatives=-rows), rows, rows)
    inverse, ones = np.eye(4, dtype=np.float32) / rows[0, 0], np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(loss(rows, inverse), loss(ones, ones) + expected / 2, rtol=1e-4)


# Precision and memory


def test_negatives_in_double_precision_are_computed_in_it():
    with jax.enable_x64(True):
        bank = RNG.normal(size=(3, 4))
        ours = jl.info_nce_loss(X, Y, negatives=jnp.asarray(bank), temperature=0.5)
        assert ours.dtype == jnp.float64
    cosines = lambda a, b: a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)  # noqa: E731
    x, y = X.astype(float), Y.astype(float)
    own, others = np.diagonal(cosines(x, y)) / 0.5, cosines(x, bank) / 0.5
    np.testing.assert_allclose(ours, np.log1p(np.exp(others - own[:, None]).sum(1)), rtol=1e-12)


def test_a_mask_for_each_query_on_negatives_that_all_share():
    bank, where = RNG.normal(size=(3, 4)).astype(np.float32), RNG.random((6, 3)) < 0.6
    own = np.broadcast_to(bank, (6, 3, 4))
    shared_loss = lambda x, b: jl.info_nce_loss(x, Y, negatives=b, negatives_where=where, reduction="sum")  # noqa: E731
    value, (by_x, by_bank) = jax.value_and_grad(shared_loss, (0, 1))(X, bank)
    other, (other_x, other_bank) = jax.value_and_grad(shared_loss, (0, 1))(X, own)
    np.testing.assert_allclose(value, other, rtol=1e-6)
    np.testing.assert_allclose(by_x, other_x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(by_bank, other_bank.sum(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distance", [jl.euclidean_distance, jl.squared_distance])
def test_the_gradient_of_all_pairs_needs_no_array_of_all_differences(distance):
    both = jax.ShapeDtypeStruct((1024, 64), jnp.float32)
    step = jax.jit(jax.value_and_grad(lambda x, y: jnp.sum(jnp.sin(distance(x, y, pairwise=True))), (0, 1)))
    temp = step.lower(both, both).compile().memory_analysis().temp_size_in_bytes
    assert temp < 24e6  # 4 MB for an array of all pairs, 268 MB for their differences


def test_the_gradient_of_near_rows_keeps_its_digits():
    x = np.float32(100 + X)
    near = np.float32(x + 1e-4 * Y)
    pairs = lambda x, y: jnp.sqrt(jnp.sum((x[:, None] - y[None]) ** 2, -1))  # noqa: E731
    against_doubles((functools.partial(jl.euclidean_distance, pairwise=True), pairs), x, near)


# No infinity on the way

QUIET = {
    "euclidean": lambda x, y: jl.euclidean_distance(x, y),
    "pairwise": lambda x, y: jl.euclidean_distance(x, y, pairwise=True),
    "cosine": lambda x, y: jl.cosine_similarity(x, y),
    "contrastive": lambda x, y: jl.contrastive_loss(x, y, 0 * IDS),
    "triplet": lambda x, y: jl.triplet_loss(x, y, -y, squared=False),
    "n_pair": lambda x, _: jl.n_pair_loss(x[0, 0] * jnp.eye(6), x[0, 0] * jnp.eye(6), where=IDS > 0, reg_lambda=1e-20),
    "info_nce": lambda x, y: jl.info_nce_loss(x, y, where=IDS > 0),
    **{name: lambda x, y, name=name: jl.get(name).function(x, IDS, squared=False, where=IDS < 2) for name in MINING},
}


@pytest.mark.parametrize("scale", [1.0, 1e20, 1e-20])
@pytest.mark.parametrize("name", QUIET)
def test_no_intermediate_infinity(name, scale):
    x, y = (np.float32(scale) * a for a in (X, Y))
    with jax.debug_infs(True), jax.debug_nans(True):
        QUIET[name](x, y)
        jax.grad(lambda x: jnp.sum(QUIET[name](x, y)))(jnp.asarray(x))
