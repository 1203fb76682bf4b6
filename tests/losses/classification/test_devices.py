"""The focal loss over the number of positives: of all devices, or of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxlosses as jl

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(8, 3)), jnp.float32)
T = jnp.asarray([[1, 1, 0]] * 3 + [[0, 1, 0]] * 5)  # 11 positives: 7 on the first device, 4 on the second


def focal(x, t, **options):
    return jl.sigmoid_focal_loss(x, t, normalizer="positives", **options)


def on_two_devices(**options):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    local = lambda x, t: focal(x, t, **options)  # noqa: E731
    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data")))(X, T)


def test_the_positives_of_all_devices():
    np.testing.assert_allclose(on_two_devices(axis_name="data"), jl.sigmoid_focal_loss(X, T) / 11, rtol=1e-5)


def test_the_positives_of_each_device():
    expected = jl.sigmoid_focal_loss(X, T) / jnp.repeat(jnp.array([7.0, 4.0]), 4)[:, None]
    np.testing.assert_allclose(on_two_devices(axis_name=()), expected, rtol=1e-5)


def test_whose_positives_has_to_be_said():
    with pytest.raises(
        ValueError, match=r"^sigmoid_focal_loss: the batch is spread over devices here .*axis_name='data'"
    ):
        on_two_devices()
    with pytest.raises(ValueError, match=r"normalizer must be a number or 'positives', got 'pos'$"):
        jl.sigmoid_focal_loss(X, T, normalizer="pos")


def test_without_a_normalizer_an_element_is_its_own():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    local = jax.shard_map(jl.sigmoid_focal_loss, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    np.testing.assert_allclose(jax.jit(local)(X, T), jl.sigmoid_focal_loss(X, T), rtol=1e-6)
