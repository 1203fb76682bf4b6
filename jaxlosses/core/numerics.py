"""Functions whose value and gradient stay right where the textbook expression gives NaN or infinity.

They are written for XLA's CPU compiler as well, which fuses arithmetic into a reduction (minima and maxima included),
but no comparisons and no selects: `jnp.sum(jnp.where(...))` makes an array as large as its input. So what values need
is arithmetic, and selects stand in the rules for derivatives.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    return jnp.where(none, otherwise, quotient(x, jnp.where(none, 1, y)))


# JAX differentiates a quotient through 1/y², which overflows long before 1/y does, and then 0 · inf is NaN.
@jax.custom_jvp
def quotient(x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*#s"]:
    """`x / y` for y other than 0, with derivatives that are right as long as they and 1/y fit."""
    return x / y


@quotient.defjvp
def _quotient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    q = quotient(*primals)
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


def log1m_with_floor(x: Float[Array, "*s"], floor: jax.typing.ArrayLike) -> Float[Array, "*s"]:
    """`log max(1 - x, floor)`, which keeps its digits near x = 0; zero gradient where 1 - x is not above the floor."""
    if not isinstance(floor, jax.Array):
        lowest = np.asarray(floor, x.dtype) - np.ones((), x.dtype)
        if 0 < lowest + 1 == np.asarray(floor, x.dtype):  # as for the machine epsilon, whose 1 - ε is no rounding
            return jnp.log1p(clip_below(-x, lowest))
    return _log1m_with_any_floor(x, floor)


@jax.custom_jvp
def _log1m_with_any_floor(x: Array, floor: jax.typing.ArrayLike) -> Array:
    # The largest number below 1 stands for 1, where log(floor) may still be less: `rest` is 1 there and else 0.
    epsneg = jnp.finfo(x.dtype).epsneg
    log_floor = jnp.log(jnp.asarray(floor, x.dtype))
    below_one = jnp.minimum(x, 1 - epsneg)
    rest = (x - below_one) / epsneg
    return jnp.maximum(jnp.log1p(-below_one) + rest * jnp.minimum(log_floor - math.log(epsneg), 0), log_floor)


@_log1m_with_any_floor.defjvp
def _log1m_with_any_floor_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    (x, floor), (dx, _) = primals, tangents
    above = 1 - x > floor
    return _log1m_with_any_floor(x, floor), jnp.where(above, -dx, 0) * _reciprocal(jnp.where(above, 1 - x, 1))


def nan_unless(valid: Bool[Array, "..."], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """`values`, with NaN in value *and gradient* where they are not valid."""
    return values * jnp.where(valid, 1, jnp.nan).astype(values.dtype)


def matmul_full_precision(x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """A matrix product in full precision; by default GPU and TPU round float32 to 10 or 7 bits first."""
    return jnp.matmul(x, y, precision=FULL_PRECISION)


@jax.custom_jvp
def softplus(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log(1 + exp x)` = -log σ(-x), for infinite x too, where it has zero gradient: it is infinite there, or flat."""
    # jax.nn.softplus selects its way around inf - inf.
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Not a select of 0, a constant which XLA's CPU compiler would store, for the value has it too.
    x = jnp.where(primals[0] == jnp.inf, -jnp.inf, primals[0])
    return softplus(*primals), jax.nn.sigmoid(x) * tangents[0]


@jax.custom_jvp
def negative_log_sigmoid(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """-log σ(x) = log(1 + exp(-x)): `softplus(-x)`, of which XLA's CPU compiler would store -x for the slope."""
    return jnp.log1p(jnp.exp(-jnp.abs(x))) - jnp.minimum(x, 0)


@negative_log_sigmoid.defjvp
def _negative_log_sigmoid_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    x = jnp.where(primals[0] == -jnp.inf, jnp.inf, primals[0])
    return negative_log_sigmoid(*primals), -jax.nn.sigmoid(-x) * tangents[0]


# A product in which 0 wins over infinity. With `finite` = min(v, max), the rest v - finite is 0 or inf, and
#
#     w · finite + (w · min(v - finite, max)) · max
#
# is w v for a finite v, 0 for w = 0, and inf for w > 0 and v = inf: two such factors take the smallest weight there. It
# is arithmetic and not a select: see the top of this module. No infinity appears in it but those that come in.


@jax.custom_jvp
def multiply_inf_safe(weight: Float[Array, "..."], value: Float[Array, "..."]) -> Float[Array, "..."]:
    """`weight * value`, where a weight of 0 cancels an infinite cost: 0 · inf = 0; no value may be -inf.

    Finite values keep both partial derivatives: d/dweight at weight 0 is still the value. Infinite ones are no slope,
    for a weight of 0 further on would make NaN of it.
    """
    largest = jnp.finfo(jnp.result_type(weight, value)).max
    finite = jnp.minimum(value, largest)
    return weight * finite + (weight * jnp.minimum(value - finite, largest)) * largest


@functools.partial(multiply_inf_safe.defjvp, symbolic_zeros=True)
def _multiply_inf_safe_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    weight, value = primals
    return multiply_inf_safe(weight, value), directional(tangents, (zero_if_inf(value), weight))


@jax.custom_jvp
def scaled_square(factor: float | Array, x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`factor * x²`, which does not overflow before it has to; one product is its slope."""
    return factor * x * x


@functools.partial(scaled_square.defjvp, symbolic_zeros=True)
def _scaled_square_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    factor, x = primals
    return scaled_square(factor, x), directional(tangents, (x * x, 2 * factor * x))


def no_slope_if_inf(values: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`values`, with zero gradient where they are infinite."""
    return jnp.where(jnp.isinf(values), jax.lax.stop_gradient(values), values)


def zero_if_inf(slope: Array) -> Array:
    """A slope, and 0 where it is infinite."""
    return jnp.where(jnp.isinf(slope), 0, slope)


def complement(x: jax.typing.ArrayLike, dtype: Any) -> Array:
    """`1 - x`, computed before x is rounded to `dtype`, unless x is a JAX array and is rounded already."""
    if isinstance(x, jax.Array):
        return 1 - x.astype(dtype)
    return jnp.asarray(1 - np.asarray(x, np.float64), dtype)


def directional(tangents: tuple[Any, ...], slopes: tuple[Any, ...]) -> Any:
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


def log_softmax_from_parts(
    logits: Float[Array, "*#s"], max_logit: Float[Array, "*#s"], log_normalizer: Float[Array, "*#s"]
) -> Array:
    """The logarithm of p, from the parts of `logsumexp_parts`; -inf for a class that is not there."""
    return (logits - max_logit) - log_normalizer


def power_of_two_near(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """A power of two near |x|, by which one can divide without rounding; 1 for 0 and for what is not finite.

    It and its reciprocal are normal numbers, and it is constant for derivatives.
    """
    tiny, bits = float(jnp.finfo(x.dtype).tiny), f"uint{jnp.finfo(x.dtype).bits}"
    exponent_bits = np.asarray(np.inf, x.dtype).view(bits)  # infinity has all of them, and no others
    exponent = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x), bits) & exponent_bits
    power = jax.lax.bitcast_convert_type(exponent, x.dtype)
    return jnp.where((power == 0) | ~jnp.isfinite(power), 1.0, jnp.clip(power, tiny, 1 / tiny))
