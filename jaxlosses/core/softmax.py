"""What a class costs under a softmax, -log p, exact also where one class has nearly all the probability.

With m the largest logit, e_j = exp(z_j - m) and L = log Σ_j e_j, the class k costs -log p_k = (m - z_k) + L. Near
p_k = 1 the sum is 1 and a little, and the little is what L is made of: so it is summed without the label's own e_k, and
L = log1p(Σ_{j≠k} e_j + (e_k - 1)). The slope p_k - 1 is expm1(-cost) there, which loses nothing either.

A logit of -inf excludes its class: e_j = 0.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxlosses.core import checks
from jaxlosses.core.labels import Labels, one_hot, pick
from jaxlosses.core.numerics import (
    clip_below,
    directional,
    log_softmax_from_parts,
    multiply_inf_safe,
    no_slope_if_inf,
    safe_divide,
    safe_log,
    scale_tangent,
    zero_if_inf,
)


class ExpectedCost(NamedTuple):
    """What `expected_cost` returns.

    Attributes:
        values: Σ_k w_k t_k -log p_k of each row; +inf, with zero gradient, where a label is an excluded class.
        log_normalizer: L, with a class axis of 1.
    """

    values: Float[Array, "..."]
    log_normalizer: Float[Array, "..."]


def check_classes(loss: str, name: str, logits: Float[Array, "..."], axis: int) -> None:
    """Under `checked`, raise for a softmax over one class, which is 1 whatever the logits are."""
    checks.check_values(
        loss,
        name,
        lambda: jnp.asarray(logits.shape[axis] > 1),
        "have more than one class: a softmax over one class is 1",
    )


def expected_cost(logits: Float[Array, "..."], target: Labels, class_weights: Array | None = None) -> ExpectedCost:
    """The cross-entropy of each row, under weights w of the classes; w is 1 for None."""
    axis = target.axis
    if target.distributions is None:
        cost, log_normalizer = _label_cost(logits, target.clipped_ids, axis)
        values = target.expected_cost(cost, *target.select(class_weights))
        return ExpectedCost(values, jnp.expand_dims(log_normalizer, axis))
    t = target.distributions
    weighted = t if class_weights is None else class_weights * t
    values, log_normalizer = _distribution_cost(logits, jax.lax.stop_gradient(t), weighted, axis)
    return ExpectedCost(no_slope_if_inf(values), log_normalizer)


def label_costs(logits: Float[Array, "..."], target: Labels) -> Float[Array, "..."]:
    """-log p of the labels' classes, for `Labels.expected_cost`: `(...)` for ids, of all classes for distributions."""
    if target.ids is not None:
        return _label_cost(logits, target.clipped_ids, target.axis)[0]
    return _class_costs(logits, target.axis)


def mean_cost(
    logits: Float[Array, "..."], log_normalizer: Float[Array, "..."], axis: int, class_weights: Array | None = None
) -> Float[Array, "..."]:
    """Σ_k w_k -log p_k over the classes that are not excluded, divided by their number; w is 1 for None.

    Nothing as large as the logits is made, not in the gradient either: it is (Σ_k w_k (m - z_k) + L Σ_k w_k)/n.
    """
    weights = jnp.ones((), logits.dtype) if class_weights is None else class_weights
    return _mean_cost(logits, weights, log_normalizer, axis)


def log_one_minus(cost: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The logarithm of 1 - p from -log p; finite at p = 1."""
    return safe_log(clip_below(-jnp.expm1(-cost), jnp.finfo(cost.dtype).tiny))


def exact_log_softmax(logits: Float[Array, "*s"], axis: int) -> Float[Array, "*s"]:
    """Log p of every class, the largest one exact also where it is nearly 0; the lowest number where p is 0."""
    log_p = log_softmax_from_parts(logits, _max_logit(logits, axis), _log_normalizer(logits, axis))
    return jnp.maximum(log_p, jnp.finfo(logits.dtype).min)


def _max_logit(logits: Array, axis: int) -> Array:
    return jnp.maximum(jax.lax.stop_gradient(jnp.max(logits, axis, keepdims=True)), jnp.finfo(logits.dtype).min)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _label_cost(logits: Array, ids: Int[Array, "..."], axis: int) -> tuple[Array, Array]:
    """-log p and L of each row."""
    max_logit = _max_logit(logits, axis)
    gap = jnp.squeeze(max_logit, axis) - pick(logits, ids, axis)
    index = np.arange(logits.shape[axis], dtype=logits.dtype)
    index = index.reshape([-1 if a == axis else 1 for a in range(logits.ndim)])
    # min(e_j, |j - k|) is e_j, for that is at most 1, and 0 for the label itself: arithmetic, see `numerics`
    distance = jnp.abs(index - jnp.expand_dims(ids.astype(logits.dtype), axis))
    others = jnp.sum(jnp.minimum(jnp.exp(logits - max_logit), distance), axis)
    log_normalizer = jnp.log1p(jnp.maximum(others + jnp.expm1(-gap), -0.5))  # -1 in a row of -inf alone
    return gap + log_normalizer, log_normalizer


@_label_cost.defjvp
def _label_cost_jvp(axis: int, primals: tuple[Array, Any], tangents: tuple[Array, Any]) -> tuple[Any, Any]:
    (logits, ids), (tangent, _) = primals, tangents
    cost, log_normalizer = _label_cost(logits, ids, axis)
    p = _probabilities(logits, jnp.expand_dims(log_normalizer, axis), axis)
    is_label = one_hot(ids, logits.shape[axis], axis)
    slope = jnp.where(is_label, jnp.expand_dims(jnp.expm1(-cost), axis), p)
    return (cost, log_normalizer), (jnp.sum(slope * tangent, axis), jnp.sum(p * tangent, axis))


# For a distribution t the sum is exact enough as Σ_j (e_j - t_j) + Σ_j t_j: where a label t_k = 1 has nearly all the
# probability, 1 - 1 is what XLA adds up, and not 1 and a little. (Of numbers above 1 only 1 is taken off.)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _distribution_cost(logits: Array, t: Array, weighted: Array, axis: int) -> tuple[Array, Array]:
    """Σ_k weighted_k -log p_k and L of each row."""
    max_logit, taken_off = _max_logit(logits, axis), jnp.minimum(t, 1)
    rest = jnp.sum(jnp.exp(logits - max_logit) - taken_off, axis, keepdims=True)
    rest += jnp.sum(taken_off, axis, keepdims=True) - 1
    log_normalizer = jnp.log1p(jnp.maximum(rest, -0.5))  # -1 in a row of -inf alone
    return jnp.sum(multiply_inf_safe(weighted, log_normalizer - (logits - max_logit)), axis), log_normalizer


@functools.partial(_distribution_cost.defjvp, symbolic_zeros=True)
def _distribution_cost_jvp(axis: int, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    logits, t, weighted = primals
    cost, log_normalizer = _distribution_cost(logits, t, weighted, axis)
    max_logit, p = _max_logit(logits, axis), _probabilities(logits, log_normalizer, axis)
    total = jnp.sum(weighted, axis, keepdims=True)
    # A select, or XLA's CPU compiler would make an array as large as the logits of it.
    total = jnp.where(jnp.isnan(total), jnp.nan, total)
    at_largest = total * _less_one(logits, log_normalizer, axis) + (total - weighted)
    by_logits = jnp.where(logits == max_logit, at_largest, total * p - weighted)
    by_weighted = zero_if_inf(log_normalizer - (logits - max_logit))
    slope = directional((tangents[0], tangents[2]), (by_logits, by_weighted))
    p_slope = jnp.zeros_like(p) + scale_tangent(tangents[0], p)
    return (cost, log_normalizer), (jnp.sum(slope, axis), jnp.sum(p_slope, axis, keepdims=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _class_costs(logits: Array, axis: int) -> Array:
    """-log p of every class."""
    return _log_normalizer(logits, axis) - (logits - _max_logit(logits, axis))


@_class_costs.defjvp
def _class_costs_jvp(axis: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (logits,), (tangent,) = primals, tangents
    is_largest = logits == _max_logit(logits, axis)
    log_normalizer = _log_normalizer(logits, axis)
    p, p_less_one = _probabilities(logits, log_normalizer, axis), _less_one(logits, log_normalizer, axis)
    # p - 1 and 1, not p: transposed they are added up from the last to the first, and a label's 1 is gone before p - 1.
    rest = jnp.sum(jnp.where(is_largest, p_less_one, p) * tangent, axis, keepdims=True)
    largest = jnp.sum(jnp.where(is_largest, tangent, 0), axis, keepdims=True)
    return _class_costs(logits, axis), rest + (largest - tangent)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_normalizer(logits: Array, axis: int) -> Array:
    """L, with a class axis of 1, exact for every label at once: for what has all the costs as arrays anyway."""
    max_logit = _max_logit(logits, axis)
    above = max_logit + 1  # XLA would store the exps that both sums are made of, if they were the same
    total = jnp.sum(jnp.exp(logits - above), axis, keepdims=True) * jnp.exp(above - max_logit)
    exps = jnp.exp(logits - max_logit)
    smaller = jnp.sum(exps - jnp.floor(exps), axis, keepdims=True)  # without the largest one, which is 1
    return jnp.log1p(jnp.where(total < 1.5, smaller, total - 1))


@_log_normalizer.defjvp
def _log_normalizer_jvp(axis: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    log_normalizer = _log_normalizer(primals[0], axis)
    p = _probabilities(primals[0], log_normalizer, axis)
    return log_normalizer, jnp.sum(p * tangents[0], axis, keepdims=True)


def _probabilities(logits: Array, log_normalizer: Array, axis: int) -> Array:
    # A product, and no second exp: the one of the value is at hand.
    return jnp.exp(logits - _max_logit(logits, axis)) * jnp.exp(-log_normalizer)


def _less_one(logits: Array, log_normalizer: Array, axis: int) -> Array:
    """The probability less 1, with all digits for the largest one; its derivatives are those of p."""
    exps = jnp.exp(logits - _max_logit(logits, axis))
    return exps * jnp.expm1(-log_normalizer) + (exps - 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _mean_cost(logits: Array, weights: Array, log_normalizer: Array, axis: int) -> Array:
    """`mean_cost`. The slope by the logits has that of log_normalizer, which is theirs, in it."""
    number, share, gaps = _sums_over_included(logits, weights, axis)
    return 2 * logits.shape[axis] * safe_divide(gaps, number) + share * jnp.squeeze(log_normalizer, axis)


@_mean_cost.defjvp
def _mean_cost_jvp(axis: int, primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (logits, weights, log_normalizer), (tangent, weights_tangent, _) = primals, tangents
    number, share, _ = (jnp.expand_dims(x, axis) for x in _sums_over_included(logits, weights, axis))
    included = logits > -jnp.inf
    each = 1 / jnp.maximum(number, 1)
    slope = share * _probabilities(logits, log_normalizer, axis) - jnp.where(included, weights * each, 0)
    cost = log_normalizer + jnp.where(included, _max_logit(logits, axis) - jnp.where(included, logits, 0), 0)
    by_weight = jnp.where(included, cost * each, 0)
    return _mean_cost(*primals, axis), jnp.sum(slope * tangent + by_weight * weights_tangent, axis)


def _sums_over_included(logits: Array, weights: Array, axis: int) -> tuple[Array, Array, Array]:
    """n, Σ_k w_k / n and Σ_k w_k (m - z_k) / 2C, over the classes k that are not excluded.

    Halves, for the difference of two logits may be no float, and over C, for so may the sum. All is arithmetic. XLA's
    CPU compiler stores an operand that two sums have in common, or two operations of one, be it a constant: there is
    none.
    """

    def excluded(z: Array, lowest: float, one: float) -> Array:
        return jnp.minimum(jnp.maximum(z, lowest) - z, one)

    lowest, size = float(jnp.finfo(logits.dtype).min), logits.shape[axis]
    number = size - jnp.sum(excluded(logits, lowest, 1), axis)
    if weights.ndim == 0:
        share = weights * jnp.minimum(number, 1)
    else:
        of_excluded = jnp.sum(weights * excluded(logits / 4, lowest / 4, 4), axis) / 4
        share = safe_divide(jnp.sum(weights) - of_excluded, number)
    half = logits / 2
    gaps = _max_logit(logits, axis) / 2 - jnp.maximum(half, lowest / 2)
    gaps -= gaps * (excluded(half, lowest / 2, 8) / 8)
    return number, share, jnp.sum(weights / size * gaps, axis)
