"""Identities and inequalities that hold for all inputs, on inputs that hypothesis looks for."""

import functools

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import compiled as jl

settings.register_profile("jaxlosses", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("jaxlosses")

ROWS, CLASSES = 4, 3
numbers = st.floats(-50, 50, width=32)
logits = hnp.arrays(np.float32, (ROWS, CLASSES), elements=numbers)
ids = hnp.arrays(np.int32, ROWS, elements=st.integers(0, CLASSES - 1))
residuals = hnp.arrays(np.float32, 8, elements=numbers)
probabilities = hnp.arrays(np.float32, (2, 9), elements=st.floats(0, 1, width=32))
masks = hnp.arrays(np.float32, (2, 9), elements=st.sampled_from([0.0, 1.0]))
distributions = hnp.arrays(np.float32, (ROWS, CLASSES), elements=st.floats(0.015625, 1, width=32)).map(
    lambda p: p / p.sum(1, keepdims=True)
)


@st.composite
def boxes(draw):
    corner = draw(hnp.arrays(np.float32, (4, 2), elements=st.integers(-20, 20).map(float)))
    sides = draw(hnp.arrays(np.float32, (4, 2), elements=st.integers(1, 30).map(float)))
    return np.concatenate([corner, corner + sides], axis=1)


def close(actual, expected, rtol=1e-4, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@given(residuals, st.floats(0.0625, 10, width=32))
def test_regression_family(r, width):
    zero = np.zeros_like(r)
    l1, l2 = jl.absolute_error(r, zero), jl.squared_error(r, zero)
    smooth, huber = jax.jit(jl.smooth_l1_loss)(r, zero, beta=width), jax.jit(jl.huber_loss)(r, zero, delta=width)
    close(l1, np.abs(r))
    close(l2, r**2)
    close(width * smooth, huber)
    assert (smooth >= 0).all()
    assert (l1 - smooth >= -1e-4).all()
    assert (l1 - smooth <= width / 2 + 1e-4).all()
    close(jl.huber_loss(r, zero, delta=1e6), r**2 / 2)
    close(jl.huber_loss(zero, r), jl.huber_loss(r, zero))


@given(logits, ids, st.floats(-20, 20, width=32))
def test_cross_entropy_family(z, y, shift):
    cross_entropy = jl.softmax_cross_entropy(z, y)
    assert (cross_entropy >= 0).all()
    close(jl.softmax_cross_entropy(z + shift, y), cross_entropy, atol=1e-4)
    one_hot = np.eye(CLASSES, dtype=np.float32)[y]
    close(jl.softmax_cross_entropy(z, one_hot), cross_entropy)
    close(jl.softmax_cross_entropy(z, y, class_weights=(1.0, 1.0, 1.0)), cross_entropy)
    close(jl.nll_loss(jax.nn.log_softmax(z), y), cross_entropy)
    close(jl.kl_divergence(jax.nn.log_softmax(z), one_hot), cross_entropy)
    close(jl.softmax_focal_loss(z, y, gamma=0.0), cross_entropy)
    focal = jl.softmax_focal_loss(z, y)
    assert (focal >= 0).all()
    assert (focal <= cross_entropy * 1.0001 + 1e-6).all()


@given(logits, st.floats(0, 1, width=32))
def test_smoothing_mixes_with_the_uniform_cross_entropy(z, smoothing):
    y = np.zeros(ROWS, np.int32)
    uniform = np.full_like(z, 1 / CLASSES)
    mixed = (1 - smoothing) * jl.softmax_cross_entropy(z, y) + smoothing * jl.softmax_cross_entropy(z, uniform)
    close(jax.jit(jl.softmax_cross_entropy)(z, y, label_smoothing=smoothing), mixed, atol=1e-3)


@given(residuals, hnp.arrays(np.float32, 8, elements=st.floats(0, 1, width=32)))
def test_binary_family(x, t):
    surprise = jl.sigmoid_binary_cross_entropy(x, t)
    assert (surprise >= 0).all()
    close(jl.sigmoid_binary_cross_entropy(-x, 1 - t), surprise, atol=1e-4)
    close(jl.sigmoid_focal_loss(x, t, gamma=0.0), surprise)
    close(
        jl.sigmoid_focal_loss(x, np.round(t), gamma=0.0, alpha=0.5),
        jl.sigmoid_binary_cross_entropy(x, np.round(t)) / 2,
    )
    assert (jl.sigmoid_focal_loss(x, t) <= surprise * 1.0001 + 1e-6).all()
    two = np.stack([np.zeros_like(x), x], axis=1)
    close(jl.softmax_cross_entropy(two, np.stack([1 - t, t], axis=1)), surprise, atol=1e-4)
    near = np.clip(x, -8, 8)
    close(
        jl.binary_cross_entropy(jax.nn.sigmoid(near), t),
        jl.sigmoid_binary_cross_entropy(near, t),
        atol=3e-3,
    )


@given(distributions, distributions)
def test_divergences(p, q):
    entropy, cross, kl = (
        jl.entropy(p),
        jl.cross_entropy(q, p),
        jl.kl_divergence(np.log(q), p),
    )
    assert (entropy >= 0).all()
    assert (entropy <= np.log(CLASSES) + 1e-5).all()
    close(cross, entropy + kl)
    assert (kl >= -1e-6).all()
    close(jl.kl_divergence(np.log(p), p), 0)
    close(jl.entropy(p, base=2) * np.log(2), entropy)
    close(jl.entropy(p[:, ::-1].copy()), entropy)


SIMILARITIES = {name: jax.jit(getattr(jl, f"box_{name}")) for name in ("iou", "giou", "diou", "ciou", "eiou", "cdiou")}
RANGES = {"iou": (0, 1), "giou": (-1, 1), "diou": (-1, 1), "ciou": (-1.5, 1), "eiou": (-2.25, 1), "cdiou": (0, 1.001)}


@given(boxes(), boxes())
def test_box_similarities(a, b):
    values = {name: similarity(a, b) for name, similarity in SIMILARITIES.items()}
    for name, similarity in SIMILARITIES.items():
        low, high = RANGES[name]
        assert (values[name] >= low).all()
        assert (values[name] <= high).all()
        close(similarity(b, a), values[name])
        close(similarity(a + 7, b + 7), values[name], atol=1e-4)
        close(similarity(a * 3, b * 3), values[name])
        close(similarity(-a[:, [2, 1, 0, 3]] * [[1, -1, 1, -1]], -b[:, [2, 1, 0, 3]] * [[1, -1, 1, -1]]), values[name])
        close(similarity(a[:, [1, 0, 3, 2]], b[:, [1, 0, 3, 2]]), values[name])
        close(similarity(a, a), high)
        close(
            np.diagonal(jax.jit(getattr(jl, f"box_{name}"), static_argnames="pairwise")(a, b, pairwise=True)),
            values[name],
        )
    assert (values["giou"] <= values["iou"] + 1e-6).all()
    assert (values["diou"] <= values["iou"] + 1e-6).all()
    assert (values["ciou"] <= values["diou"] + 1e-6).all()


SLOPES = [
    jax.jit(jax.grad(functools.partial(jl.get(name).function, reduction="sum"), argnums=(0, 1)))
    for name in jl.names("boxes")
]


@given(boxes(), boxes())
def test_a_joint_translation_has_no_gradient(a, b):
    for slope in SLOPES:
        total = sum(slope(a, b))
        close(total[:, 0] + total[:, 2], 0)
        close(total[:, 1] + total[:, 3], 0)


@given(boxes(), boxes(), boxes())
def test_iou_loss_is_a_metric(a, b, c):
    distance = jl.iou_loss
    assert (distance(a, c) <= distance(a, b) + distance(b, c) + 1e-5).all()


@given(probabilities, masks, st.floats(0, 2, width=32))
def test_mask_family(p, g, smooth):
    dice = functools.partial(
        jax.jit(jl.dice_loss, static_argnames=("class_axis", "squared_denominator")), class_axis=None
    )
    jaccard = functools.partial(jax.jit(jl.jaccard_loss, static_argnames="class_axis"), class_axis=None)
    tversky = functools.partial(jax.jit(jl.tversky_loss, static_argnames="class_axis"), class_axis=None)
    for loss in (
        dice(p, g, smooth=smooth),
        jaccard(p, g, smooth=smooth),
        tversky(p, g, smooth=smooth, fp_weight=0.3, fn_weight=0.7),
    ):
        assert (loss >= -1e-6).all()
        assert (loss <= 1 + 1e-6).all()
    close(tversky(p, g, smooth=smooth), dice(p, g, smooth=2 * smooth))
    close(tversky(p, g, smooth=smooth, fp_weight=1.0, fn_weight=1.0), jaccard(p, g, smooth=smooth))
    close(
        tversky(p, g, smooth=smooth, fp_weight=0.3, fn_weight=0.7),
        tversky(g, p, smooth=smooth, fp_weight=0.7, fn_weight=0.3),
    )
    j = 1 - jaccard(p, g, smooth=0.0)
    close(1 - dice(p, g, smooth=0.0), 2 * j / (1 + j))
    hard = np.round(p)
    close(dice(hard, g, smooth=smooth), dice(hard, g, smooth=smooth, squared_denominator=True))
    order = np.random.default_rng(0).permutation(9)
    close(dice(p[:, order], g[:, order], smooth=smooth), dice(p, g, smooth=smooth))
