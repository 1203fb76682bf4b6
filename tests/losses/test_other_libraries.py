"""The same numbers from somebody else: optax, scipy and scikit-learn, value and gradient, on random inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics

from tests import compiled as jl

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 6, 4)).astype(np.float32)
LOGITS = (3 * RNG.normal(size=(6, 4))).astype(np.float32)
LABELS = RNG.integers(0, 4, 6)
BITS = RNG.integers(0, 2, (6, 4)).astype(np.float32)
P, Q = RNG.dirichlet(np.ones(4), (2, 6)).astype(np.float32)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]

OPTAX = {
    "squared_error": (jl.squared_error, optax.squared_error, (X, Y)),
    "squared_error is twice l2_loss": (lambda x, y: jl.squared_error(x, y) / 2, optax.l2_loss, (X, Y)),
    "huber_loss": (lambda x, y: jl.huber_loss(x, y, delta=0.7), lambda x, y: optax.huber_loss(x, y, delta=0.7), (X, Y)),
    "CE, ids": (jl.softmax_cross_entropy, optax.softmax_cross_entropy_with_integer_labels, (LOGITS, LABELS)),
    "CE, distributions": (jl.softmax_cross_entropy, optax.softmax_cross_entropy, (LOGITS, P)),
    "CE, axis 0": (
        lambda z, y: jl.softmax_cross_entropy(z, y, axis=0),
        lambda z, y: optax.softmax_cross_entropy(z, y, axis=0),
        (LOGITS, Q),
    ),
    "CE, smoothed": (
        lambda z, y: jl.softmax_cross_entropy(z, y, label_smoothing=0.15),
        lambda z, y: optax.softmax_cross_entropy(z, optax.smooth_labels(jax.nn.one_hot(y, 4), 0.15)),
        (LOGITS, LABELS),
    ),
    "BCE": (jl.sigmoid_binary_cross_entropy, optax.sigmoid_binary_cross_entropy, (LOGITS, BITS)),
    "BCE, soft": (jl.sigmoid_binary_cross_entropy, optax.sigmoid_binary_cross_entropy, (LOGITS, P)),
    "focal": (
        lambda z, y: jl.sigmoid_focal_loss(z, y, gamma=1.7, alpha=0.3),
        lambda z, y: optax.sigmoid_focal_loss(z, y, gamma=1.7, alpha=0.3),
        (LOGITS, BITS),
    ),
    "focal, soft": (jl.sigmoid_focal_loss, optax.sigmoid_focal_loss, (LOGITS, P)),
    "KL": (jl.kl_divergence, optax.kl_divergence, (np.log(Q), P)),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name):
    ours, theirs, (x, y) = OPTAX[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(ours(x, y), theirs(x, y), rtol=1e-5, atol=1e-6)
        gradients = [jax.grad(lambda x, f=f: jnp.sum(f(x, y)))(jnp.asarray(x)) for f in (ours, theirs)]
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.3, 0.7)])
def test_optax_dice(weights):
    """Its `smooth` sits in the Tversky form, so Dice here has twice of it."""
    fp, fn = weights
    logits = RNG.normal(size=(2, 5, 5, 3)).astype(np.float32)
    truth = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, (2, 5, 5))]
    forms = [lambda z: optax.losses.dice_loss(z, truth, smooth=0.7, alpha=fp, beta=fn)]
    forms.append(lambda z: jl.tversky_loss(z, truth, smooth=0.7, fp_weight=fp, fn_weight=fn, activation="softmax"))
    if fp == fn:
        forms.append(lambda z: jl.dice_loss(z, truth, smooth=1.4, activation="softmax"))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected, *values = (form(logits) for form in forms)
        slope, *gradients = (jax.grad(lambda z, f=form: jnp.sum(f(z)))(jnp.asarray(logits)) for form in forms)
    for value, gradient in zip(values, gradients, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-7)


def test_scipy_and_sklearn():
    np.testing.assert_allclose(jl.entropy(P), scipy.stats.entropy(P, axis=1), rtol=1e-5)
    np.testing.assert_allclose(jl.entropy(P, log_base=2), scipy.stats.entropy(P, axis=1, base=2), rtol=1e-5)
    np.testing.assert_allclose(jl.kl_divergence(np.log(Q), P), scipy.stats.entropy(P, Q, axis=1), rtol=1e-5)
    np.testing.assert_allclose(jl.cross_entropy(Q, P), -scipy.special.xlogy(P, Q).sum(1), rtol=1e-5)
    np.testing.assert_allclose(jl.huber_loss(X, Y, delta=0.7), scipy.special.huber(0.7, X - Y), rtol=1e-5)
    np.testing.assert_allclose(
        jl.absolute_error(X, Y, reduction="mean"), sklearn.metrics.mean_absolute_error(Y, X), rtol=1e-5
    )
    np.testing.assert_allclose(
        jl.squared_error(X, Y, reduction="mean"), sklearn.metrics.mean_squared_error(Y, X), rtol=1e-5
    )
    np.testing.assert_allclose(
        jl.softmax_cross_entropy(LOGITS, LABELS, reduction="mean"),
        sklearn.metrics.log_loss(LABELS, scipy.special.softmax(LOGITS.astype(float), axis=1), labels=range(4)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        jl.binary_cross_entropy(P[:, 0], BITS[:, 0], reduction="mean"),
        sklearn.metrics.log_loss(BITS[:, 0], P[:, 0].astype(float), labels=[0, 1]),
        rtol=1e-5,
    )
    predicted, true = RNG.integers(0, 2, (2, 200))
    hard = [predicted[None].astype(float), true[None].astype(float)]
    np.testing.assert_allclose(
        1 - jl.dice_loss(*hard, class_axis=None, smooth=0.0), sklearn.metrics.f1_score(true, predicted), rtol=1e-5
    )
    np.testing.assert_allclose(
        1 - jl.jaccard_loss(*hard, class_axis=None, smooth=0.0),
        sklearn.metrics.jaccard_score(true, predicted),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        1 - jl.tversky_loss(*hard, class_axis=None, smooth=0.0, fp_weight=0.2, fn_weight=0.8),
        sklearn.metrics.fbeta_score(true, predicted, beta=2),
        rtol=1e-5,
    )


def test_softmax_focal_from_its_formula_in_float64():
    z = LOGITS.astype(np.float64)
    p = scipy.special.softmax(z, axis=1)[np.arange(6), LABELS]
    alpha = np.array([0.5, 1.0, 2.0, 0.25])
    expected = -alpha[LABELS] * (1 - p) ** 1.3 * np.log(p)
    np.testing.assert_allclose(jl.softmax_focal_loss(LOGITS, LABELS, gamma=1.3, alpha=alpha), expected, rtol=1e-4)


def boxes(n):
    corner = RNG.uniform(0, 10, (n, 2))
    return np.concatenate([corner, corner + RNG.uniform(0.1, 6, (n, 2))], axis=1)


def reference_boxes(a, b):
    """IoU, GIoU, DIoU and CIoU of two boxes, in plain Python from the papers."""
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])  # noqa: E731
    overlap = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area(a) + area(b) - overlap
    hull = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
    iou = overlap / union
    distance = sum(((a[k] + a[k + 2]) - (b[k] + b[k + 2])) ** 2 / 4 for k in (0, 1))
    diagonal = sum((hull[k + 2] - hull[k]) ** 2 for k in (0, 1))
    v = 4 / np.pi**2 * (np.arctan((b[2] - b[0]) / (b[3] - b[1])) - np.arctan((a[2] - a[0]) / (a[3] - a[1]))) ** 2
    diou = iou - distance / diagonal
    return iou, iou - (area(hull) - union) / area(hull), diou, diou - v / (1 - iou + v) * v


def test_boxes_in_pairs_and_all_against_all():
    first, second = boxes(7), boxes(5)
    expected = np.array([[reference_boxes(a, b) for b in second] for a in first])
    for k, similarity in enumerate((jl.box_iou, jl.box_giou, jl.box_diou, jl.box_ciou)):
        np.testing.assert_allclose(similarity(first, second, pairwise=True), expected[:, :, k], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(similarity(first[:5], second), np.diagonal(expected[:5, :, k]), rtol=1e-4, atol=1e-5)
    stacked = jl.box_giou(np.stack([first] * 2), np.stack([second] * 2), pairwise=True)
    assert stacked.shape == (2, 7, 5)
