"""Functions whose value and gradient stay right where the textbook expression gives NaN or infinity."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@jax.custom_jvp
def absolute(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The distance to 0, with gradient 0 at 0: the subgradient of least norm (`jnp.abs` gives 1 there)."""
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return jnp.abs(primals[0]), jnp.sign(primals[0]) * tangents[0]


def safe_divide(x: Float[Array, "*#s"], y: Float[Array, "*#s"], otherwise: float = 0.0) -> Float[Array, "*#s"]:
    """The quotient `x / y`, and `otherwise` with zero gradient where `y` is 0 (or so small that 1/y overflows)."""
    none = jnp.abs(y) < jnp.finfo(y.dtype).tiny
    return jnp.where(none, otherwise, _quotient(x, jnp.where(none, 1, y)))


# JAX differentiates a quotient through 1/y², which overflows long before 1/y does, and then 0 · inf is NaN.
@jax.custom_jvp
def _quotient(x: Array, y: Array) -> Array:
    return x / y


@_quotient.defjvp
def _quotient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    q = _quotient(*primals)
    return q, (tangents[0] - q * tangents[1]) * _reciprocal(primals[1])


@jax.custom_jvp
def _reciprocal(y: Array) -> Array:
    return 1 / y


@_reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    r = _reciprocal(*primals)
    return r, -(r * tangents[0]) * r


def safe_sqrt(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The root of `x`, with zero gradient at 0; negative numbers give NaN."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))


@jax.custom_jvp
def safe_log(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log x`, and -inf with zero gradient at 0; negative numbers give NaN."""
    return jnp.log(x)


@safe_log.defjvp
def _safe_log_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    # By the reciprocal's own rule: jnp.log's second derivative goes through 1/x², which overflows long before 1/x.
    return safe_log(x), jnp.where(x == 0, 0, dx) * _reciprocal(jnp.where(x == 0, 1, x))


@jax.custom_jvp
def at_least(x: Float[Array, "*s"], floor: jax.typing.ArrayLike) -> Float[Array, "*s"]:
    """`x`, and `floor` with zero gradient where x is not above it."""
    return jnp.maximum(x, floor)


@at_least.defjvp
def _at_least_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    return at_least(*primals), jnp.where(primals[0] <= primals[1], tangents[1], tangents[0])


@jax.custom_jvp
def softplus(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log(1 + exp x)` = -log σ(-x), for infinite x too."""
    # jax.nn.softplus selects its way around inf - inf; XLA's CPU reductions fuse this.
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return softplus(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]


@jax.custom_jvp
def capped(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The largest finite number in the place of +inf, with the derivative of the identity."""
    return jnp.minimum(x, jnp.finfo(x.dtype).max)


@capped.defjvp
def _capped_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return capped(*primals), tangents[0]


def _cap(weight: Array, value: Array) -> Array:
    """The largest finite number where `weight` is 0, and infinity elsewhere.

    Between -cap and cap, infinity times 0 is 0. XLA's CPU reductions fuse arithmetic, but no comparisons and selects.
    """
    info = jnp.finfo(jnp.result_type(weight, value))
    # Overflows for the smallest subnormal weight already. The number before 1, because an array of ones would be made
    # and kept for a 1 that the gradient has too.
    return (jnp.abs(weight) * info.max + (1 - info.epsneg)) * info.max


@jax.custom_jvp
def times(weight: Float[Array, "..."], value: Float[Array, "..."]) -> Float[Array, "..."]:
    """`weight * value`, where a weight of 0 silences an infinite value: 0 · ±inf = 0.

    Finite values keep both partial derivatives: d/dweight at weight 0 is still the value. Infinite ones are no slope,
    for a weight of 0 further on would make NaN of it.
    """
    cap = _cap(weight, value)
    return weight * jnp.clip(value, -cap, cap)


@functools.partial(times.defjvp, symbolic_zeros=True)
def _times_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    (weight, value), (dweight, dvalue) = primals, tangents
    return times(weight, value), moved(dweight, _finite(value)) + moved(dvalue, weight)


@jax.custom_jvp
def surplus(p: Float[Array, "*s"], log_p: Float[Array, "*s"], log_q: Float[Array, "..."]) -> Float[Array, "*s"]:
    """`p (log p - log q)`, and 0 with zero gradient where p is 0."""
    cap = _cap(p, p)
    return p * (jnp.maximum(log_p, -cap) - jnp.maximum(log_q, -cap))


@functools.partial(surplus.defjvp, symbolic_zeros=True)
def _surplus_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    (p, log_p, log_q), (dp, dlog_p, dlog_q) = primals, tangents
    return surplus(*primals), moved(dp, log_ratio(p, log_p, log_q)) + moved(dlog_p, p) + moved(dlog_q, -p)


def log_ratio(p: Float[Array, "*s"], log_p: Float[Array, "*s"], log_q: Float[Array, "..."]) -> Float[Array, "*s"]:
    """`log p - log q` as a slope: 0 where p is 0, and where it would be infinite."""
    none = p == 0
    return _finite(jnp.where(none, 0, jnp.where(none, 0, log_p) - jnp.where(none, 0, log_q)))


def _finite(slope: Array) -> Array:
    return jnp.where(jnp.isinf(slope), 0, slope)


def moved(tangent: Any, slope: Any) -> Any:
    """The tangent times the slope; what does not move costs nothing, whereas XLA computes 0 · slope."""
    return 0.0 if isinstance(tangent, jax.custom_derivatives.SymbolicZero) else tangent * slope


def log_partition(logits: Float[Array, "*s"], axis: int) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The two parts of log Σ exp z: the largest logit, and what is added to it. Both keep an axis of 1.

    A row of -inf alone has no probabilities: the parts are finite all the same, so log p is -inf and every gradient 0.
    """
    info = jnp.finfo(logits.dtype)
    # Maxima and not selects, which XLA's CPU reductions do not fuse: a copy of the logits less.
    top = jnp.maximum(jax.lax.stop_gradient(jnp.max(logits, axis, keepdims=True)), info.min)
    total = jnp.sum(jnp.exp(logits - top), axis, keepdims=True)
    return top, jnp.log(jnp.maximum(total, 0.5))  # a row that has a class has a total of 1 at least


def log_rest(logits: Float[Array, "*s"], top: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Like the second part of `log_partition`, without the largest class: finite, also if it is the only one."""
    rest = jnp.sum(jnp.where(logits < top, jnp.exp(logits - top), 0), axis, keepdims=True)
    tiny = jnp.finfo(rest.dtype).tiny
    return jnp.where(rest > tiny, safe_log(jnp.where(rest > tiny, rest, 1)), jnp.log(tiny))


def log_softmax(logits: Float[Array, "*#s"], top: Float[Array, "*#s"], log_total: Float[Array, "*#s"]) -> Array:
    """The logarithm of p, from the parts of `log_partition`; -inf for a class that is not there."""
    return (logits - top) - log_total


def log_complement(log_p: Float[Array, "*#s"], log_total: Float[Array, "*#s"], rest: Float[Array, "*#s"]) -> Array:
    """The logarithm of 1 - p, from `log_partition` and `log_rest`: exact for p near 1, and finite for p = 1."""
    likely = log_p > -0.5  # p > 0.6: only the largest class can be that, and for it 1 - p is the rest
    return jnp.where(likely, rest - log_total, jnp.log1p(-jnp.exp(jnp.where(likely, -1.0, log_p))))
