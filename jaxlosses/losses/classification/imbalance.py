"""Class imbalance: class weights from the numbers of examples, and hard example mining.

With n_c examples of class c, N of all, and C classes:

    inverse_frequency_weights    N / (C n_c)                 the mean over examples is 1 ("balanced")
    median_frequency_weights     median(f) / f_c             f_c = n_c over the size of the images that show c
    effective_number_weights     (1 - β) / (1 - β^n_c)       from 1 for every class (β = 0) to 1/n_c (β = 1)

A class without examples has weight 0. All are plain arrays: pass them as `class_weights`. `hard_example_mask` selects
elements instead: pass its mask as `where`.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks
from jaxlosses.core.keywords import public_function
from jaxlosses.core.masks import align
from jaxlosses.core.numerics import complement, safe_divide
from jaxlosses.core.types import ArrayLike, Number

__all__ = [
    "class_counts",
    "effective_number_weights",
    "hard_example_mask",
    "inverse_frequency_weights",
    "median_frequency_weights",
]


@public_function
def class_counts(labels: ArrayLike, num_classes: int, *, where: ArrayLike | None = None) -> Int[Array, " classes"]:
    """Class frequencies: how often each class occurs among the labels, from which class weights are made.

        n_c = Σ_i 1[y_i = c]

    Args:
        labels: `(...)`, class ids; one that is out of range, such as an ignored label, is not counted.
        num_classes: C, the number of classes.
        where: bool, a prefix of the shape; True counts.

    Returns:
        `(C,)`, integers.

    Raises:
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.class_counts([0, 2, 2, -100], 3)
        Array([1, 0, 2], dtype=int32)

    Reference:
        A histogram; the word is from Pearson, 1895, doi:10.1098/rsta.1895.0010.
    """
    ids = checks.to_integers("class_counts", "labels", labels)
    mask = checks.make_mask("class_counts", where, None, ids.shape)
    counted = (ids >= 0) & (ids < num_classes)
    if mask.where is not None:
        counted &= align(mask.where, ids.ndim)
    return jnp.bincount(jnp.where(counted, ids, num_classes).ravel(), length=num_classes + 1)[:num_classes]


@public_function
def inverse_frequency_weights(counts: ArrayLike) -> Float[Array, " classes"]:
    """Balanced class weights: inverse class frequencies, so that every class has the same total weight.

        w_c = N / (C n_c),  N = Σ n_c

    Args:
        counts: `(C,)`, n_c >= 0: `class_counts`.

    Returns:
        `(C,)`, 0 for a class without examples.

    Raises:
        ValueError: if `counts` is not a vector.

    Example:
        >>> import jaxlosses as jl
        >>> jl.inverse_frequency_weights([1, 0, 2])
        Array([1. , 0. , 0.5], dtype=float32)

    Reference:
        King and Zeng, Logistic Regression in Rare Events Data, 2001, doi:10.1093/oxfordjournals.pan.a004868.
    """
    n = _vector("inverse_frequency_weights", "counts", counts)
    return safe_divide(jnp.broadcast_to(jnp.sum(n) / n.size, n.shape), n)


@public_function
def median_frequency_weights(counts: ArrayLike, totals: ArrayLike | None = None) -> Float[Array, " classes"]:
    """Median-frequency class weights, for segmentation: 1 for the class of median frequency, more for rarer ones.

        w_c = median(f) / f_c,  f_c = n_c / m_c

    Args:
        counts: `(C,)`, n_c >= 0: pixels of each class.
        totals: `(C,)`, m_c: pixels of all images in which the class occurs; None for Σ n_c.

    Returns:
        `(C,)`, 0 for a class without examples; the median is taken over the others.

    Raises:
        ValueError: if `counts` is not a vector, or `totals` has another shape.

    Example:
        >>> import jaxlosses as jl
        >>> jl.median_frequency_weights([10, 20, 40, 0])
        Array([2. , 1. , 0.5, 0. ], dtype=float32)

    Reference:
        Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels, 2014, arXiv:1411.4734.
    """
    n = _vector("median_frequency_weights", "counts", counts)
    m = jnp.broadcast_to(jnp.sum(n), n.shape)
    if totals is not None:
        m = _vector("median_frequency_weights", "totals", totals)
        if m.shape != n.shape:
            raise ValueError(f"median_frequency_weights: counts {n.shape} and totals {m.shape} must have equal shapes")
    frequency = safe_divide(n, m)
    present = jnp.any(n > 0)  # without any class there is no median
    median = jnp.nanmedian(jnp.where((n > 0) | ~present, frequency, jnp.nan))
    return safe_divide(jnp.broadcast_to(median, n.shape), frequency)


@public_function
def effective_number_weights(
    counts: ArrayLike, *, beta: Number = 0.999, rescale: bool = True
) -> Float[Array, " classes"]:
    """Class-balanced weights by the effective number of samples, which grows more slowly than their number.

        w_c = (1 - β) / (1 - β^n_c)

    Each further example of a class overlaps with the earlier ones and adds less: the effective number of n examples is
    (1 - β^n) / (1 - β).

    Args:
        counts: `(C,)`, n_c >= 0: `class_counts`.
        beta: β in [0, 1]; the paper takes 0.9, 0.99, 0.999 and 0.9999. At 0 all weights are 1, at 1 they are 1/n_c.
        rescale: make the weights sum to the number of classes that have examples, as the paper does.

    Returns:
        `(C,)`, 0 for a class without examples.

    Raises:
        ValueError: if `counts` is not a vector.

    Example:
        >>> import jaxlosses as jl
        >>> jl.effective_number_weights([1000, 100, 10]).round(4)
        Array([0.0422, 0.28  , 2.6778], dtype=float32)

    Reference:
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019, arXiv:1901.05555.
    """
    n = _vector("effective_number_weights", "counts", counts)
    rest = complement(beta, n.dtype)  # before β is rounded: in float32 0.999999 is 3 % further from 1
    checks.check_values("effective_number_weights", "beta", lambda: (rest >= 0) & (rest <= 1), "lie in [0, 1]")
    inverse_count, ones = rest == 0, rest == 1
    # 1 - β^n without cancellation for β near 1, where it is n (1 - β)
    effective = -jnp.expm1(n * jnp.log1p(-jnp.where(inverse_count | ones, 0.5, rest)))
    weights = jnp.where(ones, 1, safe_divide(jnp.broadcast_to(rest, n.shape), effective))
    weights = jnp.where(n > 0, jnp.where(inverse_count, safe_divide(jnp.ones_like(n), n), weights), 0)
    if not rescale:
        return weights
    return weights * safe_divide(jnp.sum(n > 0, dtype=n.dtype), jnp.sum(weights))


@public_function
def hard_example_mask(
    losses: ArrayLike,
    *,
    k: Number | None = None,
    ratio: Number | None = None,
    threshold: Number | None = None,
    positives: ArrayLike | None = None,
    negative_ratio: Number = 3.0,
    axis: int | None = None,
    where: ArrayLike | None = None,
) -> Bool[Array, "*s"]:
    """Online hard example mining (OHEM): the mask of the elements with the largest losses, to pass as `where`.

        the k largest;   the largest ratio · n;   all above the threshold;   all positives and
        the negative_ratio · (number of positives) largest negatives (SSD)

    Give exactly one of `k`, `ratio` and `positives`, or a `threshold`, with `k` for a minimum number. No gradient flows
    through the selection. XLA computes `losses` once if the loss is called again with the mask.

    Args:
        losses: `(...)`, any loss with `reduction="none"`; NaN counts as the largest, so that it is not hidden.
        k: how many to select.
        ratio: which fraction of the unmasked ones to select, in [0, 1], rounded up.
        threshold: select what is larger.
        positives: bool, the shape of `losses`: selected always.
        negative_ratio: how many negatives to select for each positive.
        axis: select along this axis, such as the anchors of an image; None for among all.
        where: bool, a prefix of the shape; a masked element is never selected.

    Returns:
        bool, the shape of `losses`. Of equal losses those that come first.

    Raises:
        ValueError: if there is not exactly one of the criteria above, or `axis` is not an axis of `losses`.
        TypeError: if `positives` is not boolean.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> logits, labels = jnp.array([[2.0, 0.0], [0.5, 0.0], [0.0, 1.0]]), jnp.array([0, 0, 0])
        >>> mask = jl.hard_example_mask(jl.softmax_cross_entropy(logits, labels), k=2)
        >>> mask
        Array([False,  True,  True], dtype=bool)
        >>> jl.softmax_cross_entropy(logits, labels, where=mask, reduction="mean")
        Array(0.8937, dtype=float32)

    Reference:
        Shrivastava, Gupta and Girshick, Training Region-based Object Detectors with Online Hard Example Mining, 2016,
        arXiv:1604.03540. Negatives per positive: Liu et al., SSD, 2015, arXiv:1512.02325.
    """
    loss = "hard_example_mask"
    criteria = [name for name, value in (("k", k), ("ratio", ratio), ("positives", positives)) if value is not None]
    if len(criteria) > 1 or (criteria not in ([], ["k"]) if threshold is not None else not criteria):
        got = [*criteria, *(["threshold"] if threshold is not None else [])]
        raise ValueError(
            f"{loss}: give one of k=, ratio= and positives=, or threshold= (with k= for a minimum), got {got}"
        )
    (x,) = checks.to_floats(loss, losses=losses)
    if axis is not None:
        axis = checks.check_axis(loss, "losses", x, axis)
    where_ = checks.make_mask(loss, where, None, x.shape).where
    candidates = jnp.ones(x.shape, bool) if where_ is None else jnp.broadcast_to(where_, x.shape)
    x = jax.lax.stop_gradient(jnp.where(jnp.isnan(x), jnp.inf, x))
    count = lambda selected: jnp.sum(selected, axis, dtype=x.dtype, keepdims=True)  # noqa: E731
    if positives is not None:
        selected = _prepare_positives(loss, positives, x.shape) & candidates
        return selected | _largest(x, candidates & ~selected, negative_ratio * count(selected), axis)
    selected = jnp.zeros(x.shape, bool) if threshold is None else candidates & (x > threshold)
    if ratio is not None:
        k = jnp.ceil(ratio * count(candidates) - 1e-3)  # 0.1 * 30 is 3, and not 4
    return selected if k is None else selected | _largest(x, candidates, k, axis)


def _largest(x: Float[Array, "*s"], candidates: Bool[Array, "*s"], k: Number, axis: int | None) -> Bool[Array, "*s"]:
    """The k largest of the candidates."""
    key = jnp.where(candidates, -x, jnp.inf)
    rank = jnp.argsort(jnp.argsort(key, axis), axis or 0).reshape(x.shape)
    return candidates & (rank < jnp.ceil(jnp.asarray(k, x.dtype)).astype(rank.dtype))


def _prepare_positives(loss: str, positives: ArrayLike, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    array = checks.to_bool(loss, "positives", positives, "did you mean labels > 0?")
    if array.shape != shape:
        raise ValueError(f"{loss}: losses {shape} and positives {array.shape} must have equal shapes")
    return array


def _vector(name: str, argument: str, value: ArrayLike) -> Float[Array, " classes"]:
    (array,) = checks.to_floats(name, **{argument: value})
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name}: {argument} {array.shape} must be (classes,); see class_counts")
    checks.check_values(name, argument, lambda: array >= 0, "be >= 0")
    return array
