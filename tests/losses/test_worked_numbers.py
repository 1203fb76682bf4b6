"""Worked numbers: what papers, textbooks and other libraries print for given inputs, to their last digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl

LN2 = np.log(2)
WEATHER = [0.35, 0.35, 0.1, 0.1, 0.04, 0.04, 0.01, 0.01]
LENGTHS = np.array([2.0, 2, 3, 3, 4, 4, 5, 5])
P, Q = [0.5, 0.3, 0.2], [0.2, 0.5, 0.3]
Z = [2.0, 1.0, 0.1]
ROWS, LABELS, WEIGHTS = [Z, [0.5, 0.5, 0.5], [-1.0, 3.0, 0.0]], [0, 2, 1], [1.0, 2.0, 0.5]
A = [[0, 0, 4, 4], [0, 0, 1, 1], [0, 0, 4, 4], [0, 0, 1, 1], [0, 0, 2, 1]]
B = [[1, 1, 6, 5], [2, 0, 3, 1], [1, 1, 2, 2], [1, 0, 2, 1], [0, 0, 1, 2]]
SOFT, HARD = [[0.8, 0.6, 0.3, 0.1]], [[1.0, 1.0, 0.0, 0.0]]
R = [-3.0, -1.0, -0.5, 0.2, 2.5]


def mask_loss(function, **options):
    return lambda: function(SOFT, HARD, class_axis=None, **{"smooth": 0.0, **options})


NUMBERS = {
    # the weather forecast as a code
    "entropy of a coin, bits": (lambda: jl.entropy([0.75, 0.25], log_base=2), 0.811278124459),
    "entropy of the weather, bits": (lambda: jl.entropy(WEATHER, log_base=2), 2.22897245894),
    "entropy of the weather, nats": (lambda: jl.entropy(WEATHER), 1.54500597546),
    "code length": (lambda: jl.cross_entropy(2.0**-LENGTHS, WEATHER, log_base=2), 2.42),
    "code length, weather reversed": (lambda: jl.cross_entropy(2.0**-LENGTHS, WEATHER[::-1], log_base=2), 4.58),
    "waste, weather reversed, bits": (lambda: jl.kl_divergence(-LENGTHS * LN2, WEATHER[::-1]) / LN2, 2.35102754106),
    "uniform over 8": (lambda: jl.entropy([1 / 8] * 8, log_base=2), 3.0),
    "H(P)": (lambda: jl.entropy(P), 1.0296530141),
    "H(P, Q)": (lambda: jl.cross_entropy(Q, P), 1.2534576713),
    "KL(P, Q)": (lambda: jl.kl_divergence(np.log(Q), P), 0.2238046572),
    "KL(Q, P)": (lambda: jl.kl_divergence(np.log(P), Q), 0.1937941979),
    # one sample, logits
    "-ln .3": (lambda: jl.nll_loss(np.log([0.3, 0.7]), 0), 1.20397280433),
    "-ln .5": (lambda: jl.nll_loss(np.log([0.5, 0.5]), 0), 0.69314718056),
    "softmax (.34, .46, .2), class 0": (lambda: jl.softmax_cross_entropy(np.log([0.34, 0.46, 0.2]), 0), 1.07880966137),
    "its gradient": (
        lambda: jax.grad(jl.softmax_cross_entropy)(jnp.log(jnp.array([0.34, 0.46, 0.2])), 0),
        [-0.66, 0.46, 0.2],
    ),
    "CE, each class": (
        lambda: jl.softmax_cross_entropy([Z] * 3, [0, 1, 2]),
        [0.4170300163, 1.4170300163, 2.3170300163],
    ),
    "CE gradient": (
        lambda: jax.grad(jl.softmax_cross_entropy)(jnp.array(Z), 0),
        [-0.3409988611, 0.2424329707, 0.0985658904],
    ),
    "smoothing .1": (lambda: jl.softmax_cross_entropy(Z, 0, label_smoothing=0.1), 0.5136966829),
    "smoothing .2": (lambda: jl.softmax_cross_entropy(Z, 0, label_smoothing=0.2), 0.6103633496),
    "softmax focal": (lambda: jl.softmax_focal_loss([Z, Z], [0, 1]), [0.0484923434, 0.8132445847]),
    "rows": (lambda: jl.softmax_cross_entropy(ROWS, LABELS), [0.4170300163, 1.0986122887, 0.0658839038]),
    "plain mean": (lambda: jl.softmax_cross_entropy(ROWS, LABELS, reduction="mean"), 0.5271754029),
    "mean by class weights (torch)": (
        lambda: jl.softmax_cross_entropy(ROWS, LABELS, class_weights=WEIGHTS, reduction="mean"),
        0.3137439909,
    ),
    "class weights over N (Keras)": (
        lambda: jnp.mean(jl.softmax_cross_entropy(ROWS, LABELS, class_weights=WEIGHTS)),
        0.3660346560,
    ),
    "BCE": (
        lambda: jl.sigmoid_binary_cross_entropy([2.0, 2.0, 0.0, -3.0, 0.7], [1.0, 0.0, 1.0, 1.0, 0.3]),
        [0.1269280110, 2.1269280110, 0.6931471806, 3.0485873516, 0.8931860489],
    ),
    "BCE, positives weigh 3": (
        lambda: jl.sigmoid_binary_cross_entropy([2.0, 2.0], [1, 0], pos_weight=3.0),
        [0.3807840331, 2.1269280110],
    ),
    "focal, alpha .25": (
        lambda: jl.sigmoid_focal_loss([2.0, 2.0, -1.0, 0.0], [1, 0, 1, 1], alpha=0.25),
        [0.0004508907, 1.2375586346, 0.1754670759, 0.0433216988],
    ),
    "focal": (
        lambda: jl.sigmoid_focal_loss([2.0, 2.0, -1.0, 0.0], [1, 0, 1, 1]),
        [0.0018035628, 1.6500781794, 0.7018683034, 0.1732867951],
    ),
    "focal gradient": (lambda: jax.grad(jl.sigmoid_focal_loss)(2.0, 1.0), -0.0048709402),
    # boxes
    "IoU": (lambda: jl.box_iou(A, B), [0.3333333333, 0, 0.0625, 0, 0.3333333333]),
    "GIoU": (lambda: jl.box_giou(A, B), [0.2333333333, -0.3333333333, 0.0625, 0, 0.0833333333]),
    "DIoU": (lambda: jl.box_diou(A, B), [0.2800546448, -0.4, 0.046875, -0.2, 0.2708333333]),
    "CIoU": (lambda: jl.box_ciou(A, B), [0.2800179749, -0.4, 0.046875, -0.2, 0.2370816649]),
    "-ln IoU": (lambda: jl.iou_loss(A[0], B[0], variant="log"), 1.0986122887),
    "-ln IoU apart": (lambda: jl.iou_loss(A[1], B[1], variant="log"), 13.8155),
    "GIoU loss apart": (lambda: jl.giou_loss([0, 0, 1, 1], [2, 0.5, 3, 1.5]), 1.5555555556),
    # masks
    "Dice": (mask_loss(jl.dice_loss), 1 - 0.7368421053),
    "Dice, V-Net": (mask_loss(jl.dice_loss, squared_denominator=True), 1 - 0.9032258065),
    "Dice, smooth 1": (mask_loss(jl.dice_loss, smooth=1.0), 1 - 0.7916666667),
    "Dice, smooth 2 (optax's 1)": (mask_loss(jl.dice_loss, smooth=2.0), 0.1724137931),
    "V-Net, smooth 1": (mask_loss(jl.dice_loss, smooth=1.0, squared_denominator=True), 1 - 0.9268292683),
    "Jaccard": (mask_loss(jl.jaccard_loss), 1 - 0.5833333333),
    "Tversky .3 .7": (mask_loss(jl.tversky_loss, fp_weight=0.3, fn_weight=0.7), 1 - 0.7216494845),
    "Tversky .7 .3": (mask_loss(jl.tversky_loss, fp_weight=0.7, fn_weight=0.3), 1 - 0.7526881720),
    "F_2": (mask_loss(jl.tversky_loss, fp_weight=1 / 5, fn_weight=4 / 5), 1 - 0.7142857143),
    "F_.5": (mask_loss(jl.tversky_loss, fp_weight=0.8, fn_weight=0.2), 1 - 0.7608695652),
    # regression
    "smooth L1": (lambda: jl.smooth_l1_loss(R, [0.0] * 5), [2.5, 0.5, 0.125, 0.02, 2]),
    "smooth L1, beta 1/9": (
        lambda: jl.smooth_l1_loss(R, [0.0] * 5, beta=1 / 9),
        [2.9444444444, 0.9444444444, 0.4444444444, 0.1444444444, 2.4444444444],
    ),
    "Huber, delta .5": (lambda: jl.huber_loss(R, [0.0] * 5, delta=0.5), [1.375, 0.375, 0.125, 0.02, 1.125]),
}

GRADIENTS = {
    "1 - IoU": (jl.iou_loss, {}, [-0.0493827160, -0.0493827160, -0.0987654321, -0.0987654321]),
    "-ln IoU": (jl.iou_loss, {"variant": "log"}, [-0.1481481481, -0.1481481481, -0.2962962963, -0.2962962963]),
    "GIoU": (jl.giou_loss, {}, [-0.0660493827, -0.0960493827, -0.1320987654, -0.1320987654]),
    "DIoU": (jl.diou_loss, {}, [-0.0634918265, -0.0570419474, -0.1233555960, -0.1151588747]),
    "CIoU, alpha detached": (jl.ciou_loss, {}, [-0.0634089808, -0.0571247932, -0.1234384418, -0.1150760290]),
    "CIoU": (jl.ciou_loss, {"detach_alpha": False}, [-0.0633240510, -0.0572043305, -0.1235152829, -0.1149884030]),
}

MASK_GRADIENTS = {
    "V-Net": ({"squared_denominator": True}, [0.17898023, 0.29552549, -0.1748179, -0.05827263]),
    "plain": ({}, [0.33240997, 0.33240997, -0.19390582, -0.19390582]),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_value(name, double):
    compute, expected = NUMBERS[name]
    with jax.enable_x64(double):
        digits = 2e-6 if name == "-ln IoU apart" else 1e-9 if double else 1e-5
        np.testing.assert_allclose(
            compute(), np.broadcast_to(expected, np.shape(compute())), rtol=digits, atol=digits / 10
        )


@pytest.mark.parametrize("name", GRADIENTS)
def test_box_gradient(name):
    loss, options, expected = GRADIENTS[name]
    with jax.enable_x64(True):
        gradient = jax.grad(lambda a: loss(a, B[0], **options))(jnp.array(A[0], float))
    np.testing.assert_allclose(gradient, expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (jl.giou_loss, [0.0740740741, -0.0740740741, -0.2222222222, -0.2222222222]),
        (jl.diou_loss, [0.0237037037, 0.0562962963, -0.1777777778, -0.0444444444]),
    ],
)
def test_box_gradient_apart(loss, expected):
    gradient = jax.grad(loss)(jnp.array([0.0, 0, 1, 1]), jnp.array([2.0, 0.5, 3, 1.5]))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


@pytest.mark.parametrize("name", MASK_GRADIENTS)
def test_dice_gradient(name):
    options, expected = MASK_GRADIENTS[name]
    gradient = jax.grad(lambda p: -jl.dice_loss(p, HARD, smooth=0.0, class_axis=None, reduction="sum", **options))(
        jnp.array(SOFT)
    )
    np.testing.assert_allclose(gradient[0], expected, rtol=2e-5)


def test_micro_trap():
    """Pooled over classes these five rows have FP = FN = 2.9; per class Tversky's two weights make a difference."""
    p = jnp.array([[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]])
    labels = jnp.array([[0, 1, 2, 2, 1]])
    recall, precision = (jl.tversky_loss(p, labels, fp_weight=w, fn_weight=1 - w, smooth=0.0)[0] for w in (0.3, 0.7))
    assert abs(recall - precision) > 1e-3


def test_median_and_mean_predict_themselves():
    targets = np.array([1000.0] * 95 + [10.0] * 5)
    guesses = jnp.arange(0, 1200, 0.5)
    losses = [
        jax.vmap(lambda g, f=f: f(jnp.full(100, g), targets, reduction="mean"))(guesses)
        for f in (jl.absolute_error, jl.squared_error)
    ]
    assert [float(guesses[jnp.argmin(loss)]) for loss in losses] == [1000, 950.5]
