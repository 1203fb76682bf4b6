"""The contrastive loss of all pairs in a batch: worked numbers, the loss of the enumerated pairs, edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl

NAN = np.nan
X = np.asarray(0.5 * jax.random.normal(jax.random.key(0), (9, 3)))
IDS = np.array([0, 1, 2, 0, 1, 0, 5, 2, 0])
LINE, LINE_IDS = np.array([[0.0], [0.5], [0.6], [2.0]]), np.array([3, 3, -1, -1])


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def enumerated(x, ids, where=None, **options):
    """`contrastive_loss` of each unordered pair once."""
    items = np.arange(len(ids)) if where is None else np.flatnonzero(where)
    first, second = items[np.transpose(np.triu_indices(len(items), 1))].T
    similar = (ids[first] == ids[second]).astype(int)
    return jl.contrastive_loss(x[first], x[second], similar, **options), (first, second)


def test_worked_by_hand():
    """Squares of 0.5 and 1.4 attract; 1 - 0.6 and 1 - 0.1 are short of the margin; 2.0 and 1.5 are beyond it."""
    pairs = {(0, 1): 0.25, (2, 3): 1.96, (0, 2): 0.16, (1, 2): 0.81, (0, 3): 0.0, (1, 3): 0.0}
    values = np.zeros(4)
    for pair, square in pairs.items():
        values[list(pair)] += square / 4  # ½ of the loss, and half of it for each item
    loss = functools.partial(jl.pairwise_contrastive_loss, LINE, LINE_IDS)
    close(loss(), values)
    close(loss(reduction="sum"), 3.18 / 2)
    close(loss(reduction="mean"), 3.18 / 2 / 6)
    close(loss(half=False, reduction="mean"), 3.18 / 6)
    assert loss(reduction="parts").count == 6
    close(loss(margin=2.0, reduction="sum"), (0.25 + 1.96 + 1.4**2 + 1.9**2 + 0.5**2) / 2)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("block_size", [None, 1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_contrastive_loss_of_the_enumerated_pairs(half, block_size, masked):
    where = np.arange(9) % 4 != 1 if masked else None
    x = np.where(where[:, None], X, NAN) if masked else X
    loss = functools.partial(jl.pairwise_contrastive_loss, margin=1.5, half=half, block_size=block_size, where=where)
    values, (first, second) = enumerated(X, IDS, where, margin=1.5, half=half)
    close(loss(x, IDS, reduction="mean"), np.mean(values))
    close(loss(x, IDS, reduction="sum"), np.sum(values))
    assert loss(x, IDS, reduction="parts").count == len(values)
    of_item = np.zeros(9)
    for pair in (first, second):
        np.add.at(of_item, pair, np.asarray(values) / 2)
    close(loss(x, IDS), of_item)


@pytest.mark.parametrize("block_size", [None, 4])
def test_its_gradient_is_that_of_the_enumerated_pairs(block_size):
    where = np.arange(9) % 4 != 1

    def all_pairs(x):
        return jl.pairwise_contrastive_loss(x, IDS, margin=1.5, block_size=block_size, where=where, reduction="mean")

    gradient = jax.grad(all_pairs)(np.where(where[:, None], X, NAN))
    expected = jax.grad(lambda x: jnp.mean(enumerated(x, IDS, where, margin=1.5)[0]))(X)
    close(gradient, expected)
    assert (gradient[~where] == 0).all()


def test_a_pair_has_the_mean_weight_of_its_items():
    weights = 1 + np.arange(9.0)
    values, (first, second) = enumerated(X, IDS)
    of_pair = (weights[first] + weights[second]) / 2
    loss = functools.partial(jl.pairwise_contrastive_loss, X, IDS, sample_weights=weights)
    close(loss(reduction="mean"), np.sum(of_pair * values) / np.sum(of_pair))
    close(loss(reduction="parts").count, np.sum(of_pair))


@pytest.mark.parametrize("ids", [np.zeros(6, int), np.arange(6)], ids=["one label", "all different"])
def test_equal_embeddings_have_finite_derivatives_and_no_gradient(ids):
    loss = functools.partial(jl.pairwise_contrastive_loss, labels=ids, reduction="mean")
    same = jnp.ones((6, 3))
    gradient, forward, second = jax.jit(lambda x: [d(loss)(x) for d in (jax.grad, jax.jacfwd, jax.hessian)])(same)
    assert all(np.isfinite(derivative).all() for derivative in (gradient, forward, second))
    assert (gradient == 0).all()
    close(loss(same), 0.0 if ids[1] == 0 else 0.5)


def test_without_a_pair_the_loss_is_0():
    for count in (0, 1):
        value, gradient = jax.value_and_grad(
            lambda x: jl.pairwise_contrastive_loss(x, IDS[: len(x)], reduction="mean")
        )(X[:count])
        assert value == 0
        assert (gradient == 0).all()
        parts = jl.pairwise_contrastive_loss(X[:count], IDS[:count], reduction="parts")
        assert parts.sum == parts.count == 0
        assert jl.pairwise_contrastive_loss(X[:count], IDS[:count]).shape == (count,)
    single = jl.pairwise_contrastive_loss(X, IDS, where=np.arange(9) == 3, reduction="parts")
    assert single.sum == single.count == 0


def test_a_nan_that_is_not_masked_gives_nan_and_bad_shapes_are_refused():
    bad = X.copy()
    bad[2, 0] = NAN
    assert jnp.isnan(jl.pairwise_contrastive_loss(bad, IDS, reduction="mean"))
    with pytest.raises(ValueError, match=r"embeddings \(9, 3\) need labels \(9,\), got \(9, 1\); .*labels\[:, 0\]"):
        jl.pairwise_contrastive_loss(X, IDS[:, None])
    with pytest.raises(TypeError, match="labels must be integers"):
        jl.pairwise_contrastive_loss(X, IDS.astype(np.float32))


def test_a_batch_of_4096_fits_in_a_cache():
    ids = jnp.arange(4096) // 8
    step = jax.jit(jax.value_and_grad(lambda x: jl.pairwise_contrastive_loss(x, ids, reduction="mean")))
    compiled = step.lower(jax.ShapeDtypeStruct((4096, 128), jnp.float32)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 50e6  # all differences have 8.6 GB
