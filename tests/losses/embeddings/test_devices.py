"""Embedding losses at scale: the memory of large batches, and many devices that must equal one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

import jaxlosses as jl

NAN = np.nan
MINING = ("batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss")
LABELLED = (*MINING, "pairwise_contrastive_loss")  # embeddings and labels, instead of two embeddings


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def temp_megabytes(function, *shapes):
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    compiled = jax.jit(jax.value_and_grad(function)).lower(*inputs).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 1e6


@pytest.mark.parametrize("name", MINING)
def test_mining_a_batch_of_4096_fits_in_a_cache(name):
    ids = jnp.arange(4096) // 8
    assert temp_megabytes(lambda x: jl.get(name)(x, ids, reduction="mean"), (4096, 128)) < 50  # a cube has 275 GB


def test_info_nce_in_blocks_is_linear_in_the_batch():
    loss = functools.partial(jl.info_nce_loss, symmetric=True, block_size=128, reduction="mean")
    small, large = (temp_megabytes(loss, (n, 64), (n, 64)) for n in (2048, 4096))
    assert large < 2.1 * small
    assert large < 20  # the similarities alone have 67 MB


MESH = Mesh(np.array(jax.devices()[:8]), ("device",))
BATCH = 16
DEVICE_CASES = {
    **{name: (name, {}) for name in LABELLED},
    "blocks": ("batch_all_triplet_loss", {"block_size": 1, "squared": False}),
    "n_pair_loss": ("n_pair_loss", {}),
    "n_pair_loss, labels": ("n_pair_loss", {"labels": jnp.arange(BATCH) % 9}),
    "info_nce_loss": ("info_nce_loss", {"symmetric": True, "temperature": 0.3}),
    "info_nce_loss, excluded": ("info_nce_loss", {"labels": jnp.arange(BATCH) % 5, "symmetric": True}),
    "info_nce_loss, positives": (
        "info_nce_loss",
        {"labels": jnp.arange(BATCH) % 5, "same_label": "positive", "symmetric": True, "block_size": 1},
    ),
}


@pytest.mark.parametrize("case", DEVICE_CASES)
def test_many_devices_equal_one(case):
    """With ragged masks, one device fully masked: inside `shard_map`, and under `jit` with sharded arrays."""
    name, options = DEVICE_CASES[case]
    x, y = jax.random.normal(jax.random.key(4), (2, BATCH, 3))
    second = jnp.arange(BATCH) % 3 if name in LABELLED else y
    where = jnp.arange(BATCH) % 5 != 2
    where = where.at[4:6].set(False)
    weights = 1 + jnp.arange(float(BATCH))
    x = x.at[4].set(NAN)
    labels = {"labels": options["labels"]} if "labels" in options else {}
    rest = {key: value for key, value in options.items() if key != "labels"}

    def parts(axis_name, x, second, where, weights, labels):
        keywords = {"axis_name": axis_name, "where": where, "sample_weights": weights, **labels, **rest}
        return jl.get(name)(x, second, **keywords, reduction="parts")

    def one_device(x, *more):
        return parts(None, x, *more).mean()

    @functools.partial(jax.shard_map, mesh=MESH, in_specs=Spec("device"), out_specs=Spec())
    def many_devices(x, *more):
        # One by one: jax 0.8.0 does not differentiate a psum of which only one part has a tangent.
        return jl.Parts(*(jax.lax.psum(part, "device") for part in parts("device", x, *more))).mean()

    inputs = (x, second, where, weights, labels)
    expected, slope = jax.jit(jax.value_and_grad(one_device))(*inputs)
    sharded = jax.device_put(inputs, NamedSharding(MESH, Spec("device")))
    for function in (many_devices, one_device):
        value, gradient = jax.jit(jax.value_and_grad(function))(*sharded)
        close(value, expected)
        close(gradient, slope)
        assert (np.asarray(gradient)[~np.asarray(where)] == 0).all()
    assert expected > 0


@pytest.mark.parametrize("name", [*LABELLED, "n_pair_loss", "info_nce_loss"])
def test_inside_shard_map_an_axis_name_is_asked_for(name):
    """Without one it is an error; `()` says that each device's own batch is meant."""
    x, y = jax.random.normal(jax.random.key(4), (2, 8, 3))
    second = jnp.arange(8) % 3 if name in LABELLED else y
    loss = jl.get(name)

    def over_two_devices(**options):
        mesh = Mesh(np.array(jax.devices()[:2]), ("device",))
        sharded = jax.shard_map(
            functools.partial(loss, **options), mesh=mesh, in_specs=Spec("device"), out_specs=Spec("device")
        )
        return jax.jit(sharded)(x, second)

    with pytest.raises(ValueError, match=rf"{name}: .*give axis_name='device' .* or axis_name=\(\)"):
        over_two_devices()
    halves = [loss(x[half], second[half]) for half in (slice(4), slice(4, 8))]
    close(over_two_devices(axis_name=()), jnp.concatenate(halves))
    close(over_two_devices(axis_name="device"), loss(x, second))


def test_inside_shard_map_given_negatives_need_no_axis_name():
    x, y = jax.random.normal(jax.random.key(4), (2, 8, 3))
    mesh = Mesh(np.array(jax.devices()[:2]), ("device",))
    loss = functools.partial(jl.info_nce_loss, negatives=x[:3])
    for options in ({}, {"axis_name": ()}):
        over_two_devices = functools.partial(
            jax.shard_map, mesh=mesh, in_specs=Spec("device"), out_specs=Spec("device")
        )
        close(jax.jit(over_two_devices(functools.partial(loss, **options)))(x, y), loss(x, y))
