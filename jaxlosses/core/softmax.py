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

from jaxlosses.core.labels import Labels, one_hot, pick
from jaxlosses.core.numerics import clip_below, log_softmax_from_parts, logsumexp_parts, safe_divide, safe_log


class SoftmaxCosts(NamedTuple):
    """The costs that labels point to, for `Labels.expected_cost`, and what the others follow from.

    Attributes:
        cost: -log p, `(...)` for class ids and `(..., C)` for distributions; +inf for an excluded class.
        max_logit: m, with a class axis of 1.
        log_normalizer: L, with a class axis of 1.
    """

    cost: Float[Array, "..."]
    max_logit: Float[Array, "..."]
    log_normalizer: Float[Array, "..."]


def softmax_costs(logits: Float[Array, "..."], target: Labels, *, exact: bool = False) -> SoftmaxCosts:
    """-log p of the labels' classes.

    With distributions a cost of nearly 0 is as exact as the rounding of 1, unless `exact`, which takes a further pass.
    """
    axis = target.axis
    max_logit = _max_logit(logits, axis)
    if target.ids is None:
        log_normalizer = _log_normalizer(logits, axis) if exact else logsumexp_parts(logits, axis)[1]
        return SoftmaxCosts(log_normalizer - (logits - max_logit), max_logit, log_normalizer)
    cost, log_normalizer = _label_cost(logits, target.clipped_ids, axis)
    return SoftmaxCosts(cost, max_logit, jnp.expand_dims(log_normalizer, axis))


def mean_cost(
    logits: Float[Array, "..."], costs: SoftmaxCosts, axis: int, class_weights: Array | None = None
) -> Float[Array, "..."]:
    """Σ_k w_k -log p_k over the classes that are not excluded, divided by their number; w is 1 for None.

    Nothing as large as the logits is made, not in the gradient either: it is (Σ_k w_k (m - z_k) + L Σ_k w_k)/n.
    """
    log_normalizer = jnp.squeeze(costs.log_normalizer, axis)
    number = jnp.sum(_included(logits), axis)
    if class_weights is None:
        class_weights, share = jnp.ones((), logits.dtype), jnp.minimum(number, 1)
    else:
        share = safe_divide(jnp.sum(class_weights * _included(logits), axis), number)
    # Halves of the logits, for the difference of two of them may be no float; and a mean before it is scaled.
    gaps = _sum_of_gaps(logits / 2, costs.max_logit / 2, class_weights / logits.shape[axis], axis)
    return 2 * logits.shape[axis] * safe_divide(gaps, number) + share * log_normalizer


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


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_normalizer(logits: Array, axis: int) -> Array:
    """L, with a class axis of 1, exact for every label at once: for what has all the costs as arrays anyway."""
    exps = jnp.exp(logits - _max_logit(logits, axis))
    total = jnp.sum(exps, axis, keepdims=True)
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


def _included(logits: Array) -> Array:
    """1 for each class that is not excluded, and 0 for a logit of -inf, by arithmetic."""
    return 1 - jnp.minimum(jnp.maximum(logits, jnp.finfo(logits.dtype).min) - logits, 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _sum_of_gaps(logits: Array, max_logit: Array, weights: Array, axis: int) -> Array:
    """Σ_k w_k (m - z_k) over the classes that are not excluded."""
    gaps = max_logit - jnp.maximum(logits, jnp.finfo(logits.dtype).min)
    return jnp.sum(weights * _included(logits) * gaps, axis)


@_sum_of_gaps.defjvp
def _sum_of_gaps_jvp(axis: int, primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (logits, max_logit, weights), (tangent, _, weights_tangent) = primals, tangents
    included = logits > jnp.finfo(logits.dtype).min
    gaps = jnp.where(included, max_logit - jnp.where(included, logits, 0), 0)
    slope = jnp.where(included, -weights, 0)
    return _sum_of_gaps(*primals, axis), jnp.sum(slope * tangent + gaps * weights_tangent, axis)
