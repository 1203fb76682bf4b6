"""Metrics of segmentation masks, to report and not to train on: ratios of sums over the pixels of an image.

With predictions p and targets g, hard or soft, summed over the pixels that count:

    TP = Σ p g      FP = Σ p (1 - g)      FN = Σ (1 - p) g      TN = Σ (1 - p) (1 - g)

    Dice         2TP / (2TP + FP + FN)                         F1
    Jaccard      TP / (TP + FP + FN)                           IoU
    F_β          (1 + β²) TP / ((1 + β²) TP + FP + β² FN)
    sensitivity  TP / (TP + FN)                                recall
    precision    TP / (TP + FP)                                positive predictive value
    specificity  TN / (TN + FP)                                true negative rate

All lie in [0, 1], and more is better. There is no smoothing: 0/0 is 1, for nothing could be done wrong, and each
docstring says when that is. An image that is masked altogether has 0. Metrics have no reduction: average them over the
images and classes you mean.
"""

from typing import NamedTuple

from jax import Array
from jaxtyping import Float

from jaxlosses.core.keywords import public_function
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.numerics import safe_divide
from jaxlosses.core.types import ArrayLike, Number
from jaxlosses.losses.segmentation._shared import make_pixel_reduction, prepare_masks

__all__ = ["dice_coefficient", "f_beta", "jaccard_index", "precision", "sensitivity", "specificity"]


@public_function
def dice_coefficient(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_axis: int | None = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """Dice coefficient (F1 score) of masks: twice the intersection over the sum of the two areas.

        D = 2TP / (2TP + FP + FN)

    It is 1 where there is neither an object nor a prediction, and 0 where there is one of them.

    Args:
        predictions: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; 0 and 1 for hard
            masks, which `jax.nn.one_hot` makes of class ids.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        class_axis: the class axis, not the first one; None for masks of one class.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels are left out, such as 255.
        where: bool, `(batch,)` or `(batch, *space)`; True counts.

    Returns:
        `(batch, classes)`, or `(batch,)` with `class_axis=None`, in [0, 1]; 0 for an image that is left out.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.dice_coefficient([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.7368], dtype=float32)

    Reference:
        Dice, Measures of the amount of ecologic association between species, 1945, doi:10.2307/1932409.
    """
    c = _confusion_counts("dice_coefficient", predictions, targets, class_axis, ignore_label, where)
    return c.ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


@public_function
def jaccard_index(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_axis: int | None = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """Jaccard index (intersection over union, IoU) of masks.

        J = TP / (TP + FP + FN)

    It is 1 where there is neither an object nor a prediction, and 0 where there is one of them.

    Args:
        predictions: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; 0 and 1 for hard
            masks, which `jax.nn.one_hot` makes of class ids.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        class_axis: the class axis, not the first one; None for masks of one class.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels are left out, such as 255.
        where: bool, `(batch,)` or `(batch, *space)`; True counts.

    Returns:
        `(batch, classes)`, or `(batch,)` with `class_axis=None`, in [0, 1]; 0 for an image that is left out.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.jaccard_index([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.5833], dtype=float32)

    Reference:
        Jaccard, The distribution of the flora in the alpine zone, 1912, doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    c = _confusion_counts("jaccard_index", predictions, targets, class_axis, ignore_label, where)
    return c.ratio(c.tp, c.tp + c.fp + c.fn)


@public_function
def f_beta(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    beta: Number = 1.0,
    class_axis: int | None = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """F-beta score: the harmonic mean of precision and sensitivity, with β² times the weight on the latter.

        F = (1 + β²) TP / ((1 + β²) TP + FP + β² FN)

    It is 1 where there is neither an object nor a prediction, and 0 where there is one of them (for β > 0).

    Args:
        predictions: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; 0 and 1 for hard
            masks, which `jax.nn.one_hot` makes of class ids.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        beta: β > 0; 1 for Dice, larger to weigh false negatives more.
        class_axis: the class axis, not the first one; None for masks of one class.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels are left out, such as 255.
        where: bool, `(batch,)` or `(batch, *space)`; True counts.

    Returns:
        `(batch, classes)`, or `(batch,)` with `class_axis=None`, in [0, 1]; 0 for an image that is left out.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.f_beta([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None, beta=2.0)
        Array([0.7143], dtype=float32)

    Reference:
        Van Rijsbergen, Information Retrieval, 2nd edition, 1979.
    """
    c = _confusion_counts("f_beta", predictions, targets, class_axis, ignore_label, where)
    return c.ratio(c.tp * (1 + beta**2), c.tp * (1 + beta**2) + c.fp + c.fn * beta**2)


@public_function
def sensitivity(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_axis: int | None = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """Sensitivity (recall, true positive rate): the fraction of the object that is found.

        TP / (TP + FN)

    It is 1 where there is no object, whatever is predicted: there is nothing to find.

    Args:
        predictions: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; 0 and 1 for hard
            masks, which `jax.nn.one_hot` makes of class ids.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        class_axis: the class axis, not the first one; None for masks of one class.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels are left out, such as 255.
        where: bool, `(batch,)` or `(batch, *space)`; True counts.

    Returns:
        `(batch, classes)`, or `(batch,)` with `class_axis=None`, in [0, 1]; 0 for an image that is left out.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.sensitivity([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.7], dtype=float32)

    Reference:
        Yerushalmy, Statistical problems in assessing methods of medical diagnosis, 1947, doi:10.2307/4586294.
    """
    c = _confusion_counts("sensitivity", predictions, targets, class_axis, ignore_label, where)
    return c.ratio(c.tp, c.tp + c.fn)


@public_function
def specificity(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_axis: int | None = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """Specificity (true negative rate): the fraction of the background that is predicted as background.

        TN / (TN + FP)

    It is 1 where there is no background, whatever is predicted.

    Args:
        predictions: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; 0 and 1 for hard
            masks, which `jax.nn.one_hot` makes of class ids.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        class_axis: the class axis, not the first one; None for masks of one class.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels are left out, such as 255.
        where: bool, `(batch,)` or `(batch, *space)`; True counts.

    Returns:
        `(batch, classes)`, or `(batch,)` with `class_axis=None`, in [0, 1]; 0 for an image that is left out.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.specificity([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.8], dtype=float32)

    Reference:
        Yerushalmy, Statistical problems in assessing methods of medical diagnosis, 1947, doi:10.2307/4586294.
    """
    c = _confusion_counts("specificity", predictions, targets, class_axis, ignore_label, where)
    return c.ratio(c.tn, c.tn + c.fp)


@public_function
def precision(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_axis: int | None = -1,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """Precision (positive predictive value): the fraction of the prediction that is right.

        TP / (TP + FP)

    It is 1 where nothing is predicted, for then nothing is wrong, and 0 where only predictions are.

    Args:
        predictions: `(batch, *space, classes)` in [0, 1], or `(batch, *space)` with `class_axis=None`; 0 and 1 for hard
            masks, which `jax.nn.one_hot` makes of class ids.
        targets: the same shape, in [0, 1]; or `(batch, *space)`, class ids.
        class_axis: the class axis, not the first one; None for masks of one class.
        ignore_label: a class id (or, with `class_axis=None`, a target) whose pixels are left out, such as 255.
        where: bool, `(batch,)` or `(batch, *space)`; True counts.

    Returns:
        `(batch, classes)`, or `(batch,)` with `class_axis=None`, in [0, 1]; 0 for an image that is left out.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.precision([[0.8, 0.6, 0.3, 0.1]], [[1, 1, 0, 0]], class_axis=None)
        Array([0.7778], dtype=float32)

    Reference:
        Van Rijsbergen, Information Retrieval, 2nd edition, 1979.
    """
    c = _confusion_counts("precision", predictions, targets, class_axis, ignore_label, where)
    return c.ratio(c.tp, c.tp + c.fp)


class _ConfusionCounts(NamedTuple):
    """True and false positives and negatives of each image and class; `mask` is of the images that have pixels."""

    tp: Float[Array, "..."]
    fp: Float[Array, "..."]
    fn: Float[Array, "..."]
    tn: Float[Array, "..."]
    mask: LossMask

    def ratio(self, numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
        """Their quotient, 1 for 0/0, and 0 for images that are masked."""
        return masked(safe_divide(numerator, denominator, otherwise=1.0), self.mask.where)


def _confusion_counts(
    metric: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    class_axis: int | None,
    ignore_label: int | None,
    where: ArrayLike | None,
) -> _ConfusionCounts:
    x = prepare_masks(
        metric, where, predictions=predictions, targets=targets, class_axis=class_axis, ignore_label=ignore_label
    )
    pixels, p, g = make_pixel_reduction(x, per_class=True), x.predictions, x.targets
    tp, fp = pixels.sum_targets(x, lambda p, g: p * g), pixels.sum(p * (1 - g))
    fn, tn = pixels.sum_targets(x, lambda p, g: (1 - p) * g), pixels.sum((1 - p) * (x.valid - g))
    return _ConfusionCounts(tp, fp, fn, tn, pixels.mask)
