"""CTC where other implementations fail: labels that do not fit, lengths, bad values, extremes."""

import functools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses
from tests import compiled as jl
from tests.losses.sequences.ctc import loss_of_one, losses_and_gradients, pad_rows, value_and_grad

NAN, INF = np.nan, np.inf


def test_the_loss_is_never_negative():
    logits = jnp.array([[0.0, 17.0], [0.0, 17.0]])
    value, gradient = value_and_grad(logits, jnp.array([1]))
    assert 0 <= value < 2e-7
    np.testing.assert_allclose(gradient, 0, atol=2e-7)
    sure = 17 * jax.nn.one_hot(jax.random.randint(jax.random.key(0), (99, 9), 0, 3), 3)
    labels, lengths = jl.ctc_collapse(jnp.argmax(sure, axis=2))
    assert (losses_and_gradients(sure, labels, label_lengths=lengths)[0] >= 0).all()
    with jax.enable_x64(True):
        np.testing.assert_allclose(loss_of_one(logits.astype(float), [1]), 1.7e-15, atol=2e-15)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_labels_that_do_not_fit(zero_infinity):
    """A repeat needs a blank between; or there are more labels than frames."""
    labels, lengths = pad_rows([[1, 1], [1, 2, 1, 2], [1, 2], [1]])
    times = np.array([2, 2, 1, 0])

    def loss(z):
        return jl.ctc_loss(z, labels, input_lengths=times, label_lengths=lengths, zero_infinity=zero_infinity)

    logits = jax.random.normal(jax.random.key(0), (4, 2, 3))
    value, *derivatives = jax.jit(lambda z: [d(loss)(z) for d in (lambda f: f, jax.jacrev, jax.jacfwd, jax.hessian)])(
        logits
    )
    assert (value == (0 if zero_infinity else INF)).all()
    assert all((derivative == 0).all() for derivative in derivatives)


def test_labels_that_do_not_fit_leave_other_items_as_they_are():
    logits, labels = jax.random.normal(jax.random.key(0), (2, 3, 4)), jnp.array([[1, 1, 2], [1, 2, 3]])
    mean = lambda z: jl.ctc_loss(z, labels, zero_infinity=True, reduction="mean")  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(mean))(logits)
    expected, slope = value_and_grad(logits[1], labels[1])
    np.testing.assert_allclose(value, expected / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient, jnp.stack([0 * slope, slope / 2]), rtol=1e-6)
    mask = jax.jit(lambda z, where: jl.ctc_loss(z, labels, where=where, reduction="mean"))
    np.testing.assert_allclose(mask(logits, np.array([False, True])), expected, rtol=1e-6)


def test_no_labels():
    value, gradient = value_and_grad(jnp.zeros((3, 3)), jnp.zeros(0, int))
    np.testing.assert_allclose(value, 3 * np.log(3), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-2 / 3, 1 / 3, 1 / 3]] * 3, rtol=1e-6)
    assert jl.ctc_loss(jnp.zeros((1, 3, 1)), jnp.zeros((1, 0), int))[0] == 0


@pytest.mark.parametrize("time", [0, 3])
def test_no_frames(time):
    values, gradient = losses_and_gradients(
        jnp.full((2, time, 3), NAN),
        np.array([[1], [1]]),
        input_lengths=np.zeros(2, int),
        label_lengths=np.array([0, 1]),
    )
    np.testing.assert_array_equal(values, [0, INF])
    assert (gradient == 0).all()


def test_mixed_lengths_equal_each_item_alone():
    items = [(7, 3), (6, 2), (1, 1), (5, 0), (0, 0)]
    clean = jax.random.normal(jax.random.key(0), (5, 7, 4))
    real = jax.random.randint(jax.random.key(1), (5, 3), 1, 4)
    alone = [value_and_grad(clean[b, :time], real[b, :length]) for b, (time, length) in enumerate(items)]
    times, lengths = map(np.array, zip(*items, strict=True))
    for frame, label in ((NAN, -77), (INF, 0), (-INF, 99)):
        logits = jnp.where((jnp.arange(7)[None] < times[:, None])[..., None], clean, frame)
        labels = jnp.where(jnp.arange(3)[None] < lengths[:, None], real, label)
        values, gradients = losses_and_gradients(logits, labels, input_lengths=times, label_lengths=lengths)
        for b, (value, gradient) in enumerate(alone):
            np.testing.assert_allclose(values[b], value, rtol=1e-6)
            np.testing.assert_allclose(gradients[b, : times[b]], gradient, atol=1e-6)
            assert (gradients[b, times[b] :] == 0).all()


def test_the_gradient_scales_with_weights_and_the_mean():
    logits, labels = jax.random.normal(jax.random.key(0), (2, 5, 3)), np.array([[1, 2], [2, 2]])
    _, total = losses_and_gradients(logits, labels)
    _, weighed = losses_and_gradients(logits, labels, sample_weights=np.array([2.0, 0.5], np.float32))
    np.testing.assert_allclose(weighed, total * np.array([2, 0.5])[:, None, None], rtol=1e-6)
    mean = jax.jit(jax.grad(lambda z: jl.ctc_loss(z, labels, reduction="mean")))
    np.testing.assert_allclose(mean(logits), total / 2, rtol=1e-6)


def test_log_probabilities_give_the_same_as_logits():
    logits = jax.random.normal(jax.random.key(0), (5, 3))
    value, gradient = value_and_grad(logits, jnp.array([1, 2]))
    again, slope = value_and_grad(jax.nn.log_softmax(logits), jnp.array([1, 2]))
    np.testing.assert_allclose(again, value, rtol=1e-6)
    np.testing.assert_allclose(slope, gradient, atol=1e-6)


def test_more_than_1024_labels():
    length, time = 1100, 1150
    labels = jnp.arange(length) % 2 + 1
    logits = jnp.zeros((time, 3))
    value, gradient = value_and_grad(logits, labels)
    np.testing.assert_allclose(value, time * np.log(3) - np.log(float(comb(time + length, 2 * length))), rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(gradient, axis=1), 0, atol=1e-5)
    first = comb(time - 1 + length, 2 * length) / comb(
        time + length, 2 * length
    )  # of the alignments, start with a blank
    np.testing.assert_allclose(gradient[0], [1 / 3 - first, 1 / 3 - (1 - first), 1 / 3], atol=1e-5)


@pytest.mark.parametrize("blank", [1, 3])
def test_another_blank_id(blank):
    logits = jax.random.normal(jax.random.key(0), (5, 4))
    labels = [k for k in (0, 2, 2) if k != blank]
    moved = jnp.concatenate([logits[:, blank : blank + 1], logits[:, :blank], logits[:, blank + 1 :]], axis=1)
    np.testing.assert_allclose(
        loss_of_one(logits, labels, blank_id=blank), loss_of_one(moved, [k + (k < blank) for k in labels]), rtol=1e-6
    )
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=rf"blank_id={wrong} must be a class of logits \(1, 5, 4\)"):
            loss_of_one(logits, labels, blank_id=wrong)


def test_padding_of_labels_must_come_last():
    labels = jnp.array([[0, 1, 2]])
    logits = jnp.zeros((1, 9, 3))
    assert jnp.isnan(jl.ctc_loss(logits, labels)).all()
    with pytest.raises(Exception, match=r"ctc_loss: labels must be class ids other than blank_id.*padding last"):
        jl.checked(jax.jit(jl.ctc_loss))(logits, labels)


WRONG = {
    "labels": [([1, 0], 5, 2), ([3, 1], 5, 2), ([-1, 1], 5, 1)],
    "input_lengths": [([1, 2], 6, 2), ([1, 2], -1, 2)],
    "label_lengths": [([1, 2], 5, 3), ([1, 2], 5, -1)],
}


@pytest.mark.parametrize("argument", WRONG)
def test_wrong_labels_and_lengths_are_nan_or_an_error(argument):
    logits = jax.random.normal(jax.random.key(0), (2, 5, 3))
    for labels, time, length in WRONG[argument]:
        labels = np.array([labels, [1, 2]])
        lengths = {"input_lengths": np.array([time, 2]), "label_lengths": np.array([length, 2])}
        values, gradient = losses_and_gradients(logits, labels, **lengths)
        np.testing.assert_array_equal(jnp.isnan(values), [True, False])
        assert jnp.isnan(gradient[0]).any()
        assert jnp.isfinite(gradient[1]).all()
        for off in ({"where": np.array([False, True])}, {"sample_weights": np.array([0.0, 1.0], np.float32)}):
            values, gradient = losses_and_gradients(logits, labels, **lengths, **off)
            assert values[0] == 0
            assert (gradient[0] == 0).all()
    loss = jl.checked(jax.jit(functools.partial(jl.ctc_loss, logits, labels, **lengths)))
    with pytest.raises(Exception, match=f"ctc_loss: {argument} must"):
        loss()
    loss(where=jnp.array([False, True]))


def test_checked_raises_for_labels_that_do_not_fit():
    logits, labels = jnp.zeros((1, 3, 3)), jnp.array([[1, 1, 2]])
    with pytest.raises(Exception, match=r"ctc_loss: labels must fit: at least as many frames .* zero_infinity"):
        jl.checked(jax.jit(jl.ctc_loss))(logits, labels)
    jl.checked(jax.jit(functools.partial(jl.ctc_loss, zero_infinity=True)))(logits, labels)
    jl.checked(jax.jit(jl.ctc_loss))(logits, labels, input_lengths=jnp.array([3]), label_lengths=jnp.array([1]))


def test_classes_with_logits_of_minus_infinity():
    """-inf takes a class out; labels that need it do not fit."""
    logits = jax.random.normal(jax.random.key(0), (4, 4)).at[:, 3].set(-INF)
    value, gradient = value_and_grad(logits, jnp.array([1, 2]))
    without, slope = value_and_grad(logits[:, :3], jnp.array([1, 2]))
    np.testing.assert_allclose(value, without, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :3], slope, atol=1e-6)
    for z, labels in ((logits, [1, 3]), (jnp.full((4, 4), -INF), [1, 2])):
        value, gradient = value_and_grad(z, jnp.array(labels))
        assert value == INF
        assert (gradient == 0).all()


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e30])  # from 1e7 on no float tells the paths apart
def test_huge_logits(scale):
    logits = jnp.array([[0.0, 1, -1], [1, 0, -1], [-1, 1, 0]]) * scale
    value, gradient = value_and_grad(logits, jnp.array([2]))  # cheapest: blank, blank, label
    np.testing.assert_allclose(value, 2 * scale, rtol=1e-6)
    if scale < 1e7:
        np.testing.assert_allclose(gradient, [[-1, 1, 0], [0, 0, 0], [0, 1, -1]], atol=1e-6)
    noisy = scale * jax.random.normal(jax.random.key(0), (70, 5))
    value, gradient = value_and_grad(noisy, jnp.array([1, 2, 2, 3]))
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
    assert jnp.abs(gradient).max() <= 1.02


def test_a_path_that_every_frame_disfavours():
    """Its running probability is a hundred orders of magnitude below the best one's, and no float would hold it."""
    time = 40
    logits = jnp.zeros((time, 3)).at[:, 0].set(30.0)
    labels = jnp.arange(time) % 2 + 1
    value, gradient = value_and_grad(logits, labels)
    np.testing.assert_allclose(value, 30 * time, rtol=1e-5)
    np.testing.assert_allclose(gradient, jax.nn.one_hot(jnp.zeros(time, int), 3) - jax.nn.one_hot(labels, 3), atol=1e-5)


def test_an_unmasked_nan_gives_nan():
    logits = jnp.zeros((2, 5, 3)).at[0, 2, 1].set(NAN)
    labels = np.array([[1, 2], [1, 2]])
    np.testing.assert_array_equal(jnp.isnan(losses_and_gradients(logits, labels)[0]), [True, False])
    values, gradient = losses_and_gradients(logits, labels, sample_weights=np.array([0.0, 1.0], np.float32))
    assert values[0] == 0
    np.testing.assert_allclose(values[1], loss_of_one(logits[1], labels[1]), rtol=1e-6)
    assert (gradient[0] == 0).all()


def test_shapes_and_types():
    logits, labels = jnp.zeros((2, 5, 3)), jnp.ones((2, 2), int)
    for bad in (labels[0], labels[..., None], labels[:1]):
        with pytest.raises(ValueError, match=r"ctc_loss: logits \(2, 5, 3\) and labels .* must be \(batch, time"):
            jl.ctc_loss(logits, bad)
    with pytest.raises(TypeError, match=r"ctc_loss: labels must be integers, got float32; labels.astype"):
        jl.ctc_loss(logits, labels.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"ctc_loss: input_lengths \(2, 1\) must be \(2,\); .*input_lengths\[:, 0\]"):
        jl.ctc_loss(logits, labels, input_lengths=jnp.ones((2, 1), int))
    with pytest.raises(TypeError, match="ctc_loss: label_lengths must be integers"):
        jl.ctc_loss(logits, labels, label_lengths=jnp.ones(2))
    assert jax.eval_shape(jl.ctc_loss, logits, labels.astype(jnp.uint8)).shape == (2,)


def test_no_copy_of_the_logits_is_stored():
    logits, labels = jnp.zeros((8, 60, 2000)), jnp.ones((8, 6), int)
    step = jax.jit(jax.value_and_grad(lambda z: jl.ctc_loss(z, labels, reduction="mean")))
    memory = step.lower(logits).compile().memory_analysis()
    assert memory.temp_size_in_bytes < logits.nbytes / 10


@pytest.mark.parametrize("wrong", [-1, 3, 2**40])
def test_the_blank_of_a_greedy_decoding_is_a_class(wrong):
    with pytest.raises(ValueError, match=rf"ctc_greedy_decode: blank_id={wrong} must be a class of logits \(4, 3\)"):
        jaxlosses.ctc_greedy_decode(jnp.zeros((4, 3)), blank_id=wrong)


def test_the_blank_of_a_path_fits_its_integers():
    with pytest.raises(ValueError, match=r"ctc_collapse: blank_id=1099511627776 must fit the int32 of the path"):
        jaxlosses.ctc_collapse([0, 1, 1], blank_id=2**40)
    assert jaxlosses.ctc_collapse([-1, 1, 1, -1], blank_id=-1)[1] == 1
