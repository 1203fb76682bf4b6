"""Pixels in, sums over regions out: the machinery that the losses and metrics of masks share.

A region is what one number is about: an image and a class; with `batch` all images and a class; with
`average="micro"` an image and all its classes. Sums over a region make a coefficient, which `over_classes` averages
over the classes that count.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from jaxlosses.core import checks
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import log_softmax_from_parts, logsumexp_parts, safe_divide
from jaxlosses.core.types import ArrayLike
from jaxlosses.registry import register


def _example(key: Array) -> tuple[Array, Array]:
    probabilities_key, targets_key = jax.random.split(key)
    probabilities = jax.nn.softmax(jax.random.normal(probabilities_key, (4, 3, 2, 3)))
    return probabilities, jax.random.randint(targets_key, (4, 3, 2), 0, 3)


register_masks = functools.partial(
    register,
    family="segmentation",
    input_kind="pixels",
    num_event_axes=1,
    domain=("probabilities", "[0, 1] or class ids"),
    minimum=0.0,
    may_reduce_batch=True,
    example_inputs=_example,
)


class Pixels(NamedTuple):
    """Predictions and truth with 0 where masked; which pixels count, and how much."""

    p: Float[Array, "..."]
    g: Float[Array, "..."]
    loss_mask: LossMask
    class_axis: int | None
    weigh_pixels: bool  # the sample weights are of pixels, not of images

    @property
    def inside(self) -> Float[Array, "..."]:
        """1, and 0 where masked."""
        return masked(jnp.ones_like(self.p), self.loss_mask.where, self.class_axis)


def pixels(
    loss: str,
    predictions: ArrayLike,
    truth: ArrayLike,
    activation: str | None,
    class_axis: int | None,
    ignore_label: int | None,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None = None,
    names: tuple[str, str] = ("probabilities", "targets"),
) -> Pixels:
    """Take in predictions, which are probabilities unless they are named logits, and the truth."""
    first, second = names
    arrays: dict[str, Any] = {first: predictions, second: truth}
    if class_axis is None:
        counted = None if ignore_label is None else checks.to_array(loss, second, truth) != ignore_label
        p, g, loss_mask = checks.prepare_same_shape(loss, where, sample_weights, extra_where=counted, **arrays)
    else:
        p, labels, loss_mask = checks.prepare_scores_and_labels(
            loss, where, sample_weights, axis=class_axis, ignore_label=ignore_label, **arrays
        )
        if labels.ids is not None and labels.num_classes == 1:
            raise ValueError(f"{loss}: class ids need more than one class; did you mean {second}[..., None]?")
        g = labels.dense(p.dtype)
        class_axis %= p.ndim
    if p.ndim < 2 or class_axis == 0:
        form = "(batch, *space)" if class_axis is None else "(batch, *space, classes), or class_axis=None"
        raise ValueError(f"{loss}: {first} {p.shape} must be {form}")
    if activation == "softmax" and class_axis is not None:  # a pixel whose classes are all taken out is gone
        loss_mask = loss_mask.restrict(jnp.max(p, class_axis) != -jnp.inf)
    # Activated zeros and one-hot zeros are not 0: a masked pixel has neither prediction nor truth.
    p = masked(_activate(loss, p, activation, class_axis), loss_mask.where, class_axis)
    g = masked(g, loss_mask.where, class_axis)
    if first != "logits":
        checks.check_probabilities(loss, first, p)
    checks.check_probabilities(loss, second, g)
    return Pixels(p, g, loss_mask, class_axis, sample_weights is not None and np.ndim(sample_weights) > 1)


def _activate(loss: str, x: Float[Array, "*s"], activation: str | None, class_axis: int | None) -> Float[Array, "*s"]:
    if activation is None:
        return x
    if activation == "sigmoid":
        return jax.nn.sigmoid(x)
    if activation != "softmax":
        raise ValueError(f"{loss}: activation must be None, 'sigmoid' or 'softmax', got {activation!r}")
    if class_axis is None:
        raise ValueError(f"{loss}: activation='softmax' needs a class axis; did you mean 'sigmoid'?")
    return jnp.exp(log_softmax_from_parts(x, *logsumexp_parts(x, class_axis)))


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
    """What every number is about; their shape is (images, classes), without what is pooled or not there."""

    shape: tuple[int, ...]  # before classes are pooled
    batch: bool  # all images are one region
    axis_name: Hashable | None  # of devices whose images are in that region too
    class_axis: int | None
    chosen: tuple[int, ...] | None  # classes; None for all
    micro: bool  # all classes are one region
    weights: Float[Array, "..."] | None  # of pixels
    loss_mask: LossMask  # of images, or of the batch
    counted: Bool[Array, "..."] | None = None  # classes that are in the truth; None to count all

    def total(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The sum of `x` over each region."""
        sums = self.by_class(x)
        if not self.micro:
            return sums
        return jnp.sum(sums if self.counted is None else jnp.where(self.counted, sums, 0), axis=-1)

    def by_class(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The sum of `x` over the pixels, whatever becomes of the classes."""
        space = tuple(axis for axis in range(0 if self.batch else 1, x.ndim) if axis != self.class_axis)
        sums = jnp.sum(x if self.weights is None else x * self.weights, axis=space)
        if self.axis_name is not None:
            sums = jax.lax.psum(sums, self.axis_name)
        return sums if self.chosen is None else sums[..., np.array(self.chosen)]

    def rows(self, x: Array) -> Array:
        """`x` with the pixels of each region along a last axis."""
        if self.class_axis is not None:
            x = jnp.moveaxis(x, self.class_axis, 0)
            x = x if self.chosen is None else x[np.array(self.chosen)]
            x = x if self.batch else jnp.moveaxis(x, 0, 1)
        return x.reshape(*self.shape, math.prod(x.shape[len(self.shape) :]))

    def over_classes(self, values: Float[Array, "..."], per_class: bool) -> tuple[Float[Array, "..."], LossMask]:
        """The mean over the classes that count, or all of them if `per_class`; and what is kept of that."""
        one_class = self.class_axis is None or self.micro
        loss_mask = self.loss_mask._replace(shape=self.shape if per_class else self.shape[: 0 if self.batch else 1])
        if self.counted is None:
            return values if per_class or one_class else jnp.mean(values, axis=-1), loss_mask
        if per_class:
            of_classes = None if loss_mask.where is None else loss_mask.where[..., None]
            return values, loss_mask._replace(where=of_classes).restrict(self.counted)
        loss_mask = loss_mask.restrict(jnp.any(self.counted, axis=-1))
        if one_class:
            return values, loss_mask
        number = jnp.sum(self.counted, axis=-1).astype(values.dtype)
        return safe_divide(jnp.sum(jnp.where(self.counted, values, 0), axis=-1), number), loss_mask


def split(
    x: Pixels,
    classes: str | Sequence[int] = "all",
    include_background: bool = True,
    average: str = "macro",
    per_class: bool = False,
    batch: bool = False,
    axis_name: Hashable | None = None,
) -> Regions:
    """Which pixels make a number together; an image, or a batch, without any is masked."""
    loss, weights, loss_mask = x.loss_mask.loss, x.loss_mask.sample_weights, x.loss_mask
    if average not in ("macro", "micro"):
        raise ValueError(f"{loss}: average must be 'macro' or 'micro', got {average!r}")
    if average == "micro" and per_class:
        raise ValueError(f"{loss}: average='micro' pools the classes, so there is no value per_class; leave one out")
    if axis_name is not None and not batch:
        raise ValueError(
            f"{loss}: axis_name={axis_name!r} pools the batches of devices, which needs batch=True (or per_image=False)"
        )
    if weights is not None and (x.weigh_pixels or batch):
        loss_mask = loss_mask.restrict(weights != 0)
        of_pixels = weights if x.class_axis is None else jnp.expand_dims(weights, x.class_axis)
        of_images = None
    else:
        of_pixels, of_images = None, None if weights is None else weights.reshape(-1)
    chosen = _choose(x, classes, include_background, average)
    numbers = () if x.class_axis is None else (x.p.shape[x.class_axis] if chosen is None else len(chosen),)
    result = Regions(
        shape=numbers if batch else x.p.shape[:1] + numbers,
        batch=batch,
        axis_name=axis_name,
        class_axis=x.class_axis,
        chosen=chosen,
        micro=average == "micro",
        weights=of_pixels,
        loss_mask=LossMask(loss, _any(loss_mask.where, x.p, batch, axis_name), of_images),
    )
    if classes != "present":
        return result
    # Not "> 0": the NaN of a class id out of range must be heard.
    return dataclasses.replace(result, counted=result.by_class(x.g) != 0)


def _any(mask: Bool[Array, "..."] | None, p: Array, batch: bool, axis_name: Hashable | None) -> Array | None:
    """Whether a region has pixels."""
    if mask is None and p.size:
        return None
    mask = jnp.zeros(p.shape[:1], bool) if mask is None else mask
    found = jnp.any(mask, axis=tuple(range(0 if batch else 1, mask.ndim)))
    return found if axis_name is None else jax.lax.psum(found.astype(jnp.int32), axis_name) > 0


def _choose(x: Pixels, classes: str | Sequence[int], include_background: bool, average: str) -> tuple[int, ...] | None:
    loss = x.loss_mask.loss
    if x.class_axis is None:
        if not (isinstance(classes, str) and classes == "all" and include_background and average == "macro"):
            raise ValueError(
                f"{loss}: classes=, include_background= and average= need a class axis, got class_axis=None; "
                "to leave out images, use where="
            )
        return None
    size = x.p.shape[x.class_axis]
    if isinstance(classes, str):
        if classes not in ("all", "present"):
            raise ValueError(f"{loss}: classes must be 'all', 'present' or a list of class ids, got {classes!r}")
        if include_background:
            return None
        classes = range(size)
    chosen = tuple(operator.index(k) for k in classes if include_background or k != 0)
    if not chosen or not all(0 <= k < size for k in chosen):
        raise ValueError(
            f"{loss}: classes={classes!r} with include_background={include_background} must leave some of the "
            f"class ids 0 to {size - 1}"
        )
    return chosen
