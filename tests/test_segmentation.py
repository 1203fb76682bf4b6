"""Overlap of masks: other people's numbers, what is pooled and which classes count, logarithms, soft truth."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import Mesh, PartitionSpec

from tests import compiled as jl

OVERLAP = json.loads((pathlib.Path(__file__).parent / "golden" / "segmentation.json").read_text())["overlap"]
RATIOS = ("dice_loss", "jaccard_loss", "tversky_loss")
POOLING = (*RATIOS, "sensitivity_specificity_loss")
P = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 3, 5, 3)))
IDS = jax.random.randint(jax.random.key(1), (4, 3, 5), 0, 3)
SOFT, HARD = [[0.8, 0.6, 0.3, 0.1]], [[1.0, 1.0, 0.0, 0.0]]


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("row", OVERLAP["rows"], ids=lambda row: f"{row['loss']} {row['truth']} {row['options']}")
def test_golden(row):
    with jax.enable_x64(True):
        p, truth = jnp.array(OVERLAP["p"]), jnp.array(OVERLAP["ids" if row["truth"] == "hard" else "soft"])
        options = {"per_class": "average" not in row["options"], **row["options"]}
        loss = functools.partial(jl.get(row["loss"]).function, **options)
        values, gradient = loss(p, truth), jax.grad(lambda p: jnp.sum(loss(p, truth)))(p)
        if "batch" in row["options"]:
            values = jnp.sum(values)
        close(values, np.reshape(row["values"], values.shape), rtol=1e-7, atol=1e-9)
        close(gradient, row["gradient"], rtol=1e-6, atol=1e-8)


# Sensitivity and specificity


def test_c5_sensitivity_specificity():
    loss = functools.partial(jl.sensitivity_specificity_loss, SOFT, HARD, class_axis=None)
    for weight, expected in ((0.05, 0.0525), (1.0, 0.1), (0.0, 0.05), (0.5, np.mean((np.subtract(SOFT, HARD)) ** 2))):
        close(loss(sensitivity_weight=weight), [expected])


def test_s4_ignored_pixels_are_no_background():
    ignored = jl.sensitivity_specificity_loss(
        [[0.8, 0.6, 0.3, 0.9]], [[1, 1, 0, 255]], class_axis=None, ignore_label=255
    )
    close(ignored, [0.05 * (0.04 + 0.16) / 2 + 0.95 * 0.09])


@pytest.mark.parametrize(("truth", "expected"), [([0, 0], 0.95 * 0.1), ([1, 1], 0.05 * 0.5)])
def test_a_term_without_pixels_is_zero(truth, expected):
    loss = lambda p: jl.sensitivity_specificity_loss(p, jnp.array([truth]), class_axis=None, reduction="sum")  # noqa: E731
    p = jnp.array([[0.4, 0.2]])
    close(loss(p), expected)
    assert jnp.isfinite(jax.grad(loss)(p)).all()
    assert jnp.isfinite(jax.hessian(loss)(p)).all()
    assert loss(jnp.array([truth], float)) == 0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.float32, (2, 9), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.float32, (2, 9), elements=st.sampled_from([0.0, 1.0])),
)
def test_sensitivity_specificity_of_any_masks(p, r):
    share = r.mean(1)
    for k in range(2):
        loss = jl.sensitivity_specificity_loss(
            p[k : k + 1], r[k : k + 1], class_axis=None, sensitivity_weight=float(share[k])
        )
        close(loss, [np.mean((r[k] - p[k]) ** 2)], rtol=1e-4)
    hard = np.round(p)
    missed, claimed = (
        jl.sensitivity_specificity_loss(hard, r, class_axis=None, sensitivity_weight=w) for w in (1.0, 0.0)
    )
    close(missed, 1 - jl.sensitivity(hard, r, class_axis=None))
    close(claimed, 1 - jl.specificity(hard, r, class_axis=None))


# What is pooled


def test_c5_micro_makes_false_positives_and_negatives_one():
    p = [[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]]
    for fp in (0.3, 0.7):
        loss = jl.tversky_loss(
            p, [[0, 1, 2, 2, 1]], average="micro", smooth=0.0, fp_weight=fp, fn_weight=1 - fp, reduction="sum"
        )
        close(loss, 2.9 / 5)


@pytest.mark.parametrize("loss", POOLING)
def test_s9_a_pooled_batch_is_one_large_image(loss):
    loss = jl.get(loss).function
    large, truth = P.reshape(1, 12, 5, 3), IDS.reshape(1, 12, 5)
    pooled = loss(P, IDS, batch=True)
    assert pooled.shape == ()
    close(pooled, loss(large, truth)[0])
    assert loss(P, IDS, batch=True, per_class=True).shape == (3,)
    close(loss(P, IDS, batch=True, per_class=True), loss(large, truth, per_class=True)[0])
    images, pixels = jnp.array([True, True, False, True]), jax.random.uniform(jax.random.key(3), (4, 3, 5)) > 0.3
    for where in (images, pixels):
        wide = jnp.broadcast_to(where.reshape(where.shape + (1,) * (3 - where.ndim)), IDS.shape).reshape(1, 12, 5)
        close(loss(P, IDS, batch=True, where=where), loss(large, truth, where=wide)[0])
    weighed = loss(P, IDS, batch=True, sample_weights=[1.0, 2.0, 0.0, 3.0])
    repeat = jnp.array([0, 1, 1, 3, 3, 3])
    close(weighed, loss(P[repeat], IDS[repeat], batch=True))


def test_a_pooled_batch_counts_one():
    for where, expected in ((jnp.ones(4, bool), 1), (jnp.zeros(4, bool), 0)):
        parts = jl.dice_loss(P, IDS, batch=True, where=where, reduction="parts")
        assert parts.count == expected
        assert (parts.sum > 0) == bool(expected)
    parts = jl.dice_loss(P, IDS, batch=True, per_class=True, include_background=False, reduction="parts")
    assert parts.count == 2
    assert jl.dice_loss(P[:0], IDS[:0], batch=True, reduction="parts").count == 0


@pytest.mark.parametrize("loss", POOLING)
def test_devices_see_the_whole_batch(loss):
    mesh = Mesh(np.array(jax.devices()[:4]), ("d",))
    where = jnp.array([True, True, False, True])  # one device has nothing
    options = {"batch": True, "classes": "present"}

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("d"), out_specs=PartitionSpec())
    def pooled(p, ids, where):
        return jl.get(loss)(p, ids, where=where, axis_name="d", **options)

    alone = lambda p: jl.get(loss)(p, IDS, where=where, **options)  # noqa: E731
    close(pooled(P, IDS, where), alone(P))
    close(jax.grad(lambda p: pooled(p, IDS, where))(P), jax.grad(alone)(P), atol=1e-7)


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
    # The first image without its class 1 has nothing but background, and is gone.
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


def test_present_does_not_swallow_what_is_wrong():
    assert jnp.isnan(jl.dice_loss(P[:, :1, :1], jnp.full((4, 1, 1), 7), classes="present")).all()


WRONG = {
    "average must be 'macro' or 'micro', got 'weighted'": {"average": "weighted"},
    "average='micro' pools the classes": {"average": "micro", "per_class": True},
    "axis_name='d' pools the batches of devices, which needs batch=True": {"axis_name": "d"},
    "classes must be 'all', 'present' or a list": {"classes": "some"},
    r"classes=\[0\] with include_background=False must leave": {"classes": [0], "include_background": False},
    r"classes=\(1, 3\) .* class ids 0 to 2": {"classes": (1, 3)},
    r"broadcast its values from \(4,\) to": {"smooth": np.ones((2, 1, 1))},
}


@pytest.mark.parametrize("message", WRONG)
def test_options_that_cannot_be_meant(message):
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=f"^jaccard_loss: .*{message}"):
        jl.jaccard_loss(P, IDS, **WRONG[message])


@pytest.mark.parametrize("option", [{"classes": "present"}, {"include_background": False}, {"average": "micro"}])
def test_a_choice_of_classes_needs_classes(option):
    with pytest.raises(ValueError, match=r"dice_loss: .* need a class axis, got class_axis=None"):
        jl.dice_loss(SOFT, HARD, class_axis=None, **option)


# Logarithm and soft truth


@pytest.mark.parametrize("loss", RATIOS)
def test_minus_the_logarithm(loss):
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
def test_soft_labels_are_best_met_exactly(loss, smooth):
    loss = functools.partial(jl.get(loss).function, smooth=smooth)
    truth = jax.nn.softmax(jax.random.normal(jax.random.key(5), P.shape))
    value, gradient = jax.value_and_grad(lambda p: loss(p, truth, soft_labels=True, reduction="sum"))(truth)
    close(value, 0)
    close(gradient, 0)
    assert (jnp.abs(jax.grad(lambda p: loss(p, truth, reduction="sum"))(truth)) > 1e-3).any()
    close(loss(P, IDS, soft_labels=True), loss(P, IDS))
    assert (loss(jnp.array([[0.3, 0.0]]), jnp.array([[0.0, 0.4]]), class_axis=None, soft_labels=True) <= 1).all()


def test_squared_dice_needs_no_soft_labels():
    truth = jax.nn.softmax(jax.random.normal(jax.random.key(5), P.shape))
    value, gradient = jax.value_and_grad(lambda p: jl.dice_loss(p, truth, squared=True, reduction="sum"))(truth)
    close(value, 0)
    close(gradient, 0)
    close(jl.dice_loss(P, truth, squared=True, soft_labels=True), jl.dice_loss(P, truth, squared=True))


@pytest.mark.parametrize("loss", [*POOLING, "lovasz_softmax_loss"])
def test_values_that_are_no_probabilities_are_flagged(loss):
    with pytest.raises(Exception, match=f"{loss}: probabilities must lie in"):
        jl.checked(jl.get(loss).function)(3 * P, IDS)
    with pytest.raises(Exception, match=r"must be class ids in \[0, 3\)"):
        jl.checked(jl.get(loss).function)(P, IDS + 1)
