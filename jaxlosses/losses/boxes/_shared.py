"""What the box losses share: checked inputs, registration, and example boxes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.masks import LossMask
from jaxlosses.core.types import ArrayLike, Number
from jaxlosses.losses.boxes.iou import EXPENSIVE, Formula
from jaxlosses.losses.boxes.pair import Box, Pair
from jaxlosses.registry import register


def _example(key: Array) -> tuple[Array, Array]:
    """Boxes that mostly overlap."""
    corners_key, sides_key = jax.random.split(key)
    corners = jax.random.uniform(corners_key, (2, 5, 3, 2))
    sides = jax.random.uniform(sides_key, (2, 5, 3, 2), minval=0.5, maxval=1.5)
    boxes, targets = jnp.concatenate([corners, corners + sides], axis=-1)
    return boxes, targets


register_box_loss = functools.partial(
    register,
    family="boxes",
    input_kind="box",
    num_event_axes=1,
    domain=("boxes x1 y1 x2 y2", "boxes x1 y1 x2 y2"),
    minimum=0.0,
    homogeneous_degree=0,
    translation_invariant=True,
    example_inputs=_example,
)


def prepare_boxes(
    loss: str, boxes: ArrayLike, targets: ArrayLike, where: ArrayLike | None, sample_weights: ArrayLike | None
) -> tuple[Box, Box, LossMask]:
    """Check, convert and mask two arrays of boxes, aligned in pairs."""
    a, b, mask = checks.prepare_same_shape(
        loss, where, sample_weights, consumed=-1, origin=lower_corner, boxes=boxes, targets=targets
    )
    return unstack_corners(loss, "boxes", a), unstack_corners(loss, "targets", b), mask


@functools.partial(jax.jit, static_argnums=0)
def compare(formula: Formula, a: Box, b: Box, *parameters: Number | None) -> Any:
    """The formula of two arrays of boxes in pairs.

    Its gradient starts from the boxes again: all that is in between would be as many arrays as there are operations.
    """
    of_pair = lambda a, b, parameters: formula(Pair.of(a, b), *parameters)  # noqa: E731
    policy = jax.checkpoint_policies.save_only_these_names(EXPENSIVE)
    return jax.checkpoint(of_pair, policy=policy)(a, b, parameters)


def lower_corner(boxes: Array) -> Array:
    """x1, y1, x1, y1: what integer coordinates are counted from."""
    return boxes[..., np.arange(boxes.shape[-1]) % 2]


def unstack_corners(loss: str, argument: str, array: Float[Array, "..."]) -> Box:
    """The coordinates, once each: an index for every use would cost a padded array each in the gradient."""
    if array.shape[-1:] != (4,):
        raise ValueError(f"{loss}: {argument} {array.shape} must end in an axis of 4: x1, y1, x2, y2")
    box = Box(*_unstack(array))
    checks.check_values(
        loss,
        argument,
        lambda: (box.x2 >= box.x1) & (box.y2 >= box.y1),
        "have x2 >= x1 and y2 >= y1 (not x, y, w, h)",
    )
    return box


@jax.custom_jvp
def _unstack(array: Float[Array, "..."]) -> tuple[Array, ...]:
    return tuple(jnp.unstack(array, axis=-1))


# Its transpose puts the coordinates' gradients together by selects, which XLA's CPU compiler makes vector code of;
# a concatenation becomes a branch for each number.
@_unstack.defjvp
def _unstack_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    (array,), (tangent,) = primals, tangents
    positions = jnp.arange(array.shape[-1]).reshape((1,) * (array.ndim - 1) + (-1,))
    columns = tuple(jnp.sum(jnp.where(positions == i, tangent, 0), axis=-1) for i in range(array.shape[-1]))
    return _unstack(array), columns
