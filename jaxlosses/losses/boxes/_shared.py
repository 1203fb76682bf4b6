"""What the box losses share: checked inputs, registration, and example boxes."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.masks import LossMask
from jaxlosses.core.types import ArrayLike
from jaxlosses.losses.boxes.iou import Box
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
    example_inputs=_example,
)


def prepare_boxes(
    loss: str, boxes: ArrayLike, targets: ArrayLike, where: ArrayLike | None, sample_weights: ArrayLike | None
) -> tuple[Box, Box, LossMask]:
    """Check, convert and mask two arrays of boxes, aligned in pairs."""
    a, b, mask = checks.prepare_same_shape(loss, where, sample_weights, consumed=-1, boxes=boxes, targets=targets)
    return unstack_corners(loss, "boxes", a), unstack_corners(loss, "targets", b), mask


def unstack_corners(loss: str, argument: str, array: Float[Array, "..."]) -> Box:
    """The coordinates, once each: an index for every use would cost a padded array each in the gradient."""
    if array.shape[-1:] != (4,):
        raise ValueError(f"{loss}: {argument} {array.shape} must end in an axis of 4: x1, y1, x2, y2")
    box = Box(*jnp.unstack(array, axis=-1))
    checks.check_values(
        loss,
        argument,
        lambda: (box.width >= 0) & (box.height >= 0),
        "have x2 >= x1 and y2 >= y1 (not x, y, w, h)",
    )
    return box
