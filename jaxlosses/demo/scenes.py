"""Scenes: a real handwritten digit, somewhere on a noisy canvas, in some size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.datasets import load_digits

CANVAS = 32


class Scenes(NamedTuple):
    """A batch of scenes."""

    image: Array  # (N, CANVAS, CANVAS, 1)
    label: Array  # (N,), the digit
    box: Array  # (N, 4), x1 y1 x2 y2 of the ink, in units of the canvas
    ink: Array  # (N, CANVAS, CANVAS), 1 where there is ink


def load(key: Array, train: int = 40_000, test: int = 2_000, *, tuning: bool = False) -> tuple[Scenes, Scenes]:
    """Training and test scenes; the digits of the one are not in the other.

    The 1,797 scans of 8 by 8 pixels come inside scikit-learn. For `tuning`, the digits to score on are held out of the
    training digits, so that nothing is tuned on the test digits.
    """
    scans, labels = load_digits(return_X_y=True)
    scans, labels = jnp.asarray(scans.reshape(-1, 8, 8) / 16, jnp.float32), jnp.asarray(labels, jnp.int32)
    order = np.random.default_rng(0).permutation(len(scans))
    seen, unseen = np.split(order, [4 * len(order) // 5])
    if tuning:
        seen, unseen = np.split(seen, [4 * len(seen) // 5])
    train_key, test_key = jax.random.split(key)
    return compose(train_key, scans[seen], labels[seen], train), compose(test_key, scans[unseen], labels[unseen], test)


def compose(key: Array, scans: Array, labels: Array, count: int) -> Scenes:
    """Put `count` random digits on canvases of their own."""
    which, size, place, noise = jax.random.split(key, 4)
    index = jax.random.randint(which, (count,), 0, len(scans))
    scale = jax.random.uniform(size, (count, 1), minval=1.75, maxval=3.5)
    corner = jax.random.uniform(place, (count, 2)) * (CANVAS - 8 * scale)
    digit = _place(scans[index], jnp.repeat(scale, 2, axis=1), corner)
    ink = digit > 0.3
    image = jnp.clip(digit + 0.15 * jax.random.normal(noise, digit.shape), 0, 1)
    return Scenes(image[..., None], labels[index], _tight_box(ink), ink.astype(jnp.float32))


@jax.jit
@jax.vmap
def _place(scan: Array, scale: Array, corner: Array) -> Array:
    return jax.image.scale_and_translate(scan, (CANVAS, CANVAS), (0, 1), scale, corner, "linear")


def _tight_box(ink: Array) -> Array:
    columns, rows = ink.any(axis=1), ink.any(axis=2)
    first = [jnp.argmax(line, axis=1) for line in (columns, rows)]
    last = [CANVAS - jnp.argmax(line[:, ::-1], axis=1) for line in (columns, rows)]
    return jnp.stack([*first, *last], axis=1).astype(jnp.float32) / CANVAS
