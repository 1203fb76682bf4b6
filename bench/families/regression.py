"""Baselines of the regression losses."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    x, y = jax.random.normal(jax.random.key(0), (2, n, 256))
    return [
        against("jnp", "absolute_error", lambda x, y: jnp.abs(x - y), x, y),
        against("optax", "squared_error", optax.squared_error, x, y),
        against("jnp", "smooth_l1_loss", smooth_l1, x, y),
        against("optax", "huber_loss", optax.huber_loss, x, y),
    ]


def smooth_l1(x: Any, y: Any) -> Any:
    r = jnp.abs(x - y)
    return jnp.where(r < 1, 0.5 * r**2, r - 0.5)
