"""Embedding losses at their edges: equal points, vectors of zeros, no partner, half precision, masks, refused inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl

INF, NAN = np.inf, np.nan
MINING = ("batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss")
X = jax.random.normal(jax.random.key(0), (6, 3))
Y = jax.random.normal(jax.random.key(1), (6, 3))
IDS = jnp.array([0, 0, 1, 1, 2, 2])


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def finite_to_the_second_order(f, *inputs):
    """Gradient and Hessian of a scalar function are finite, in both modes; returns the gradients."""
    derivatives = [derivative(f, tuple(range(len(inputs)))) for derivative in (jax.grad, jax.jacfwd, jax.hessian)]
    gradients, forward, second = jax.jit(lambda *x: [derivative(*x) for derivative in derivatives])(*inputs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, forward, second)))
    return gradients


# Distances


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("distance", [jl.squared_distance, jl.euclidean_distance])
def test_equal_points_have_no_gradient(distance, pairwise):
    gradients = finite_to_the_second_order(lambda x, y: jnp.sum(distance(x, y, pairwise=pairwise)), X[:2], X[:2])
    if not pairwise:
        assert all((gradient == 0).all() for gradient in gradients)
    matrix = distance(X, X, pairwise=True)
    assert (jnp.diagonal(matrix) == 0).all()
    diagonal = jax.grad(lambda x: jnp.trace(distance(x, x, pairwise=True)))(X)
    assert (diagonal == 0).all()


def test_near_rows_keep_their_digits():
    near = X + 1e-4 * Y
    x, y = np.asarray(X, float), np.asarray(near, float)
    expected = np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    close(jl.euclidean_distance(X, near, pairwise=True), expected, rtol=1e-6, atol=0)
    close(jl.squared_distance(X, near, pairwise=True), expected**2, rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [1e-8, 1e-15])
def test_short_distances_have_unit_gradients(size):
    x = jnp.array([0.6, 0.8]) * size
    close(jl.euclidean_distance(x, [0.0, 0.0]), size, rtol=1e-5, atol=0)
    (gradient,) = finite_to_the_second_order(lambda x: jl.euclidean_distance(x, jnp.zeros(2)), x)
    close(gradient, [0.6, 0.8])


@pytest.mark.parametrize("pairwise", [False, True])
def test_a_vector_of_zeros_has_cosine_0(pairwise):
    x = X.at[1].set(0)
    assert (jl.cosine_similarity(x, Y, pairwise=pairwise)[1] == 0).all()
    gradients = finite_to_the_second_order(lambda x, y: jnp.sum(jl.cosine_similarity(x, y, pairwise=pairwise)), x, Y)
    assert jnp.max(jnp.abs(gradients[0][1])) <= 1e6 * jnp.sqrt(6)  # 1/√ε
    small = jax.grad(lambda x: jnp.sum(jl.cosine_similarity(x, Y, eps=1e-4)))(x)
    assert jnp.max(jnp.abs(small[1])) <= 1e2


def test_normalised_vectors():
    x = X.at[1].set(0)
    u = jl.l2_normalize(x)
    close(jnp.linalg.norm(u, axis=1), [1, 0, 1, 1, 1, 1])
    close(jl.l2_normalize(u), u)
    close(jl.l2_normalize(1e-3 * x), u)
    close(jl.l2_normalize(x.T, axis=0), u.T)
    gradient = jax.grad(lambda x: jnp.sum(jl.l2_normalize(x)))(x)
    close(gradient[1], 1e6)
    close(gradient[0], (np.eye(3) - np.outer(u[0], u[0])).sum(0) / np.linalg.norm(x[0]), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
    x, y = X.at[1].set(0).astype(dtype), Y.astype(dtype)
    close(jl.l2_normalize(x), jl.l2_normalize(x.astype(jnp.float32)), rtol=1e-6)
    losses = [jl.l2_normalize, lambda x: jl.cosine_similarity(x, y), lambda x: jl.info_nce_loss(x, y)]
    losses += [lambda x: jl.info_nce_loss(y, x, negatives=x), lambda x: jl.n_pair_loss(x, y)]
    losses += [lambda x, name=name: jl.get(name)(x, IDS) for name in MINING]
    sums = [lambda x, f=f: jnp.sum(f(x)) for f in losses]
    values, gradients = jax.jit(lambda x: ([f(x) for f in losses], [jax.grad(f)(x) for f in sums]))(x)
    assert {value.dtype for value in values} == {jnp.dtype("float32")}
    assert {gradient.dtype for gradient in gradients} == {jnp.dtype(dtype)}
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


# Pairs, triplets, mining


@pytest.mark.parametrize("squared", [True, False])
def test_triplets_of_equal_embeddings(squared):
    loss = functools.partial(jl.triplet_loss, squared=squared, reduction="sum")
    gradients = finite_to_the_second_order(loss, X[:2], X[:2], X[:2])
    assert all((gradient == 0).all() for gradient in gradients)
    for name in MINING:
        same = jnp.ones((6, 3))
        options = {"squared": squared, "reduction": "mean"}
        close(jl.get(name)(same, IDS, **options), 0.2)
        (gradient,) = finite_to_the_second_order(lambda x, o=options, name=name: jl.get(name)(x, IDS, **o), same)
        assert (gradient == 0).all()


def test_equal_pairs_have_no_gradient():
    for similar in (0, 1):
        loss = functools.partial(jl.contrastive_loss, similar=[similar] * 2, reduction="sum")
        gradients = finite_to_the_second_order(lambda a, b, loss=loss: loss(a, b), X[:2], X[:2])
        assert all((gradient == 0).all() for gradient in gradients)


def test_at_the_corner_of_a_hinge_the_gradient_is_0():
    a, p, n = jnp.array([[0.0]]), jnp.array([[0.5]]), jnp.array([[1.0]])
    assert (jax.grad(lambda a: jl.triplet_loss(a, p, n, margin=0.75, reduction="sum"))(a) == 0).all()
    far = jax.grad(lambda a: jl.contrastive_loss(a, n, [0], reduction="sum"))(a)
    assert (far == 0).all()
    line = jnp.array([[0.0], [0.5], [1.0]])
    corner = functools.partial(jl.batch_all_triplet_loss, labels=[0, 0, 1], margin=0.75, where=[True] * 3)
    assert corner(line)[0] == 0
    assert (jax.grad(lambda x: corner(x)[0])(line) == 0).all()
    assert corner(line, positive_only=True, reduction="parts").count == 1  # the other anchor's


@pytest.mark.parametrize("name", MINING)
def test_without_a_triplet_the_loss_is_0(name):
    loss = jl.get(name)
    for ids in (jnp.arange(6), jnp.zeros(6, int)):
        value, gradient = jax.value_and_grad(lambda x, ids=ids: loss(x, ids, reduction="mean"))(X)
        assert value == 0
        assert (gradient == 0).all()
        assert loss(X, ids, reduction="parts").count == 0
    single = loss(X, [7, -7, 7, 3, 7, 2], reduction="parts")
    assert (
        single.count == {"batch_all_triplet_loss": 18, "batch_hard_triplet_loss": 3, "semi_hard_triplet_loss": 6}[name]
    )


@pytest.mark.parametrize("name", MINING)
def test_a_nan_that_is_not_masked_gives_nan(name):
    assert jnp.isnan(jl.get(name)(X.at[2, 0].set(NAN), IDS, reduction="mean"))
    for other in (jl.n_pair_loss, jl.info_nce_loss):
        assert jnp.isnan(other(X, Y.at[2, 0].set(NAN), reduction="mean"))
    assert jnp.isnan(jl.info_nce_loss(X, Y, negatives=Y.at[2, 0].set(NAN), reduction="mean"))


@pytest.mark.parametrize("seed", range(3))
def test_many_hinges_of_one_rounding_error_each(seed):
    d, ids = np.float32(1.9540027), np.random.default_rng(seed).integers(0, 2, 40)
    up = np.nextafter(d, np.float32(2))
    x = np.concatenate([[0], np.where(ids == 0, up, d)]).astype(np.float32)[:, None]
    value = jl.batch_all_triplet_loss(x, np.concatenate([[0], ids]), margin=0.0, squared=False)
    close(value[0], np.sum(ids == 0) * np.sum(ids == 1) * (float(up) - float(d)), rtol=1e-6, atol=0)
    assert (value >= 0).all()


# N-pair and InfoNCE


@pytest.mark.parametrize("temperature", [0.01, 0.001])
def test_low_temperatures(temperature):
    options = {"reduction": "mean"}
    for loss in (
        lambda x, t: jl.info_nce_loss(x, Y, temperature=t, symmetric=True, **options),
        lambda x, t: jl.info_nce_loss(x, Y, negatives=Y[::-1], temperature=t, **options),
    ):
        assert jnp.isfinite(loss(X, temperature))
        finite_to_the_second_order(loss, X, jnp.asarray(temperature))


@functools.partial(jax.jit, static_argnames="gradients")
def loss_beside_a_bank(x, t, bank, valid, gradients=False):
    def loss(x, t, bank):
        return jl.info_nce_loss(x, Y[: len(x)], negatives=bank, negatives_where=valid, temperature=t)

    return jax.grad(lambda *x: jnp.sum(loss(*x)), (0, 1, 2))(x, t, bank) if gradients else loss(x, t, bank)


@pytest.mark.parametrize("bad", [0.0, NAN, INF, -INF])
def test_padded_negatives_and_a_learned_temperature(bad):
    bank, t = jax.random.normal(jax.random.key(2), (6, 4, 3)), jnp.asarray(0.5)
    valid = jnp.arange(4)[None] < jnp.array([2, 4, 0, 1, 3, 4])[:, None]
    padded = jnp.where(valid[:, :, None], bank, bad)
    values = loss_beside_a_bank(X, t, padded, valid)
    close(values[0], loss_beside_a_bank(X[:1], t, bank[0, :2], jnp.ones(2, bool))[0])
    assert values[2] == 0
    gradients = loss_beside_a_bank(X, t, padded, valid, gradients=True)
    expected = loss_beside_a_bank(X, t, bank, valid, gradients=True)
    for gradient, other in zip(gradients, expected, strict=True):
        assert np.isfinite(gradient).all()
        close(gradient, other, rtol=1e-6)
    assert (gradients[2][~valid] == 0).all()
    shared = loss_beside_a_bank(X, t, padded[0], valid[0])
    close(shared, loss_beside_a_bank(X, t, bank[0, :2], jnp.ones(2, bool)))


def test_vectors_of_zeros():
    x = X.at[1].set(0)
    for loss in (
        lambda x: jl.info_nce_loss(x, Y, symmetric=True, reduction="mean"),
        lambda x: jl.info_nce_loss(Y, x, negatives=x, reduction="mean"),
        lambda x: jl.n_pair_loss(x, x, labels=jnp.zeros(6, int), reduction="mean"),
    ):
        finite_to_the_second_order(loss, x)
    close(jl.info_nce_loss(x, Y)[1], np.log(6))


def test_no_queries_and_no_negatives():
    assert jl.info_nce_loss(X[:0], Y[:0], negatives=Y, reduction="mean") == 0
    for none in (Y[:0], jnp.zeros((6, 0, 3))):
        value, gradient = jax.value_and_grad(lambda x, n=none: jl.info_nce_loss(x, Y, negatives=n, reduction="sum"))(X)
        assert value == 0
        assert (gradient == 0).all()


def test_a_query_takes_its_own_negatives_with_it():
    bank = jax.random.normal(jax.random.key(2), (6, 4, 3))
    corrupted, where = bank.at[3].set(NAN), jnp.arange(6) != 3
    expected = jl.info_nce_loss(X[where], Y[where], negatives=bank[where], reduction="mean")
    for keyword in ({"where": where}, {"sample_weights": where.astype(float)}):
        loss = functools.partial(jl.info_nce_loss, positives=Y, **keyword, reduction="mean")
        close(loss(X, negatives=corrupted), expected)
        gradients = jax.grad(lambda x, n, loss=loss: loss(x, negatives=n), argnums=(0, 1))(X, corrupted)
        assert all(jnp.isfinite(gradient).all() for gradient in gradients)


def test_labels_share_the_target_among_the_positives_that_are_not_masked():
    where = jnp.array([True, True, False, True, True, True])
    for variant in ("multi_class", "one_vs_one"):
        loss = functools.partial(jl.n_pair_loss, variant=variant, reduction="mean")
        masked = loss(X, Y.at[2].set(NAN), labels=IDS, where=where)
        close(masked, loss(X[where], Y[where], labels=IDS[where]))
        all_masked = loss(X, Y, labels=IDS, where=jnp.zeros(6, bool))
        assert all_masked == 0


# Refused inputs


def test_shapes_and_words_that_do_not_fit_are_refused():
    for call, words in {
        lambda: jl.contrastive_loss(X, Y, jnp.ones((6, 1))): r"first \(6, 3\) need similar \(6,\).*similar\[:, 0\]",
        lambda: jl.batch_all_triplet_loss(X[0], 1): r"embeddings \(3,\) must be \(batch, features\)",
        lambda: jl.semi_hard_triplet_loss(X, IDS[:, None]): r"labels\[:, 0\]",
        lambda: jl.n_pair_loss(X, Y, labels=IDS[:3]): r"anchors \(6, 3\) need labels \(6,\), got \(3,\)",
        lambda: jl.n_pair_loss(X, Y, variant="mc"): r"variant must be one of 'multi_class', 'one_vs_one', got 'mc'",
        lambda: jl.info_nce_loss(X, Y, negatives=Y[:, :2]): r"need negatives \(M, 3\) or \(6, M, 3\), got \(6, 2\)",
        lambda: jl.info_nce_loss(X, Y, negatives=Y, symmetric=True): r"leave out negatives=",
        lambda: jl.info_nce_loss(X, Y, negatives_where=IDS > 0): r"needs negatives=",
        lambda: jl.info_nce_loss(
            X, Y, negatives=Y, negatives_where=IDS[:2] > 0
        ): r"negatives_where \(6,\) or \(6, 6\), got \(2,\)",
        lambda: jl.cosine_similarity(X, Y[:, :2], pairwise=True): r"\(\.\.\., N, features\)",
        lambda: jl.squared_distance(X, Y[:2]): r"equal shapes",
    }.items():
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match=r"labels must be integers, got float32"):
        jl.batch_hard_triplet_loss(X, IDS.astype(float))
    with pytest.raises(TypeError, match=r"negatives_where must be boolean, got int32"):
        jl.info_nce_loss(X, Y, negatives=Y, negatives_where=IDS)


def test_bad_values_raise_under_checked():
    with pytest.raises(Exception, match="contrastive_loss: similar must be 0 or 1; 3 do not"):
        jl.checked(jl.contrastive_loss)(X, Y, [1, 0, 1, -1, -1, 2])
    with pytest.raises(ValueError, match=r"info_nce_loss: temperature must be a number > 0, got 0\.0"):
        jl.checked(jl.info_nce_loss)(X, Y, temperature=0.0)
    with pytest.raises(Exception, match="info_nce_loss: temperature must be > 0"):
        jl.checked(jl.info_nce_loss)(X, Y, temperature=jnp.float32(0))
    with pytest.raises(Exception, match="sample_weights must be >= 0"):
        jl.checked(jl.batch_all_triplet_loss)(X, IDS, sample_weights=[1.0, -1, 1, 1, 1, 1])
    jl.checked(jl.contrastive_loss)(X, Y, [1, 0, 1, 0, 0, 1])
