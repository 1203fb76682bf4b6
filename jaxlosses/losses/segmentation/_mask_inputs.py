"""Predicted and true segmentation masks: checked, masked, and as probabilities."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.labels import Labels
from jaxlosses.core.masks import LossMask, align, masked
from jaxlosses.core.softmax import check_classes
from jaxlosses.core.types import ArrayLike
from jaxlosses.losses.segmentation._class_ids import softmax


@dataclasses.dataclass(frozen=True, eq=False)
class MaskInputs:
    """Predicted and true segmentation masks of one shape, checked.

    Attributes:
        predictions: probabilities or logits, with 0 where masked.
        labels: class ids or distributions; None for masks of one class.
        mask: which pixels count, and how much.
        class_axis: counted from the front; None for masks of one class.
        has_pixel_weights: whether the sample weights are of pixels, and not of images.
        binary_targets: numbers in [0, 1], with 0 where masked, for masks of one class.
    """

    predictions: Float[Array, "..."]
    labels: Labels | None
    mask: LossMask
    class_axis: int | None
    has_pixel_weights: bool
    binary_targets: Float[Array, "..."] | None = None

    @property
    def has_class_ids(self) -> bool:
        """Whether the targets came as class ids."""
        return self.labels is not None and self.labels.ids is not None

    @functools.cached_property
    def targets(self) -> Float[Array, "..."]:
        """Numbers in [0, 1], one-hot for class ids; with 0 where masked."""
        if self.binary_targets is not None:
            return self.binary_targets
        assert self.labels is not None
        return masked(self.labels.dense(self.predictions.dtype), self.mask.where, self.class_axis)

    @property
    def valid(self) -> Float[Array, "..."]:
        """1, and 0 where masked; it broadcasts to the predictions."""
        where, ndim = self.mask.where, self.predictions.ndim
        if where is None:
            return jnp.ones((1,) * ndim, self.predictions.dtype)
        pixels = align(where, ndim - (self.class_axis is not None)).astype(self.predictions.dtype)
        return pixels if self.class_axis is None else jnp.expand_dims(pixels, self.class_axis)


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
    labels, binary = None, None
    if class_axis is None:
        given = checks.to_array(loss, second, arrays[second])
        shape = checks.to_array(loss, first, arrays[first]).shape
        if given.shape == shape[:-1] and shape[-1:] > (1,):
            raise ValueError(
                f"{loss}: {first} {shape} and {second} {given.shape} must have equal shapes if class_axis=None; for "
                "class ids, did you mean class_axis=-1?"
            )
        not_ignored = None if ignore_label is None else checks.differs(given, ignore_label)
        p, binary, mask = checks.prepare_same_shape(loss, where, sample_weights, extra_where=not_ignored, **arrays)
    else:
        p, labels, mask = checks.prepare_scores_and_labels(
            loss, where, sample_weights, axis=class_axis, axis_keyword="class_axis", ignore_label=ignore_label, **arrays
        )
        class_axis %= p.ndim
        if labels.ids is not None and labels.num_classes == 1:
            index = ", ".join("0" if axis == class_axis else ":" for axis in range(class_axis + 1))
            raise ValueError(
                f"{loss}: class ids need more than one class, and {first} {p.shape} have one; for masks of one class, "
                f"use class_axis=None with {first}[{index if class_axis < p.ndim - 1 else '..., 0'}]"
            )
    if p.ndim < 2 or class_axis == 0:
        form = "(batch, *space)" if class_axis is None else "(batch, *space, classes), or class_axis=None"
        raise ValueError(f"{loss}: {first} {p.shape} must be {form}")
    has_weights = sample_weights is not None and np.ndim(sample_weights) > 1
    x = _activated(MaskInputs(p, labels, mask, class_axis, has_weights, binary), activation)
    if first != "logits":
        checks.check_probabilities(loss, first, x.predictions)
    if not x.has_class_ids:
        checks.check_probabilities(loss, second, x.targets)
    return x


def _activated(x: MaskInputs, activation: str | None) -> MaskInputs:
    """The inputs with probabilities in the place of logits, and again 0 where masked."""
    p = _activate(x.mask.loss, x.predictions, activation, x.class_axis)
    if activation is None:
        return x
    if x.mask.where is not None:
        p = p * x.valid  # a product, which XLA's CPU compiler fuses: what is masked is finite here
    mask = x.mask
    if activation == "softmax" and x.class_axis is not None:
        check_classes(mask.loss, "probabilities", x.predictions, x.class_axis)
        mask = mask.with_classes(x.predictions, x.class_axis)
    return dataclasses.replace(x, predictions=p, mask=mask)


def _activate(loss: str, x: Float[Array, "*s"], activation: str | None, class_axis: int | None) -> Float[Array, "*s"]:
    one_of(loss, "activation", activation, (None, "sigmoid", "softmax"))
    if activation is None:
        return x
    if activation == "sigmoid":
        return jax.nn.sigmoid(x)
    if class_axis is None:
        raise ValueError(f"{loss}: activation='softmax' needs a class axis; did you mean 'sigmoid'?")
    return softmax(x, class_axis)
