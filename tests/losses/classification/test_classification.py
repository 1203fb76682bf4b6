"""Classification: balanced forms, normalisers, log loss, class weights, and the hardest examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import sklearn.utils.class_weight
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import compiled as jl
from tests.losses.test_properties import ids, logits, numbers
from tests.losses.test_worked_numbers import LABELS, ROWS, WEIGHTS

bits = hnp.arrays(np.float32, (4, 3), elements=st.sampled_from([0.0, 1.0]))
losses = hnp.arrays(np.float32, 9, elements=st.floats(0, 50, width=32))


# Weighted cross-entropies


def test_both_means_of_weighted_rows():
    weighted = {"class_weights": WEIGHTS, "reduction": "mean"}
    log_p = jax.nn.log_softmax(jnp.array(ROWS))
    for loss, rows in (("softmax_cross_entropy", ROWS), ("nll_loss", log_p), ("log_loss", jnp.exp(log_p))):
        np.testing.assert_allclose(jl.get(loss)(rows, LABELS, **weighted), 0.3137439909, rtol=1e-5)
        np.testing.assert_allclose(
            jl.get(loss)(rows, LABELS, **weighted, mean_over="examples"), 0.3660346560, rtol=1e-5
        )
    with pytest.raises(ValueError, match=r"^log_loss: mean_over must be one of 'weights', 'examples', got 'mean'$"):
        jl.log_loss(jnp.exp(log_p), LABELS, mean_over="mean")


def test_pixels_are_rows():
    """(N, H, W, C) against (N, H, W), with a mask, equals the flattened rows."""
    key = jax.random.split(jax.random.key(0), 3)
    z, y = jax.random.normal(key[0], (2, 3, 4, 5)), jax.random.randint(key[1], (2, 3, 4), 0, 5)
    mask = jax.random.bernoulli(key[2], 0.7, y.shape)
    flat = jl.softmax_cross_entropy(z.reshape(-1, 5)[mask.ravel()], y.ravel()[mask.ravel()])
    np.testing.assert_allclose(jl.softmax_cross_entropy(z, y, where=mask, reduction="mean"), flat.mean(), rtol=1e-6)


def test_a_positive_weight_for_each_class_is_along_the_last_axis():
    x, t = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 4, 3), np.arange(24).reshape(2, 4, 3) % 2
    weights = np.array([0.5, 2.0, 3.0], np.float32)
    expected = weights * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)
    for given_weights in (weights, weights.tolist(), weights[None, None]):
        got = jl.sigmoid_binary_cross_entropy(x, t, pos_weight=given_weights)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@given(hnp.arrays(np.float32, (4, 3), elements=numbers), bits, st.floats(0.0625, 8, width=32))
def test_positive_weight_and_alpha(x, t, k):
    """A weight of k for positives is α = k/(1 + k), times 1 + k; α = 1/2 is half of the plain loss."""
    balanced = jl.sigmoid_binary_cross_entropy
    plain = balanced(x, t)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    close(balanced(x, t, alpha=k / (1 + k)) * (1 + k), balanced(x, t, pos_weight=k))
    close(balanced(x, t, alpha=0.5), plain / 2)
    close(jl.sigmoid_focal_loss(x, t, alpha=0.25, gamma=0.0), balanced(x, t, alpha=0.25))
    close(balanced(x, t, alpha=1.0), t * plain)


def test_balanced_as_in_holistically_nested_edge_detection():
    edges = jnp.zeros((2, 4, 4)).at[0, 0].set(1).at[1, :3].set(1)
    share = 1 - edges.mean((1, 2), keepdims=True)
    values = jl.sigmoid_binary_cross_entropy(jnp.zeros((2, 4, 4)), edges, alpha=share)
    np.testing.assert_allclose(values[0, 0, 0], 0.75 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(values[1, 3, 0], 0.75 * np.log(2), rtol=1e-6)
    with pytest.raises(ValueError, match=r"alpha \(2,\) must be a number, \(4,\), .* broadcasts to logits \(2, 4, 4\)"):
        jl.sigmoid_binary_cross_entropy(jnp.zeros((2, 4, 4)), edges, alpha=share.ravel())
    with pytest.raises(Exception, match=r"sigmoid_binary_cross_entropy: alpha must lie in \[0, 1\]"):
        jl.checked(jl.sigmoid_binary_cross_entropy)(jnp.zeros(3), jnp.zeros(3), alpha=1.5)


def test_a_focal_loss_over_the_number_of_positives():
    """RetinaNet: the sum over the positive anchors, or over 1 if there is none."""
    x, t = jnp.array([[2.0, -1.0, 0.5], [0.3, -2.0, 1.0]]), jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    total = jl.sigmoid_focal_loss(x, t, alpha=0.25, reduction="sum")
    both = [{"normalizer": "positives"}, {"normalizer": 2}, {"normalizer": jnp.array(2.0)}]
    for options in both:
        np.testing.assert_allclose(
            jl.sigmoid_focal_loss(x, t, alpha=0.25, **options, reduction="sum"), total / 2, rtol=1e-6
        )
    step = jax.value_and_grad(lambda x: jl.sigmoid_focal_loss(x, 0 * t, normalizer="positives", reduction="sum"))
    value, gradient = step(x)
    np.testing.assert_allclose(value, jl.sigmoid_focal_loss(x, 0 * t, reduction="sum"), rtol=1e-6)
    assert jnp.isfinite(gradient).all()
    np.testing.assert_allclose(
        jl.softmax_focal_loss(x, [0, 1], normalizer=4, reduction="sum"),
        jl.softmax_focal_loss(x, [0, 1], reduction="sum") / 4,
        rtol=1e-6,
    )
    masked = jl.sigmoid_focal_loss(x, t, normalizer="positives", where=jnp.array([False, True]), reduction="sum")
    np.testing.assert_allclose(masked, jl.sigmoid_focal_loss(x[1], t[1], reduction="sum"), rtol=1e-6)
    with pytest.raises(ValueError, match="normalizer must be a number or 'positives', got 'anchors'"):
        jl.sigmoid_focal_loss(x, t, normalizer="anchors")


# Log loss on probabilities


@given(logits, ids)
def test_log_loss(z, y):
    near = np.clip(z, -6, 6)
    p = scipy.special.softmax(near.astype(np.float64), axis=1)
    np.testing.assert_allclose(
        jl.log_loss(p.astype(np.float32), y), jl.softmax_cross_entropy(near, y), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(
        jl.log_loss(p.astype(np.float32), y).mean(),
        sklearn.metrics.log_loss(y, p, labels=[0, 1, 2]),
        rtol=1e-4,
    )


def test_log_loss_at_the_ends():
    p = jnp.array([[0.0, 1.0], [0.0, 1.0]])
    value, gradient = jax.value_and_grad(lambda p: jl.log_loss(p, jnp.array([1, 0]), reduction="sum"))(p)
    np.testing.assert_allclose(value, -np.log(np.finfo(np.float32).eps), rtol=1e-6)
    np.testing.assert_array_equal(gradient, [[0, -1], [0, 0]])
    assert jnp.isnan(jl.log_loss(p, jnp.array([2, 0]))[0])
    with pytest.raises(Exception, match=r"log_loss: probabilities must lie in \[0, 1\] \(logits\?"):
        jl.checked(jl.log_loss)([[2.0, -1.0]], [0])


# Class weights


def test_inverse_frequency_is_balanced_as_in_sklearn():
    y = np.array([0, 0, 0, 1, 2, 2])
    expected = sklearn.utils.class_weight.compute_class_weight("balanced", classes=np.arange(3), y=y)
    counts = jl.class_counts(y, 3)
    np.testing.assert_array_equal(counts, [3, 1, 2])
    np.testing.assert_allclose(jl.inverse_frequency_weights(counts), expected, rtol=1e-6)


def test_counts_leave_out_what_is_masked_or_no_class():
    y = jnp.array([[0, 1, -100], [2, 2, 255]])
    np.testing.assert_array_equal(jl.class_counts(y, 3), [1, 1, 2])
    np.testing.assert_array_equal(jl.class_counts(y, 3, where=jnp.array([True, False])), [1, 1, 0])
    with pytest.raises(TypeError, match="class_counts: labels must be integers, got float32"):
        jl.class_counts([0.0, 1.0], 2)


def test_median_frequency():
    """Of SegNet's kind: f is taken over the images that show the class."""
    np.testing.assert_allclose(jl.median_frequency_weights([10, 30, 60], [100, 100, 100]), [3, 1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(jl.median_frequency_weights([10, 30, 60], [20, 100, 100]), [1, 5 / 3, 5 / 6], rtol=1e-6)
    np.testing.assert_allclose(jl.median_frequency_weights([0, 30, 60]), [0, 1.5, 0.75], rtol=1e-6)
    with pytest.raises(ValueError, match=r"counts \(2,\) and totals \(1,\)"):
        jl.median_frequency_weights([1, 2], [3])


def test_effective_number():
    with jax.enable_x64(True):
        weights = jl.effective_number_weights([1000, 100, 10])
        np.testing.assert_allclose(weights, [0.0421603980, 0.2800001446, 2.6778394573], rtol=2e-9)
    exact = lambda beta: jl.effective_number_weights([4, 2, 0, 1], beta=beta, rescale=False)  # noqa: E731
    np.testing.assert_allclose(exact(0.0), [1, 1, 0, 1])
    np.testing.assert_allclose(exact(1.0), [0.25, 0.5, 0, 1])
    np.testing.assert_allclose(exact(0.5), [0.5 / (1 - 0.5**4), 0.5 / (1 - 0.5**2), 0, 1], rtol=1e-6)
    np.testing.assert_allclose(exact(1 - 1e-7), [0.25, 0.5, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(jax.jit(exact)(0.5), exact(0.5), rtol=1e-6)


@pytest.mark.parametrize(
    "weights", [jl.inverse_frequency_weights, jl.median_frequency_weights, jl.effective_number_weights]
)
def test_a_class_without_examples_weighs_nothing(weights):
    for counts in ([5, 0, 3], [0, 0, 0]):
        result = weights(counts)
        assert jnp.isfinite(result).all()
        assert (result[np.array(counts) == 0] == 0).all()
    with pytest.raises(ValueError, match=rf"^{weights.__name__}: counts \(\) must be \(classes,\); see class_counts$"):
        weights(3)


# Hardest examples


@given(losses, st.integers(0, 9))
def test_the_k_largest(x, k):
    mask = np.asarray(jax.jit(jl.hard_example_mask)(x, k=k))
    assert mask.sum() == k
    assert not mask.any() or mask.all() or x[mask].min() >= x[~mask].max()
    np.testing.assert_array_equal(jl.hard_example_mask(x, ratio=1.0), True)
    if k:
        loss_mask = jl.absolute_error(x, jnp.zeros(9), where=mask, reduction="mean")
        assert loss_mask >= x.mean() - 1e-5
    np.testing.assert_array_equal(jl.hard_example_mask(x, threshold=25.0), x > 25)


def test_shares_and_thresholds():
    x = jnp.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
    assert jl.hard_example_mask(x, ratio=0.3).sum() == 3
    assert jl.hard_example_mask(x, ratio=0.31).sum() == 4
    np.testing.assert_array_equal(jl.hard_example_mask(x, k=1), x == 9)
    np.testing.assert_array_equal(jl.hard_example_mask(x, threshold=8.0, k=3), jl.hard_example_mask(x, k=3))
    np.testing.assert_array_equal(jl.hard_example_mask(x, threshold=4.5, k=2), x > 4.5)
    rows = jl.hard_example_mask(x.reshape(2, 5), k=2, axis=1)
    np.testing.assert_array_equal(rows, [[False, False, True, False, True], [True, False, True, False, False]])


def test_negatives_for_each_positive_as_in_ssd():
    x = jnp.array([[0.1, 5.0, 4.0, 3.0, 2.0, 1.0], [0.1, 5.0, 4.0, 3.0, 2.0, 1.0]])
    positives = jnp.array([[True] + [False] * 5, [False] * 6])
    mask = jl.hard_example_mask(x, positives=positives, axis=1)
    np.testing.assert_array_equal(mask, [[True, True, True, True, False, False], [False] * 6])
    over_all = jl.hard_example_mask(x, positives=positives, negative_ratio=2.0)
    np.testing.assert_array_equal(over_all, (x == 5) | positives)


def test_nothing_selected_and_masked_elements():
    x = jnp.array([1.0, 7.0, jnp.nan])
    step = jax.value_and_grad(
        lambda x, k: jl.squared_error(x, jnp.zeros(3), where=jl.hard_example_mask(x, k=k), reduction="mean")
    )
    value, gradient = step(x, 0)
    assert value == 0
    assert (gradient == 0).all()
    assert jnp.isnan(step(x, 1)[0]), "a NaN must not be mined away"
    mask = jl.hard_example_mask(x, k=2, where=jnp.array([True, False, False]))
    np.testing.assert_array_equal(mask, [True, False, False])
    np.testing.assert_array_equal(
        jl.hard_example_mask(x, ratio=0.5, where=jnp.array([True, True, False])), [False, True, False]
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, r"^hard_example_mask: give one of k=, ratio= and positives=, or threshold= .*, got \[\]$"),
        ({"k": 1, "ratio": 0.5}, ValueError, r"got \['k', 'ratio'\]"),
        ({"ratio": 0.5, "threshold": 1.0}, ValueError, r"got \['ratio', 'threshold'\]"),
        ({"k": 1, "axis": 1}, ValueError, r"^hard_example_mask: losses \(3,\) has no axis 1"),
        ({"positives": [1, 0, 1]}, TypeError, "positives must be boolean, got int32; did you mean labels > 0"),
        ({"positives": [True]}, ValueError, r"losses \(3,\) and positives \(1,\) must have equal shapes"),
    ],
)
def test_criteria_that_contradict_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        jl.hard_example_mask([1.0, 2.0, 3.0], **options)
