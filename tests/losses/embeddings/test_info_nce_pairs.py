"""InfoNCE with labels of the pairs in a batch, and with a mask of each query on negatives that all queries share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl

INF, NAN = np.inf, np.nan
BATCH, NEGATIVES, FEATURES = 7, 5, 3
Q, P = np.asarray(jax.random.normal(jax.random.key(0), (2, BATCH, FEATURES)))
BANK = np.asarray(jax.random.normal(jax.random.key(1), (NEGATIVES, FEATURES)))
IDS = np.array([4, -1, 4, 7, -1, 4, 9])
SAME_LABEL = ("exclude", "positive")


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


# Labels


def test_labels_worked_by_hand():
    """Similarities that are logarithms of whole numbers; the first two pairs have one label."""
    similarities = np.log([[1.0, 2, 3], [2, 4, 1], [1, 1, 2]])
    loss = functools.partial(jl.info_nce_loss, np.eye(3), similarities.T, normalize=False, temperature=1.0)
    loss = functools.partial(loss, labels=np.array([0, 0, 1]))
    rows = {"exclude": [np.log(4), np.log(5 / 4), np.log(2)]}  # 1/(1+3), 4/(4+1), 2/(1+1+2)
    rows["positive"] = [np.log(18) / 2, np.log(49 / 8) / 2, np.log(2)]  # 1/6 and 2/6, 2/7 and 4/7, 2/4
    columns = {"exclude": [np.log(2), np.log(5 / 4), np.log(3)]}  # 1/(1+1), 4/(4+1), 2/(3+1+2)
    columns["positive"] = [np.log(8) / 2, np.log(49 / 8) / 2, np.log(3)]  # 1/4 and 2/4, 2/7 and 4/7, 2/6
    for same_label in SAME_LABEL:
        close(loss(same_label=same_label), rows[same_label])
        both = np.add(rows[same_label], columns[same_label]) / 2
        close(loss(same_label=same_label, symmetric=True), both)
        close(loss(same_label=same_label, reduction="mean"), np.mean(rows[same_label]))
    close(loss(), rows["exclude"])


def reference(q, p, ids, where, same_label, temperature=0.5):
    """The formulas, row by row, from normalised vectors; 0 for a masked row."""
    items = [i for i in range(len(q)) if where[i]]
    q, p = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q.astype(float), p.astype(float)))
    values = np.zeros(len(q))
    for i in items:
        score = {j: np.exp(q[i] @ p[j] / temperature) for j in items}
        if same_label == "exclude":
            values[i] = -np.log(score[i] / sum(score[j] for j in items if j == i or ids[j] != ids[i]))
        else:
            total = sum(score.values())
            values[i] = np.mean([-np.log(score[j] / total) for j in items if ids[j] == ids[i]])
    return values


@pytest.mark.parametrize("same_label", SAME_LABEL)
@pytest.mark.parametrize("block_size", [None, 1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_labels_as_in_a_plain_double_loop(same_label, block_size, masked):
    where = np.arange(BATCH) != 2 if masked else np.ones(BATCH, bool)
    q, p = (np.where(where[:, None], x, NAN) for x in (Q, P))
    loss = functools.partial(jl.info_nce_loss, labels=IDS, same_label=same_label, temperature=0.5)
    loss = functools.partial(loss, where=where, block_size=block_size)
    one_way, other_way = reference(Q, P, IDS, where, same_label), reference(P, Q, IDS, where, same_label)
    close(loss(q, p), one_way)
    close(loss(q, p, symmetric=True), (one_way + other_way) / 2)
    weights = 1 + np.arange(float(BATCH))
    mean = (weights * one_way).sum() / (weights * where).sum()
    close(loss(q, p, sample_weights=weights, reduction="mean"), mean)


def plain_formula(q, p, same, same_label):
    """The mean, from the whole matrix of similarities."""
    q, p = (x / jnp.linalg.norm(x, axis=1, keepdims=True) for x in (q, p))
    z = q @ p.T / 0.5
    if same_label == "positive":
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(z, 1) * same / jnp.sum(same, 1, keepdims=True), 1))
    z = jnp.where(same & ~np.eye(len(same), dtype=bool), -INF, z)
    return -jnp.mean(jnp.diagonal(jax.nn.log_softmax(z, 1)))


@pytest.mark.parametrize("same_label", SAME_LABEL)
@pytest.mark.parametrize("block_size", [None, 3])
def test_the_gradient_under_labels(same_label, block_size):
    """Masked pairs are NaN, and their gradient is 0; that of the others is the gradient without them."""
    where = np.arange(BATCH) != 2
    q, p = (np.where(where[:, None], x, NAN) for x in (Q, P))

    def ours(q, p):
        options = {"labels": IDS, "same_label": same_label, "block_size": block_size, "where": where}
        return jl.info_nce_loss(q, p, temperature=0.5, **options, reduction="mean")

    same = IDS[where][:, None] == IDS[where]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = jax.grad(functools.partial(plain_formula, same=same, same_label=same_label), (0, 1))(
            Q[where], P[where]
        )
    for gradient, plain in zip(jax.grad(ours, (0, 1))(q, p), expected, strict=True):
        close(gradient[where], plain)
        assert (gradient[~where] == 0).all()


def test_labels_that_are_all_different_or_all_equal():
    for same_label in SAME_LABEL:
        for symmetric in (False, True):
            loss = functools.partial(jl.info_nce_loss, Q, P, symmetric=symmetric)
            close(loss(labels=np.arange(BATCH) * 3 - 5, same_label=same_label), loss())
    alone = jl.info_nce_loss(Q, P, labels=np.zeros(BATCH, int))
    close(alone, 0.0)
    assert jl.info_nce_loss(Q[:0], P[:0], labels=IDS[:0], same_label="positive", reduction="mean") == 0
    n_pair = jl.n_pair_loss(Q, P, labels=IDS, reg_lambda=0.0)
    close(jl.info_nce_loss(Q, P, labels=IDS, same_label="positive", normalize=False, temperature=1.0), n_pair)


@pytest.mark.parametrize("same_label", SAME_LABEL)
def test_all_masked_under_labels(same_label):
    loss = functools.partial(jl.info_nce_loss, labels=IDS, same_label=same_label, where=np.zeros(BATCH, bool))
    value, gradient = jax.value_and_grad(lambda q: loss(q, P, symmetric=True, reduction="mean"))(np.full_like(Q, NAN))
    assert value == 0
    assert (gradient == 0).all()


# Shared negatives under a mask of each query

VALID = np.array(jax.random.bernoulli(jax.random.key(2), 0.6, (BATCH, NEGATIVES)))
VALID[3] = False


def shared(q, p, bank, valid=VALID, **options):
    return jl.info_nce_loss(q, p, negatives=bank, negatives_where=valid, temperature=0.5, **options)


def of_each_query(q, p, bank, valid=VALID, **options):
    return shared(q, p, jnp.broadcast_to(bank, (len(q), *bank.shape)), valid, **options)


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"block_size": 3}])
def test_shared_negatives_equal_those_that_are_repeated_for_each_query(options):
    close(shared(Q, P, BANK, **options), of_each_query(Q, P, BANK, **options))
    slopes = [
        jax.grad(lambda *x, f=f: f(*x, **options, reduction="mean"), (0, 1, 2))(Q, P, BANK)
        for f in (shared, of_each_query)
    ]
    for gradient, expected in zip(*slopes, strict=True):
        close(gradient, expected)
    assert shared(Q, P, BANK, **options)[3] == 0
    one_mask = np.arange(NEGATIVES) < 3
    close(shared(Q, P, BANK, np.tile(one_mask, (BATCH, 1)), **options), shared(Q, P, BANK, one_mask, **options))


def test_a_negative_worked_by_hand():
    """Cosines 0 and 1 beside a positive of cosine 1, at temperature 1, each for one of three queries."""
    q = np.array([[1.0, 0]] * 3)
    valid = np.array([[True, False], [False, True], [True, True]])
    values = jl.info_nce_loss(q, q, negatives=[[0.0, 2], [3, 0]], negatives_where=valid, temperature=1.0)
    close(values, [np.log1p(np.exp(-1)), np.log(2), np.log(2 + np.exp(-1))])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_bad_negative_reaches_the_queries_that_use_it_alone(bad, normalize):
    bank = BANK.copy()
    bank[1, 0] = bad
    uses = VALID[:, 1]
    assert 0 < uses.sum() < BATCH
    loss = functools.partial(shared, normalize=normalize)
    values = loss(Q, P, bank)
    assert np.isnan(values[uses]).all()
    close(values[~uses], loss(Q, P, BANK)[~uses])
    for keyword in ({"where": ~uses}, {"sample_weights": (~uses).astype(np.float32)}):
        value, gradients = jax.value_and_grad(
            lambda *x, keyword=keyword: loss(*x, **keyword, reduction="mean"), (0, 1, 2)
        )(Q, P, bank)
        deleted = functools.partial(loss, valid=VALID[~uses], reduction="mean")
        expected = jax.grad(deleted, (0, 1, 2))(Q[~uses], P[~uses], BANK)
        close(value, deleted(Q[~uses], P[~uses], BANK))
        for gradient, plain in zip(gradients[:2], expected[:2], strict=True):
            close(gradient[~uses], plain)
            assert (gradient[uses] == 0).all()
        close(gradients[2], expected[2])


def arrays_in(jaxpr):
    """The shapes of all arrays that a program makes, those of its loops and calls included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from arrays_in(inner)


@pytest.mark.parametrize("block_size", [None, 64])
def test_shared_negatives_are_not_repeated_in_memory(block_size):
    batch, negatives, features = 256, 512, 96
    q, bank = jnp.ones((batch, features)), jnp.ones((negatives, features))
    valid = jnp.arange(negatives)[None] % jnp.arange(2, batch + 2)[:, None] != 0

    def loss(function, q, bank):
        return function(q, q, bank, valid, block_size=block_size, where=valid[:, 1], reduction="mean")

    def largest(function):
        program = jax.make_jaxpr(jax.value_and_grad(functools.partial(loss, function), (0, 1)))(q, bank)
        return max(int(np.prod(shape)) for shape in arrays_in(program.jaxpr))

    assert largest(shared) <= batch * negatives
    assert largest(of_each_query) == batch * negatives * features
    step = jax.jit(jax.value_and_grad(functools.partial(loss, shared), (0, 1)))
    megabytes = step.lower(q, bank).compile().memory_analysis().temp_size_in_bytes / 1e6
    assert megabytes < 5  # each (batch, negatives) has 0.5, and (batch, negatives, features) 50


# Refused options


def test_options_that_do_not_go_together():
    for call, words in {
        lambda: jl.info_nce_loss(
            Q, P, labels=IDS, same_label="ignore"
        ): r"same_label must be one of 'exclude', 'positive'",
        lambda: jl.info_nce_loss(Q, P, same_label="positive"): r"same_label='positive' needs labels=",
        lambda: jl.info_nce_loss(Q, P, labels=IDS, negatives=BANK): r"labels= and symmetric= .* leave out negatives=",
        lambda: jl.info_nce_loss(Q, P, labels=IDS[:3]): r"queries \(7, 3\) need labels \(7,\), got \(3,\)",
        lambda: shared(Q, P, BANK, VALID[:3]): r"negatives_where \(5,\) or \(7, 5\), got \(3, 5\)",
        lambda: of_each_query(Q, P, BANK, VALID[0]): r"negatives_where \(7, 5\), got \(5,\)",
    }.items():
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="labels must be integers, got float32"):
        jl.info_nce_loss(Q, P, labels=IDS.astype(np.float32))
