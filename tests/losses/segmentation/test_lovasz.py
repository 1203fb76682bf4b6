"""The Lovász extension against its definition, its properties, and what it may cost."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import Mesh, PartitionSpec

from tests import compiled as jl
from tests.golden import golden

INF, NAN = jnp.inf, jnp.nan
GOLDEN = golden("segmentation")["lovasz"]
ROWS = [[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]]
Z = jax.random.normal(jax.random.key(0), (4, 3, 5))
BITS = jax.random.randint(jax.random.key(1), (4, 3, 5), 0, 2)

hinge = jax.jit(jl.lovasz_hinge_loss, static_argnames=("per_image", "reduction"))
binary = jax.jit(functools.partial(jl.lovasz_softmax_loss, class_axis=None, per_image=True))


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def iou(predicted, true):
    both, either = (predicted & true).sum(-1), (predicted | true).sum(-1)
    return np.where(either == 0, 1, both / np.maximum(either, 1))


def test_worked_examples():
    z, y = [[1.2, -0.4, 0.3, -2.0]], [[1, 1, 0, 0]]
    close(jl.lovasz_hinge_loss(z, y), [0.9166666667])
    close(jl.lovasz_hinge_loss(z, [[0, 0, 0, 0]]), [2.2])
    softmax = jl.lovasz_softmax_loss
    close(softmax(ROWS, [[0, 1, 2, 2, 1]]), 0.5888888889)
    close(softmax(ROWS, [[0, 1, 2, 2, 1]], per_class=True), [0.45, 0.6166666667, 0.7])
    close(softmax(ROWS, [[0, 1, 0, 1, 1]]), 0.5416666667)
    close(softmax(ROWS, [[0, 1, 0, 1, 1]], classes="all"), 0.4944444444)
    close(softmax([[0.8, 0.6, 0.3, 0.1]], y, class_axis=None), 0.3166666667)


@pytest.mark.parametrize("per_image", [True, False])
def test_the_definition_gives_the_same_values_and_gradients(per_image):
    key = "image" if per_image else "batch"
    with jax.enable_x64(True):
        z, bits, p, ids = (jnp.array(GOLDEN[name]) for name in ("logits", "bits", "q", "classes"))
        row = GOLDEN[f"hinge per {key}"]
        loss = functools.partial(jl.lovasz_hinge_loss, per_image=per_image)
        close(loss(z, bits).reshape(-1), row["values"], rtol=1e-7)
        close(jax.grad(lambda z: jnp.sum(loss(z, bits)))(z), row["gradient"], rtol=1e-6)
        row = GOLDEN[f"softmax per {key}"]
        loss = functools.partial(jl.lovasz_softmax_loss, per_image=per_image)
        expected = np.array([[v or 0 for v in image] for image in row["values"]])  # an absent class counts as masked
        close(loss(p, ids, per_class=True).reshape(expected.shape), expected, rtol=1e-7)
        close(jax.grad(lambda p: jnp.sum(loss(p, ids)))(p), row["gradient"], rtol=1e-6)


# The extension


def test_on_hard_masks_it_is_one_minus_iou():
    predicted, true = (
        np.array(masks) for masks in zip(*itertools.product(itertools.product((0, 1), repeat=5), repeat=2), strict=True)
    )
    expected = 1 - iou(predicted == 1, true == 1)
    close(binary(predicted.astype(np.float32), true), expected)
    # A margin of 1 on the right side is no error, and on the wrong side one of 2.
    close(hinge(2.0 * predicted - 1, true), 2 * expected)


def test_it_is_the_largest_over_all_orders():
    """The Jaccard loss is submodular, so its extension is the largest of the sums over all orders."""
    rng = np.random.default_rng(0)
    targets, p = np.array([[1, 0, 1, 0, 0]]), rng.random((1, 5)).astype(np.float32)
    errors = np.abs(targets - p)[0]

    def weighted_sum(order):
        wrong, total, before = np.zeros(5, bool), 0.0, 0.0
        for pixel in order:
            wrong[pixel] = True
            after = float(1 - iou((targets[0] == 1) ^ wrong, targets[0] == 1))
            total, before = total + errors[pixel] * (after - before), after
        return total

    close(binary(p, targets), [max(weighted_sum(order) for order in itertools.permutations(range(5)))])


def masks(values):
    return hnp.arrays(np.float32, (2, 9), elements=values)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(masks(st.floats(0, 1, width=32)), masks(st.floats(0, 1, width=32)), masks(st.sampled_from([0.0, 1.0])))
def test_convex_homogeneous_and_independent_of_the_order(p, q, g):
    loss = binary(p, g)
    assert (loss >= -1e-6).all()
    assert (loss <= 1 + 1e-6).all()
    assert (binary((p + q) / 2, g) <= (loss + binary(q, g)) / 2 + 1e-5).all()
    nearer = g + (p - g) / 4  # all errors are a quarter
    close(binary(nearer, g), loss / 4)
    order = np.random.default_rng(0).permutation(9)
    close(binary(p[:, order], g[:, order]), loss)
    close(
        jax.jit(functools.partial(jl.lovasz_softmax_loss, class_axis=None))(p, g),
        binary(p.reshape(1, 18), g.reshape(1, 18))[0],
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(masks(st.floats(-3, 3, width=32)), masks(st.sampled_from([0.0, 1.0])))
def test_the_hinge_bounds_the_jaccard_loss(z, y):
    loss, margin = hinge(z, y), z * (2 * y - 1)
    assert (loss >= 1 - iou(z > 0, y == 1) - 1e-5).all()
    assert ((loss == 0) == (margin >= 1).all(1)).all()


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1], [0, 1, 0]])
def test_targets_of_one_class(targets):
    targets = jnp.array([targets])
    z = jnp.array([[0.5, -2.0, 0.9]])
    errors = np.maximum(1 - np.array(z) * (2 * np.array(targets) - 1), 0)[0]
    value, gradient = jax.value_and_grad(lambda z: jl.lovasz_hinge_loss(z, targets, reduction="sum"))(z)
    if not targets.any():
        close(value, errors.max())  # and only the worst pixel has a slope
        np.testing.assert_array_equal(gradient[0], [0, 0, 1])
    if targets.all():
        close(value, errors.mean())
    assert jnp.isfinite(gradient).all()


def test_equal_errors_have_one_value_and_a_finite_gradient():
    value, gradient = jax.value_and_grad(lambda z: hinge(z, BITS, reduction="sum"))(jnp.zeros((4, 3, 5)))
    close(value, 4)  # all wrong by 1: 1 - IoU of the mask that is wrong everywhere
    close(jnp.abs(gradient).sum((1, 2)), 1)
    perfect = (2 * BITS - 1).astype(jnp.float32)
    value, gradient = jax.value_and_grad(lambda z: hinge(z, BITS, reduction="sum"))(perfect)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)  # the corner of the hinge


def test_infinite_logits():
    for z, y, expected in (([INF, -INF], [1, 0], 0), ([INF, INF], [0, 0], INF), ([-INF, 3.0], [1, 1], INF)):
        value, gradient = jax.value_and_grad(lambda z, y=y: hinge(z, jnp.array([y]), reduction="sum"))(jnp.array([z]))
        assert value == expected
        assert jnp.isfinite(gradient).all()


def test_second_derivatives_are_those_of_the_errors():
    loss = lambda z: jl.lovasz_hinge_loss(z, BITS[:1], reduction="sum")  # noqa: E731
    np.testing.assert_array_equal(jax.hessian(loss)(Z[:1]), 0)
    # Through a sigmoid, with one pixel and no object: l = σ(z), so l'' = σ(z) (1 - σ(z)) (1 - 2σ(z)).
    bent = lambda z: jl.lovasz_softmax_loss(z, [[0]], class_axis=None, activation="sigmoid")  # noqa: E731
    s = 1 / (1 + np.exp(-0.7))
    close(jax.hessian(bent)(jnp.array([[0.7]])).ravel(), [s * (1 - s) * (1 - 2 * s)])


# Targets, masks and weights


@pytest.mark.parametrize("target", [2, -1, 0.5, NAN])
def test_a_target_that_is_neither_0_nor_1(target):
    y = jnp.array([[1.0, target, 0.0]])
    for loss in (jl.lovasz_hinge_loss, functools.partial(jl.lovasz_softmax_loss, class_axis=None)):
        value, gradient = jax.value_and_grad(lambda z, loss=loss: loss(z, y, reduction="sum"))(
            jnp.array([[0.2, 0.3, 0.4]])
        )
        assert jnp.isnan(value)
        assert jnp.isnan(gradient[0, 1])
        with pytest.raises(Exception, match=r"lovasz_\w+_loss: targets must (be 0 or 1|lie in)"):
            jl.checked(loss)(jnp.array([[0.2, 0.3, 0.4]]), y)
    assert jnp.isnan(jl.lovasz_softmax_loss(ROWS, [[0, 1, 2, 3, 0]]))
    assert jnp.isnan(jl.lovasz_softmax_loss([[NAN, 0.5]], [[1, 0]], class_axis=None))


def test_ignored_pixels_are_deleted():
    targets = jnp.array([[0, 1, 255, 1]])
    p = jnp.array([[[0.7, 0.3], [0.2, 0.8], [NAN, 0.4], [0.6, 0.4]]])
    some = jnp.array([0, 1, 3])
    for options in ({}, {"per_image": True}, {"classes": "all"}):
        ignored = jl.lovasz_softmax_loss(p, targets, ignore_label=255, **options)
        close(ignored, jl.lovasz_softmax_loss(p[:, some], targets[:, some], **options))
    z = jnp.array([[-3.0, 0.1, NAN, 0.5]])
    close(jl.lovasz_hinge_loss(z, targets, ignore_label=255), jl.lovasz_hinge_loss(z[:, some], targets[:, some]))


def test_classes_and_one_hot():
    p, ids = jnp.array(ROWS), jnp.array([[0, 1, 0, 1, 1]])
    every = jl.lovasz_softmax_loss(p, ids, classes="all", per_class=True)
    close(jl.lovasz_softmax_loss(p, jax.nn.one_hot(ids, 3)), every[:2].mean())
    close(jl.lovasz_softmax_loss(p, ids, classes=[2, 1], per_class=True), every[jnp.array([2, 1])])
    close(jl.lovasz_softmax_loss(p, ids, include_background=False), every[1])
    close(jl.lovasz_softmax_loss(jnp.moveaxis(p, -1, 1), ids, class_axis=1), every[:2].mean())
    assert jl.lovasz_softmax_loss(p, ids, per_image=True, per_class=True).shape == (1, 3)
    assert jl.lovasz_softmax_loss(p, ids, classes=[2], where=ids != 2) > 0
    nothing = jl.lovasz_softmax_loss(p, ids, where=ids != ids, reduction="parts")
    assert nothing.sum == 0
    assert nothing.count == 0
    with pytest.raises(ValueError, match=r"lovasz_softmax_loss: axis_name='d' pools .* per_image=False"):
        jl.lovasz_softmax_loss(p, ids, per_image=True, axis_name="d")


def test_masks_of_one_class_always_count():
    assert jl.lovasz_softmax_loss([[0.9, 0.1]], [[0, 0]], class_axis=None) == pytest.approx(0.9)


@pytest.mark.parametrize("per_image", [True, False])
def test_weights_repeat_pixels_and_have_a_gradient(per_image):
    times = np.array([0, 2, 1, 0, 3])
    weights = jnp.broadcast_to(times, Z.shape).astype(jnp.float32)
    repeated = hinge(jnp.repeat(Z, times, 2), jnp.repeat(BITS, times, 2), per_image=per_image)
    close(hinge(Z, BITS, sample_weights=weights, per_image=per_image), repeated)
    with jax.enable_x64(True):
        z, w = Z.astype(jnp.float64), 0.5 + jax.random.uniform(jax.random.key(8), Z.shape, jnp.float64)
        loss = lambda w: jnp.sum(jl.lovasz_hinge_loss(z, BITS, sample_weights=w, per_image=per_image))  # noqa: E731
        step = jnp.cos(jnp.arange(w.size, dtype=jnp.float64)).reshape(w.shape)
        slope = (loss(w + 1e-6 * step) - loss(w - 1e-6 * step)) / 2e-6
        close(jnp.vdot(jax.grad(loss)(w), step), slope, rtol=1e-6)


def test_weights_of_images_in_a_pooled_batch():
    pick = jnp.array([0, 0, 2, 3])
    weighed = hinge(Z, BITS, sample_weights=jnp.array([2.0, 0, 1, 1]), per_image=False)
    close(weighed, hinge(Z[pick], BITS[pick], per_image=False))
    nothing = hinge(Z, jnp.zeros_like(BITS), sample_weights=jnp.array([0.0, 1, 1, 0]), per_image=False)
    close(nothing, 1 + jnp.max(Z[1:3]))


@pytest.mark.parametrize("weights", [None, 0.5 + np.arange(60, dtype=np.float32).reshape(4, 3, 5) % 4])
def test_devices_see_the_whole_batch(weights):
    mesh = Mesh(np.array(jax.devices()[:4]), ("d",))
    weights = jnp.ones(Z.shape) if weights is None else jnp.array(weights)

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("d"), out_specs=PartitionSpec())
    def pooled(z, y, w):
        return jl.lovasz_hinge_loss(z, y, sample_weights=w, per_image=False, axis_name="d")

    on_one_device = lambda z: jl.lovasz_hinge_loss(z, BITS, sample_weights=weights, per_image=False)  # noqa: E731
    close(pooled(Z, BITS, weights), on_one_device(Z))
    close(jax.grad(lambda z: pooled(z, BITS, weights))(Z), jax.grad(on_one_device)(Z))


def test_a_batch_that_is_pooled_on_several_devices_needs_an_axis_name():
    mesh = Mesh(np.array(jax.devices()[:2]), ("d",))

    def on_two_devices(**options):
        loss = lambda z, y: jl.lovasz_hinge_loss(z, y, per_image=False, **options)[None]  # noqa: E731
        spec = PartitionSpec("d")
        return jax.jit(jax.shard_map(loss, mesh=mesh, in_specs=spec, out_specs=spec))(Z, BITS)

    with pytest.raises(ValueError, match=r"^lovasz_hinge_loss: .*axis_name='d' for .* or axis_name=\(\)"):
        on_two_devices()
    close(on_two_devices(axis_name=()), [hinge(Z[i : i + 2], BITS[i : i + 2], per_image=False) for i in (0, 2)])


# Cost


LARGE = jax.random.normal(jax.random.key(3), (1, 512, 512)), jax.random.randint(jax.random.key(4), (1, 512, 512), 0, 2)


def step(z, y):
    return jl.lovasz_hinge_loss(z, y, reduction="mean")


def test_one_sort_and_none_backward():
    assert str(jax.make_jaxpr(jax.value_and_grad(step))(*LARGE)).count(" sort[") == 1
    compiled = jax.jit(jax.value_and_grad(step)).lower(*LARGE).compile()
    assert compiled.as_text().count(" sort(") == 1
    # Twice the bytes of the inputs, and the block sums of the cumulative sum.
    assert compiled.memory_analysis().temp_size_in_bytes <= 2.05 * sum(x.nbytes for x in LARGE)
    p, ids = jnp.array(ROWS), jnp.array([[0, 1, 2, 2, 1]])
    softmax = jax.value_and_grad(lambda p: jl.lovasz_softmax_loss(p, ids))
    assert str(jax.make_jaxpr(softmax)(p)).count(" sort[") == 1  # for all classes


def test_increments_keep_their_digits_among_many_pixels():
    """Differences of J near 1 would leave two digits of an increment of 4e-6."""
    z, y = LARGE
    slope = np.abs(jax.grad(step)(z, y)).ravel()
    z, y = np.array(z, np.float64).ravel(), np.array(y).ravel()
    errors = np.maximum(1 - z * (2 * y - 1), 0)
    order = np.argsort(-errors, kind="stable")
    object_ = y[order]
    jaccard = 1 - (y.sum() - np.cumsum(object_)) / (y.sum() + np.cumsum(1 - object_))
    expected = np.zeros_like(errors)
    expected[order] = np.diff(jaccard, prepend=0.0)
    distinct = np.concatenate([[True], np.diff(np.sort(errors)) > 1e-6])[np.argsort(np.argsort(errors))] & (errors > 0)
    close(slope[distinct], expected[distinct], rtol=2e-5, atol=0)
