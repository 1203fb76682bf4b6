"""Baselines of the losses of sequences."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    key = jax.random.split(jax.random.key(6), 4)
    batch, time = max(2, n // 64), max(12, min(150, n // 16))
    shapes = {"K=5000": (batch, time, min(20, time // 3), 5000), "K=28": (batch, time, min(40, time // 3), 28)}
    shapes["T=1000"] = (max(2, n // 256), max(12, min(1000, n // 4)), max(4, min(200, n // 20)), 128)
    alignments = [
        against(f"optax, {name}", "ctc_loss", ctc, jax.random.normal(key[0], (b, t, k)), _labels(key[1], b, u, k))
        for name, (b, t, u, k) in shapes.items()
    ]
    logits, labels = 3 * jax.random.normal(key[2], (batch, 64, 1000)), _labels(key[3], batch, 64, 1000)
    options = {"mean_over": "examples"}
    return [*alignments, against("optax", "sequence_cross_entropy", cross_entropy, logits, labels, **options)]


def ctc(logits: Any, labels: Any) -> Any:
    return optax.ctc_loss(logits, jnp.zeros(logits.shape[:2]), labels, jnp.zeros(labels.shape))


def cross_entropy(logits: Any, labels: Any) -> Any:
    return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, labels), axis=1)


def _labels(key: Any, batch: int, size: int, classes: int) -> Any:
    return jax.random.randint(key, (batch, size), 1, classes)
