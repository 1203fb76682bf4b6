"""The Lovász losses: the Jaccard loss 1 - IoU, extended from hard masks to soft ones by its Lovász extension.

A prediction that is wrong in a set of pixels has the Jaccard loss J = 1 - I/U. Let each pixel have an error m >= 0, and
sort the pixels so that the largest errors come first. The extension weighs each error by the increment of J when that
pixel goes wrong after all those before it, which makes it convex in the errors:

    l = Σ_k m_k (J_k - J_{k-1})        J_k = 1 - I_k/U_k,  J_0 = 0, once the k worst pixels are wrong

With n pixels of the object, I_k is n less those of the object among the k worst, and U_k is n plus the others among
them. The increments need no difference of two numbers near 1:

    w / U_k                   for a pixel of the object, of weight w (1 unless there are weights of pixels)
    w / U_k · I_k / U_{k-1}   for one of the background; I/U is 1 where there is no object and nothing wrong yet

Where every error is 0 or 1, l is 1 - IoU exactly. It is piecewise linear in the errors, and its slopes are these
increments, so the order is a constant for derivatives: one sort, and none in the backward pass. Among equal errors any
order gives the same value.

Without an object l is the largest error. A masked pixel has error 0, so it comes last and adds nothing.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks, collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.masks import masked
from jaxlosses.core.numerics import abs_zero_grad, nan_unless, safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Reduced
from jaxlosses.losses.segmentation._shared import (
    MaskInputs,
    PixelReduction,
    make_pixel_reduction,
    prepare_masks,
    register_mask_loss,
)

__all__ = ["lovasz_hinge_loss", "lovasz_softmax_loss"]


def _hinge_example_inputs(key: Array) -> tuple[Array, Array]:
    logits_key, targets_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 3, 4)), jax.random.randint(targets_key, (4, 3, 4), 0, 2)


@register_mask_loss(
    "lovasz_hinge_loss",
    aliases=("lovasz_hinge",),
    citation="arXiv:1705.08790",
    num_event_axes=0,
    domain=("logits", "0 or 1"),
    example_inputs=_hinge_example_inputs,
)
def lovasz_hinge_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    per_image: bool = True,
    axis_name: AxisName | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Lovász hinge loss: a convex surrogate of the Jaccard loss for binary segmentation from logits.

        l = Σ_k m_k (J_k - J_{k-1}),   m = max(1 - z (2y - 1), 0), sorted so that the largest come first

    It is at least 1 - IoU of the mask z > 0, and 0 if and only if every margin z (2y - 1) is at least 1.

    Args:
        logits: z, `(batch, *space)`; above 0 for the object.
        targets: y, the same shape, 0 or 1; another is an error under `jaxlosses.checked`, and otherwise NaN.
        per_image: a value per image, as the paper has it; False for one value of all pixels of the batch, of shape ()
            and count 1, where weights of images weigh their pixels.
        axis_name: with `per_image=False` inside `shard_map` or `pmap`, the axis of devices whose pixels belong to the
            batch as well; `()` for the pixels of each device alone.
        ignore_label: a target whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. `jaxlosses.core.reduction`
            explains this and the next two.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)`, >= 0, or () with `per_image=False`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `axis_name` is given with `per_image`; inside `shard_map` also for
            `per_image=False` without `axis_name`.

    Example:
        >>> import jaxlosses as jl
        >>> jl.lovasz_hinge_loss([[1.2, -0.4, 0.3, -2.0]], [[1, 1, 0, 0]])
        Array([0.9167], dtype=float32)

    Reference:
        Berman, Rannen Triki and Blaschko, The Lovász-Softmax loss, 2018, arXiv:1705.08790.
    """
    x = prepare_masks(
        "lovasz_hinge_loss",
        where,
        sample_weights,
        logits=logits,
        targets=targets,
        class_axis=None,
        ignore_label=ignore_label,
    )
    pixels = make_pixel_reduction(x, per_image=per_image, axis_name=axis_name)
    errors = masked(jax.nn.relu(1 - x.predictions * (2 * x.targets - 1)), x.mask.where)
    return reduce(_lovasz_extension(errors, x, pixels), pixels.mask, reduction)


@register_mask_loss(
    "lovasz_softmax_loss",
    aliases=("lovasz_softmax",),
    citation="arXiv:1705.08790",
    domain=("probabilities", "class ids or one-hot"),
    depends_on_batch=True,
)
def lovasz_softmax_loss(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    per_image: bool = False,
    activation: str | None = None,
    class_axis: int | None = -1,
    classes: str | Sequence[int] = "present",
    include_background: bool = True,
    per_class: bool = False,
    axis_name: AxisName | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Lovász-Softmax loss: a surrogate of mean IoU for multi-class segmentation from probabilities.

        l_c = Σ_k m_k (J_k - J_{k-1}),   m = |1[y = c] - p_c|, sorted so that the largest come first

    All pixels of the batch are one mask, as in the paper, unless `per_image`.

    Args:
        probabilities: p, `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`, which is
            the Lovász-sigmoid loss; logits if `activation` is given.
        targets: y, `(batch, *space)`, class ids; or the shape of the probabilities, 0 or 1. Other numbers are an error
            under `jaxlosses.checked`, and otherwise NaN.
        per_image: a value per image instead of one of shape () and count 1, where weights of images weigh their pixels.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class, which always counts.
        classes: `"present"` for those in the targets (a batch, or an image, without any counts as masked), `"all"`, or
            class ids.
        include_background: False to leave out class 0.
        per_class: return a value per class, or per image *and* class, instead of their mean.
        axis_name: without `per_image` and inside `shard_map` or `pmap`, the axis of devices whose pixels belong to the
            batch as well; `()` for the pixels of each device alone.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. `jaxlosses.core.reduction`
            explains this and the next two.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        () in [0, 1], or `(batch,)` with `per_image`, and one more axis of classes if `per_class`; or what `reduction`
        makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or `axis_name` is given with
            `per_image`; inside `shard_map` also for a batch without `axis_name`.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> p = [[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]]
        >>> jl.lovasz_softmax_loss(p, [[0, 1, 2, 2, 1]])
        Array(0.5889, dtype=float32)

    Reference:
        Berman, Rannen Triki and Blaschko, The Lovász-Softmax loss, 2018, arXiv:1705.08790.
    """
    x = prepare_masks(
        "lovasz_softmax_loss",
        where,
        sample_weights,
        probabilities=probabilities,
        targets=targets,
        activation=activation,
        class_axis=class_axis,
        ignore_label=ignore_label,
    )
    if class_axis is None and classes == "present":  # the default; without it, false positives in empty images are free
        classes = "all"
    pixels = make_pixel_reduction(
        x,
        classes=classes,
        include_background=include_background,
        per_class=per_class,
        per_image=per_image,
        axis_name=axis_name,
    )
    values = _lovasz_extension(abs_zero_grad(x.targets - x.predictions), x, pixels)
    return reduce(pixels.average_classes(values), pixels.mask, reduction)


def _lovasz_extension(errors: Float[Array, "..."], x: MaskInputs, pixels: PixelReduction) -> Float[Array, "..."]:
    """Σ_k m_k (J_k - J_{k-1}), over all the pixels that `pixels` takes together."""
    is_binary = (x.targets == 0) | (x.targets == 1)
    checks.check_values(x.mask.loss, "targets", lambda: is_binary, "be 0 or 1")
    errors = pixels.flatten(nan_unless(is_binary, errors))
    weights = pixels.weights
    if weights is not None:
        weights = pixels.flatten(jnp.broadcast_to(weights, x.targets.shape))
    inputs = lax.stop_gradient(errors), pixels.flatten(x.targets == 1), weights
    last, size = errors.ndim - 1, errors.shape[-1]
    increments = _jaccard_increments(*collectives.all_gather(inputs, pixels.axis_name, axis=last))
    if increments.shape[-1] != size:  # of all devices, of which this one has some
        first = collectives.global_offset(size, pixels.axis_name)
        increments = lax.dynamic_slice_in_dim(increments, first, size, last)
    # An infinite error whose increment is 0 adds nothing. A select, and not `multiply_inf_safe`: the increments end in
    # selects too, and XLA computes all of them in one loop.
    errors = jnp.where((increments == 0) & jnp.isinf(errors), 0, errors)
    return collectives.psum(jnp.sum(increments * errors, axis=-1), pixels.axis_name)


def _jaccard_increments(
    errors: Float[Array, "*rows pixels"],
    is_object: Bool[Array, "*rows pixels"],
    weights: Float[Array, "*rows pixels"] | None,
) -> Float[Array, "*rows pixels"]:
    """J_k - J_{k-1} for every pixel, where the pixel is; `lovasz_grad` in the authors' code, where it is sorted."""
    position = lax.broadcasted_iota(jnp.int32, errors.shape, errors.ndim - 1)
    order, is_object = _sort_descending(errors, position, is_object)
    if weights is None:  # counted in integers: one cumulative sum, and exact
        weight, wrong_background = jnp.ones((), errors.dtype), jnp.cumsum(1 - is_object, axis=-1)
        wrong_object = position + 1 - wrong_background
    else:
        weight = jnp.take_along_axis(weights, order, axis=-1)
        wrong_background = jnp.cumsum(jnp.where(is_object == 1, 0, weight), axis=-1)
        wrong_object = jnp.cumsum(jnp.where(is_object == 1, weight, 0), axis=-1)
    size = wrong_object[..., -1:]
    union = (size + wrong_background).astype(errors.dtype)
    intersection = (size - wrong_object).astype(errors.dtype)
    background_factor = safe_divide(intersection, union - weight, otherwise=1.0)
    return _unsort(safe_divide(weight, union) * jnp.where(is_object == 1, 1, background_factor), order)


def _sort_descending(
    errors: Float[Array, "*rows pixels"],
    position: Int[Array, "*rows pixels"],
    is_object: Bool[Array, "*rows pixels"],
) -> tuple[Int[Array, "*rows pixels"], Int[Array, "*rows pixels"]]:
    """The positions of the pixels from the largest error to the smallest, and 1 for those of the object, else 0."""
    # Errors are not negative, so they sort like their bits, and integers sort faster. Position and truth travel with
    # them as one number.
    bits = lax.bitcast_convert_type(errors, jnp.int64 if errors.dtype.itemsize > 4 else jnp.int32)
    _, packed = lax.sort((-bits, 2 * position + is_object.astype(jnp.int32)), num_keys=1, is_stable=False)
    return packed >> 1, packed & 1


def _unsort(values: Float[Array, "*rows pixels"], order: Int[Array, "*rows pixels"]) -> Float[Array, "*rows pixels"]:
    """Each row's k-th value at the position `order[k]`: the inverse of looking up."""
    # Flat positions, for a scatter of pairs (row, position) would make a copy twice as large.
    row = lax.broadcasted_iota(jnp.int32, (math.prod(values.shape[:-1]), values.shape[-1]), 0)
    flat = (row * values.shape[-1]).ravel() + order.ravel()
    zeros = jnp.zeros(values.size, values.dtype)
    unsorted = zeros.at[flat].set(values.ravel(), unique_indices=True, mode="promise_in_bounds")
    return unsorted.reshape(values.shape)
