"""Class ids or distributions, behind one form: the expected cost of a class under the label."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core.numerics import multiply_inf_safe, nan_unless, no_slope_if_inf


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """One class id, or one distribution over the classes, for each row; `axis` is the class axis of the scores.

    A loss computes a cost from what `select` leaves of its arrays, and `expected_cost` weighs it. With scores of shape
    (..., C):

                       class ids (...)                           distributions (..., C)
        select         (...): the labelled class's entry         (..., C): the arrays as they are
        expected_cost  (...): the cost itself                    (...): Σ_k t_k cost_k

    So nothing as large as the scores is made for class ids. An id that is none of 0 .. num_classes-1 makes the cost of
    its row NaN, *and its gradient*, whatever the cost is.
    """

    axis: int
    num_classes: int
    ids: Int[Array, "..."] | None
    distributions: Float[Array, "..."] | None

    @property
    def clipped_ids(self) -> Int[Array, "..."]:
        """The ids, moved into range."""
        assert self.ids is not None
        return jnp.clip(self.ids, 0, self.num_classes - 1)

    def select(self, *arrays: Array | None) -> list[Any]:
        """Of each array what the labels point to; arrays broadcast over the class axis, and None stays None."""
        if self.ids is None:
            return list(arrays)
        return [None if array is None else self._look_up(array, self.clipped_ids) for array in arrays]

    def expected_cost(self, cost: Float[Array, "..."], weights: Array | None = None) -> Float[Array, "..."]:
        """Σ_k w_k t_k cost_k, for a cost (and weights) made of what `select` returned; w is 1 for None.

        An infinite cost counts nothing where w t is 0; elsewhere it makes the row infinite, with zero gradient.
        """
        if self.distributions is not None:
            t = self.distributions if weights is None else weights * self.distributions
            return no_slope_if_inf(jnp.sum(multiply_inf_safe(t, cost), self.axis))
        assert self.ids is not None
        if weights is not None:
            cost = multiply_inf_safe(weights, cost)
        return nan_unless((self.ids >= 0) & (self.ids < self.num_classes), no_slope_if_inf(cost))

    def dense(self, dtype: Any) -> Float[Array, "..."]:
        """Distributions, one-hot for ids."""
        if self.distributions is not None:
            return self.distributions
        assert self.ids is not None
        in_range = (self.ids >= 0) & (self.ids < self.num_classes)
        return jnp.where(
            jnp.expand_dims(in_range, self.axis), one_hot(self.ids, self.num_classes, self.axis).astype(dtype), jnp.nan
        )

    def _look_up(self, array: Array, ids: Array) -> Array:
        if array.shape[self.axis] == 1:
            return jnp.squeeze(array, self.axis)
        if array.size == self.num_classes:
            return array.ravel()[ids]
        return pick(array, ids, self.axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def pick(array: Array, ids: Array, axis: int) -> Array:
    """The entry of each row that its id points to."""
    index = jnp.expand_dims(ids, axis)
    return jnp.squeeze(jnp.take_along_axis(array, index, axis, mode="promise_in_bounds"), axis)


@pick.defjvp
def _pick_jvp(axis: int, primals: tuple[Array, Any], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    # A select instead of a second gather: transposed it is elementwise, where a gather would scatter (slow on TPU).
    (array, ids), (tangent, _) = primals, tangents
    chosen = jnp.where(one_hot(ids, array.shape[axis], axis), tangent, 0)
    return pick(array, ids, axis), jnp.sum(chosen, axis)


def one_hot(ids: Array, classes: int, axis: int) -> Bool[Array, "..."]:
    """Whether a class is the one that the id of its row points to."""
    index = jnp.expand_dims(ids, axis)
    shape = (*index.shape[:axis], classes, *index.shape[axis + 1 :])
    return jax.lax.broadcasted_iota(ids.dtype, shape, axis) == index
