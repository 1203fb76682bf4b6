"""The metrics of masks: scikit-learn's numbers, what 0/0 is, and what is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import compiled as jl
from tests.golden import golden

METRICS = golden("segmentation")["metrics"]
P = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 3, 5, 3)))
IDS = jax.random.randint(jax.random.key(1), (4, 3, 5), 0, 3)
SOFT, HARD = [[0.8, 0.6, 0.3, 0.1]], [[1.0, 1.0, 0.0, 0.0]]


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def test_metrics_are_those_of_scikit_learn():
    masks = [np.array([METRICS[key]]) for key in ("predicted", "true")]
    for name, expected in METRICS.items():
        if name not in ("predicted", "true"):
            close(getattr(jl, name)(*masks, class_axis=None, **({"beta": 2.0} if name == "f_beta" else {})), [expected])


SOFT_AGAINST_HARD = {
    "dice_coefficient": 0.7368421053,
    "jaccard_index": 0.5833333333,
    "sensitivity": 0.7,
    "specificity": 0.8,
}
SOFT_AGAINST_HARD |= {"precision": 1.4 / 1.8, "f_beta": 0.7368421053}
EMPTY = {  # nothing at all; only predictions; only an object; no background, half of it found
    "dice_coefficient": [1, 0, 0, 2 / 3],
    "jaccard_index": [1, 0, 0, 0.5],
    "f_beta": [1, 0, 0, 2 / 3],
    "sensitivity": [1, 1, 0, 0.5],
    "precision": [1, 0, 1, 1],
    "specificity": [1, 0.5, 1, 1],
}


@pytest.mark.parametrize("metric", SOFT_AGAINST_HARD)
def test_soft_masks_empty_masks_and_left_out_images(metric):
    metric, expected, empty = getattr(jl, metric), SOFT_AGAINST_HARD[metric], EMPTY[metric]
    close(metric(SOFT, HARD, class_axis=None), [expected], rtol=1e-6)
    predicted, true = jnp.array([[0, 0], [1, 0], [0, 0], [1, 0]]), jnp.array([[0, 0], [0, 0], [1, 0], [1, 1]])
    close(metric(predicted, true, class_axis=None), empty)
    assert jnp.isfinite(jax.grad(lambda p: jnp.sum(metric(p, true, class_axis=None)))(predicted.astype(float))).all()
    left_out = metric(predicted, true, class_axis=None, where=[True, False, True, False])
    close(left_out, [empty[0], 0, empty[2], 0])
    half = jnp.array(SOFT, jnp.bfloat16)
    assert metric(half, HARD, class_axis=None).dtype == jnp.float32


@pytest.mark.parametrize("metric", SOFT_AGAINST_HARD)
def test_metrics_by_class_without_ignored_pixels(metric):
    metric = getattr(jl, metric)
    ids = IDS.at[0, 0, 0].set(255)
    hard = jax.nn.one_hot(jnp.argmax(P, -1), 3)
    values = metric(hard.at[0, 0, 0].set(jnp.nan), ids, ignore_label=255)
    assert values.shape == (4, 3)
    close(values, metric(hard, IDS, where=ids != 255))
    close(values[:1], metric(hard[:1].reshape(1, 15, 3)[:, 1:], IDS[:1].reshape(1, 15)[:, 1:]))
    for c in range(3):
        close(values[1:, c], metric(hard[1:, ..., c], IDS[1:] == c, class_axis=None))
    close(metric(jnp.moveaxis(hard, -1, 1), IDS, class_axis=1), metric(hard, IDS))
    with pytest.raises(ValueError, match=r"predictions \(4, 3, 5, 3\) need targets \(4, 3, 5\)"):
        metric(hard, IDS[:, :2])


def test_f_beta_lies_between_precision_and_sensitivity():
    given = (SOFT, HARD)
    close(jl.f_beta(*given, class_axis=None, beta=2.0), [0.7142857143])
    close(jl.f_beta(*given, class_axis=None, beta=0.5), [0.7608695652])
    close(jl.f_beta(*given, class_axis=None, beta=1e-4), jl.precision(*given, class_axis=None))
    close(jl.f_beta(*given, class_axis=None, beta=1e4), jl.sensitivity(*given, class_axis=None))
    close(jl.precision(*given, class_axis=None), jl.sensitivity(*given[::-1], class_axis=None))
