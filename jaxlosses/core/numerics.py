"""Functions whose value and gradient stay right where the textbook expression gives NaN or infinity.

They are written for XLA's CPU compiler as well, which fuses arithmetic into a reduction (minima and maxima included),
but no comparisons and no selects: `jnp.sum(jnp.where(...))` makes an array as large as its input. So what values need
is arithmetic, and selects stand in the rules for derivatives.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

FULL_PRECISION = jax.lax.Precision.HIGHEST
"""For every matrix product: by default GPU and TPU round the factors of float32 products to 10 or 7 bits."""


@jax.custom_jvp
def abs_zero_grad(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The distance to 0, with gradient 0 at 0: the subgradient of least norm (`jnp.abs` gives 1 there)."""
    return jnp.abs(x)


@abs_zero_grad.defjvp
def _abs_zero_grad_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
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
def clip_below(x: Float[Array, "*s"], floor: jax.typing.ArrayLike) -> Float[Array, "*s"]:
    """`x`, and `floor` with zero gradient where x is not above it."""
    return jnp.maximum(x, floor)


@clip_below.defjvp
def _clip_below_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    return clip_below(*primals), jnp.where(primals[0] <= primals[1], tangents[1], tangents[0])


def log_with_floor(x: Float[Array, "*s"], floor: jax.typing.ArrayLike) -> Float[Array, "*s"]:
    """`log max(x, floor)`, with zero gradient where x is not above the floor; a floor of 0 gives -inf at 0."""
    return safe_log(clip_below(x, jnp.asarray(floor, x.dtype)))


def nan_unless(valid: Bool[Array, "..."], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """`values`, with NaN in value *and gradient* where they are not valid."""
    return values * jnp.where(valid, 1, jnp.nan).astype(values.dtype)


def matmul_full_precision(x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """A matrix product in full precision; by default GPU and TPU round float32 to 10 or 7 bits first."""
    return jnp.matmul(x, y, precision=FULL_PRECISION)


@jax.custom_jvp
def softplus(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log(1 + exp x)` = -log σ(-x), for infinite x too."""
    # jax.nn.softplus selects its way around inf - inf.
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return softplus(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]


@jax.custom_jvp
def replace_posinf(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The largest finite number in the place of +inf, with the derivative of the identity."""
    return jnp.minimum(x, jnp.finfo(x.dtype).max)


@replace_posinf.defjvp
def _replace_posinf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return replace_posinf(*primals), tangents[0]


# Products in which 0 wins over infinity. The identity is
#
#     x · 0 = 0   also for x = ±inf,   and   w · clip(v, -cutoff(w), cutoff(w)) = w · v   for every other pair,
#
# with cutoff(w) = the largest finite number at w = 0, and infinity elsewhere:
#
#     weight   value    cutoff(weight)   product
#     w ≠ 0    v        inf              w v
#     w ≠ 0    ±inf     inf              ±inf
#     0        v        max              0
#     0        ±inf     max              0 · ±max = 0
#     any      NaN      any              NaN
#
# It is arithmetic and not a select: see the top of this module.


def _inf_cutoff(weight: Array, value: Array) -> Array:
    info = jnp.finfo(jnp.result_type(weight, value))
    # Overflows for the smallest subnormal weight already. 1 - epsneg and not 1: XLA would store a
    # whole array of ones, shared with the gradient.
    return (jnp.abs(weight) * info.max + (1 - info.epsneg)) * info.max


@jax.custom_jvp
def multiply_inf_safe(weight: Float[Array, "..."], value: Float[Array, "..."]) -> Float[Array, "..."]:
    """`weight * value`, where a weight of 0 cancels an infinite value: 0 · ±inf = 0.

    Finite values keep both partial derivatives: d/dweight at weight 0 is still the value. Infinite ones are no slope,
    for a weight of 0 further on would make NaN of it.
    """
    cutoff = _inf_cutoff(weight, value)
    return weight * jnp.clip(value, -cutoff, cutoff)


@functools.partial(multiply_inf_safe.defjvp, symbolic_zeros=True)
def _multiply_inf_safe_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    weight, value = primals
    return multiply_inf_safe(weight, value), _directional(tangents, (_zero_if_inf(value), weight))


@jax.custom_jvp
def relative_entropy(
    p: Float[Array, "*s"], log_p: Float[Array, "*s"], log_q: Float[Array, "..."]
) -> Float[Array, "*s"]:
    """`p (log p - log q)`, and 0 with zero gradient where p is 0 (scipy's `rel_entr`, from logarithms)."""
    cutoff = _inf_cutoff(p, p)
    return p * (jnp.maximum(log_p, -cutoff) - jnp.maximum(log_q, -cutoff))


@functools.partial(relative_entropy.defjvp, symbolic_zeros=True)
def _relative_entropy_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    p, log_p, log_q = primals
    return relative_entropy(*primals), _directional(tangents, (log_ratio(p, log_p, log_q), p, -p))


def log_ratio(p: Float[Array, "*s"], log_p: Float[Array, "*s"], log_q: Float[Array, "..."]) -> Float[Array, "*s"]:
    """`log p - log q` as a slope: 0 where p is 0, and where it would be infinite."""
    none = p == 0
    return _zero_if_inf(jnp.where(none, 0, jnp.where(none, 0, log_p) - jnp.where(none, 0, log_q)))


def _zero_if_inf(slope: Array) -> Array:
    return jnp.where(jnp.isinf(slope), 0, slope)


def _directional(tangents: tuple[Any, ...], slopes: tuple[Any, ...]) -> Any:
    """Σ tangent · slope: the derivative in the direction of the tangents, from the partial derivatives."""
    return sum(scale_tangent(tangent, slope) for tangent, slope in zip(tangents, slopes, strict=True))


def scale_tangent(tangent: Any, slope: Any) -> Any:
    """The tangent times the slope; what does not move costs nothing, whereas XLA computes 0 · slope."""
    return 0.0 if isinstance(tangent, jax.custom_derivatives.SymbolicZero) else tangent * slope


def logsumexp_parts(logits: Float[Array, "*s"], axis: int) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The two parts of log Σ exp z: the largest logit, and what is added to it. Both keep an axis of 1.

    A row of -inf alone has no probabilities: the parts are finite all the same, so log p is -inf and every gradient 0.
    """
    info = jnp.finfo(logits.dtype)
    max_logit = jnp.maximum(jax.lax.stop_gradient(jnp.max(logits, axis, keepdims=True)), info.min)
    total = jnp.sum(jnp.exp(logits - max_logit), axis, keepdims=True)
    return max_logit, jnp.log(jnp.maximum(total, 0.5))  # a row that has a class has a total of 1 at least


def log_sum_others(logits: Float[Array, "*s"], max_logit: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Like the second part of `logsumexp_parts`, without the largest class: finite, also if it is the only one."""
    others = jnp.sum(jnp.where(logits < max_logit, jnp.exp(logits - max_logit), 0), axis, keepdims=True)
    tiny = jnp.finfo(others.dtype).tiny
    return jnp.where(others > tiny, safe_log(jnp.where(others > tiny, others, 1)), jnp.log(tiny))


def log_softmax_from_parts(
    logits: Float[Array, "*#s"], max_logit: Float[Array, "*#s"], log_normalizer: Float[Array, "*#s"]
) -> Array:
    """The logarithm of p, from the parts of `logsumexp_parts`; -inf for a class that is not there."""
    return (logits - max_logit) - log_normalizer


def log1m_prob(
    log_p: Float[Array, "*#s"], log_normalizer: Float[Array, "*#s"], log_sum_others: Float[Array, "*#s"]
) -> Array:
    """The logarithm of 1 - p, from `logsumexp_parts` and `log_sum_others`: exact near p = 1, and finite there."""
    likely = log_p > -0.5  # p > 0.6: only the largest class can be that, and for it 1 - p is the rest
    return jnp.where(likely, log_sum_others - log_normalizer, jnp.log1p(-jnp.exp(jnp.where(likely, -1.0, log_p))))


def power_of_two_near(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """A power of two near |x|, to divide by without rounding; 1 for 0 and for what is not finite.

    It is a constant for derivatives.
    """
    x = jax.lax.stop_gradient(x)
    info, integer = jnp.finfo(x.dtype), jnp.dtype(f"int{jnp.finfo(x.dtype).bits}")
    exponent_bits = ((1 << info.nexp) - 1) << info.nmant  # those of infinity
    bits = jax.lax.bitcast_convert_type(x, integer) & jnp.asarray(exponent_bits, integer)
    power = jax.lax.bitcast_convert_type(bits, x.dtype)
    return jnp.where((power == 0) | (power == jnp.inf), 1, power)
