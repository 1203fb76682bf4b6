"""Baselines of the divergences."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    logits = 3 * jax.random.normal(jax.random.key(2), (n, 1000))
    log_q, p = jax.nn.log_softmax(logits), jax.nn.softmax(jnp.flip(logits, 1))
    return [
        against("jnp", "entropy", lambda p: -jnp.sum(p * jnp.log(p), -1), p),
        against("jnp", "cross_entropy", lambda q, p: -jnp.sum(p * jnp.log(q), -1), jnp.exp(log_q), p),
        against("optax", "kl_divergence", optax.kl_divergence, log_q, p),
        against("jnp", "js_divergence", js_divergence, jnp.exp(log_q), p),
    ]


def js_divergence(p: Any, q: Any) -> Any:
    m = (p + q) / 2
    return jnp.sum(p * jnp.log(p / m) + q * jnp.log(q / m), -1) / 2
