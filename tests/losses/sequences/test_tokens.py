"""Cross-entropy of sequences and perplexity, and torch's values for all losses of sequences, CTC too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import compiled as jl
from tests.golden import golden

NAN, INF = np.nan, np.inf
GOLDEN = golden("sequences")
Z = [2.0, 1.0, 0.1]
LOGITS = np.array([[Z, [0.5, 0.5, 0.5], [-1.0, 3.0, 0.0]], [Z, [NAN] * 3, [INF] * 3]])
LABELS = np.array([[0, 2, 1], [0, -77, 9]])
loss = functools.partial(jl.sequence_cross_entropy, lengths=[3, 1], reduction="mean")


@pytest.fixture(scope="module")
def batch():
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (4, 5, 3)), jax.random.randint(keys[1], (4, 5), 0, 3)


# Another library: tests/golden/sequences.py


@pytest.mark.parametrize("case", GOLDEN["ctc"], ids=["blank 0", "last blank"])
def test_ctc_against_torch(case):
    with jax.enable_x64(True):
        logits, labels = jnp.array(case["logits"]), jnp.array(case["labels"])
        lengths = jnp.array(case["label_lengths"])
        ours = jax.jit(
            functools.partial(
                jl.ctc_loss,
                labels=labels,
                input_lengths=jnp.array(case["input_lengths"]),
                label_lengths=lengths,
                blank_id=case["blank_id"],
                zero_infinity=True,
            )
        )
        values, back = jax.vjp(ours, logits)
        np.testing.assert_allclose(values, case["values"], rtol=1e-10)
        np.testing.assert_allclose(back(jnp.ones_like(values))[0], case["gradient"], atol=1e-10)
        # The recipe for torch's own mean.
        np.testing.assert_allclose(
            jnp.mean(values / jnp.maximum(lengths, 1).astype(values.dtype)), case["mean"], rtol=1e-10
        )


@pytest.mark.parametrize("case", GOLDEN["cross_entropy"], ids=["plain", "smoothed"])
def test_cross_entropy_against_torch(case):
    with jax.enable_x64(True):
        options = {"lengths": case["lengths"], "label_smoothing": case["label_smoothing"]}
        ours = functools.partial(jl.sequence_cross_entropy, labels=case["labels"], **options)
        logits = jnp.array(case["logits"])
        np.testing.assert_allclose(ours(logits), case["sums"], rtol=1e-10)
        mean, gradient = jax.value_and_grad(functools.partial(ours, reduction="mean"))(logits)
        np.testing.assert_allclose(mean, case["mean"], rtol=1e-10)
        np.testing.assert_allclose(gradient, case["gradient"], atol=1e-12)


# Numbers


@pytest.mark.parametrize("double", [False, True])
def test_worked_numbers(double):
    with jax.enable_x64(double):
        tolerance = {"rtol": 1e-9 if double else 1e-5}
        np.testing.assert_allclose(loss(LOGITS, LABELS), 0.4996390563, **tolerance)
        np.testing.assert_allclose(loss(LOGITS, LABELS, mean_over="sequences"), 0.4721027096, **tolerance)
        np.testing.assert_allclose(loss(LOGITS, LABELS, mean_over="examples"), 0.9992781125, **tolerance)
        np.testing.assert_allclose(jl.perplexity(LOGITS, LABELS, lengths=[3, 1]), 1.6481262825, **tolerance)


def test_an_ignored_label_is_padding():
    labels = np.where(np.arange(3)[None] < np.array([[3], [1]]), LABELS, -100)
    ignored = jl.sequence_cross_entropy(LOGITS, labels, ignore_label=-100, reduction="mean")
    np.testing.assert_allclose(ignored, loss(LOGITS, LABELS), rtol=1e-6)
    np.testing.assert_allclose(
        jl.perplexity(LOGITS, labels, ignore_label=-100), jl.perplexity(LOGITS, LABELS, lengths=[3, 1]), rtol=1e-6
    )


# Identities


@given(st.integers(0, 2**31 - 1), st.integers(1, 5))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_equal_lengths_make_the_means_agree(seed, length):
    logits = 3 * jax.random.normal(jax.random.key(seed), (4, 5, 3))
    labels = jax.random.randint(jax.random.key(seed + 1), (4, 5), 0, 3)
    token, sequence, batch = MEANS(logits, labels, jnp.full(4, length))
    np.testing.assert_allclose(token, sequence, rtol=1e-5)
    np.testing.assert_allclose(token * length, batch, rtol=1e-5)


@jax.jit
def MEANS(logits, labels, lengths):  # noqa: N802
    mean = functools.partial(jl.sequence_cross_entropy, logits, labels, lengths=lengths, reduction="mean")
    return [mean(mean_over=over) for over in ("tokens", "sequences", "examples")]


def test_it_is_the_sum_of_the_cross_entropies_of_the_tokens(batch):
    logits, labels = batch
    for options in ({}, {"label_smoothing": 0.1}):
        tokens = jl.softmax_cross_entropy(logits, labels, **options)
        np.testing.assert_allclose(
            jl.sequence_cross_entropy(logits, labels, **options), jnp.sum(tokens, axis=1), rtol=1e-6
        )
    dense = jl.sequence_cross_entropy(logits, jax.nn.one_hot(labels, 3), lengths=[5, 3, 0, 1])
    np.testing.assert_allclose(dense, jl.sequence_cross_entropy(logits, labels, lengths=[5, 3, 0, 1]), rtol=1e-6)


def test_perplexity_of_equal_probabilities_and_of_certainty(batch):
    _, labels = batch
    np.testing.assert_allclose(jl.perplexity(jnp.zeros((4, 5, 3)), labels), 3, rtol=1e-6)
    assert jl.perplexity(1e4 * jax.nn.one_hot(labels, 3), labels) == 1
    assert jl.perplexity(jnp.zeros((4, 5, 3)), labels, lengths=[0, 0, 0, 0]) == 1


def test_parts_of_two_batches_make_the_perplexity_of_both(batch):
    logits, labels = batch
    lengths = jnp.array([5, 1, 2, 4])
    parts = [
        jl.sequence_cross_entropy(logits[s], labels[s], lengths=lengths[s], reduction="parts")
        for s in (slice(1), slice(1, None))
    ]
    np.testing.assert_allclose(jnp.exp(sum(parts).mean()), jl.perplexity(logits, labels, lengths=lengths), rtol=1e-6)


@pytest.mark.parametrize("mean_over", ["tokens", "sequences", "examples"])
def test_weights_of_tokens_and_of_sequences(batch, mean_over):
    logits, labels = batch
    mean = functools.partial(jl.sequence_cross_entropy, logits, labels, mean_over=mean_over, reduction="mean")
    inside = jnp.array([[1.0, 2, 0, 0, 0]] * 4)
    tokens = jl.softmax_cross_entropy(logits, labels) * inside
    expected = jnp.sum(tokens) / 4 if mean_over == "examples" else jnp.sum(tokens) / 12
    np.testing.assert_allclose(mean(sample_weights=inside), expected, rtol=1e-6)
    outside = jnp.array([1.0, 0, 3, 0])
    rows = jl.softmax_cross_entropy(logits, labels).sum(1) * outside
    expected = jnp.sum(rows) / (4 if mean_over == "examples" else 20)
    np.testing.assert_allclose(mean(sample_weights=outside), expected, rtol=1e-6)


# Degenerate


@pytest.mark.parametrize("mean_over", ["tokens", "sequences", "examples"])
def test_padding_does_not_leak(mean_over):
    mean = functools.partial(loss, labels=LABELS, mean_over=mean_over)
    gradient = jax.grad(mean)(jnp.array(LOGITS))
    assert jnp.isfinite(gradient).all()
    assert (gradient[1, 1:] == 0).all()
    alone = jax.grad(lambda z: mean(z.at[1, 1:].set(0)))(jnp.array(LOGITS))
    np.testing.assert_array_equal(gradient, alone)


@pytest.mark.parametrize("mean_over", ["tokens", "sequences", "examples"])
def test_an_empty_sequence_contributes_nothing(batch, mean_over):
    logits, labels = batch
    mean = functools.partial(jl.sequence_cross_entropy, mean_over=mean_over, reduction="mean")
    some = mean(logits, labels, lengths=[5, 0, 2, 0])
    np.testing.assert_allclose(some, mean(logits[::2], labels[::2], lengths=[5, 2]), rtol=1e-6)
    for nothing in (
        lambda z: mean(z, labels, lengths=[0, 0, 0, 0]),
        lambda z: mean(z[:, :0], labels[:, :0]),
        lambda z: mean(z, labels, where=jnp.zeros(4, bool)),
        lambda z: mean(z, labels, sample_weights=jnp.zeros((4, 5))),
        lambda z: mean(z, 0 * labels - 100, ignore_label=-100),
    ):
        value, gradient = jax.value_and_grad(nothing)(logits)
        assert value == 0
        assert (gradient == 0).all()


def test_wrong_labels_and_lengths_are_nan_or_an_error(batch):
    logits, labels = batch
    for wrong in ({"lengths": jnp.array([6, 5, 5, 5])}, {"lengths": jnp.array([-1, 5, 5, 5])}, {}):
        given_labels = labels if wrong else labels.at[0, 1].set(3)
        compute = lambda z, y=given_labels, w=wrong, **o: jl.sequence_cross_entropy(z, y, **w, **o)  # noqa: E731
        np.testing.assert_array_equal(jnp.isnan(compute(logits)), [True, False, False, False])
        gradient = jax.grad(lambda z, f=compute: jnp.sum(f(z)))(logits)
        assert jnp.isnan(gradient[0]).any()
        assert jnp.isfinite(gradient[1:]).all()
        with pytest.raises(Exception, match=r"sequence_cross_entropy: (labels|lengths) must"):
            jl.checked(compute)(logits)
        masked = functools.partial(compute, where=jnp.arange(4) > 0, reduction="mean")
        assert jnp.isfinite(jax.grad(masked)(logits)).all()
        weightless = functools.partial(compute, sample_weights=jnp.array([0.0, 1, 1, 1]), reduction="mean")
        assert jnp.isfinite(jax.grad(weightless)(logits)).all()
        jl.checked(masked)(logits)


def test_a_token_without_classes_is_padding(batch):
    logits, labels = batch
    out = logits.at[0, 1].set(-INF)
    where = jnp.ones((4, 5), bool).at[0, 1].set(False)
    np.testing.assert_allclose(
        jl.sequence_cross_entropy(out, labels, reduction="mean"),
        jl.sequence_cross_entropy(logits, labels, where=where, reduction="mean"),
        rtol=1e-6,
    )


def test_shapes_and_options(batch):
    logits, labels = batch
    with pytest.raises(ValueError, match=r"mean_over must be one of 'tokens', 'sequences', 'examples', got 'batch'"):
        jl.sequence_cross_entropy(logits, labels, mean_over="batch")
    with pytest.raises(ValueError, match=r"sequence_cross_entropy: logits \(5, 3\) must be \(batch, time, classes\)"):
        jl.sequence_cross_entropy(logits[0], labels[0])
    with pytest.raises(ValueError, match=r"sequence_cross_entropy: lengths \(3,\) must be \(4,\)"):
        jl.sequence_cross_entropy(logits, labels, lengths=[1, 2, 3])
    half = jl.sequence_cross_entropy(logits.astype(jnp.bfloat16), labels, lengths=[5, 3, 0, 1])
    assert half.dtype == jnp.float32
