"""Gradients of any length: the weights in float32 are those of the same gradients in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlosses import gradients
from tests.gradients.test_methods import METHODS

BASE = np.random.default_rng(3).normal(size=(3, 50)).astype(np.float32)
SCALES = [(1e20, 1e20, 1e20), (1e25, 1e25, 1e25), (1e-20, 1e-20, 1e-20), (1e20, 1.0, 1e-15), (1e25, 1e-10, 1e-20)]


def terms(scales, dtype):
    rows = np.float32(BASE * np.array(scales)[:, None])
    return {
        k: {"w": jnp.asarray(row[:30], dtype), "b": jnp.asarray(row[30:], dtype)}
        for k, row in zip("abc", rows, strict=True)
    }


@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_lengths_and_weights(scales):
    methods = {name: jax.jit(getattr(gradients, name)) for name in METHODS}
    products = gradients.gram(terms(scales, jnp.float32))
    rows = np.float64(np.float32(BASE * np.array(scales)[:, None]))
    np.testing.assert_allclose(list(products.norms().values()), np.linalg.norm(rows, axis=1), rtol=1e-6)
    with jax.enable_x64(True):
        doubles = gradients.Gram(products.names, jnp.asarray(rows @ rows.T))
        expected = {name: method(doubles) for name, method in methods.items()}
    for name, method in methods.items():
        ours, right = (np.array([float(w) for w in x.values()]) for x in (method(products), expected[name]))
        fits = np.abs(right) < 1e38
        # Aligned-MTL's weights of much shorter gradients are rounding: what they add to the update is not seen in it.
        atol = 1e-6 * np.max(np.abs(right)) if name == "aligned_mtl" else 1e-37
        np.testing.assert_allclose(ours[fits], right[fits], rtol=1e-3, atol=atol, err_msg=name)


def test_what_is_ordinary_is_not_scaled():
    products = gradients.gram(terms((1e20, 1.0, 0.0), jnp.float32))
    assert products.scales[0] > 1e15
    np.testing.assert_array_equal(products.scales[1:], 1)
    np.testing.assert_allclose(products.matrix[1, 1], np.sum(np.float64(BASE[1]) ** 2), rtol=1e-6)


def test_a_gram_matrix_has_a_gradient():
    def length(x):
        return gradients.gram({"a": x, "b": 2 * x}).norms()["b"]

    np.testing.assert_allclose(jax.grad(length)(jnp.array([3.0, 4.0])), [1.2, 1.6], rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e20, 1e-20])
def test_no_intermediate_infinity(scale):
    with jax.debug_infs(True), jax.debug_nans(True):
        products = gradients.gram(terms((scale,) * 3, jnp.float32))
        for name in METHODS:
            getattr(gradients, name)(products)
