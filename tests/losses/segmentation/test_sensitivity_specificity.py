"""The sensitivity-specificity loss: by hand, on any masks, and without an object or a background."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import compiled as jl

SOFT, HARD = [[0.8, 0.6, 0.3, 0.1]], [[1.0, 1.0, 0.0, 0.0]]


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def test_the_worked_example():
    loss = functools.partial(jl.sensitivity_specificity_loss, SOFT, HARD, class_axis=None)
    for weight, expected in ((0.05, 0.0525), (1.0, 0.1), (0.0, 0.05), (0.5, np.mean((np.subtract(SOFT, HARD)) ** 2))):
        close(loss(sensitivity_weight=weight), [expected])


def test_ignored_pixels_are_no_background():
    ignored = jl.sensitivity_specificity_loss(
        [[0.8, 0.6, 0.3, 0.9]], [[1, 1, 0, 255]], class_axis=None, ignore_label=255
    )
    close(ignored, [0.05 * (0.04 + 0.16) / 2 + 0.95 * 0.09])


@pytest.mark.parametrize(("targets", "expected"), [([0, 0], 0.95 * 0.1), ([1, 1], 0.05 * 0.5)])
def test_without_an_object_or_a_background_its_term_is_zero(targets, expected):
    loss = lambda p: jl.sensitivity_specificity_loss(p, jnp.array([targets]), class_axis=None, reduction="sum")  # noqa: E731
    p = jnp.array([[0.4, 0.2]])
    close(loss(p), expected)
    assert jnp.isfinite(jax.grad(loss)(p)).all()
    assert jnp.isfinite(jax.hessian(loss)(p)).all()
    assert loss(jnp.array([targets], float)) == 0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.float32, (2, 9), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.float32, (2, 9), elements=st.sampled_from([0.0, 1.0])),
)
def test_any_masks(p, r):
    share = r.mean(1)
    for k in range(2):
        loss = jl.sensitivity_specificity_loss(
            p[k : k + 1], r[k : k + 1], class_axis=None, sensitivity_weight=float(share[k])
        )
        close(loss, [np.mean((r[k] - p[k]) ** 2)], rtol=1e-4)
    hard = np.round(p)
    sensitivity_error, specificity_error = (
        jl.sensitivity_specificity_loss(hard, r, class_axis=None, sensitivity_weight=w) for w in (1.0, 0.0)
    )
    close(sensitivity_error, 1 - jl.sensitivity(hard, r, class_axis=None))
    close(specificity_error, 1 - jl.specificity(hard, r, class_axis=None))
