"""The front door: what a loss is given is checked, made floating and masked here, and nowhere else.

Shapes, dtypes and names are static, so the errors of this module are raised while JAX traces, and compiled
code pays nothing for them. Values can only be looked at while a program runs: see `checked`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import checkify
from jaxtyping import Bool, Float

from jaxlosses._labels import Labels
from jaxlosses.types import ArrayLike

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Part of jit's cache key: a function that was compiled without value checks is traced again with them.
_checking = jax.make_user_context(False)


class Kept(NamedTuple):
    """Which elements count and how much: what the door hands to `jaxlosses.reduction.reduce`.

    Both arrays line up with the *leading* axes of the loss's values; None means all, or 1.
    """

    loss: str
    mask: Bool[Array, "..."] | None
    weights: Float[Array, "..."] | None
    shape: tuple[int, ...] | None = None  # that the values must have

    def only(self, mask: Bool[Array, "..."]) -> "Kept":
        """What is kept of this where `mask` is True."""
        return self._replace(mask=mask if self.mask is None else self.mask & mask)

    def with_classes(self, logits: Float[Array, "..."], axis: int) -> "Kept":
        """What is kept of this where there is a class: a row of -inf alone counts as masked."""
        return self.only(jnp.max(logits, axis) != -jnp.inf)

    def by_example(self, *, weigh_inside: bool) -> tuple[Float[Array, "..."] | None, "Kept"]:
        """Split this into weights inside the examples, and what is kept of whole examples.

        An example of which nothing is kept is masked. The weights are those of whole examples unless `weigh_inside`.
        """
        kept = self.only(self.weights > 0) if weigh_inside and self.weights is not None else self
        mask = None if kept.mask is None else jnp.any(kept.mask, axis=tuple(range(1, kept.mask.ndim)))
        kept = kept._replace(mask=mask, weights=None, shape=None)
        if self.weights is None or weigh_inside:
            return self.weights, kept
        return None, kept._replace(weights=self.weights.reshape(-1))


class AlignmentError(ValueError):
    """A mask or weight whose shape is not the start of the shape it belongs to."""

    def __init__(self, loss: str, argument: str, shape: tuple[int, ...], expected: tuple[int, ...], hint: str):
        starts = sorted({expected[:k] for k in range(1, len(expected) + 1)}, key=len) or [()]
        super().__init__(f"{loss}: {argument} {shape} must be {' or '.join(map(str, starts))}; {hint}")
        self.argument, self.shape, self.expected = argument, shape, expected


def checked(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make `fn` raise an error for the bad values that its losses meet.

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
        with _checking(True):
            error, result = checkify.checkify(fn)(*args, **kwargs)
        error.throw()
        return result

    return run


def expect(loss: str, argument: str, good: Callable[[], Bool[Array, "..."]], must: str) -> None:
    """Under `checked`, raise unless `good()` holds everywhere; otherwise do nothing at all."""
    if _checking.value:
        bad = jnp.sum(~good())
        checkify.check(bad == 0, f"{loss}: {argument} must {must}; {{bad}} do not", bad=bad)


def probabilities(loss: str, argument: str, p: Float[Array, "..."]) -> None:
    """Under `checked`, raise for a number outside [0, 1]."""
    expect(loss, argument, lambda: (p >= 0) & (p <= 1), "lie in [0, 1] (logits? apply a sigmoid or softmax)")


def same_shape(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    *,
    consumed: int | None = None,
    counted: Bool[Array, "..."] | None = None,
    **arrays: ArrayLike,
) -> tuple[*tuple[Array, ...], Kept]:
    """Take in arrays that must have one shape.

    Args:
        loss: the name of the loss, for messages.
        where: bool; True counts. None keeps everything.
        sample_weights: numbers >= 0. A weight of 0 switches off an element that holds NaN or infinity.
        consumed: the axis that the loss takes as one thing (classes, box coordinates), which a mask has not.
        counted: a further mask, of the full shape.
        **arrays: the loss's arrays, under the names that its caller knows.

    Returns:
        The arrays as float32 (or float64), with 0 where masked, and what is kept.
    """
    floats = to_floats(loss, **arrays)
    (first, reference), *others = zip(arrays, floats, strict=True)
    for name, array in others:
        if array.shape != reference.shape:
            hint = shape_hint(first, reference.shape, name, array.shape)
            raise ValueError(
                f"{loss}: {first} {reference.shape} and {name} {array.shape} must have equal shapes; {hint}"
            )
    axis = None if consumed is None else check_axis(loss, first, reference, consumed)
    shape = _without(reference.shape, axis)
    kept = keep(loss, where, sample_weights, shape, *floats, consumed=axis, counted=counted)
    return (*(masked(array, kept.mask, axis) for array in floats), kept)


def classes(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    *,
    axis: int,
    ignore_label: int | None = None,
    counted: Bool[Array, "..."] | None = None,
    **arrays: ArrayLike,
) -> tuple[Array, Labels, Kept]:
    """Take in scores with a class axis, and labels: class ids without that axis, or distributions with it.

    `counted` is a further mask, of the full shape without the class axis.
    """
    (first, scores), (second, labels) = arrays.items()
    (scores,) = to_floats(loss, **{first: scores})
    labels = to_array(loss, second, labels)
    axis = check_axis(loss, first, scores, axis)
    size, shape = scores.shape[axis], _without(scores.shape, axis)
    if labels.shape == scores.shape:
        if ignore_label is not None:
            raise ValueError(
                f"{loss}: ignore_label={ignore_label} needs {second} that are class ids {shape}, got distributions "
                f"{labels.shape}; mask them with where="
            )
        kept = keep(loss, where, sample_weights, shape, scores, labels, consumed=axis, counted=counted)
        targets = masked(labels.astype(scores.dtype), kept.mask, axis)
        expect(loss, second, lambda: targets >= 0, "be distributions over the classes, so >= 0")
        return masked(scores, kept.mask, axis), Labels(axis, size, None, targets), kept
    _check_ids(loss, second, labels, first, scores.shape, axis)
    # uint8 ids could neither count 300 classes nor be compared with -100.
    labels = labels.astype(jnp.int64 if labels.dtype.itemsize > 4 else jnp.int32)
    known = (labels >= 0) & (labels < size)
    if ignore_label is not None:
        counted = labels != ignore_label if counted is None else counted & (labels != ignore_label)
    kept = keep(loss, where, sample_weights, shape, scores, consumed=axis, usable=known, counted=counted)
    ids = masked(labels, kept.mask)
    expect(
        loss,
        second,
        lambda: (ids >= 0) & (ids < size),
        f"be class ids in [0, {size}), or ignore_label, or masked",
    )
    return masked(scores, kept.mask, axis), Labels(axis, size, ids, None), kept


def keep(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    shape: tuple[int, ...],
    *arrays: Array,
    consumed: int | None = None,
    usable: Bool[Array, "..."] | None = None,
    counted: Bool[Array, "..."] | None = None,
) -> Kept:
    """Check `where` and `sample_weights` against the start of `shape`, and join them into one mask.

    Elements outside `counted` are masked. A weight of 0 masks an element that is not `usable`, or where one of
    `arrays` is not finite; other elements of weight 0 stay, so that a gradient with respect to the weights is right.
    """
    mask = counted
    if where is not None:
        where = to_array(loss, "where", where)
        if where.dtype != bool:
            raise TypeError(
                f"{loss}: where must be boolean, got {where.dtype}; "
                "did you mean sample_weights=, or a comparison such as where=mask > 0?"
            )
        where = _aligned(loss, "where", where, shape)
        mask = where if mask is None else mask & where
    if sample_weights is None:
        return Kept(loss, mask, None, shape)
    (weights,) = to_floats(loss, sample_weights=sample_weights)
    weights = _aligned(loss, "sample_weights", weights, shape)
    expect(loss, "sample_weights", lambda: masked(weights, mask) >= 0, "be >= 0")
    finite = [_finite(array, consumed) for array in arrays] + ([] if usable is None else [usable])
    alive = functools.reduce(jnp.logical_and, finite, jnp.asarray(True)) | (weights != 0)
    return Kept(loss, alive if mask is None else mask & alive, weights, shape)


def masked(array: Array, mask: Bool[Array, "..."] | None, consumed: int | None = None) -> Array:
    """`array` with 0 where `mask`, which lacks the `consumed` axis, is False: before any arithmetic."""
    if mask is None:
        return array
    mask = align(mask, array.ndim - (consumed is not None))
    return jnp.where(mask if consumed is None else jnp.expand_dims(mask, consumed), array, 0)


def align(mask: Array, ndim: int) -> Array:
    """Line `mask` up with the leading axes of an array of `ndim` axes."""
    return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))


def to_array(loss: str, name: str, value: ArrayLike) -> Array:
    """`value` as a JAX array of real numbers."""
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{loss}: {name} must be an array or a list of numbers, got {value!r}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{loss}: {name} must be real, got {array.dtype}; did you mean {name}.real?")
    return array


def to_floats(loss: str, **arrays: ArrayLike) -> tuple[Array, ...]:
    """The arrays in the one precision they are computed in: float32, or float64 if one of them has it."""
    converted = [to_array(loss, name, value) for name, value in arrays.items()]
    floating = [array.dtype for array in converted if jnp.issubdtype(array.dtype, jnp.floating)]
    double = any(dtype == jnp.float64 for dtype in floating) if floating else jnp.result_type(float) == jnp.float64
    return tuple(array.astype(jnp.float64 if double else jnp.float32) for array in converted)


def check_axis(loss: str, name: str, array: Array, axis: int) -> int:
    """`axis` counted from the front."""
    if not -array.ndim <= axis < array.ndim:
        axes = f"its axes are {-array.ndim} to {array.ndim - 1}" if array.ndim else "it must have at least one"
        raise ValueError(f"{loss}: {name} {array.shape} has no axis {axis}; {axes}")
    if array.shape[axis] == 0:
        raise ValueError(f"{loss}: {name} {array.shape} must not be empty along axis {axis}")
    return axis % array.ndim


def shape_hint(first: str, a: tuple[int, ...], second: str, b: tuple[int, ...]) -> str:
    """The likely fix where `first` of shape `a` and `second` of shape `b` should have one shape."""
    for name, longer, shorter in ((second, b, a), (first, a, b)):
        if longer[-1:] == (1,) and longer[:-1] == shorter:
            return f"did you mean {name}{_drop_last(len(longer))}?"
    if sorted(a) == sorted(b):
        return f"did you mean to transpose {second}?"
    return f"losses do not broadcast: jnp.broadcast_to({second}, {a}) if that is meant"


def _aligned(loss: str, argument: str, array: Array, shape: tuple[int, ...]) -> Array:
    if array.shape == shape[: array.ndim]:
        return align(array, len(shape))
    hint = "it lines up from the left"
    if array.ndim <= len(shape) and array.shape == shape[len(shape) - array.ndim :]:
        hint += f", and this one fits the right: jnp.broadcast_to({argument}, {shape})?"
    elif array.shape[-1:] == (1,) and array.shape[:-1] == shape[: array.ndim - 1]:
        hint += f": {argument}{_drop_last(array.ndim)}?"
    raise AlignmentError(loss, argument, array.shape, shape, hint)


def _check_ids(loss: str, name: str, labels: Array, first: str, shape: tuple[int, ...], axis: int) -> None:
    expected = f"{first} {shape} need {name} {_without(shape, axis)} (class ids) or {shape} (distributions)"
    if labels.shape != _without(shape, axis):
        hint = "check the class axis (axis=)"
        if labels.shape[-1:] == (1,) and labels.shape[:-1] == _without(shape, axis):
            hint = f"did you mean {name}{_drop_last(labels.ndim)}?"
        raise ValueError(f"{loss}: {expected}, got {labels.shape}; {hint}")
    if jnp.issubdtype(labels.dtype, jnp.floating):
        raise TypeError(f"{loss}: class ids must be integers, got {name} {labels.dtype}; {name}.astype(jnp.int32)?")


def _drop_last(ndim: int) -> str:
    return "[" + ":, " * (ndim - 1) + "0]"


def _finite(array: Array, consumed: int | None) -> Bool[Array, "..."]:
    finite = jnp.isfinite(array)
    return finite if consumed is None else jnp.all(finite, axis=consumed)


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]
