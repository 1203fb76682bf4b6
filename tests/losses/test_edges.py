"""Degenerate scores: values, gradients and second derivatives where other libraries give NaN, or a silent wrong number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl

INF, NAN = jnp.inf, jnp.nan


def value_and_grad(loss, x, *rest, **options):
    return jax.value_and_grad(lambda x: jl.get(loss)(x, *rest, **options, reduction="sum"))(jnp.asarray(x, jnp.float32))


# Cross-entropy


@pytest.mark.parametrize("label", [3, 7, -100, -1])
def test_a_label_out_of_range_is_nan_in_value_and_gradient(label):
    for loss in ("softmax_cross_entropy", "softmax_focal_loss", "nll_loss"):
        value, gradient = value_and_grad(loss, np.log([[0.2, 0.3, 0.5]]), [label])
        assert jnp.isnan(value)
        assert jnp.isnan(gradient).all() or loss == "nll_loss"
        assert jnp.isnan(gradient).any()


def test_other_rows_are_untouched_by_a_label_out_of_range():
    gradient = jax.grad(lambda z: jnp.sum(jl.softmax_cross_entropy(z, jnp.array([0, -1]))))(jnp.zeros((2, 3)))
    assert jnp.isfinite(gradient[0]).all()
    assert jnp.isnan(gradient[1]).all()


def test_a_distribution_of_zeros_costs_nothing():
    assert jl.softmax_cross_entropy([[2.0, 1.0]], [[0.0, 0.0]]) == 0


def test_every_label_ignored():
    value, gradient = jax.value_and_grad(
        lambda z: jl.softmax_cross_entropy(z, jnp.array([-100, -100]), ignore_label=-100, reduction="mean")
    )(jnp.ones((2, 3)))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "softmax_focal_loss"])
def test_classes_excluded(loss):
    logits = jnp.array([[-INF, 0.0, 0.0], [-INF, 0.0, -INF], [-INF, -INF, -INF]])
    labels = jnp.array([[0.0, 1, 0], [0, 1, 0], [1, 0, 0]])
    both = jax.value_and_grad(lambda z, t: jnp.sum(jl.get(loss)(z, t)), argnums=(0, 1))
    value, gradients = both(logits, labels)
    first = np.log(2) if loss == "softmax_cross_entropy" else 0.25 * np.log(2)
    np.testing.assert_allclose(value, first, rtol=1e-6)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)
    assert (gradients[0][2] == 0).all()
    tangent = jax.jacfwd(lambda z: jl.get(loss)(z, labels))(logits)
    assert jnp.isfinite(tangent).all()
    assert jl.get(loss)(logits, labels, reduction="mean") == pytest.approx(first / 2, rel=1e-6)


def test_a_class_excluded_is_a_class_deleted():
    logits = jnp.array([[1.0, -INF, 2.0], [0.5, -INF, -1.0]])
    for options in ({}, {"label_smoothing": 0.2}):
        with_hole = jl.softmax_cross_entropy(logits, jnp.array([0, 2]), **options)
        np.testing.assert_allclose(
            with_hole, jl.softmax_cross_entropy(logits[:, ::2], jnp.array([0, 1]), **options), rtol=1e-6
        )


def test_the_label_itself_excluded_costs_infinity():
    value, gradient = value_and_grad("softmax_cross_entropy", [[-INF, 0.0]], [0])
    assert value == INF
    assert jnp.isfinite(gradient).all()


def test_many_equal_logits_in_half_precision():
    gradient = jax.grad(lambda z: jl.softmax_cross_entropy(z, 0))(jnp.zeros(65_536, jnp.float16))
    assert jnp.isfinite(gradient).all()


def test_bfloat16_logits_keep_float32_values():
    logits = jax.random.uniform(jax.random.key(0), (8, 100)).astype(jnp.bfloat16)
    values = jl.softmax_cross_entropy(logits, jnp.arange(8))
    assert values.dtype == jnp.float32
    expected = jl.softmax_cross_entropy(np.asarray(logits, np.float64), np.arange(8))
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_ids_and_one_hot_agree_under_a_mask_and_a_mask_of_another_shape_is_refused():
    logits, labels = jax.random.normal(jax.random.key(0), (4, 3)), jnp.array([0, 2, 1, 0])
    keep = jnp.array([True, False, True, True])
    gradients = [
        jax.grad(lambda z, t=t: jl.softmax_cross_entropy(z, t, where=keep, reduction="mean"))(logits)
        for t in (labels, jax.nn.one_hot(labels, 3))
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-6)
    with pytest.raises(ValueError, match=r"where \(4, 1\) must be \(4,\); .*where\[:, 0\]"):
        jl.softmax_cross_entropy(logits, labels, where=keep[:, None])


@pytest.mark.parametrize("options", [{}, {"class_weights": [0.5, 1.0, 2.0]}])
def test_smoothing_ignores_what_is_ignored(options):
    logits = jax.random.normal(jax.random.key(0), (2, 3))
    both = jl.softmax_cross_entropy(
        logits, jnp.array([1, -100]), label_smoothing=0.2, ignore_label=-100, reduction="mean", **options
    )
    one = jl.softmax_cross_entropy(logits[:1], jnp.array([1]), label_smoothing=0.2, reduction="mean", **options)
    np.testing.assert_allclose(both, one, rtol=1e-6)


def test_class_weights_and_smoothing_as_documented():
    z, w = jnp.array([0.3, -0.4]), jnp.array([0.01, 0.99])
    log_p = np.log(np.exp(z) / np.exp(z).sum())
    expected = -(0.95 * w[1] * log_p[1] + 0.05 * w[0] * log_p[0])
    np.testing.assert_allclose(
        jl.softmax_cross_entropy(z, 1, class_weights=w, label_smoothing=0.1), expected, rtol=1e-5
    )


def test_class_ids_are_never_floats():
    with pytest.raises(TypeError, match=r"labels must be integers, got float16; labels.astype\(jnp.int32\)\?"):
        jl.softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2, jnp.float16))
    many = jnp.zeros((1, 300)).at[0, 250].set(9.0)
    assert jl.softmax_cross_entropy(many, jnp.array([250], jnp.uint8)) < 0.1
    ignored = jl.softmax_cross_entropy(many, jnp.array([250], jnp.uint8), ignore_label=-100, reduction="mean")
    assert 0 < ignored < 0.1


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_logits(scale):
    logits = scale * jnp.array([[1.0, -1.0, 0.0]])
    for loss in ("softmax_cross_entropy", "softmax_focal_loss"):
        for label, expected in ((0, 0.0), (1, 2 * scale), (2, scale)):
            value, gradient = value_and_grad(loss, logits, [label])
            np.testing.assert_allclose(value, expected, rtol=1e-6)
            assert jnp.isfinite(gradient).all()
    for loss in ("sigmoid_binary_cross_entropy", "sigmoid_focal_loss"):
        for label, expected in ((0.0, scale), (1.0, 0.0)):
            value, gradient = value_and_grad(loss, scale, label)
            np.testing.assert_allclose(value, expected, rtol=1e-6)
            np.testing.assert_allclose(gradient, 1 - label, atol=1e-7)


def test_second_derivatives_of_cross_entropy_are_those_of_the_softmax():
    z = jnp.array([0.2, -1.0, 0.5])
    p = jax.nn.softmax(z)
    np.testing.assert_allclose(jax.hessian(jl.softmax_cross_entropy)(z, 0), jnp.diag(p) - jnp.outer(p, p), atol=1e-6)


# Binary


@pytest.mark.parametrize("gamma", [0, 0.0, 0.5, 1.5, 2.0])
@pytest.mark.parametrize("logit", [100.0, 1000.0, -1000.0])
def test_focal_is_smooth_where_it_is_sure(gamma, logit):
    for label in (0.0, 1.0):
        loss = lambda x, label=label: jl.sigmoid_focal_loss(x, label, gamma=gamma)  # noqa: E731
        for derivative in (loss, jax.grad(loss), jax.grad(jax.grad(loss))):
            assert jnp.isfinite(derivative(logit))
    sure = jax.grad(lambda x: jl.sigmoid_focal_loss(x, 1.0, gamma=gamma))(abs(logit))
    assert sure == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_softmax_focal_is_smooth_where_it_is_sure(gamma):
    for logits in ([[1000.0, 0.0, 0.0]], [[100.0, 0.0, 0.0]], [[0.0, 1000.0, 0.0]], [[5.0, 5.0, 5.0]]):
        z = jnp.array(logits)
        loss = lambda z: jl.softmax_focal_loss(z, jnp.array([0]), gamma=gamma, reduction="sum")  # noqa: E731
        assert all(jnp.isfinite(derivative(z)).all() for derivative in (loss, jax.grad(loss), jax.hessian(loss)))


def test_softmax_focal_of_one_class_is_zero():
    value, gradient = value_and_grad("softmax_focal_loss", [[3.0]], jnp.array([0]), gamma=0.0)
    assert value == 0
    assert gradient == 0


def test_focal_keeps_digits_that_one_minus_p_would_lose():
    z = np.array([[12.0, 0.0, -1.0]])
    rest = np.exp(-12.0) + np.exp(-13.0)
    p = 1 / (1 + rest)
    np.testing.assert_allclose(jl.softmax_focal_loss(z, [0]), [-((rest * p) ** 2) * np.log1p(-rest * p)], rtol=3e-2)
    np.testing.assert_allclose(
        jl.sigmoid_focal_loss(12.0, 1.0), (np.exp(-12) / (1 + np.exp(-12))) ** 2 * np.log1p(np.exp(-12)), rtol=1e-5
    )


def test_infinite_logits():
    value, gradient = value_and_grad("sigmoid_binary_cross_entropy", [INF, -INF], [1.0, 0.0])
    assert value == 0
    assert (gradient == 0).all()
    for x, t, expected in ((-INF, 0.0, 0.0), (INF, 1.0, 0.0), (-INF, 1.0, INF)):
        value, gradient = value_and_grad("sigmoid_focal_loss", x, t)
        assert value == expected
        assert jnp.isfinite(gradient)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_a_logit_of_exactly_zero(t):
    """Zero-initialised heads start here; |x| and max(x, 0) have the wrong slopes at it."""
    loss = lambda x: jl.sigmoid_binary_cross_entropy(x, t)  # noqa: E731
    np.testing.assert_allclose(loss(0.0), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(loss)(0.0), 0.5 - t, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(jax.grad(loss))(0.0), 0.25, rtol=1e-6)


def test_probabilities_at_the_ends():
    eps = float(jnp.finfo(jnp.float32).eps)
    for p, t, expected, slope in (
        (0.0, 0.0, 0.0, 1.0),
        (1.0, 1.0, 0.0, -1.0),
        (0.0, 1.0, -np.log(eps), 0.0),
        (1.0, 0.0, -np.log(eps), 0.0),
    ):
        value, gradient = value_and_grad("binary_cross_entropy", p, t)
        np.testing.assert_allclose([value, gradient], [expected, slope], rtol=1e-6)


def test_a_class_masked_beside_a_large_one():
    """The gradient of the log-partition of [0, 100] without its second entry is [1, 0]: that of -log p of class 0 is 0."""
    z = jnp.array([0.0, 100.0])
    masked = lambda z: jnp.where(jnp.array([True, False]), z, -INF)  # noqa: E731
    for loss in ("softmax_cross_entropy", "softmax_focal_loss"):
        gradient = jax.grad(lambda z, f=loss: jl.get(f)(masked(z), jnp.array([1.0, 0.0])))(z)
        np.testing.assert_array_equal(gradient, [0, 0])
    gradient = jax.grad(lambda z: jl.softmax_cross_entropy(jnp.append(masked(z), 0.0), jnp.array(2)))(z)
    np.testing.assert_allclose(gradient, [0.5, 0], rtol=1e-6)


@pytest.mark.parametrize("size", [5.0, 640.0])
def test_the_gradient_of_bfloat16_logits_is_that_of_float32(size):
    logits = (size * jax.random.normal(jax.random.key(0), (4, 50))).astype(jnp.bfloat16)
    labels = jnp.arange(4)
    step = jax.grad(lambda z: jl.softmax_cross_entropy(z, labels, reduction="sum"))
    exact = step(logits.astype(jnp.float32))
    np.testing.assert_array_equal(step(logits), exact.astype(jnp.bfloat16))


def test_a_long_mean_of_bfloat16_is_accumulated_in_float32():
    """Through the reduction: 2**16 bfloat16 rows of cost log 2 would saturate a bfloat16 sum at 256."""
    logits = jnp.zeros((2**16, 2), jnp.bfloat16)
    labels = jnp.zeros(2**16, jnp.int32)
    for reduction, expected in (("mean", np.log(2)), ("sum", 2**16 * np.log(2))):
        np.testing.assert_allclose(jl.softmax_cross_entropy(logits, labels, reduction=reduction), expected, rtol=1e-5)
