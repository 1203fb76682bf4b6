"""Which elements count, and how much: a mask and weights that line up with the leading axes of a loss's values."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


class LossMask(NamedTuple):
    """What `where` and `sample_weights` say, checked: `jaxlosses.core.checks` makes it, and `reduce` takes it.

    Attributes:
        loss: the name of the loss, for messages.
        where: which elements count; None for all.
        sample_weights: how much each of them counts; None for 1.
        shape: that the values must have; None for any that the two line up with.
    """

    loss: str
    where: Bool[Array, "..."] | None
    sample_weights: Float[Array, "..."] | None
    shape: tuple[int, ...] | None = None

    def restrict(self, where: Bool[Array, "..."]) -> "LossMask":
        """This mask, and `where` besides: an element counts if both say so."""
        return self._replace(where=where if self.where is None else self.where & where)

    def with_classes(self, logits: Float[Array, "..."], axis: int) -> "LossMask":
        """This mask without the rows of -inf alone: a row that has no class counts as masked."""
        return self.restrict(jnp.max(logits, axis) != -jnp.inf)


def masked(array: Array, where: Bool[Array, "..."] | None, consumed: int | None = None) -> Array:
    """`array` with 0 where `where`, which lacks the `consumed` axis, is False: before any arithmetic."""
    if where is None:
        return array
    where = align(where, array.ndim - (consumed is not None))
    return jnp.where(where if consumed is None else jnp.expand_dims(where, consumed), array, 0)


def align(mask: Array, ndim: int) -> Array:
    """Line `mask` up with the leading axes of an array of `ndim` axes."""
    return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))
