"""Baselines of the adversarial losses."""

import jax
import jax.numpy as jnp

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    x, y = jax.random.normal(jax.random.key(6), (2, n, 256))
    distance = lambda x, y: jnp.abs(x - y)  # noqa: E731
    return [
        against("jnp", "discriminator_loss", lambda x, y: jnp.logaddexp(0, -x) + jnp.logaddexp(0, y), x, y),
        against("jnp", "generator_loss", lambda x: jnp.logaddexp(0, -x), x),
        against("jnp", "cycle_consistency_loss", distance, x, y),
        against("jnp", "identity_loss", distance, x, y),
    ]
