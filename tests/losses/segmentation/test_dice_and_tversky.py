"""Dice, Jaccard and Tversky: other libraries' numbers, pooling, which classes count, logarithms, soft targets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxlosses
from tests import compiled as jl
from tests.golden import golden

OVERLAP = golden("segmentation")["overlap"]
RATIOS = ("dice_loss", "jaccard_loss", "tversky_loss")
POOLING = (*RATIOS, "sensitivity_specificity_loss")
P = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 3, 5, 3)))
IDS = jax.random.randint(jax.random.key(1), (4, 3, 5), 0, 3)
SOFT, HARD = [[0.8, 0.6, 0.3, 0.1]], [[1.0, 1.0, 0.0, 0.0]]


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("row", OVERLAP["rows"], ids=lambda row: f"{row['loss']} {row['truth']} {row['options']}")
def test_other_libraries_give_the_same_values_and_gradients(row):
    with jax.enable_x64(True):
        p, targets = jnp.array(OVERLAP["p"]), jnp.array(OVERLAP["ids" if row["truth"] == "hard" else "soft"])
        options = {"per_class": "average" not in row["options"], **row["options"]}
        loss = functools.partial(jl.get(row["loss"]).function, **options)
        values, gradient = loss(p, targets), jax.grad(lambda p: jnp.sum(loss(p, targets)))(p)
        if "per_image" in row["options"]:
            values = jnp.sum(values)
        close(values, np.reshape(row["values"], values.shape), rtol=1e-7, atol=1e-9)
        close(gradient, row["gradient"], rtol=1e-6, atol=1e-8)


# Pooling


def test_the_micro_average_makes_false_positives_equal_false_negatives():
    p = [[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]]
    for fp in (0.3, 0.7):
        loss = jl.tversky_loss(
            p, [[0, 1, 2, 2, 1]], average="micro", smooth=0.0, fp_weight=fp, fn_weight=1 - fp, reduction="sum"
        )
        close(loss, 2.9 / 5)


@pytest.mark.parametrize("loss", POOLING)
def test_a_pooled_batch_is_one_large_image(loss):
    loss = jl.get(loss).function
    large, targets = P.reshape(1, 12, 5, 3), IDS.reshape(1, 12, 5)
    pooled = loss(P, IDS, per_image=False)
    assert pooled.shape == ()
    close(pooled, loss(large, targets)[0])
    assert loss(P, IDS, per_image=False, per_class=True).shape == (3,)
    close(loss(P, IDS, per_image=False, per_class=True), loss(large, targets, per_class=True)[0])
    images, pixels = jnp.array([True, True, False, True]), jax.random.uniform(jax.random.key(3), (4, 3, 5)) > 0.3
    for where in (images, pixels):
        wide = jnp.broadcast_to(where.reshape(where.shape + (1,) * (3 - where.ndim)), IDS.shape).reshape(1, 12, 5)
        close(loss(P, IDS, per_image=False, where=where), loss(large, targets, where=wide)[0])
    weighed = loss(P, IDS, per_image=False, sample_weights=[1.0, 2.0, 0.0, 3.0])
    repeat = jnp.array([0, 1, 1, 3, 3, 3])
    close(weighed, loss(P[repeat], IDS[repeat], per_image=False))


def test_a_pooled_batch_counts_one():
    for where, expected in ((jnp.ones(4, bool), 1), (jnp.zeros(4, bool), 0)):
        parts = jl.dice_loss(P, IDS, per_image=False, where=where, reduction="parts")
        assert parts.count == expected
        assert (parts.sum > 0) == bool(expected)
    parts = jl.dice_loss(P, IDS, per_image=False, per_class=True, include_background=False, reduction="parts")
    assert parts.count == 2
    assert jl.dice_loss(P[:0], IDS[:0], per_image=False, reduction="parts").count == 0


@pytest.mark.parametrize("loss", POOLING)
def test_devices_see_the_whole_batch(loss):
    mesh = Mesh(np.array(jax.devices()[:4]), ("d",))
    where = jnp.array([True, True, False, True])  # one device has nothing
    options = {"per_image": False, "classes": "present"}

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("d"), out_specs=PartitionSpec())
    def pooled(p, ids, where):
        return jl.get(loss)(p, ids, where=where, axis_name="d", **options)

    on_one_device = lambda p: jl.get(loss)(p, IDS, where=where, **options)  # noqa: E731
    close(pooled(P, IDS, where), on_one_device(P))
    close(jax.grad(lambda p: pooled(p, IDS, where))(P), jax.grad(on_one_device)(P), atol=1e-7)


@pytest.mark.parametrize("loss", [*POOLING, "lovasz_softmax_loss"])
def test_a_batch_that_is_pooled_on_several_devices_needs_an_axis_name(loss):
    mesh = Mesh(np.array(jax.devices()[:2]), ("d",))

    def on_two_devices(**options):
        loss_of = lambda p, ids: jl.get(loss)(p, ids, per_image=False, **options)[None]  # noqa: E731
        spec = PartitionSpec("d")
        return jax.jit(jax.shard_map(loss_of, mesh=mesh, in_specs=spec, out_specs=spec))(P, IDS)

    with pytest.raises(ValueError, match=rf"^{loss}: .*axis_name='d' for the batch of all devices, or axis_name=\(\)"):
        on_two_devices()
    each = [jl.get(loss)(P[half], IDS[half], per_image=False) for half in (slice(2), slice(2, None))]
    close(on_two_devices(axis_name=()), each)
    jl.get(loss)(P, IDS, per_image=True, axis_name=())  # which says nothing more


# Which classes count


def test_only_classes_that_are_present():
    ids = jnp.array([[0, 0, 1, 1], [2, 2, 2, 2], [0, 1, 2, 0]])
    p = jax.nn.softmax(jax.random.normal(jax.random.key(2), (3, 4, 3)))
    every = jl.dice_loss(p, ids, per_class=True)
    close(jl.dice_loss(p, ids, classes="present"), [every[0, :2].mean(), every[1, 2], every[2].mean()])
    close(jl.dice_loss(p, ids, classes=[2, 0]), every[:, [2, 0]].mean(1))
    close(jl.dice_loss(p, ids, classes=(1,), per_class=True), every[:, 1:2])
    close(jl.dice_loss(p, ids, include_background=False), every[:, 1:].mean(1))
    parts = jl.dice_loss(p, ids, classes="present", per_class=True, reduction="parts")
    close(parts.sum, every[0, :2].sum() + every[1, 2] + every[2].sum())
    assert parts.count == 6
    assert (jl.dice_loss(p, ids, classes="present", per_class=True)[1, :2] == 0).all()
    weighed = jl.dice_loss(
        p, ids, classes="present", per_class=True, sample_weights=jnp.array([1.0, 2, 0]), reduction="mean"
    )
    close(weighed, (every[0, :2].sum() + 2 * every[1, 2]) / 4)
    # The first image without its class 1 has nothing but background, and counts as masked.
    options = {"classes": "present", "include_background": False, "where": ids != 1, "reduction": "parts"}
    assert jl.dice_loss(p, ids, **options).count == 2
    micro = jl.tversky_loss(p, ids, classes="present", average="micro", smooth=0.0)
    close(micro[1], jl.tversky_loss(p, ids, classes=[2], smooth=0.0)[1])


def test_an_absent_class_is_excluded_with_its_gradient_and_its_infinity():
    loss = lambda p: jl.jaccard_loss(  # noqa: E731
        p, jnp.array([[0, 0, 1]]), classes="present", smooth=0.0, log=True, reduction="mean"
    )
    value, gradient = jax.value_and_grad(loss)(jnp.full((1, 3, 3), 1 / 3))
    assert jnp.isfinite(value)
    assert (gradient[..., 2] == 0).all()


def test_a_class_id_out_of_range_is_nan_among_present_classes_too():
    assert jnp.isnan(jl.dice_loss(P[:, :1, :1], jnp.full((4, 1, 1), 7), classes="present")).all()


WRONG = {
    "average must be one of 'macro', 'micro', got 'weighted'": {"average": "weighted"},
    "average='micro' pools the classes": {"average": "micro", "per_class": True},
    "axis_name='d' pools the batches of devices, which needs per_image=False": {"axis_name": "d"},
    "classes must be 'all', 'present' or a list": {"classes": "some"},
    r"classes=\(0,\) with include_background=False must leave": {"classes": [0], "include_background": False},
    r"classes=\(1, 3\) .* class ids 0 to 2": {"classes": (1, 3)},
    r"smooth must be a number, got an array float64\[2, 1, 1\]": {"smooth": np.ones((2, 1, 1))},
}


@pytest.mark.parametrize("message", WRONG)
def test_options_that_do_not_fit_together_raise(message):
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=f"^jaccard_loss: .*{message}"):
        jaxlosses.jaccard_loss(P, IDS, **WRONG[message])


@pytest.mark.parametrize("option", [{"classes": "present"}, {"include_background": False}, {"average": "micro"}])
def test_a_choice_of_classes_needs_classes(option):
    with pytest.raises(ValueError, match=r"dice_loss: .* need a class axis, got class_axis=None"):
        jl.dice_loss(SOFT, HARD, class_axis=None, **option)


# Logarithm and soft targets


@pytest.mark.parametrize("loss", RATIOS)
def test_log_is_minus_the_logarithm_of_the_coefficient(loss):
    loss = jl.get(loss).function
    close(loss(P, IDS, per_class=True, log=True), -np.log(1 - loss(P, IDS, per_class=True)))
    close(loss(P, IDS, log=True), loss(P, IDS, per_class=True, log=True).mean(1))
    apart = lambda p: loss(p, jnp.array([[0.0, 1.0]]), class_axis=None, smooth=0.0, log=True, reduction="sum")  # noqa: E731
    value, gradient = jax.value_and_grad(apart)(jnp.array([[0.7, 0.0]]))
    assert value == jnp.inf
    np.testing.assert_array_equal(gradient, 0)
    assert jnp.isfinite(jax.hessian(apart)(jnp.array([[0.7, 0.0]]))).all()
    assert apart(jnp.array([[0.0, 1.0]])) == 0


@pytest.mark.parametrize("loss", RATIOS)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_with_soft_labels_the_minimum_is_at_the_targets(loss, smooth):
    loss = functools.partial(jl.get(loss).function, smooth=smooth)
    targets = jax.nn.softmax(jax.random.normal(jax.random.key(5), P.shape))
    value, gradient = jax.value_and_grad(lambda p: loss(p, targets, soft_labels=True, reduction="sum"))(targets)
    close(value, 0)
    close(gradient, 0)
    assert (jnp.abs(jax.grad(lambda p: loss(p, targets, reduction="sum"))(targets)) > 1e-3).any()
    close(loss(P, IDS, soft_labels=True), loss(P, IDS))
    assert (loss(jnp.array([[0.3, 0.0]]), jnp.array([[0.0, 0.4]]), class_axis=None, soft_labels=True) <= 1).all()


def test_dice_with_a_squared_denominator_needs_no_soft_labels():
    targets = jax.nn.softmax(jax.random.normal(jax.random.key(5), P.shape))
    value, gradient = jax.value_and_grad(lambda p: jl.dice_loss(p, targets, squared_denominator=True, reduction="sum"))(
        targets
    )
    close(value, 0)
    close(gradient, 0)
    close(
        jl.dice_loss(P, targets, squared_denominator=True, soft_labels=True),
        jl.dice_loss(P, targets, squared_denominator=True),
    )


@pytest.mark.parametrize("loss", [*POOLING, "lovasz_softmax_loss"])
def test_values_that_are_no_probabilities_are_flagged(loss):
    with pytest.raises(Exception, match=f"{loss}: probabilities must lie in"):
        jl.checked(jl.get(loss).function)(3 * P, IDS)
    with pytest.raises(Exception, match=r"must be class ids in \[0, 3\)"):
        jl.checked(jl.get(loss).function)(P, IDS + 1)
