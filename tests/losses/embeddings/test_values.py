"""Values of the embedding losses: worked numbers, other libraries' values, plain loops, and identities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import compiled as jl
from tests.golden import golden

GOLDEN = golden("embeddings")["cases"]
MINING = ("batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss")

A, P, N, N2 = [[1.0, 0.0]], [[0.8, 0.6]], [[0.0, 1.0]], [[0.6, 0.8]]
ANCHORS, POSITIVES = [[1.0, 0], [0, 1], [1, 1]], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.9]]
Z = np.array([[1.0, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]])
OTHERS = np.array(
    [[1, 3], [0, 2], [1, 3], [0, 2]]
)  # of views (0, 2) and (1, 3): what is neither oneself nor one's view


def pair(d, similar, **options):
    return jl.contrastive_loss([[0.0]], [[d]], [similar], **options)


def nt_xent(temperature):
    return jl.info_nce_loss(Z, Z[[2, 3, 0, 1]], negatives=Z[OTHERS], temperature=temperature, reduction="mean")


NUMBERS = {
    "contrastive": (lambda: [pair(0.5, 1)[0], pair(0.5, 0)[0], pair(1.5, 0)[0]], [0.125, 0.125, 0.0]),
    "contrastive, not halved": (lambda: pair(0.5, 1, half=False), 0.25),
    "squared distances": (lambda: [jl.squared_distance(A, x)[0] for x in (P, N, N2)], [0.4, 2.0, 0.8]),
    "triplet, plain": (lambda: jl.triplet_loss(A, P, N, squared=False, margin=1.0), 0.2182419697),
    "triplet, plain, nearer": (lambda: jl.triplet_loss(A, P, N2, squared=False, margin=1.0), 0.7380283410),
    "triplet, squared": (lambda: [jl.triplet_loss(A, P, x)[0] for x in (N, N2)], [0, 0]),
    "triplet, soft": (
        lambda: [jl.triplet_loss(A, P, x, squared=False, soft_margin=True)[0] for x in (N, N2)],
        [0.3767918153, 0.5707155755],
    ),
    "N-pair": (
        lambda: jl.n_pair_loss(ANCHORS, POSITIVES, reg_lambda=0.0),
        [0.8395462039, 0.9561866869, 0.7408049286],
    ),
    "N-pair, mean": (lambda: jl.n_pair_loss(ANCHORS, POSITIVES, reg_lambda=0.0, reduction="mean"), 0.8455126065),
    "N-pair, one against one": (
        lambda: jl.n_pair_loss(ANCHORS, POSITIVES, variant="one_vs_one", reg_lambda=0.0, reduction="mean"),
        1.0079611761,
    ),
    "N-pair, penalty": (
        lambda: jl.n_pair_loss(ANCHORS, POSITIVES, reduction="mean"),
        0.8455126065 + 0.0011333333,
    ),
    "InfoNCE, one negative": (
        lambda: jl.info_nce_loss([[1.0, 0.0]], [[1.0, 0.0]], negatives=[[0.2, np.sqrt(0.96)]], temperature=0.5),
        0.1839007409,
    ),
    "InfoNCE, four equal": (lambda: jl.info_nce_loss(A, N, negatives=N * 3), 1.3862943611),
    "NT-Xent .5": (lambda: nt_xent(0.5), 0.8707137571),
    "NT-Xent .07": (lambda: nt_xent(0.07), 1.2218559835),
    "CLIP": (lambda: jl.info_nce_loss(Z[:2], Z[2:], symmetric=True, reduction="mean"), 0.0558439129),
    "cosine": (lambda: jl.cosine_similarity([1.0, 2, 3], [2.0, 0, 1]), 0.5976143047),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_worked_number(name, double):
    compute, expected = NUMBERS[name]
    with jax.enable_x64(double):
        value = np.asarray(compute())
    rtol = 1e-9 if double else 1e-5
    np.testing.assert_allclose(value, np.broadcast_to(expected, value.shape), rtol=rtol, atol=1e-10 if double else 1e-6)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['loss']} by {case['name']}")
def test_golden(case):
    with jax.enable_x64(True):
        inputs = [jnp.asarray(x) for x in case["inputs"]]
        floats = tuple(k for k, x in enumerate(inputs) if jnp.issubdtype(x.dtype, jnp.floating))
        reduction = {"reduction": case["reduction"]} if case["reduction"] else {}
        function = functools.partial(getattr(jl, case["loss"]), **case["options"], **reduction)
        both = jax.value_and_grad(lambda *x: (jnp.sum(function(*x)), function(*x)), argnums=floats, has_aux=True)
        (_, value), gradients = jax.jit(both)(*inputs)
    np.testing.assert_allclose(value, case["value"], rtol=1e-9)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-10)


def loops(x, y, where, margin, squared):
    """Sums and counts of batch-all, batch-hard and semi-hard for each anchor, triplet by triplet in float64."""
    d = ((x[:, None].astype(float) - x[None]) ** 2).sum(-1)
    d = d if squared else np.sqrt(d)
    items = [i for i in range(len(x)) if where[i]]
    sums_and_counts = {name: np.zeros((len(x), 2)) for name in MINING}
    for a in items:
        positives = [d[a, p] for p in items if y[p] == y[a] and p != a]
        negatives = [d[a, n] for n in items if y[n] != y[a]]
        if not positives or not negatives:
            continue
        hinges = [max(p - n + margin, 0) for p in positives for n in negatives]
        nearest = [min([n for n in negatives if n > p], default=max(negatives)) for p in positives]
        sums_and_counts["batch_all_triplet_loss"][a] = sum(hinges), len(hinges)
        sums_and_counts["batch_hard_triplet_loss"][a] = max(max(positives) - min(negatives) + margin, 0), 1
        semi = [max(p - n + margin, 0) for p, n in zip(positives, nearest, strict=True)]
        sums_and_counts["semi_hard_triplet_loss"][a] = sum(semi), len(semi)
    return sums_and_counts


few = settings(max_examples=25, deadline=None, derandomize=True)
GRID = hnp.arrays(np.float32, (9, 2), elements=st.integers(-3, 3).map(float))  # many ties, and equal embeddings
IDS = hnp.arrays(np.int32, 9, elements=st.integers(0, 2))
BITS = hnp.arrays(bool, 9)


@few
@given(GRID, IDS, BITS, st.booleans())
def test_mining_is_what_loops_over_triplets_find(x, y, where, squared):
    # Whole numbers against a margin of 1/2: squared distances are exact, and no hinge is at its corner.
    for name, expected in loops(x, y, where, 0.5, squared).items():
        for block_size in (None, 4):
            loss = functools.partial(getattr(jl, name), squared=squared, margin=0.5, block_size=block_size)
            tolerance = {"rtol": 1e-6, "atol": 0.0 if squared else 1e-5}
            if name != "semi_hard_triplet_loss" or squared:  # roots of equal squares may differ in the last digit
                np.testing.assert_allclose(loss(x, y, where=where), expected[:, 0], **tolerance)
                parts = loss(x, y, where=where, reduction="parts")
                assert parts.count == expected[:, 1].sum()


@pytest.mark.parametrize("squared", [True, False])
def test_batch_all_has_the_gradient_of_the_sum_over_all_triplets(squared):
    x, y = jax.random.normal(jax.random.key(0), (24, 3)), jnp.arange(24) % 5
    weights = jnp.arange(24.0)

    def every(x):
        difference = x[:, None] - x[None]
        d = jnp.sum(difference**2, -1)
        d = d if squared else jnp.sqrt(jnp.where(d == 0, 1, d))
        same = y[:, None] == y[None]
        valid = (same & ~jnp.eye(24, dtype=bool))[:, :, None] & ~same[:, None, :]
        return jnp.sum(weights[:, None, None] * jnp.where(valid, jax.nn.relu(d[:, :, None] - d[:, None, :] + 0.3), 0))

    def ours(x, block_size):
        options = {"squared": squared, "margin": 0.3, "block_size": block_size, "sample_weights": weights}
        return jl.batch_all_triplet_loss(x, y, **options, reduction="sum")

    expected, slope = jax.jit(jax.value_and_grad(every))(x)
    for block_size in (None, 7):
        value, gradient = jax.jit(jax.value_and_grad(ours), static_argnums=1)(x, block_size)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-4)


VECTORS = hnp.arrays(np.float32, (4, 3), elements=st.floats(-2, 2, width=16))


def close(actual, expected, rtol=1e-4, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@few
@given(VECTORS, VECTORS, VECTORS)
def test_pairs_and_triplets(a, b, c):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0].astype(np.float32)
    y = np.array([1, 0, 1, 0])
    contrastive, triplet = jl.contrastive_loss, jl.triplet_loss
    close(contrastive(a, b, y), contrastive(b, a, y))
    close(contrastive(a @ turn + 3, b @ turn + 3, y), contrastive(a, b, y), atol=1e-4)
    close(triplet(a @ turn + 3, b @ turn + 3, c @ turn + 3), triplet(a, b, c), atol=1e-3)
    assert (contrastive(a, b, 0 * y) <= 0.5).all()
    close(contrastive(a, b, 0 * y + 1), jax.jit(jl.squared_distance)(a, b) / 2)
    near, far = jl.squared_distance(a, b), jl.squared_distance(a, c)
    assert ((triplet(a, b, c) == 0) == (near - far + 0.2 <= 0)).all()
    close(triplet(a, a, a), 0.2)
    close(jax.grad(lambda a: jnp.sum(jl.triplet_loss(a, b, c, margin=100.0)))(a), 2 * (c - b), atol=1e-4)
    close(jl.euclidean_distance(a, b) ** 2, near, atol=1e-4)
    assert (jl.euclidean_distance(a, c) <= jl.euclidean_distance(a, b) + jl.euclidean_distance(b, c) + 1e-4).all()


@few
@given(VECTORS, VECTORS)
def test_n_pair_and_info_nce(a, b):
    ids = np.arange(4)
    mc = functools.partial(jl.n_pair_loss, reg_lambda=0.0)
    ovo = functools.partial(mc, variant="one_vs_one")
    close(mc(a, b), jl.softmax_cross_entropy(a @ b.T, ids))
    close(jl.info_nce_loss(a, b, normalize=False, temperature=1.0), mc(a, b))
    close(jl.n_pair_loss(a, b, labels=7 * ids - 3, reg_lambda=0.0), mc(a, b))
    assert (mc(a, b) <= ovo(a, b) * 1.00001 + 1e-5).all()
    twice = np.array([5, 5, 2, 2])
    evenly = (twice[:, None] == twice) / 2
    close(mc(a, b, labels=twice), jl.softmax_cross_entropy(a @ b.T, evenly.astype(np.float32)))
    u, v = jl.l2_normalize(a), jl.l2_normalize(b)
    logits = np.asarray(u @ v.T) / 0.3
    clip = (jl.softmax_cross_entropy(logits, ids) + jl.softmax_cross_entropy(logits.T, ids)) / 2
    for block_size in (None, 3):
        two_sided = functools.partial(jl.info_nce_loss, temperature=0.3, symmetric=True, block_size=block_size)
        close(two_sided(a, b), clip, atol=1e-4)
        close(two_sided(b, a), two_sided(a, b))
    close(jl.cosine_similarity(a, b, pairwise=True), u @ v.T)
    # a and b, not u and v: what is shorter than √ε is normalised to less than 1, and twice to more than once.
    close(jl.info_nce_loss(a, b, negatives=b[:1]), jax.nn.softplus(((u @ v[0]) - (u * v).sum(1)) / 0.07), atol=2e-4)


def test_equal_candidates_cost_the_logarithm_of_their_number():
    x = jnp.ones((8, 3))
    close(jl.n_pair_loss(x, x, reg_lambda=0.0), np.log(8), rtol=1e-6)
    close(jl.info_nce_loss(x, x, symmetric=True), np.log(8), rtol=1e-6)
    assert (jl.n_pair_loss(x[:1] * 1.7, x[:1] * 0.3, reg_lambda=0.0) == 0).all()
    assert (jl.info_nce_loss(x[:1] * 1.7, x[:1] * 0.3) == 0).all()


def test_the_losses_of_torch_and_optax():
    a, p, n = jax.random.normal(jax.random.key(3), (3, 6, 4))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        close(jl.triplet_loss(a, p, n, squared=False, margin=1.0), optax.losses.triplet_margin_loss(a, p, n), rtol=1e-5)
        both = jnp.concatenate([a, p])
        expected = optax.losses.ntxent(both, jnp.tile(jnp.arange(6), 2), temperature=0.5)
    others = np.array([[j for j in range(12) if j % 6 != i % 6] for i in range(12)])
    ours = jl.info_nce_loss(both, jnp.concatenate([p, a]), negatives=both[others], temperature=0.5, reduction="mean")
    close(ours, expected, rtol=1e-5)
