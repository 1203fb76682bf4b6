"""Two tasks that compete for twelve numbers, on the real digits of scikit-learn: read one, and clean it of noise."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from sklearn.datasets import load_digits

import jaxlosses as jl

BATCH, RATE, NOISE = 64, 3e-3, 0.25
PIXEL_SCALES = {"pixels 0 to 1": 1.0, "pixels 0 to 16": 16.0}

TERMS = {
    "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label")),
    "clean": jl.Term("squared_error", ("out.clean", "batch.clean")),
}


class Setting(NamedTuple):
    """What is trained, and whether log-variances start at the optimum for the losses of a first batch, or at 0."""

    objective: jl.Objective
    start_at_optimum: bool = False


class Scores(NamedTuple):
    """Of networks on digits that they have not seen; each is an array of pixel scales (or weights) by seeds."""

    accuracy: Any  # per cent
    unexplained: Any  # per cent of the variance of the clean pixels
    weights: dict[str, Any]  # of the terms, in the last tenth of the steps


class Start(NamedTuple):
    """What the seed decides; it is the same for all combiners."""

    net: dict[str, tuple[Array, Array]]
    batches: Array  # a key
    seen: tuple[Array, Array]  # images from 0 to 1, and labels
    unseen: tuple[Array, Array]
    noisy: Array  # the unseen images, as the network gets them


@jax.jit
@jax.vmap
def starts(seed: Array) -> Start:
    """Make a network, and hold out a fifth of the digits."""
    order, net, batches, noise = jax.random.split(jax.random.key(seed), 4)
    images, labels = load_digits(return_X_y=True)
    index = jax.random.permutation(order, len(images))
    images, labels = jnp.asarray(images / 16, jnp.float32)[index], jnp.asarray(labels, jnp.int32)[index]
    cut = 4 * len(labels) // 5
    seen, unseen = (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
    return Start(_network(net), batches, seen, unseen, _noisy(noise, unseen[0]))


def train(setting: Setting, steps: int, start: Start, weights: Sequence[float] = ()) -> Scores:
    """Train for every pixel scale and seed, in one program; or for every weight of `clean` and seed, at scale 1."""
    over_seeds = jax.vmap(functools.partial(_train, setting, steps), in_axes=(None, None, 0))
    over_both = jax.jit(jax.vmap(over_seeds, in_axes=(0, 0, None)))
    scales, weights = (
        ([1.0] * len(weights), weights) if weights else ([*PIXEL_SCALES.values()], [1.0] * len(PIXEL_SCALES))
    )
    return jax.tree.map(np.asarray, over_both(jnp.array(scales), jnp.array(weights), start))


def _train(setting: Setting, steps: int, scale: Array, weight: Array, start: Start) -> Scores:
    objective, start_at_optimum = setting
    optimizer = optax.partition(
        {"net": optax.adam(optax.cosine_decay_schedule(RATE, steps)), "loss": optax.adam(1e-2, b1=0.0)},
        {"net": "net", "loss": "loss"},
    )
    weights = {"clean": weight} if "clean" in objective.terms else {}
    images, labels = start.seen

    def loss(params: Any, key: Array) -> tuple[Array, Any]:
        which, noise = jax.random.split(key)
        index = jax.random.randint(which, (BATCH,), 0, len(labels))
        out = _forward(params["net"], _noisy(noise, images[index]), scale)
        batch = {"label": labels[index], "clean": scale * images[index]}
        return objective({"out": out, "batch": batch}, params=params["loss"], weights=weights)

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
        params, state = carry
        gradient, aux = jax.grad(loss, has_aux=True)(params, key)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), aux["weight"]

    params: Any = {"net": start.net, "loss": objective.init()}
    if start_at_optimum:
        params["loss"] = objective.init(loss(params, start.batches)[1]["loss"])
    keys = jax.random.split(start.batches, steps)
    (params, _), weight_over_steps = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    last = {name: jnp.mean(weight[-(steps // 10) :]) for name, weight in weight_over_steps.items()}
    return Scores(*_score(_forward(params["net"], start.noisy, jnp.ones(())), *start.unseen), last)


def _score(out: dict[str, Array], images: Array, labels: Array) -> tuple[Array, Array]:
    right = (jnp.argmax(out["logits"], axis=-1) == labels).astype(jnp.float32)
    variation = jnp.sum((images - images.mean(axis=0, keepdims=True)) ** 2)
    return 100 * jnp.mean(right), 100 * jnp.sum((out["clean"] - images) ** 2) / variation


def _noisy(key: Array, images: Array) -> Array:
    return images + NOISE * jax.random.normal(key, images.shape)


SIZES = {"first": (64, 64), "code": (64, 12), "class": (12, 10), "second": (12, 64), "clean": (64, 64)}


def _network(key: Array) -> dict[str, tuple[Array, Array]]:
    keys = zip(jax.random.split(key, len(SIZES)), SIZES.items(), strict=True)
    return {name: (jax.random.normal(key, size) / size[0] ** 0.5, jnp.zeros(size[1])) for key, (name, size) in keys}


def _forward(net: dict[str, tuple[Array, Array]], x: Array, scale: Array) -> dict[str, Array]:
    """Both tasks read the same twelve numbers. The scale changes the loss's inputs, and nothing of the network."""
    layer = lambda name, x: x @ net[name][0] + net[name][1]  # noqa: E731
    code = jnp.tanh(layer("code", jax.nn.relu(layer("first", x))))
    return {"logits": layer("class", code), "clean": scale * layer("clean", jax.nn.relu(layer("second", code)))}
