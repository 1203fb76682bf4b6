"""The Lovász extension of the Jaccard loss: 1 - IoU, continued from hard masks to soft ones, and convex in the errors.

A prediction that is wrong in a set of pixels has the Jaccard loss J = 1 - I/U. Let each pixel have an error m >= 0, and
sort the pixels so that the largest errors come first. The extension charges every pixel for the growth of J when it
goes wrong after all those before it:

    l = Σ_k m_k (J_k - J_{k-1})        J_k = 1 - I_k/U_k,  J_0 = 0, once the k worst pixels are wrong

With n pixels of the object, I_k is n less those of the object among the k worst, and U_k is n plus the others among
them. The growth needs no difference of two numbers near 1:

    w / U_k                   for a pixel of the object, of weight w (1 unless there are weights of pixels)
    w / U_k · I_k / U_{k-1}   for one of the background; I/U is 1 where there is no object and nothing wrong yet

Where every error is 0 or 1, l is 1 - IoU exactly. It is piecewise linear in the errors, and its slopes are these
charges, so the order is a constant for derivatives: one sort, and none in the backward pass. Among equal errors any
order gives the same value.

Without an object l is the largest error. A masked pixel has error 0, so it comes last and costs nothing.
"""

import math
from collections.abc import Hashable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks
from jaxlosses.core.masks import masked
from jaxlosses.core.numerics import abs_zero_grad, safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Reduced
from jaxlosses.losses.segmentation._shared import Pixels, Regions, pixels, register_masks, split

__all__ = ["lovasz_hinge_loss", "lovasz_softmax_loss"]


def _hinge_example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 3, 4)), jax.random.randint(labels_key, (4, 3, 4), 0, 2)


@register_masks(
    "lovasz_hinge_loss",
    aliases=("lovasz_hinge",),
    citation="arXiv:1705.08790",
    num_event_axes=0,
    domain=("logits", "0 or 1"),
    example_inputs=_hinge_example,
)
def lovasz_hinge_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    per_image: bool = True,
    axis_name: Hashable | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The Lovász extension of the Jaccard loss on the hinge errors of binary masks.

        l = Σ_k m_k (J_k - J_{k-1}),   m = max(1 - z (2y - 1), 0), sorted so that the largest come first

    It is at least 1 - IoU of the mask z > 0, and 0 if and only if every margin z (2y - 1) is at least 1.

    Args:
        logits: z, `(batch, *space)`; above 0 for the object.
        labels: y, the same shape, 0 or 1; another is an error under `jaxlosses.checked`, and otherwise NaN.
        per_image: a value per image, as the paper has it; False for one value of all pixels of the batch, of shape ()
            and count 1, where weights of images weigh their pixels.
        axis_name: with `per_image=False`, the axis of devices whose pixels belong to the batch as well.
        ignore_label: a label whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)`, >= 0, or () with `per_image=False`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `axis_name` is given with `per_image`.

    Example:
        >>> import jaxlosses as jl
        >>> jl.lovasz_hinge_loss([[1.2, -0.4, 0.3, -2.0]], [[1, 1, 0, 0]])
        Array([0.9167], dtype=float32)

    Reference:
        Berman, Rannen Triki and Blaschko, The Lovász-Softmax loss, 2018, arXiv:1705.08790.
    """
    names = ("logits", "labels")
    x = pixels("lovasz_hinge_loss", logits, labels, None, None, ignore_label, where, sample_weights, names)
    regions = split(x, batch=not per_image, axis_name=axis_name)
    errors = masked(jax.nn.relu(1 - x.p * (2 * x.g - 1)), x.loss_mask.where)
    values, mask = regions.over_classes(_extension(errors, x, regions), per_class=False)
    return reduce(values, mask, reduction)


@register_masks(
    "lovasz_softmax_loss",
    aliases=("lovasz_softmax",),
    citation="arXiv:1705.08790",
    domain=("probabilities", "class ids or one-hot"),
    depends_on_batch=True,
)
def lovasz_softmax_loss(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    per_image: bool = False,
    activation: str | None = None,
    class_axis: int | None = -1,
    classes: str | Sequence[int] = "present",
    include_background: bool = True,
    per_class: bool = False,
    axis_name: Hashable | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The Lovász extension of the Jaccard loss on the errors of probabilities, averaged over the classes.

        l_c = Σ_k m_k (J_k - J_{k-1}),   m = |1[y = c] - p_c|, sorted so that the largest come first

    All pixels of the batch are one mask, as in the paper, unless `per_image`.

    Args:
        probabilities: p, `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`, which is
            the Lovász-sigmoid loss; logits if `activation` is given.
        labels: y, `(batch, *space)`, class ids; or the shape of the probabilities, 0 or 1. Other numbers are an error
            under `jaxlosses.checked`, and otherwise NaN.
        per_image: a value per image instead of one of shape () and count 1, where weights of images weigh their pixels.
        activation: `"sigmoid"` or `"softmax"` (over the class axis), applied first; None for probabilities.
        class_axis: the class axis, not the first one; None for masks of one class, which always counts.
        classes: `"present"` for those in the truth (a batch, or an image, without any counts as masked), `"all"`, or
            class ids.
        include_background: False to leave out class 0.
        per_class: return a value per class, or per image *and* class, instead of their mean.
        axis_name: without `per_image`, the axis of devices whose pixels belong to the batch as well.
        ignore_label: a class id (or, with `class_axis=None`, a label) whose pixels count as masked, such as 255.
        where: bool, `(batch,)` drops images, `(batch, *space)` drops pixels; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs images, `(batch, *space)` weighs pixels inside their image.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        () in [0, 1], or `(batch,)` with `per_image`, and one more axis of classes if `per_class`; or what `reduction`
        makes of it.

    Raises:
        ValueError: if the shapes do not fit, an option is none of those above, or `axis_name` is given with
            `per_image`.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> p = [[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]]
        >>> jl.lovasz_softmax_loss(p, [[0, 1, 2, 2, 1]])
        Array(0.5889, dtype=float32)

    Reference:
        Berman, Rannen Triki and Blaschko, The Lovász-Softmax loss, 2018, arXiv:1705.08790.
    """
    loss, names = "lovasz_softmax_loss", ("probabilities", "labels")
    x = pixels(loss, probabilities, labels, activation, class_axis, ignore_label, where, sample_weights, names)
    if class_axis is None and classes == "present":  # the default; skipping images would let false positives go free
        classes = "all"
    regions = split(x, classes, include_background, "macro", per_class, not per_image, axis_name)
    values, mask = regions.over_classes(_extension(abs_zero_grad(x.g - x.p), x, regions), per_class)
    return reduce(values, mask, reduction)


def _extension(errors: Float[Array, "..."], x: Pixels, regions: Regions) -> Float[Array, "..."]:
    """Σ_k m_k (J_k - J_{k-1}) of each region."""
    binary = (x.g == 0) | (x.g == 1)
    checks.check_values(x.loss_mask.loss, "labels", lambda: binary, "be 0 or 1")
    errors = regions.rows(errors * jnp.where(binary, 1, jnp.nan).astype(errors.dtype))
    weights = None if regions.weights is None else regions.rows(jnp.broadcast_to(regions.weights, x.g.shape))
    inputs = lax.stop_gradient(errors), regions.rows(x.g == 1), weights
    if regions.axis_name is None:
        return _total(_charges(*inputs), errors)
    last, here = errors.ndim - 1, errors.shape[-1]
    everywhere = jax.tree.map(lambda a: lax.all_gather(a, regions.axis_name, axis=last, tiled=True), inputs)
    charges = lax.dynamic_slice_in_dim(_charges(*everywhere), here * lax.axis_index(regions.axis_name), here, last)
    return lax.psum(_total(charges, errors), regions.axis_name)


def _total(charges: Float[Array, "*rows pixels"], errors: Float[Array, "*rows pixels"]) -> Float[Array, "*rows"]:
    """The errors times their charges, summed; an infinite error that is not charged costs nothing."""
    # A select, and not `times`: the charges end in selects too, and XLA computes all of them in one loop.
    return jnp.sum(charges * jnp.where((charges == 0) & jnp.isinf(errors), 0, errors), axis=-1)


def _charges(
    errors: Float[Array, "*rows pixels"],
    truth: Bool[Array, "*rows pixels"],
    weights: Float[Array, "*rows pixels"] | None,
) -> Float[Array, "*rows pixels"]:
    """J_k - J_{k-1} for every pixel, in its own place."""
    place = lax.broadcasted_iota(jnp.int32, errors.shape, errors.ndim - 1)
    # Errors are not negative, so they sort like their bits, and integers sort faster. The pixel's place and truth
    # travel as one number.
    bits = lax.bitcast_convert_type(errors, jnp.int64 if errors.dtype.itemsize > 4 else jnp.int32)
    _, packed = lax.sort((-bits, 2 * place + truth.astype(jnp.int32)), num_keys=1, is_stable=False)
    order, truth = packed >> 1, packed & 1
    if weights is None:  # counted in integers: one cumulative sum, and exact
        weight = jnp.ones((), errors.dtype)
        wrong_background = jnp.cumsum(1 - truth, axis=-1)
        wrong_object = place + 1 - wrong_background
    else:
        weight = jnp.take_along_axis(weights, order, axis=-1)
        wrong_background = jnp.cumsum(jnp.where(truth == 1, 0, weight), axis=-1)
        wrong_object = jnp.cumsum(jnp.where(truth == 1, weight, 0), axis=-1)
    size = wrong_object[..., -1:]
    union, left = (size + wrong_background).astype(errors.dtype), (size - wrong_object).astype(errors.dtype)
    share = safe_divide(weight, union)
    return _put(share * jnp.where(truth == 1, 1, safe_divide(left, union - weight, otherwise=1.0)), order)


def _put(values: Float[Array, "*rows pixels"], order: Int[Array, "*rows pixels"]) -> Float[Array, "*rows pixels"]:
    """`values` with each row's k-th in the place `order` says: the inverse of looking up."""
    # Flat places, for a scatter of pairs (row, place) would make a copy twice as large.
    row = lax.broadcasted_iota(jnp.int32, (math.prod(values.shape[:-1]), values.shape[-1]), 0)
    flat = (row * values.shape[-1]).ravel() + order.ravel()
    empty = jnp.zeros(values.size, values.dtype)
    put = empty.at[flat].set(values.ravel(), unique_indices=True, mode="promise_in_bounds")
    return put.reshape(values.shape)
