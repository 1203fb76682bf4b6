"""What the losses and metrics of segmentation masks share: checked inputs, and sums over pixels.

    x = prepare_masks(...)               predictions and targets, with 0 where masked
    pixels = make_pixel_reduction(x)     which pixels are summed together, and which classes count
    pixels.sum(...)                      sums over pixels, of which a loss makes its values
    pixels.sum_targets(x, ...)           those that only pixels of the class add to: class ids need no one-hot array
    pixels.average_classes(values)       their mean over the classes; `pixels.mask` is the mask of that

Which shapes these have depends on the options:

                       sums                values
    macro average      (batch, classes)    (batch,)
    per_class          (batch, classes)    (batch, classes)
    micro average      (batch,)            (batch,)
    class_axis=None    (batch,)            (batch,)

With `per_image=False` the batch is summed over like the pixels, and its axis is missing in both.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core import collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.errors import one_of
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import abs_zero_grad, nan_unless, safe_divide, safe_log
from jaxlosses.core.types import ArrayLike
from jaxlosses.losses.segmentation._class_ids import sum_by_class
from jaxlosses.losses.segmentation._mask_inputs import MaskInputs, prepare_masks
from jaxlosses.registry import register


def _example_inputs(key: Array) -> tuple[Array, Array]:
    probabilities_key, targets_key = jax.random.split(key)
    probabilities = jax.nn.softmax(jax.random.normal(probabilities_key, (4, 3, 2, 3)))
    return probabilities, jax.random.randint(targets_key, (4, 3, 2), 0, 3)


register_mask_loss = functools.partial(
    register,
    family="segmentation",
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
    input_kind="pixels",
    num_event_axes=1,
    domain=("probabilities", "[0, 1] or class ids"),
    minimum=0.0,
    may_reduce_batch=True,
    example_inputs=_example_inputs,
)


@dataclasses.dataclass(frozen=True, eq=False)
class PixelReduction:
    """Sums over pixels, and what becomes of the classes; the top of this module has the shapes.

    Attributes:
        mask: the mask of the loss's values, for `reduce`.
        axes: the axes that are summed over: space, and the batch unless there is a value per image.
        axis_name: of the devices that are summed over as well.
        weights: what each pixel counts for, to be broadcast; None for 1.
        class_indices: the classes that are selected; None for all.
        present_classes: which of them are in the targets, in the shape of the sums per class; None if all count.
        average: `"macro"`, `"micro"`, or None where values stay per class, or there is one class.
    """

    mask: LossMask
    axes: tuple[int, ...]
    axis_name: AxisName | None
    weights: Float[Array, "..."] | None
    class_indices: tuple[int, ...] | None
    present_classes: Bool[Array, "..."] | None
    average: str | None

    def sum(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The sum of `x` over the pixels; with `"micro"` over the classes that count as well."""
        sums = _sum_by_class(x, self.axes, self.axis_name, self.weights, self.class_indices)
        return self._sum_classes(sums) if self.average == "micro" else sums

    def sum_targets(self, x: MaskInputs, f: Callable[[Any, Any], Any]) -> Float[Array, "..."]:
        """The sum of `f(p, g)`, which is 0 at g = 0, over the pixels: for class ids without a one-hot array."""
        sums = _sum_targets(x, f, self.axes, self.axis_name, self.weights, self.class_indices)
        return self._sum_classes(sums) if self.average == "micro" else sums

    def average_classes(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """The mean over the classes that count, with `"macro"`; else the values as they are."""
        if self.average != "macro":
            return values
        if self.present_classes is None:
            return jnp.mean(values, axis=-1)
        number = jnp.sum(self.present_classes, axis=-1).astype(values.dtype)
        return safe_divide(self._sum_classes(values), number)

    def flatten(self, x: Array) -> Array:
        """`x` in the shape of the sums per class, with one more axis, the last, of the pixels that are summed."""
        others = [axis for axis in range(x.ndim) if axis not in self.axes]
        shape = [x.shape[axis] for axis in others]
        x = x.transpose(*others, *self.axes)
        x = x.reshape(*shape, math.prod(x.shape[len(shape) :]))
        return x if self.class_indices is None else x[..., np.array(self.class_indices), :]

    def _sum_classes(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.sum(x if self.present_classes is None else jnp.where(self.present_classes, x, 0), axis=-1)


def make_pixel_reduction(
    x: MaskInputs,
    *,
    classes: str | Sequence[int] = "all",
    include_background: bool = True,
    average: str = "macro",
    per_class: bool = False,
    per_image: bool = True,
    axis_name: AxisName | None = None,
) -> PixelReduction:
    """Check the options of a loss, and make of them what is summed; an image or a batch without pixels is masked."""
    loss = x.mask.loss
    one_of(loss, "average", average, ("macro", "micro"))
    if average == "micro" and per_class:
        raise ValueError(f"{loss}: average='micro' pools the classes, so there is no value per_class; leave one out")
    if not per_image:
        collectives.check_axis_name(loss, axis_name)
    elif axis_name is not None and axis_name != ():
        raise ValueError(f"{loss}: axis_name={axis_name!r} pools the batches of devices, which needs per_image=False")
    indices = _select_classes(x, classes, include_background, average)
    axes = tuple(axis for axis in range(1 if per_image else 0, x.predictions.ndim) if axis != x.class_axis)
    mask, pixel_weights = _mask_of_values(x, per_image, axis_name)
    shape = x.predictions.shape[:1] if per_image else ()
    if x.class_axis is not None and per_class:
        shape = (*shape, x.predictions.shape[x.class_axis] if indices is None else len(indices))
    mask = mask._replace(shape=shape)
    present = None
    if classes == "present":
        # Not "> 0": a class id out of range makes NaN of a sum, which has to reach the value.
        present = _sum_targets(x, lambda p, g: g, axes, axis_name, pixel_weights, indices) != 0
        if per_class:
            mask = mask._replace(where=None if mask.where is None else mask.where[..., None]).restrict(present)
        else:
            mask = mask.restrict(jnp.any(present, axis=-1))
    is_averaged = x.class_axis is not None and not per_class
    return PixelReduction(mask, axes, axis_name, pixel_weights, indices, present, average if is_averaged else None)


def prepare_regions(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    *,
    probabilities: ArrayLike,
    targets: ArrayLike,
    activation: str | None,
    class_axis: int | None,
    ignore_label: int | None,
    **options: Any,
) -> tuple[MaskInputs, PixelReduction]:
    """The inputs and the sums of a loss of regions; `options` are those of `make_pixel_reduction`."""
    x = prepare_masks(
        loss,
        where,
        sample_weights,
        probabilities=probabilities,
        targets=targets,
        activation=activation,
        class_axis=class_axis,
        ignore_label=ignore_label,
    )
    return x, make_pixel_reduction(x, **options)


def _sum_by_class(
    x: Float[Array, "..."],
    axes: tuple[int, ...],
    axis_name: AxisName | None,
    pixel_weights: Float[Array, "..."] | None,
    class_indices: tuple[int, ...] | None,
) -> Float[Array, "..."]:
    sums = collectives.psum(jnp.sum(x if pixel_weights is None else x * pixel_weights, axis=axes), axis_name)
    return sums if class_indices is None else sums[..., np.array(class_indices)]


def _sum_targets(
    x: MaskInputs,
    f: Callable[[Any, Any], Any],
    axes: tuple[int, ...],
    axis_name: AxisName | None,
    pixel_weights: Float[Array, "..."] | None,
    class_indices: tuple[int, ...] | None,
) -> Float[Array, "..."]:
    if not x.has_class_ids:
        return _sum_by_class(f(x.predictions, x.targets), axes, axis_name, pixel_weights, class_indices)
    assert x.class_axis is not None
    assert x.labels is not None
    assert x.labels.ids is not None
    (p,), num_classes, ids = x.labels.select(x.predictions), x.labels.num_classes, x.labels.ids
    in_range = nan_unless((ids >= 0) & (ids < num_classes), jnp.ones_like(p))
    values = masked(f(p, jnp.ones((), p.dtype)) * in_range, x.mask.where)
    if pixel_weights is not None:
        values = values * jnp.squeeze(pixel_weights, x.class_axis)
    per_image = 0 not in axes
    sums = sum_by_class(values, jnp.clip(ids, 0, num_classes - 1), num_classes, per_image=per_image)
    # An id that is out of range makes NaN of all classes.
    faults = jnp.sum(masked(0 * in_range, x.mask.where), axis=tuple(range(1 if per_image else 0, p.ndim)))
    sums = collectives.psum(sums + jnp.expand_dims(faults, -1), axis_name)
    return sums if class_indices is None else sums[..., np.array(class_indices)]


def _mask_of_values(
    x: MaskInputs, per_image: bool, axis_name: AxisName | None
) -> tuple[LossMask, Float[Array, "..."] | None]:
    """The mask of a value per image, or of one value for the batch; and the weights that act inside the sums."""
    where, weights = x.mask.where, x.mask.sample_weights
    image_weights = pixel_weights = None
    if weights is not None and (x.has_pixel_weights or not per_image):
        where = x.mask.restrict(weights != 0).where
        pixel_weights = weights if x.class_axis is None else jnp.expand_dims(weights, x.class_axis)
    elif weights is not None:
        image_weights = weights.reshape(-1)
    return LossMask(x.mask.loss, _has_pixels(where, x.predictions, per_image, axis_name), image_weights), pixel_weights


def _has_pixels(
    where: Bool[Array, "..."] | None, predictions: Array, per_image: bool, axis_name: AxisName | None
) -> Bool[Array, "..."] | None:
    """Whether an image, or the batch, has a pixel that counts; None if all have."""
    if where is None and predictions.size:
        return None
    where = jnp.zeros(predictions.shape[:1], bool) if where is None else where
    return collectives.any_true(jnp.any(where, axis=tuple(range(1 if per_image else 0, where.ndim))), axis_name)


def _select_classes(
    x: MaskInputs, classes: str | Sequence[int], include_background: bool, average: str
) -> tuple[int, ...] | None:
    """The indices of the classes that the options name; None for all."""
    loss = x.mask.loss
    if x.class_axis is None:
        if not (isinstance(classes, str) and classes == "all" and include_background and average == "macro"):
            raise ValueError(
                f"{loss}: classes=, include_background= and average= need a class axis, got class_axis=None; "
                "to leave out images, use where="
            )
        return None
    size = x.predictions.shape[x.class_axis]
    if isinstance(classes, str):
        if classes not in ("all", "present"):
            raise ValueError(f"{loss}: classes must be 'all', 'present' or a list of class ids, got {classes!r}")
        if include_background:
            return None
        classes = range(size)
    indices = tuple(operator.index(k) for k in classes if include_background or k != 0)
    if not indices or not all(0 <= k < size for k in indices):
        raise ValueError(
            f"{loss}: classes={classes!r} with include_background={include_background} must leave some of the "
            f"class ids 0 to {size - 1}"
        )
    return indices


def sum_intersection(x: MaskInputs, pixels: PixelReduction, soft_labels: bool) -> Float[Array, "..."]:
    """The true positives: the sum of p g, or of min(p, g) with `soft_labels`."""
    if not soft_labels:
        return pixels.sum_targets(x, lambda p, g: p * g)
    if x.has_class_ids:  # min(p, 0) is 0, but has a gradient at p = 0
        rest = pixels.sum(_soft_minimum(x.predictions, 0.0))
        return rest + pixels.sum_targets(x, lambda p, g: _soft_minimum(p, g) - _soft_minimum(p, 0.0))
    return pixels.sum(_soft_minimum(x.predictions, x.targets))


def _soft_minimum(p: Float[Array, "..."], g: Any) -> Float[Array, "..."]:
    """min(p, g) with the mean of both gradients where p = g."""
    # Pixel by pixel, and not from the sums of |p|, |g| and |p - g|: without an overlap it is exactly 0.
    return (p + g - abs_zero_grad(p - g)) / 2


def to_loss(coefficient: Float[Array, "..."], log: bool) -> Float[Array, "..."]:
    """1 minus a coefficient in [0, 1], or minus its logarithm: +inf with zero gradient at 0."""
    return -safe_log(coefficient) if log else 1 - coefficient
