"""Baselines of the classification losses."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    key = jax.random.split(jax.random.key(1), 3)
    logits, ids = 3 * jax.random.normal(key[0], (n, 1000)), jax.random.randint(key[1], (n,), 0, 1000)
    log_p, p = jax.nn.log_softmax(logits), jax.nn.softmax(jnp.flip(logits, 1))
    x, y = jax.random.normal(key[2], (2, n, 256))
    bits = (y > 0).astype(jnp.float32)
    by_ids = optax.softmax_cross_entropy_with_integer_labels
    return [
        against("optax, ids", "softmax_cross_entropy", by_ids, logits, ids),
        against("optax, dense", "softmax_cross_entropy", optax.softmax_cross_entropy, logits, p),
        against("jnp", "softmax_focal_loss", softmax_focal, logits, ids),
        against("jnp", "nll_loss", lambda z, i: -jnp.take_along_axis(z, i[:, None], 1)[:, 0], log_p, ids),
        against("jnp", "log_loss", lambda p, i: -jnp.log(jnp.take_along_axis(p, i[:, None], 1)[:, 0]), p, ids),
        against("optax", "sigmoid_binary_cross_entropy", optax.sigmoid_binary_cross_entropy, x, bits),
        against("optax", "sigmoid_focal_loss", optax.sigmoid_focal_loss, x, bits),
        against("jnp", "binary_cross_entropy", binary_cross_entropy, jax.nn.sigmoid(x), bits),
    ]


def softmax_focal(logits: Any, ids: Any) -> Any:
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), ids[:, None], 1)[:, 0]
    return -((1 - jnp.exp(log_p)) ** 2) * log_p


def binary_cross_entropy(p: Any, t: Any) -> Any:
    return -(t * jnp.log(p) + (1 - t) * jnp.log(1 - p))
