"""Degenerate numbers, boxes and masks: values, gradients and second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl
from tests.losses.test_edges import value_and_grad

INF, NAN = jnp.inf, jnp.nan


# Divergences


def test_zero_targets():
    targets = jnp.array([0.0, 0.4, 0.6, 0.0])
    log_q = jnp.array([-INF, jnp.log(0.5), jnp.log(0.5), -INF])
    value, gradients = jax.value_and_grad(jl.kl_divergence, argnums=(0, 1))(log_q, targets)
    np.testing.assert_allclose(value, 0.4 * np.log(0.8) + 0.6 * np.log(1.2), rtol=1e-5)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)
    assert gradients[1][0] == 0


def test_a_zero_prediction_of_something_that_happens_is_infinite_with_a_finite_gradient():
    value, gradient = value_and_grad("cross_entropy", [0.0, 1.0], [0.5, 0.5])
    assert value == INF
    assert jnp.isfinite(gradient).all()
    assert jl.cross_entropy([0.0, 1.0], [0.5, 0.5], eps=1e-3) == pytest.approx(-0.5 * np.log(1e-3), rel=1e-5)
    assert jl.cross_entropy([0.0, 1.0], [0.0, 1.0]) == 0
    assert jl.kl_divergence([-INF, 0.0], [0.5, 0.5]) == INF


def test_kl_of_a_distribution_with_itself():
    p = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(jl.kl_divergence(jnp.log(p), p), 0, atol=1e-7)
    with pytest.raises(Exception, match="kl_divergence: log_predictions must be <= 0"):
        jl.checked(jl.kl_divergence)(jnp.array([0.2, 0.3, 5.0]), p)


def test_entropy_at_the_corners():
    value, gradient = value_and_grad("entropy", [0.0, 1.0, 0.0])
    assert value == 0
    np.testing.assert_array_equal(gradient, [0, -1, 0])


# Regression


def test_the_absolute_error_has_slope_zero_at_zero():
    assert jax.grad(jl.absolute_error)(1.0, 1.0) == 0
    assert jax.grad(jl.smooth_l1_loss)(1.0, 1.0) == 0
    assert jax.grad(lambda x: jl.smooth_l1_loss(x, 1.0, beta=0.0))(1.0) == 0


@pytest.mark.parametrize("r", [0.0, 0.5, 3.0, -3.0, 1e30])
def test_smooth_l1_at_beta_zero_is_the_absolute_error(r):
    loss = lambda x, beta: jl.smooth_l1_loss(x, 0.0, beta=beta)  # noqa: E731
    for beta in (0.0, jnp.zeros(())):
        np.testing.assert_allclose(loss(r, beta), abs(r))
        assert jax.grad(loss)(r, beta) == np.sign(r)


def test_second_derivatives_at_a_perfect_prediction():
    assert jax.grad(jax.grad(jl.huber_loss))(2.0, 2.0) == 1
    assert jax.grad(jax.grad(jl.smooth_l1_loss))(2.0, 2.0) == 1


@pytest.mark.parametrize("loss", ["squared_error", "huber_loss", "absolute_error"])
def test_a_masked_nan_target_leaves_no_gradient(loss):
    gradient = jax.grad(
        lambda x: jl.get(loss)(x, jnp.array([0.0, NAN]), where=jnp.array([True, False]), reduction="sum")
    )(jnp.array([3.0, 3.0]))
    assert jnp.isfinite(gradient).all()
    assert gradient[1] == 0


def test_a_weight_of_zero_switches_infinity_off():
    value, gradient = jax.value_and_grad(
        lambda x: jl.squared_error(x, jnp.zeros(2), sample_weights=jnp.array([1.0, 0.0]), reduction="mean")
    )(jnp.array([1.0, INF]))
    assert value == 1
    np.testing.assert_array_equal(gradient, [2, 0])


def test_the_gradient_by_a_weight_of_zero_is_still_the_loss():
    """Learning to reweight examples starts at weights of 0 and follows exactly this gradient."""
    gradient = jax.grad(lambda w: jl.squared_error([1.0, 2.0], [0.0, 0.0], sample_weights=w, reduction="sum"))(
        jnp.zeros(2)
    )
    np.testing.assert_array_equal(gradient, [1, 4])


def test_the_mean_divides_by_what_counts():
    assert jl.absolute_error([1.0, 1.0], [0.0, 0.0], sample_weights=[0.0, 1.0], reduction="mean") == 1
    masked = jl.absolute_error([0.5, 0.5, 9.0], [0.0, 0.0, 0.0], where=[True, True, False], reduction="mean")
    assert masked == 0.5


def test_nothing_left_is_zero_and_not_nearly_infinite():
    for reduction in ("mean", "sum"):
        step = jax.value_and_grad(
            lambda x, r=reduction: jl.huber_loss(x, jnp.zeros(3), where=jnp.zeros(3, bool), reduction=r)
        )
        value, gradient = step(jnp.full(3, 1e30))
        assert value == 0
        assert (gradient == 0).all()


def test_column_against_row_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^huber_loss: predictions \(8,\) and targets \(8, 1\) must have equal shapes; did you mean targets\[:, 0\]\?$",
    ):
        jl.huber_loss(jnp.zeros(8), jnp.zeros((8, 1)))


# Boxes


@pytest.mark.parametrize("loss", jl.names("boxes"))
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([1, 2, 1, 5], [0, 0, 4, 4]),
        ([1, 2, 5, 2], [0, 0, 4, 4]),
        ([2, 2, 2, 2], [0, 0, 4, 4]),
        ([2, 2, 2, 2], [3, 3, 3, 3]),
        ([0, 0, 1, 1], [1, 0, 2, 1]),
        ([0, 0, 1e-7, 7e-8], [0, 0, 1, 1]),
        ([200, 599, 300, 599], [200, 599, 300, 599]),
    ],
)
def test_boxes_without_area(loss, a, b):
    for first, second in ((a, b), (b, a)):
        value, gradient = value_and_grad(loss, first, jnp.array(second, jnp.float32))
        assert jnp.isfinite(value)
        assert value >= 0
        assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("loss", jl.names("boxes"))
def test_equal_boxes_are_at_rest(loss):
    value, gradient = value_and_grad(loss, [1.0, 2, 4, 7], jnp.array([1.0, 2, 4, 7]))
    assert value == 0
    assert (gradient == 0).all()


def test_two_boxes_that_are_one_point_share_nothing():
    assert jl.iou_loss([1.0, 1, 1, 1], [1.0, 1, 1, 1]) == 1


def test_touching_boxes_do_not_pull():
    assert (jax.grad(jl.iou_loss)(jnp.array([0.0, 0, 1, 1]), jnp.array([1.0, 0, 2, 1])) == 0).all()


def test_log_iou_without_overlap_is_a_floor_without_slope():
    value, gradient = value_and_grad("iou_loss", [0.0, 0, 1, 1], jnp.array([2.0, 0, 3, 1]), variant="log")
    np.testing.assert_allclose(value, -np.log(1e-6), rtol=1e-6)
    assert (gradient == 0).all()


def test_inverted_boxes_are_flagged():
    inverted, plain = jnp.array([[10.0, 40, 5, 20]]), jnp.array([[0.0, 0, 4, 4]])
    for given in ((inverted, plain), (plain, inverted)):
        with pytest.raises(Exception, match=r"giou_loss: (boxes|targets) must have x2 >= x1"):
            jl.checked(jl.giou_loss)(*given)
    jl.checked(jl.giou_loss)(inverted, plain, where=jnp.array([False]))


def test_a_masked_flat_box_leaves_no_nan():
    flat = jnp.array([[200.0, 599, 300, 599], [0, 0, 4, 4]])
    gradient = jax.grad(lambda a: jl.ciou_loss(a, flat + 1, where=jnp.array([False, True]), reduction="mean"))(flat)
    assert (gradient[0] == 0).all()
    assert jnp.isfinite(gradient).all()


def test_unequal_numbers_of_boxes():
    assert jl.box_diou(jnp.zeros((3, 4)), jnp.ones((5, 4)), pairwise=True).shape == (3, 5)
    with pytest.raises(ValueError, match=r"box_diou: boxes \(3, 4\) and targets \(5, 4\)"):
        jl.box_diou(jnp.zeros((3, 4)), jnp.ones((5, 4)))


def test_the_authors_gradient_of_the_aspect_ratio():
    """Their code drops 1/(w² + h²): the aspect part of the slope is w² + h² = 5 times the exact one."""
    a, b = jnp.array([0.0, 0, 2, 1]), jnp.array([0.0, 0, 1, 2])
    slopes = {
        how: jax.grad(lambda a, how=how: jl.ciou_loss(a, b, aspect_gradient=how))(a) for how in ("exact", "authors")
    }
    plain = jax.grad(jl.diou_loss)(a, b)
    np.testing.assert_allclose(slopes["authors"] - plain, 5 * (slopes["exact"] - plain), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(jl.ciou_loss(a, b, aspect_gradient="authors"), jl.ciou_loss(a, b))


def test_the_gate_of_the_follow_up_paper():
    a, b = [0.0, 0, 2, 1], [0.0, 0, 1, 2]
    np.testing.assert_allclose(jl.ciou_loss(a, b, iou_threshold=0.5), jl.diou_loss(a, b))
    np.testing.assert_allclose(jl.ciou_loss(a, b, iou_threshold=0.2), jl.ciou_loss(a, b))


# Masks


def dice(p, g, **options):
    return value_and_grad("dice_loss", [p], jnp.array([g], jnp.float32), class_axis=None, **options)


def test_nothing_to_find():
    value, gradient = dice([0.0, 0, 0], [0, 0, 0], smooth=0.0)
    assert value == 0
    assert (gradient == 0).all()
    value, gradient = dice([1.0, 1, 1], [0, 0, 0], smooth=0.0)
    assert value == 1
    assert (gradient == 0).all()
    value, gradient = dice([1.0, 1, 1], [0, 0, 0])
    np.testing.assert_allclose(value, 0.75)
    assert (gradient > 0).all()


def test_ignored_pixels_are_gone_from_every_sum():
    labels = jnp.array([[0, 1, 255, 1]])
    p = jnp.array([[[0.7, 0.3], [0.2, 0.8], [NAN, 0.4], [0.6, 0.4]]])
    for options in ({}, {"squared_denominator": True, "smooth": 0.0}):
        ignored = jl.dice_loss(p, labels, ignore_label=255, **options)
        np.testing.assert_allclose(ignored, jl.dice_loss(p[:, [0, 1, 3]], labels[:, [0, 1, 3]], **options), rtol=1e-6)


def test_a_class_id_above_the_classes():
    labels = jnp.array([[0, 1, 255, 1]])
    p = jnp.full((1, 4, 2), 0.5)
    assert jnp.isnan(jl.dice_loss(p, labels)).all()
    with pytest.raises(Exception, match=r"dice_loss: targets must be class ids in \[0, 2\)"):
        jl.checked(jl.dice_loss)(p, labels)


def test_per_class_and_logits():
    logits, labels = jax.random.normal(jax.random.key(0), (2, 3, 3, 4)), jnp.arange(18).reshape(2, 3, 3) % 4
    softmax = jl.dice_loss(logits, labels, activation="softmax", per_class=True)
    assert softmax.shape == (2, 4)
    np.testing.assert_allclose(
        softmax, jl.dice_loss(jax.nn.softmax(logits), jax.nn.one_hot(labels, 4), per_class=True), rtol=1e-5
    )
    np.testing.assert_allclose(jl.dice_loss(logits, labels, activation="softmax"), softmax.mean(1), rtol=1e-6)
    moved = jl.dice_loss(jnp.moveaxis(logits, -1, 1), labels, activation="softmax", class_axis=1)
    np.testing.assert_allclose(moved, softmax.mean(1), rtol=1e-6)
    with pytest.raises(ValueError, match="activation='softmax' needs a class axis"):
        jl.dice_loss(logits, logits, activation="softmax", class_axis=None)
    with pytest.raises(ValueError, match="activation must be one of None, 'sigmoid', 'softmax', got 'relu'"):
        jl.dice_loss(logits, labels, activation="relu")
    with pytest.raises(ValueError, match=r"must be \(batch, \*space, classes\)"):
        jl.dice_loss(logits, jnp.zeros((3, 3, 4), int), class_axis=0)


def test_a_softmax_over_nothing_gives_no_nan():
    value, gradient = value_and_grad("dice_loss", jnp.full((1, 2, 3), -INF), jnp.array([[0, 1]]), activation="softmax")
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
