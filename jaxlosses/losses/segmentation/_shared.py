"""What the losses and metrics of segmentation masks share: checked inputs, and sums over pixels.

    x = prepare_masks(...)               predictions and targets, with 0 where masked
    pixels = make_pixel_reduction(x)     which pixels are summed together, and which classes count
    pixels.sum(...)                      sums over pixels, of which a loss makes its values
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
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core import checks, collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.errors import one_of
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import abs_zero_grad, log_softmax_from_parts, logsumexp_parts, safe_divide, safe_log
from jaxlosses.core.softmax import check_classes
from jaxlosses.core.types import ArrayLike
from jaxlosses.registry import register


def _example_inputs(key: Array) -> tuple[Array, Array]:
    probabilities_key, targets_key = jax.random.split(key)
    probabilities = jax.nn.softmax(jax.random.normal(probabilities_key, (4, 3, 2, 3)))
    return probabilities, jax.random.randint(targets_key, (4, 3, 2), 0, 3)


register_mask_loss = functools.partial(
    register,
    family="segmentation",
    input_kind="pixels",
    num_event_axes=1,
    domain=("probabilities", "[0, 1] or class ids"),
    minimum=0.0,
    may_reduce_batch=True,
    example_inputs=_example_inputs,
)


class MaskInputs(NamedTuple):
    """Predicted and true segmentation masks of one shape, checked.

    Attributes:
        predictions: probabilities or logits, with 0 where masked.
        targets: numbers in [0, 1], one-hot for class ids; with 0 where masked.
        mask: which pixels count, and how much.
        class_axis: counted from the front; None for masks of one class.
        has_pixel_weights: whether the sample weights are of pixels, and not of images.
    """

    predictions: Float[Array, "..."]
    targets: Float[Array, "..."]
    mask: LossMask
    class_axis: int | None
    has_pixel_weights: bool

    @property
    def valid(self) -> Float[Array, "..."]:
        """1, and 0 where masked."""
        return masked(jnp.ones_like(self.predictions), self.mask.where, self.class_axis)


def prepare_masks(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None = None,
    *,
    class_axis: int | None,
    ignore_label: int | None,
    activation: str | None = None,
    **arrays: Any,
) -> MaskInputs:
    """Check, convert and mask predictions, which are probabilities unless they are named logits, and targets."""
    first, second = arrays
    if class_axis is None:
        not_ignored = None if ignore_label is None else checks.to_array(loss, second, arrays[second]) != ignore_label
        p, g, mask = checks.prepare_same_shape(loss, where, sample_weights, extra_where=not_ignored, **arrays)
    else:
        p, labels, mask = checks.prepare_scores_and_labels(
            loss, where, sample_weights, axis=class_axis, ignore_label=ignore_label, **arrays
        )
        if labels.ids is not None and labels.num_classes == 1:
            raise ValueError(f"{loss}: class ids need more than one class; did you mean {second}[..., None]?")
        g = labels.dense(p.dtype)
        class_axis %= p.ndim
    if p.ndim < 2 or class_axis == 0:
        form = "(batch, *space)" if class_axis is None else "(batch, *space, classes), or class_axis=None"
        raise ValueError(f"{loss}: {first} {p.shape} must be {form}")
    if activation == "softmax" and class_axis is not None:
        check_classes(loss, first, p, class_axis)
        mask = mask.with_classes(p, class_axis)
    # The activation of 0 is not 0, and neither is the one-hot form of class 0: a masked pixel is in neither mask.
    p = masked(_activate(loss, p, activation, class_axis), mask.where, class_axis)
    g = masked(g, mask.where, class_axis)
    if first != "logits":
        checks.check_probabilities(loss, first, p)
    checks.check_probabilities(loss, second, g)
    return MaskInputs(p, g, mask, class_axis, sample_weights is not None and np.ndim(sample_weights) > 1)


def _activate(loss: str, x: Float[Array, "*s"], activation: str | None, class_axis: int | None) -> Float[Array, "*s"]:
    one_of(loss, "activation", activation, (None, "sigmoid", "softmax"))
    if activation is None:
        return x
    if activation == "sigmoid":
        return jax.nn.sigmoid(x)
    if class_axis is None:
        raise ValueError(f"{loss}: activation='softmax' needs a class axis; did you mean 'sigmoid'?")
    return jnp.exp(log_softmax_from_parts(x, *logsumexp_parts(x, class_axis)))


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
        present = _sum_by_class(x.targets, axes, axis_name, pixel_weights, indices) != 0
        if per_class:
            mask = mask._replace(where=None if mask.where is None else mask.where[..., None]).restrict(present)
        else:
            mask = mask.restrict(jnp.any(present, axis=-1))
    is_averaged = x.class_axis is not None and not per_class
    return PixelReduction(mask, axes, axis_name, pixel_weights, indices, present, average if is_averaged else None)


def _sum_by_class(
    x: Float[Array, "..."],
    axes: tuple[int, ...],
    axis_name: AxisName | None,
    pixel_weights: Float[Array, "..."] | None,
    class_indices: tuple[int, ...] | None,
) -> Float[Array, "..."]:
    sums = collectives.psum(jnp.sum(x if pixel_weights is None else x * pixel_weights, axis=axes), axis_name)
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


def intersection(x: MaskInputs, soft_labels: bool) -> Float[Array, "..."]:
    """What each pixel adds to the true positives: p g, or min(p, g) with `soft_labels`."""
    # Pixel by pixel, and not from the sums of |p|, |g| and |p - g|: without an overlap it is exactly 0.
    p, g = x.predictions, x.targets
    return (p + g - abs_zero_grad(p - g)) / 2 if soft_labels else p * g


def to_loss(coefficient: Float[Array, "..."], log: bool) -> Float[Array, "..."]:
    """1 minus a coefficient in [0, 1], or minus its logarithm: +inf with zero gradient at 0."""
    return -safe_log(coefficient) if log else 1 - coefficient
