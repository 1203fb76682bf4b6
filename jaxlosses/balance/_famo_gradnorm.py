"""FAMO and GradNorm: weights that an optimizer of their own learns, a step for every step of the model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from jaxlosses.balance._balancer import Balancer, Scalars, finite_vector, sorted_names, zeros
from jaxlosses.core.named_vectors import to_dict
from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.ranges import ANY, NONNEGATIVE, POSITIVE, check_range
from jaxlosses.core.types import Number

Rate: TypeAlias = float | Array | Callable[[Any], Any]

_ADAM_UNIT = 2.0**30
"""In which GradNorm's Adam counts gradients, for it squares them: right from its ε of 1e-8 up to 1e28."""


class FAMOState(NamedTuple):
    """The state of `famo`.

    Attributes:
        weights: for the next evaluation.
        shares: z, the weights before the division by the losses.
        logits: ξ.
        losses: the last loss of each term while it was active; 0 before the first.
        moments: of Adam.
    """

    weights: dict[str, Array]
    shares: dict[str, Array]
    logits: Float[Array, "K"]
    losses: Float[Array, "K"]
    moments: Any


def famo(learning_rate: Rate = 0.025, *, decay: float | Array = 0.01, minimum: Number | Scalars = 0.0) -> Balancer:
    """FAMO (fast adaptive multitask optimisation): all losses fall at the same relative rate, for no extra gradient.

        w_k = z_k/D_k over its sum,   D = L - b + 1e-8,   z = softmax(ξ)
        ξ ← ξ - Adam(J (log D_before - log D_after) + decay ξ),   J = dz/dξ

    where before and after are losses on one batch, on both sides of a step. Give both, at the price of a forward pass,
    or only those of each step: then the last batch's are taken for those before, in spite of the noise.

    The weights divide by the newest losses they know. The authors divide by those of the batch at hand: for that, give
    `state.shares` as weights to an objective with `combine="log"`, which is the same up to one factor for all terms.

    Args:
        learning_rate: > 0, of ξ; a number, or a schedule of the number of updates.
        decay: >= 0, the pull of ξ to 0: 0.01 in the authors' code.
        minimum: b, the least value that a loss can have; one number, or a dict of them by term.

    Returns:
        A `Balancer` with `update(losses, state, before=None)`. Weights are positive and sum to 1; the first ones are
        1/K, and a term keeps its share z until its first loss.

    Raises:
        ValueError: if a number is out of its range; when updating, if a term has no loss; the message names it.

    Example:
        >>> from jaxlosses import balance
        >>> balancer = balance.famo()
        >>> state = balancer.init(["seg", "depth"])
        >>> before, after = {"seg": 2.0, "depth": 2.0}, {"seg": 1.0, "depth": 2.0}
        >>> weights, state = balancer.update(after, state, before=before)
        >>> round(float(state.shares["depth"]), 4)  # it did not fall, so its share grows
        0.5125
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (0.6555, 0.3445)

    Reference:
        Liu et al., FAMO: Fast Adaptive Multitask Optimization, 2023, arXiv:2306.03792.
    """
    check_range("famo", "learning_rate", learning_rate, POSITIVE)
    check_range("famo", "decay", decay, NONNEGATIVE)
    check_range("famo", "minimum", minimum, ANY)
    adam = optax.chain(optax.add_decayed_weights(decay), optax.adam(learning_rate))

    def init(names: Iterable[str]) -> FAMOState:
        terms = sorted_names("famo", names)
        weights, shares = (to_dict(terms, jax.nn.softmax(zeros(terms))) for _ in range(2))
        return FAMOState(weights, shares, zeros(terms), zeros(terms), adam.init(zeros(terms)))

    def update(losses: Scalars, state: FAMOState, before: Scalars | None = None) -> tuple[dict[str, Array], FAMOState]:
        current = finite_vector("famo", "losses", losses, state.weights)
        past = state.losses if before is None else finite_vector("famo", "before", before, state.weights)
        minima = minimum if isinstance(minimum, Mapping) else dict.fromkeys(state.weights, minimum)
        floor = finite_vector("famo", "minimum", minima, state.weights)
        newest = jnp.where(current == 0, jnp.where(past == 0, state.losses, past), current)
        excess, excess_before = (jnp.maximum(x - floor, 0) + 1e-8 for x in (newest, past))

        gradient = _gradient_in_logits(state.logits, jnp.log(excess_before / excess), (past != 0) & (current != 0))
        logits, moments = _descend(adam, gradient, state.moments, state.logits)
        shares, without_loss = jax.nn.softmax(logits), newest == 0
        quotients = jnp.where(without_loss, 0, shares / excess)
        factor = safe_divide(jnp.sum(jnp.where(without_loss, 0, shares)), jnp.sum(quotients))
        weights = to_dict(state.weights, jnp.where(without_loss, shares, quotients * factor))
        return weights, FAMOState(weights, to_dict(state.weights, shares), logits, newest, moments)

    return Balancer(init, update)


class GradNormState(NamedTuple):
    """The state of `gradnorm`.

    Attributes:
        weights: for the next evaluation.
        logits: v.
        first: the first loss of each term while it was active; 0 before that.
        moments: of Adam.
    """

    weights: dict[str, Array]
    logits: Float[Array, "K"]
    first: Float[Array, "K"]
    moments: Any


def gradnorm(alpha: Number = 1.5, *, learning_rate: Rate = 0.025) -> Balancer:
    """GradNorm: learn weights that make weighted gradients alike in length, and longer for losses that fell less.

        minimise over w:  Σ |w n - target|,   target = mean(w n) r^α,   r = (L/L(0)) / mean(L/L(0)),   w = K softmax(v)

    with n the gradients' lengths and the target held constant. The paper descends on w and rescales it; here Adam
    descends on v, which has the same optimum and keeps every weight positive.

    Args:
        alpha: how strongly slow losses are favoured; 0 for equal lengths. The paper has 1.5 and 0.12.
        learning_rate: > 0, of v; a number, or a schedule of the number of updates.

    Returns:
        A `Balancer` with `update(losses, state, norms)`: the losses and the lengths of their gradients by the last
        layer that all share, both unweighted; `gradients.gram(grads).norms()` has them. Weights are positive and sum
        to K. L(0) is the first loss that is not 0.

    Raises:
        ValueError: if a number is out of its range; when updating, if a term has no loss or norm; the message names it.

    Example:
        >>> from jaxlosses import balance
        >>> balancer = balance.gradnorm()
        >>> state = balancer.init(["seg", "depth"])
        >>> weights, state = balancer.update({"seg": 2.0, "depth": 1.0}, state, {"seg": 8.0, "depth": 1.0})
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)
        (0.975, 1.025)

    Reference:
        Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing, 2018, arXiv:1711.02257.
    """
    check_range("gradnorm", "alpha", alpha, ANY)
    check_range("gradnorm", "learning_rate", learning_rate, POSITIVE)
    adam = optax.adam(learning_rate, eps=1e-8 / _ADAM_UNIT)

    def init(names: Iterable[str]) -> GradNormState:
        terms = sorted_names("gradnorm", names)
        return GradNormState(to_dict(terms, zeros(terms) + 1), zeros(terms), zeros(terms), adam.init(zeros(terms)))

    def update(losses: Scalars, state: GradNormState, norms: Scalars) -> tuple[dict[str, Array], GradNormState]:
        current = finite_vector("gradnorm", "losses", losses, state.weights)
        lengths = finite_vector("gradnorm", "norms", norms, state.weights)
        first = jnp.where(state.first == 0, current, state.first)
        present = (current != 0) & (lengths != 0)

        def mean(x: Array) -> Array:
            return safe_divide(jnp.sum(jnp.where(present, x, 0)), jnp.sum(present.astype(x.dtype)))

        remaining = safe_divide(current, first)
        rates = safe_divide(remaining, mean(remaining)) ** jnp.asarray(alpha, current.dtype)

        weighted = len(current) * jax.nn.softmax(state.logits) * lengths
        weight_gradient = jnp.sign(weighted - mean(weighted) * rates) * lengths
        gradient = len(current) / _ADAM_UNIT * _gradient_in_logits(state.logits, weight_gradient, present)
        logits, moments = _descend(adam, jnp.clip(gradient, -(2.0**63), 2.0**63), state.moments, state.logits)
        weights = to_dict(state.weights, len(current) * jax.nn.softmax(logits))
        return weights, GradNormState(weights, logits, first, moments)

    return Balancer(init, update)


def _gradient_in_logits(logits: Array, share_gradient: Array, present: Array) -> Array:
    """The gradient in the logits, given that in their softmax; terms that are not present have none and add nothing."""
    shares, pull = jax.vjp(jax.nn.softmax, logits)
    present_shares = jnp.where(present, shares, 0)
    mean = safe_divide(jnp.sum(present_shares * jnp.where(present, share_gradient, 0)), jnp.sum(present_shares))
    return pull(jnp.where(present, share_gradient, mean))[0]


def _descend(
    optimizer: optax.GradientTransformation, gradient: Array, moments: Any, logits: Array
) -> tuple[Array, Any]:
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
        change, moments = optimizer.update(gradient, moments, logits)
        return logits + jnp.asarray(change).astype(logits.dtype), moments
