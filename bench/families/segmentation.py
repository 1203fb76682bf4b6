"""Baselines of the segmentation losses."""

from typing import Any

import jax
import jax.numpy as jnp

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    key = jax.random.split(jax.random.key(4), 3)
    images = jax.nn.sigmoid(jax.random.normal(key[0], (max(2, n // 128), 128, 128)))
    targets = (jax.random.uniform(key[1], images.shape) > 0.5).astype(jnp.float32)
    return [
        against("jnp", "dice_loss", dice_loss, images, targets, class_axis=None),
        against("jnp", "jaccard_loss", jaccard_loss, images, targets, class_axis=None),
        against("jnp", "tversky_loss", tversky_loss, images, targets, class_axis=None),
        against("jnp", "sensitivity_specificity_loss", sensitivity_specificity_loss, images, targets, class_axis=None),
        against("jnp", "lovasz_hinge_loss", jax.vmap(lovasz_hinge_loss), 4 * images - 2, targets),
        against("jnp", "lovasz_softmax_loss", lovasz_softmax_loss, *_classes(key[2], len(images)), class_axis=-1),
    ]


def _classes(key: Any, n: int) -> tuple[Any, Any]:
    logits = 3 * jax.random.normal(key, (n, 128, 128, 4))
    return jax.nn.softmax(logits), jax.random.categorical(key, logits)


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


def sensitivity_specificity_loss(p: Any, r: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    error = (r - p) ** 2
    return 0.05 * total(error * r) / total(r) + 0.95 * total(error * (1 - r)) / total(1 - r)


def lovasz_hinge_loss(z: Any, y: Any) -> Any:
    return lovasz(jax.nn.relu(1 - z * (2 * y - 1)).ravel(), y.ravel())


def lovasz_softmax_loss(p: Any, ids: Any) -> Any:
    targets = [(ids == c).astype(p.dtype) for c in range(p.shape[-1])]
    return jnp.mean(jnp.stack([lovasz(jnp.abs(g - p[..., c]).ravel(), g.ravel()) for c, g in enumerate(targets)]))


def lovasz(errors: Any, targets: Any) -> Any:
    """As the authors wrote it."""
    order = jnp.argsort(-errors)
    targets = targets[order]
    jaccard = 1 - (jnp.sum(targets) - jnp.cumsum(targets)) / (jnp.sum(targets) + jnp.cumsum(1 - targets))
    increments = jnp.concatenate([jaccard[:1], jnp.diff(jaccard)])
    return jnp.sum(errors[order] * jax.lax.stop_gradient(increments))
