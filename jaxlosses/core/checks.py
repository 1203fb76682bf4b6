"""Validation of inputs: shapes and dtypes are checked, arrays made floating and masked, the same way for every loss.

Shapes, dtypes and names are static, so the errors of this module are raised while JAX traces, and compiled
code pays nothing for them. Values can only be looked at while a program runs: see `checked`.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import checkify
from jaxtyping import Bool, Float

from jaxlosses.core.arrays import differs as differs
from jaxlosses.core.arrays import fits_32_bits as fits_32_bits
from jaxlosses.core.arrays import relative_to, saturated, to_comparable
from jaxlosses.core.arrays import to_array as to_array
from jaxlosses.core.arrays import to_bool as to_bool
from jaxlosses.core.arrays import to_floats as to_floats
from jaxlosses.core.arrays import to_integers as to_integers
from jaxlosses.core.errors import AlignmentError, index_last, index_of, shape_hint
from jaxlosses.core.labels import Labels
from jaxlosses.core.masks import LossMask, align, masked
from jaxlosses.core.types import ArrayLike

Origin = Callable[[Array], Array]
"""From an array to what is subtracted from its integers, and from those of others."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Part of jit's cache key: a function that was compiled without value checks is traced again with them.
_checking = jax.make_user_context(False)


def checked(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Debug bad values: make `fn` raise for labels, probabilities, boxes or weights that its losses cannot take.

    Under `jit` a loss cannot raise for what its arrays hold. `checked` runs `fn` with every check on values
    switched on: class ids out of range, probabilities outside [0, 1], inverted boxes, negative weights. It is
    for debugging: wrap the outermost function (`checked(jax.jit(step))`), which is traced once more for it.

    Args:
        fn: any function that calls losses of this library; it may be jitted, and may take gradients.

    Returns:
        A function of the same arguments and result. It raises `jax.experimental.checkify.JaxRuntimeError`,
        which names the loss and the argument.

    Example:
        >>> import jaxlosses as jl
        >>> jl.softmax_cross_entropy([[2.0, 1.0, 0.1]], [3])
        Array([nan], dtype=float32)
        >>> jl.checked(jl.softmax_cross_entropy)([[2.0, 1.0, 0.1]], [3])  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
            ...
        JaxRuntimeError: softmax_cross_entropy: labels must be class ids in [0, 3), or ignore_label, or masked; 1 do not
    """

    @functools.wraps(fn)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        leaves, tree = jax.tree.flatten((args, kwargs))
        is_array = [isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves]

        def call(arrays: list[Array]) -> _T:
            rest = iter(arrays)
            args, kwargs = jax.tree.unflatten(
                tree, [next(rest) if array else leaf for leaf, array in zip(leaves, is_array, strict=True)]
            )
            return cast(Any, fn)(*args, **kwargs)

        # NumPy's int64 goes in as JAX will read it, but for what does not fit: cut off, it might look right.
        arrays = [
            leaf if isinstance(leaf, jax.Array) else jnp.asarray(saturated(np.asarray(leaf)))
            for leaf in itertools.compress(leaves, is_array)
        ]
        with _checking(True):
            error, result = checkify.checkify(call)(arrays)
        error.throw()
        return result

    return run


def check_values(loss: str, argument: str, good: Callable[[], Bool[Array, "..."]], must: str) -> None:
    """Under `checked`, raise unless `good()` holds everywhere; otherwise do nothing at all."""
    if _checking.value:
        bad = jnp.sum(~good())
        checkify.check(bad == 0, f"{loss}: {argument} must {must}; {{bad}} do not", bad=bad)


def check_probabilities(loss: str, argument: str, p: Float[Array, "..."]) -> None:
    """Under `checked`, raise for a number outside [0, 1]."""
    check_values(loss, argument, lambda: (p >= 0) & (p <= 1), "lie in [0, 1] (logits? apply a sigmoid or softmax)")


def prepare_same_shape(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    *,
    consumed: int | None = None,
    extra_where: Bool[Array, "..."] | None = None,
    origin: Origin | None = None,
    **arrays: ArrayLike,
) -> tuple[*tuple[Array, ...], LossMask]:
    """Check, convert and mask arrays that must have one shape.

    Args:
        loss: the name of the loss, for messages.
        where: bool; True counts. None keeps everything.
        sample_weights: numbers >= 0. A weight of 0 switches off an element that holds NaN or infinity.
        consumed: the axis that the loss takes as one thing (classes, box coordinates), which a mask has not.
        extra_where: a further mask, of the full shape.
        origin: for a loss that takes differences of them and nothing else: from the first array to what integers are
            counted from before they become floats, so that the differences are exact.
        **arrays: the loss's arrays, under the names that its caller knows.

    Returns:
        The arrays as float32 (or float64), with 0 where masked, and the mask.
    """
    converted = to_comparable(loss, **arrays) if origin else to_floats(loss, **arrays)
    (first, reference), *others = zip(arrays, converted, strict=True)
    for name, array in others:
        if array.shape != reference.shape:
            hint = shape_hint(first, reference.shape, name, array.shape)
            raise ValueError(
                f"{loss}: {first} {reference.shape} and {name} {array.shape} must have equal shapes; {hint}"
            )
    axis = None if consumed is None else check_axis(loss, first, reference, consumed)
    shape = _without_axis(reference.shape, axis)
    mask = make_mask(loss, where, sample_weights, shape, *converted, consumed=axis, extra_where=extra_where)
    unmasked = [masked(array, mask.where, axis) for array in converted]
    return (*(relative_to(origin(unmasked[0]), *unmasked) if origin else unmasked), mask)


def prepare_residuals(
    loss: str, where: ArrayLike | None, sample_weights: ArrayLike | None, **arrays: Any
) -> tuple[Float[Array, "..."], LossMask]:
    """The residuals, the first array minus the second, with 0 where masked; and the mask."""
    a, b, mask = prepare_same_shape(loss, where, sample_weights, origin=lambda first: first, **arrays)
    return a - b, mask


def prepare_pairwise(
    loss: str, features: int | str, *, pairwise: bool, origin: Origin | None = None, **arrays: Any
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Check and convert two arrays of rows, to be compared row by row or (`pairwise`) every row with every row.

    Args:
        loss: the name of the function, for messages.
        features: the size of a row, or the word for it in messages.
        pairwise: the arrays may differ in their number of rows.
        origin: as in `prepare_same_shape`; if `pairwise`, from a row of the first array.
        **arrays: the two arrays, under the names that their caller knows.

    Returns:
        Floats of one shape; or `(..., N, features)` and `(..., M, features)` if `pairwise`.
    """
    if not pairwise:
        a, b, _ = prepare_same_shape(loss, None, None, consumed=-1, origin=origin, **arrays)
        return a, b
    a, b = to_comparable(loss, **arrays) if origin else to_floats(loss, **arrays)
    sizes = {a.shape[-1:], b.shape[-1:]} | ({(features,)} if isinstance(features, int) else set())
    if min(a.ndim, b.ndim) < 2 or a.shape[:-2] != b.shape[:-2] or len(sizes) > 1:
        first, second = arrays
        raise ValueError(
            f"{loss}: {first} {a.shape} and {second} {b.shape} must be (..., N, {features}) and (..., M, {features})"
        )
    if origin is None:
        return a, b
    a, b = relative_to(origin((a if a.shape[-2] else b)[..., :1, :]), a, b)
    return a, b


def prepare_scores_and_labels(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    *,
    axis: int,
    axis_keyword: str = "axis",
    ignore_label: int | None = None,
    extra_where: Bool[Array, "..."] | None = None,
    **arrays: ArrayLike,
) -> tuple[Array, Labels, LossMask]:
    """Check, convert and mask scores with a class axis, and labels: class ids without that axis, or distributions.

    `extra_where` is a further mask, of the full shape without the class axis; `axis_keyword` is what the loss calls its
    `axis`, for messages.
    """
    (first, scores), (second, labels) = arrays.items()
    (scores,) = to_floats(loss, **{first: scores})
    labels = to_array(loss, second, labels)
    axis = check_axis(loss, first, scores, axis, axis_keyword)
    num_classes, shape = scores.shape[axis], _without_axis(scores.shape, axis)
    if labels.shape == scores.shape:
        if ignore_label is not None:
            raise ValueError(
                f"{loss}: ignore_label={ignore_label} needs {second} that are class ids {shape}, got distributions "
                f"{labels.shape}; mask them with where="
            )
        mask = make_mask(loss, where, sample_weights, shape, scores, labels, consumed=axis, extra_where=extra_where)
        targets = masked(labels.astype(scores.dtype), mask.where, axis)
        check_values(loss, second, lambda: targets >= 0, "be distributions over the classes, so >= 0")
        return masked(scores, mask.where, axis), Labels(axis, num_classes, None, targets), mask
    _check_ids_shape(loss, second, labels, first, scores.shape, axis, axis_keyword)
    labels = to_integers(loss, second, labels.astype(jnp.int32) if labels.dtype == bool else labels)
    in_range = (labels >= 0) & (labels < num_classes)
    if ignore_label is not None:
        not_ignored = differs(labels, ignore_label)
        extra_where = not_ignored if extra_where is None else extra_where & not_ignored
    mask = make_mask(loss, where, sample_weights, shape, scores, consumed=axis, valid=in_range, extra_where=extra_where)
    ids = masked(labels, mask.where)
    check_values(
        loss,
        second,
        lambda: (ids >= 0) & (ids < num_classes),
        f"be class ids in [0, {num_classes}), or ignore_label, or masked",
    )
    return masked(scores, mask.where, axis), Labels(axis, num_classes, ids, None), mask


def make_mask(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    shape: tuple[int, ...],
    *arrays: Array,
    consumed: int | None = None,
    valid: Bool[Array, "..."] | None = None,
    extra_where: Bool[Array, "..."] | None = None,
) -> LossMask:
    """Check `where` and `sample_weights` against the start of `shape`, and join them into one mask.

    Elements outside `extra_where` are masked. A weight of 0 masks an element that is not `valid`, or where one of
    `arrays` is not finite; other elements of weight 0 stay, so that a gradient with respect to the weights is right.
    """
    mask = extra_where
    if where is not None:
        hint = "did you mean sample_weights=, or a comparison such as where=mask > 0?"
        where = _check_prefix(loss, "where", to_bool(loss, "where", where, hint), shape)
        mask = where if mask is None else mask & where
    if sample_weights is None:
        return LossMask(loss, mask, None, shape)
    (weights,) = to_floats(loss, sample_weights=sample_weights)
    weights = _check_prefix(loss, "sample_weights", weights, shape)
    check_values(loss, "sample_weights", lambda: masked(weights, mask) >= 0, "be >= 0")
    finite = [_all_finite(array, consumed) for array in arrays] + ([] if valid is None else [valid])
    usable = functools.reduce(jnp.logical_and, finite, jnp.asarray(True)) | (weights != 0)
    return LossMask(loss, usable if mask is None else mask & usable, weights, shape)


def check_axis(loss: str, name: str, array: Array, axis: int, keyword: str = "axis") -> int:
    """`axis` counted from the front."""
    if not -array.ndim <= axis < array.ndim:
        axes = f"its axes are {-array.ndim} to {array.ndim - 1}" if array.ndim else "it must have at least one"
        given = f"axis {axis}" if keyword == "axis" else f"axis {axis} ({keyword}=)"
        raise ValueError(f"{loss}: {name} {array.shape} has no {given}; {axes}")
    if array.shape[axis] == 0:
        raise ValueError(f"{loss}: {name} {array.shape} must not be empty along axis {axis}")
    return axis % array.ndim


def _check_prefix(loss: str, argument: str, array: Array, shape: tuple[int, ...]) -> Array:
    """`array` lined up with `shape`, of whose shape its own must be a prefix."""
    if array.shape == shape[: array.ndim]:
        return align(array, len(shape))
    hint = "it lines up from the left"
    if array.ndim <= len(shape) and array.shape == shape[len(shape) - array.ndim :]:
        hint += f", and this one fits the right: jnp.broadcast_to({argument}, {shape})?"
    elif array.shape[-1:] == (1,) and array.shape[:-1] == shape[: array.ndim - 1]:
        hint += f": {argument}{index_last(array.ndim)}?"
    raise AlignmentError(loss, argument, array.shape, shape, hint)


def _check_ids_shape(
    loss: str, name: str, labels: Array, first: str, shape: tuple[int, ...], axis: int, axis_keyword: str
) -> None:
    ids_shape = _without_axis(shape, axis)
    if labels.shape == ids_shape:
        return
    hint = f"check the class axis ({axis_keyword}=)"
    extra = [k for k, n in enumerate(labels.shape) if n == 1 and _without_axis(labels.shape, k) == ids_shape]
    fitting = [other for other in range(len(shape)) if labels.shape == _without_axis(shape, other)]
    if extra:
        hint = f"did you mean {name}{index_of(axis if axis in extra else max(extra))}?"
    elif len(fitting) == 1:
        hint = f"did you mean {axis_keyword}={fitting[0]}?"
    expected = f"{first} {shape} need {name} {ids_shape} (class ids) or {shape} (distributions)"
    raise ValueError(f"{loss}: {expected}, got {labels.shape}; {hint}")


def _all_finite(array: Array, consumed: int | None) -> Bool[Array, "..."]:
    finite = jnp.isfinite(array)
    return finite if consumed is None else jnp.all(finite, axis=consumed)


def _without_axis(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]
