"""The truth about classes, as ids or as distributions, behind one form: the expected cost under them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core.numerics import multiply_inf_safe, nan_unless, replace_posinf


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """One class id, or one distribution over the classes, for each row; `axis` is the class axis of the scores.

    An id that is none of 0 .. num_classes-1 makes the cost of its row NaN, *and its gradient*, whatever the cost is.
    """

    axis: int
    num_classes: int
    ids: Int[Array, "..."] | None
    distributions: Float[Array, "..."] | None

    def expected_cost(
        self, cost: Callable[..., Array], *arrays: Array, weights: Array | None = None
    ) -> Float[Array, "..."]:
        """Σ_k w_k t_k cost(...)_k, where the arrays broadcast over the class axis; w is 1 for None.

        For ids only the labelled class's entry of each array is looked up: nothing as large as the logits is made.
        """
        if self.distributions is not None:
            # 0 · inf = 0 for the classes that are out. A select would do, but XLA's CPU reductions do not fuse one.
            t = self.distributions if weights is None else weights * self.distributions
            return jnp.sum(t * replace_posinf(cost(*arrays)), self.axis)
        assert self.ids is not None
        in_range = (self.ids >= 0) & (self.ids < self.num_classes)
        ids = jnp.clip(self.ids, 0, self.num_classes - 1)
        looked_up = cost(*(self._look_up(array, ids) for array in arrays))
        if weights is not None:
            looked_up = multiply_inf_safe(self._look_up(weights, ids), looked_up)
        return nan_unless(in_range, looked_up)

    def dense(self, dtype: Any) -> Float[Array, "..."]:
        """Distributions, one-hot for ids."""
        if self.distributions is not None:
            return self.distributions
        assert self.ids is not None
        in_range = (self.ids >= 0) & (self.ids < self.num_classes)
        return jnp.where(
            jnp.expand_dims(in_range, self.axis), _one_hot(self.ids, self.num_classes, self.axis).astype(dtype), jnp.nan
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
    chosen = jnp.where(_one_hot(ids, array.shape[axis], axis), tangent, 0)
    return pick(array, ids, axis), jnp.sum(chosen, axis)


def _one_hot(ids: Array, classes: int, axis: int) -> Bool[Array, "..."]:
    index = jnp.expand_dims(ids, axis)
    shape = (*index.shape[:axis], classes, *index.shape[axis + 1 :])
    return jax.lax.broadcasted_iota(ids.dtype, shape, axis) == index
