"""Rivals of the segmentation losses."""

from typing import Any

import jax
import jax.numpy as jnp

from bench.row import Row, against


def rows(n: int) -> list[Row]:
    key = jax.random.split(jax.random.key(4))
    images = jax.nn.sigmoid(jax.random.normal(key[0], (max(2, n // 128), 128, 128)))
    truth = (jax.random.uniform(key[1], images.shape) > 0.5).astype(jnp.float32)
    return [
        against("jnp", "dice_loss", dice_loss, images, truth, class_axis=None),
        against("jnp", "jaccard_loss", jaccard_loss, images, truth, class_axis=None),
        against("jnp", "tversky_loss", tversky_loss, images, truth, class_axis=None),
    ]


def dice_loss(p: Any, g: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    return 1 - (2 * total(p * g) + 1) / (total(p) + total(g) + 1)


def jaccard_loss(p: Any, g: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    return 1 - (total(p * g) + 1) / (total(p) + total(g) - total(p * g) + 1)


def tversky_loss(p: Any, g: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    tp = total(p * g)
    return 1 - (tp + 1) / (tp + 0.5 * total(p * (1 - g)) + 0.5 * total((1 - p) * g) + 1)
