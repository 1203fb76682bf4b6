"""The terms that entropies and divergences sum up, one per class, from probabilities and their logarithms.

No infinity appears in them but those that come in or go out: the logarithm of a 0 is the lowest number, and what is
truly infinite (p > 0 at q = 0) is made of it by arithmetic, not by a select: see the top of `jaxlosses.core.numerics`.
A term with p = 0 is 0.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.numerics import directional, multiply_inf_safe, quotient, safe_log, zero_if_inf


@jax.custom_jvp
def log_or_lowest(p: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log p`, and the lowest number with zero gradient at 0; negative numbers give NaN."""
    info = jnp.finfo(p.dtype)
    is_zero = 1 - jnp.abs(jnp.sign(p))
    return jnp.log(p + is_zero * info.tiny) - is_zero * info.max


@log_or_lowest.defjvp
def _log_or_lowest_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log_or_lowest(*primals), jax.jvp(safe_log, primals, tangents)[1]


@jax.custom_jvp
def log_of_weight(p: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`log p` as a factor of p itself, so that it only has to be finite at 0; its gradient is that of `safe_log`."""
    return jnp.log(p + jnp.finfo(p.dtype).tiny)


@log_of_weight.defjvp
def _log_of_weight_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log_of_weight(*primals), jax.jvp(safe_log, primals, tangents)[1]


@jax.custom_jvp
def entropy_term(p: Float[Array, "*s"], log_p: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`-p log p`; the slope by p is 0 where p is 0."""
    return p * -log_p


@functools.partial(entropy_term.defjvp, symbolic_zeros=True)
def _entropy_term_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    p, log_p = primals
    return entropy_term(p, log_p), directional(tangents, (jnp.where(p == 0, 0, -log_p), -p))


@jax.custom_jvp
def cross_entropy_term(p: Float[Array, "*s"], q: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`-p log q`, and +inf with zero gradient where p > 0 and q = 0, or less than the smallest normal number."""
    info = jnp.finfo(q.dtype)
    units = q / info.tiny
    floored = jnp.maximum(units, 1)
    # What is missing up to the floor is 1 at 0, and 0 elsewhere. Two factors, for the smallest p takes both; a constant
    # product of them, which XLA would make of neighbours, is infinite.
    impossible = p * ((floored - units) * 2.0 ** (info.maxexp - 1)) * info.max
    return p * -jnp.log(floored * info.tiny) + impossible


@functools.partial(cross_entropy_term.defjvp, symbolic_zeros=True)
def _cross_entropy_term_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    p, q = primals
    is_zero = q < jnp.finfo(q.dtype).tiny
    safe_q = jnp.where(is_zero, 1, q)
    return cross_entropy_term(p, q), directional(
        tangents, (-safe_log(safe_q), jnp.where(is_zero, 0, quotient(-p, safe_q)))
    )


@jax.custom_jvp
def relative_entropy_term(
    p: Float[Array, "*s"], log_p: Float[Array, "*s"], log_q: Float[Array, "*s"]
) -> Float[Array, "*s"]:
    """`p (log p - log q)`, from a log q of -inf or more; the slope by p is 0 where p is 0."""
    return multiply_inf_safe(p, log_p - log_q)


@functools.partial(relative_entropy_term.defjvp, symbolic_zeros=True)
def _relative_entropy_term_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    p, log_p, log_q = primals
    slope = jnp.where(p == 0, 0, zero_if_inf(log_p - log_q))
    return relative_entropy_term(*primals), directional(tangents, (slope, p, -p))


def inf_where_impossible(p: Float[Array, "*s"], log_q: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """0, and inf where p > 0 and log q is the lowest number, which times itself takes the smallest p there."""
    return jax.lax.stop_gradient((p * _beyond(log_q)) * jnp.finfo(p.dtype).max)


def _beyond(log_q: Array) -> Array:
    """0, and half the largest number where log q is the lowest."""
    half = jnp.finfo(log_q.dtype).max / 2
    return jnp.maximum(-log_q - half, 0)


@jax.custom_jvp
def normalized_relative_entropy_term(log_p: Float[Array, "*s"], log_q: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`p (log p - log q) - p + q`, never below 0; over rows that sum to 1 it adds up to the divergence.

    Its slopes are those of logarithms that move together: p (log p - log q) and q - p.
    """
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    r = log_p - log_q
    # p (r + exp(-r) - 1), of which the first order cancels near r = 0: there it is the series. Elsewhere that at the
    # nearest r for which it holds is less, and by its slope p - q it cannot be more than so much.
    small = -jnp.minimum(-jnp.minimum(r, 0.1), 0.1)
    series = p * small**2 * (1 / 2 - small * (1 / 6 - small * (1 / 24 - small * (1 / 120 - small / 720))))
    term = jnp.minimum(jnp.maximum(p * r - (p - q), series), series + 1.01 * (p + q) * jnp.abs(r - small))
    return term + inf_where_impossible(p, log_q)


@functools.partial(normalized_relative_entropy_term.defjvp, symbolic_zeros=True)
def _normalized_relative_entropy_term_jvp(
    primals: tuple[Array, Array], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    log_p, log_q = jax.lax.optimization_barrier(primals)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    return normalized_relative_entropy_term(*primals), directional(tangents, (p * (log_p - log_q), q - p))


@jax.custom_jvp
def jensen_shannon_term(p: Float[Array, "*s"], q: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`p log(p/m) + q log(q/m)` with m = (p + q)/2: in [0, (p + q) log 2], and 0 for p = q, also in rounding.

    With d = (p - q)/(p + q) it is m (d² + d⁴/6 + d⁶/15 + ...), the coefficient of d^2n being 1/(n (2n - 1)). Where the
    logarithms nearly cancel, this series holds them: what follows its second term lies between the third, and as much
    of d⁶ as makes it 2 log 2 at d = 1, where it ends.
    """
    tiny, m = jnp.finfo(p.dtype).tiny, (p + q) / 2
    inverse = 1 / jnp.maximum(m, tiny)
    direct = p * jnp.log(p * inverse + tiny) + q * jnp.log(q * inverse + tiny)
    x = ((p - q) / 2 * inverse) ** 2
    first = m * x
    second = first * x
    third, head = second * x, first + second / 6
    return jnp.minimum(jnp.maximum(direct, head + third / 15), head + third * (2 * math.log(2) - 1 - 1 / 6))


@functools.partial(jensen_shannon_term.defjvp, symbolic_zeros=True)
def _jensen_shannon_term_jvp(primals: tuple[Array, Array], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    # What moves the logarithms cancels: p · dp/p + q · dq/q = (p + q) · dm/m. Behind a barrier, for XLA would store
    # what value and slopes have in common, in arrays.
    p, q = jax.lax.optimization_barrier(primals)
    return jensen_shannon_term(*primals), directional(tangents, (_log_twice_share(p, q), _log_twice_share(q, p)))


@jax.custom_jvp
def _log_twice_share(p: Array, q: Array) -> Array:
    """log(2 p/(p + q)), exact near p = q, and 0 at p = 0."""
    # Twice the smallest number, for a constant that is the value's too would be stored, as an array.
    return -jnp.log1p((q - p) / jnp.maximum(2 * p, 2 * jnp.finfo(p.dtype).tiny)) * jnp.sign(p)


@_log_twice_share.defjvp
def _log_twice_share_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (p, q), (dp, dq) = primals, tangents
    is_zero = p == 0
    inverse = 1 / jnp.maximum(p + q, jnp.finfo(p.dtype).tiny)
    by_p = jnp.where(is_zero, 0, q * inverse / jnp.where(is_zero, 1, p))  # 1/p - 1/(p + q)
    return _log_twice_share(p, q), by_p * dp - jnp.where(is_zero, 0, inverse) * dq
