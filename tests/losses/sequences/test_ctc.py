"""CTC: worked numbers, all alignments enumerated, the textbook algorithm, identities, optax, and decoding."""

import functools
import itertools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import compiled as jl
from tests.losses.sequences.ctc import collapse, forward_backward, losses_and_gradients, pad_rows, value_and_grad

settings.register_profile("sequences", max_examples=15, deadline=None, derandomize=True)
settings.load_profile("sequences")

INF = np.inf
ROWS = np.array([[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.5, 0.2, 0.3]])
WORKED = {
    (1, 2): 1.0817551716,
    (1, 1): 3.7297014486,
    (1,): 1.5558971455,
    (): 4.6051701860,
    (1, 2, 1): 2.8134107168,
    (2, 2): 4.0173835211,
    (1, 1, 2): INF,
}


def enumerated(logits, rows, blank=0):
    """The losses of rows of labels, as sums over all paths that B maps to them."""
    time, classes = logits.shape
    paths = list(itertools.product(range(classes), repeat=time))
    collapsed = [collapse(path, blank) for path in paths]
    matches = np.array([[labels == row for labels in collapsed] for row in rows])
    scores = jnp.sum(jax.nn.log_softmax(logits)[np.arange(time)[None], np.array(paths)], axis=1)
    return -jax.scipy.special.logsumexp(jnp.where(matches, scores[None], -jnp.inf), axis=1)


# Numbers


@pytest.mark.parametrize("double", [False, True])
def test_worked_numbers(double):
    labels, lengths = pad_rows(list(WORKED))
    with jax.enable_x64(double):
        values, _ = losses_and_gradients(np.broadcast_to(np.log(ROWS), (7, 3, 3)), labels, label_lengths=lengths)
        np.testing.assert_allclose(values, list(WORKED.values()), rtol=1e-9 if double else 1e-6)


def test_worked_gradient():
    with jax.enable_x64(True):
        _, gradient = value_and_grad(jnp.log(ROWS), jnp.array([1, 2]))
    expected = [
        [0.07345133, -0.37345133, 0.3],
        [0.09380531, 0.11415929, -0.2079646],
        [0.05752212, 0.2, -0.25752212],
    ]
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_the_matrices_of_graves_and_tensorflow():
    first = [
        [0.633766, 0.221185, 0.0917319, 0.0129757, 0.0142857, 0.0260553],
        [0.111121, 0.588392, 0.278779, 0.0055756, 0.00569609, 0.010436],
        [0.0357786, 0.633813, 0.321418, 0.00249248, 0.00272882, 0.0037688],
        [0.0663296, 0.643849, 0.280111, 0.00283995, 0.0035545, 0.00331533],
        [0.458235, 0.396634, 0.123377, 0.00648837, 0.00903441, 0.00623107],
    ]
    second = [
        [0.30176, 0.28562, 0.0831517, 0.0862751, 0.0816851, 0.161508],
        [0.24082, 0.397533, 0.0557226, 0.0546814, 0.0557528, 0.19549],
        [0.230246, 0.450868, 0.0389607, 0.038309, 0.0391602, 0.202456],
        [0.280884, 0.429522, 0.0326593, 0.0339046, 0.0326856, 0.190345],
        [0.423286, 0.315517, 0.0338439, 0.0393744, 0.0339315, 0.154046],
    ]
    labels, lengths = pad_rows([[0, 1, 2, 1, 0], [0, 1, 1, 0]])
    values, _ = losses_and_gradients(
        np.log([first, second], dtype=np.float32), labels, label_lengths=lengths, blank_id=5
    )
    np.testing.assert_allclose(values, [3.34211, 5.42262], rtol=2e-6)


@pytest.mark.parametrize("time", [1, 2, 3, 4, 5])
def test_all_alignments_enumerated(time):
    """Value, gradient and second derivatives, for all labels of two symbols that fit."""
    with jax.enable_x64(True):
        logits = jax.random.normal(jax.random.key(time), (time, 3), jnp.float64)
        every = itertools.chain.from_iterable(itertools.product((1, 2), repeat=n) for n in range(min(time, 3) + 1))
        rows = [row for row in every if time >= len(row) + sum(a == b for a, b in itertools.pairwise(row))]
        labels, lengths = pad_rows(rows)
        ours = lambda z: jl.ctc_loss(jnp.stack([z] * len(rows)), labels, label_lengths=lengths)  # noqa: E731
        theirs = functools.partial(enumerated, rows=rows)
        derivatives = (lambda f: f, jax.jacrev, jax.hessian) if time in (2, 4) else (lambda f: f, jax.jacrev)
        everything = [jax.jit(lambda z, f=f: [d(f)(z) for d in derivatives])(logits) for f in (ours, theirs)]
        for mine, other in zip(*everything, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-11)


def test_counting_alignments():
    """With uniform scores, T log K - log binom(T + U - R, 2U)."""
    cases = [(row, t) for t in range(7) for n in range(t + 1) for row in itertools.product((0, 1, 2), repeat=n)]
    repeats = [sum(a == b for a, b in itertools.pairwise(row)) for row, _ in cases]
    labels, lengths = pad_rows([row for row, _ in cases])
    times = np.array([time for _, time in cases])
    with jax.enable_x64(True):
        values, _ = losses_and_gradients(
            np.zeros((len(cases), 6, 4)), labels, input_lengths=times, label_lengths=lengths, blank_id=3
        )
    counts = [comb(max(t + len(row) - r, 0), 2 * len(row)) for (row, t), r in zip(cases, repeats, strict=True)]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(values, times * np.log(4) - np.log(counts), rtol=1e-10, atol=1e-10)


@given(st.integers(0, 2**31 - 1))
def test_identities(seed):
    with jax.enable_x64(True):
        logits = 3 * jax.random.normal(jax.random.key(seed), (4, 3), jnp.float64)
        log_p = jax.nn.log_softmax(logits)
        rows = [row for n in range(5) for row in itertools.product((1, 2), repeat=n)]
        labels, lengths = pad_rows(rows)
        values, gradients = losses_and_gradients(jnp.stack([logits] * len(rows)), labels, label_lengths=lengths)
        np.testing.assert_allclose(jnp.sum(jnp.exp(-values)), 1, rtol=1e-10)  # over all labels that fit
        np.testing.assert_allclose(jnp.sum(gradients, axis=2), 0, atol=1e-10)
        np.testing.assert_allclose(values[0], -jnp.sum(log_p[:, 0]), rtol=1e-10)
        without_blanks = rows.index((1, 2, 1, 2))
        np.testing.assert_allclose(
            values[without_blanks], -jnp.sum(log_p[jnp.arange(4), jnp.array([1, 2, 1, 2])]), rtol=1e-10
        )
        swapped = np.where(labels > 0, 3 - labels, 0)
        other, _ = losses_and_gradients(
            jnp.stack([logits[:, np.array([0, 2, 1])]] * len(rows)), swapped, label_lengths=lengths
        )
        np.testing.assert_allclose(other, values, rtol=1e-10)


# The textbook algorithm, and another library


@pytest.mark.parametrize("time", [1, 2, 31, 32, 33, 70])
def test_the_folded_recursion_equals_the_plain_one(time):
    """Numbers of frames around those at which the scan gets another chunk, for labels of several lengths."""
    lengths = np.array([0, 1, 4, 9, 9])
    times = np.array([time, time, time, time, max(time - 3, 1)])
    with jax.enable_x64(True):
        logits = 2 * jax.random.normal(jax.random.key(time), (5, time, 4), jnp.float64)
        labels = np.array(jax.random.randint(jax.random.key(1), (5, 9), 1, 4))
        labels[3, 4:7] = 2  # repeats
        values, gradients = losses_and_gradients(logits, labels, input_lengths=times, label_lengths=lengths)
        for b, (frames, length) in enumerate(zip(times, lengths, strict=True)):
            expected, gradient = forward_backward(np.array(logits[b, :frames]), labels[b, :length])
            np.testing.assert_allclose(values[b], expected, rtol=1e-11)
            np.testing.assert_allclose(gradients[b, :frames], gradient, atol=1e-11)
            assert (gradients[b, frames:] == 0).all()


def test_optax():
    logits = 2 * jax.random.normal(jax.random.key(0), (5, 20, 6))
    labels = jax.random.randint(jax.random.key(1), (5, 7), 1, 6)
    times, lengths = jnp.array([20, 19, 15, 16, 20]), jnp.array([7, 5, 3, 0, 6])
    paddings = (jnp.arange(20)[None] >= times[:, None]).astype(jnp.float32)
    label_paddings = (jnp.arange(7)[None] >= lengths[:, None]).astype(jnp.float32)

    def theirs(z):
        return optax.ctc_loss(z, paddings, labels, label_paddings)

    def ours(z):
        return jl.ctc_loss(z, labels, input_lengths=times, label_lengths=lengths)

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        (value, back), (expected, reference) = (jax.vjp(jax.jit(f), logits) for f in (ours, theirs))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(*(f(jnp.ones(5))[0] for f in (back, reference)), atol=2e-5)


def test_a_thousand_frames_keep_their_digits():
    """A float32 logarithm of the path's probability would have lost the gradient's third digit."""
    logits = 4 * jax.random.normal(jax.random.key(0), (1, 1000, 5))
    labels = jax.random.randint(jax.random.key(1), (1, 100), 1, 5)
    step = jax.jit(jax.value_and_grad(lambda z: jl.ctc_loss(z, labels, reduction="sum")))
    value, gradient = step(logits)
    with jax.enable_x64(True):
        exact, slope = step(logits.astype(jnp.float64))
    np.testing.assert_allclose(value, exact, rtol=3e-7)
    np.testing.assert_allclose(gradient, slope, atol=2e-5)


# Decoding


@pytest.mark.parametrize("path", ["-s-t-aatte", "ss-t-a-t-e", "sstt-aat-e"])
def test_repeats_merge_before_blanks_go(path):
    encode = lambda text: ["-aest".index(letter) for letter in text]  # noqa: E731
    for text, expected in ((path, "state"), ("-s-t-tatte", "sttate")):
        labels, length = jl.ctc_collapse(encode(text))
        assert length == len(expected)
        np.testing.assert_array_equal(labels, encode(expected.ljust(len(text), "-")))


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=4, max_size=4), st.integers(0, 3))
def test_collapse_is_the_map_b(paths, blank):
    lengths = [6, 5, 3, 0]
    compiled_collapse = jax.jit(jl.ctc_collapse, static_argnames="blank_id")
    labels, counts = compiled_collapse(np.array(paths), blank_id=blank, lengths=np.array(lengths))
    for row, count, path, length in zip(labels, counts, paths, lengths, strict=True):
        expected = collapse(path[:length], blank)
        assert tuple(row.tolist()) == expected + (blank,) * (6 - len(expected))
        assert count == len(expected)


def test_greedy_decoding():
    logits = jax.random.normal(jax.random.key(0), (2, 3, 8, 4))
    lengths = jnp.array([[8, 5, 0], [3, 8, 1]])
    labels, counts = jl.ctc_greedy_decode(logits, input_lengths=lengths)
    mapped = jax.vmap(lambda z, n: jl.ctc_greedy_decode(z, input_lengths=n))(logits, lengths)
    np.testing.assert_array_equal(labels, mapped[0])
    for place in np.ndindex(2, 3):
        expected = collapse(np.argmax(logits[place], axis=1)[: int(lengths[place])].tolist())
        assert tuple(labels[place][: int(counts[place])].tolist()) == expected
    with pytest.raises(ValueError, match=r"ctc_greedy_decode: logits \(4,\) must be \(\.\.\., time, classes\)"):
        jl.ctc_greedy_decode(jnp.zeros(4))
    with pytest.raises(ValueError, match=r"ctc_collapse: lengths \(3,\) must be \(2,\)"):
        jl.ctc_collapse(jnp.zeros((2, 5), int), lengths=[1, 2, 3])
