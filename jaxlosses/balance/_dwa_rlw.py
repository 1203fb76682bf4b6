"""Dynamic weight average (DWA), weights from past losses, and random loss weighting (RLW)."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.balance._balancer import Balancer, Scalars, finite_vector, sorted_names, zeros
from jaxlosses.core.named_vectors import to_dict
from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.ranges import POSITIVE, Range, check_range
from jaxlosses.core.types import Number


class DWAState(NamedTuple):
    """The state of `dwa`.

    Attributes:
        weights: for the next evaluation.
        losses: each term's mean loss in the last period in which it was active; 0 before the first.
        sums: of the losses in this period so far.
        counts: in how many updates of this period each term was active.
        updates: the number of updates in this period.
    """

    weights: dict[str, Array]
    losses: Float[Array, "K"]
    sums: Float[Array, "K"]
    counts: Float[Array, "K"]
    updates: Array


def dwa(temperature: Number = 2.0, *, period: Number = 1) -> Balancer:
    """Dynamic weight average (DWA): more weight for losses that fall more slowly than the others.

        w = K softmax(r/T),   r = L(t-1)/L(t-2)

    with L(t) the mean loss of period t. The weights change at the end of a period; they are 1 in the first two.

    Args:
        temperature: T > 0; the larger, the more equal the weights.
        period: >= 1, over how many updates losses are averaged. The paper averages over epochs; with the default,
            update once in an epoch, with its mean losses. Single batches are too noisy to compare.

    Returns:
        A `Balancer` with `update(losses, state)`. Weights are positive and sum to K.

    Raises:
        ValueError: if a number is out of its range; when updating, if a term has no loss; the message names it.

    Example:
        >>> from jaxlosses import balance
        >>> balancer = balance.dwa()
        >>> state = balancer.init(["seg", "depth"])
        >>> for losses in ({"seg": 2.0, "depth": 1.0}, {"seg": 1.0, "depth": 0.9}):
        ...     weights, state = balancer.update(losses, state)
        >>> round(float(weights["seg"]), 4), round(float(weights["depth"]), 4)  # e^0.25, e^0.45 over their mean
        (0.9003, 1.0997)

    Reference:
        Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, 2019, arXiv:1803.10704.
    """
    check_range("dwa", "temperature", temperature, POSITIVE)
    check_range("dwa", "period", period, Range("a number >= 1", low=1))

    def init(names: Iterable[str]) -> DWAState:
        terms = sorted_names("dwa", names)
        return DWAState(
            to_dict(terms, zeros(terms) + 1), zeros(terms), zeros(terms), zeros(terms), jnp.zeros((), jnp.int32)
        )

    def update(losses: Scalars, state: DWAState) -> tuple[dict[str, Array], DWAState]:
        current = finite_vector("dwa", "losses", losses, state.weights)
        sums, updates = state.sums + current, state.updates + 1
        counts = state.counts + (current != 0).astype(current.dtype)
        means = safe_divide(sums, counts)
        ratios = jnp.where(means == 0, 1, safe_divide(means, state.losses, otherwise=1.0))
        weights = len(current) * jax.nn.softmax(ratios / jnp.asarray(temperature, jnp.float32))
        latest = jnp.where(means == 0, state.losses, means)
        next_period = DWAState(to_dict(state.weights, weights), latest, 0 * sums, 0 * counts, 0 * updates)
        same_period = state._replace(sums=sums, counts=counts, updates=updates)
        state = jax.tree.map(lambda new, old: jnp.where(updates >= period, new, old), next_period, same_period)
        return state.weights, state

    return Balancer(init, update)


class RLWState(NamedTuple):
    """The state of `rlw`.

    Attributes:
        weights: for the next evaluation.
    """

    weights: dict[str, Array]


def rlw() -> Balancer:
    """Random loss weighting (RLW), drawn anew in every step: the baseline that elaborate methods have to beat.

        w = softmax(z),   z ~ N(0, 1)

    Args:
        (none)

    Returns:
        A `Balancer` with `update(losses, state, key)`, which does not look at the losses. Weights are positive and
        sum to 1; the first ones are 1/K.

    Raises:
        ValueError: when updating, if a term has no loss; the message names it.

    Example:
        >>> import jax
        >>> from jaxlosses import balance
        >>> balancer = balance.rlw()
        >>> state = balancer.init(["seg", "depth"])
        >>> weights, state = balancer.update({"seg": 2.0, "depth": 1.0}, state, jax.random.key(0))
        >>> round(float(weights["seg"] + weights["depth"]), 4)
        1.0

    Reference:
        Lin et al., Reasonable Effectiveness of Random Weighting, 2022, arXiv:2111.10603.
    """

    def init(names: Iterable[str]) -> RLWState:
        terms = sorted_names("rlw", names)
        return RLWState(to_dict(terms, jnp.full(len(terms), 1 / len(terms), jnp.float32)))

    def update(losses: Scalars, state: RLWState, key: Array) -> tuple[dict[str, Array], RLWState]:
        current = finite_vector("rlw", "losses", losses, state.weights)
        weights = to_dict(state.weights, jax.nn.softmax(jax.random.normal(key, current.shape, jnp.float32)))
        return weights, RLWState(weights)

    return Balancer(init, update)
