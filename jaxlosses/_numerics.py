"""Functions whose value and gradient stay right where the textbook expression gives NaN or infinity."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def absolute(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`|x|` with gradient 0 at 0, the subgradient of least norm (`jnp.abs` gives 1 there)."""
    return x * jnp.sign(x)


def safe_divide(x: Float[Array, "*#s"], y: Float[Array, "*#s"], otherwise: float = 0.0) -> Float[Array, "*#s"]:
    """`x / y`, and `otherwise` with zero gradient where `y` is 0."""
    some = y != 0
    return jnp.where(some, x / jnp.where(some, y, 1), otherwise)


def safe_log(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log x`, and -inf with zero gradient at 0; negative numbers give NaN."""
    return jnp.where(x == 0, -jnp.inf, jnp.log(jnp.where(x == 0, 1, x)))


def times(weight: Float[Array, "..."], value: Float[Array, "..."]) -> Float[Array, "..."]:
    """`weight * value`, where a weight of 0 silences an infinite value: 0 · ±inf = 0.

    Finite values keep both partial derivatives, so d/dweight at weight 0 is still the value.
    """
    return weight * jnp.where((weight == 0) & jnp.isinf(value), 0, value)


def log_softmax(logits: Float[Array, "*s"], axis: int) -> tuple[Float[Array, "*s"], Float[Array, "..."]]:
    """`z - log Σ exp z` along `axis`, and that log-sum itself less the largest logit (kept as an axis of 1).

    A row of -inf alone has no probabilities: it gives -inf everywhere and a zero gradient instead of NaN.
    """
    largest = jax.lax.stop_gradient(jnp.max(logits, axis, keepdims=True))
    shifted = logits - jnp.where(largest == -jnp.inf, 0, largest)
    total = jnp.sum(jnp.exp(shifted), axis, keepdims=True)
    log_total = jnp.log(jnp.where(total == 0, 1, total))
    return shifted - log_total, log_total
