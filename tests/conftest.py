"""Strict arithmetic for the whole suite: arrays of unequal rank or dtype never meet by accident."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
