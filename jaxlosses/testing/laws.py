"""The laws. Each takes a case, and raises an error that says what is wrong if the loss breaks it."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlosses.testing.case import Case, as_vector_function, corrupt_masked, is_float, numeric_options

Law = Callable[[Case], None]

LAWS: dict[str, Law] = {}
"""Every law by its name, in the order in which `check` runs them."""


def _law(name: str) -> Callable[[Law], Law]:
    return lambda law: LAWS.setdefault(name, law)


@_law("jit equals eager")
def _jit(case: Case) -> None:
    inputs = case.inputs()
    _close(case.values(*inputs), case.loss(*map(jnp.asarray, inputs)), rtol=2e-6)


@_law("vmap equals a loop")
def _vmap(case: Case) -> None:
    stack = [case.inputs(seed) for seed in range(3)]
    mapped = jax.jit(jax.vmap(case.loss))(*map(np.stack, zip(*stack, strict=True)))
    _close(mapped, np.stack([case.values(*inputs) for inputs in stack]), rtol=2e-6)


@_law("one trace serves all values")
def _one_trace(case: Case) -> None:
    numbers = numeric_options(case)
    once = jax.jit(chex.assert_max_traces(lambda inputs, numbers: case.loss(*inputs, **numbers), n=1))
    chex.clear_trace_counter()
    for seed, scale in ((0, 1.0), (1, 0.75)):
        scaled = {name: scale * number for name, number in numbers.items()}
        traced = once(case.inputs(seed), jax.tree.map(jnp.asarray, scaled))
        _close(traced, case.loss(*case.inputs(seed), **scaled), rtol=2e-5)


@_law("gradients equal central differences")
def _gradients(case: Case) -> None:
    with jax.enable_x64(True):
        values, x = as_vector_function(case)
        cotangent = jax.random.normal(jax.random.key(7), jax.eval_shape(values, x).shape, jnp.float64)

        @jax.jit
        def compare(x: Array) -> tuple[Array, Array]:
            along = lambda x: jnp.vdot(values(x), cotangent)  # noqa: E731
            return jax.grad(along)(x), _central_differences(along, x, 1e-6)

        exact, numeric = compare(x)
        _close(exact, numeric, rtol=1e-5, atol=1e-7)


@_law("forward mode equals reverse mode")
def _modes(case: Case) -> None:
    with jax.enable_x64(True):
        values, x = as_vector_function(case)
        direction = jax.random.normal(jax.random.key(5), x.shape, jnp.float64)

        @jax.jit
        def both(x: Array) -> tuple[Array, Array]:
            out, forward = jax.jvp(values, (x,), (direction,))
            (back,) = jax.vjp(values, x)[1](jnp.cos(jnp.arange(out.size, dtype=jnp.float64)).reshape(out.shape))
            weights = jnp.cos(jnp.arange(out.size, dtype=jnp.float64)).reshape(out.shape)
            return jnp.vdot(weights, forward), jnp.vdot(back, direction)

        _close(*both(x), rtol=1e-9, atol=1e-12)


@_law("second derivatives equal central differences")
def _second(case: Case) -> None:
    with jax.enable_x64(True):
        values, x = as_vector_function(case)
        slope = jax.grad(lambda x: jnp.sum(values(x)))

        @jax.jit
        def compare(x: Array) -> tuple[Array, Array]:
            direction = jnp.cos(jnp.arange(x.size, dtype=jnp.float64)).reshape(x.shape)
            h = 1e-6
            after, before = jax.lax.map(slope, jnp.stack([x + h * direction, x - h * direction]))
            return jax.jvp(slope, (x,), (direction,))[1], (after - before) / (2 * h)

        _close(*compare(x), rtol=1e-4, atol=1e-6)


@_law("masking equals deletion")
def _deletion(case: Case) -> None:
    inputs = case.inputs()
    for axis, size in enumerate(case.mask_shape):
        is_kept = np.arange(size) != 1
        where = np.broadcast_to(is_kept.reshape((-1,) + (1,) * (len(case.mask_shape) - axis - 1)), case.mask_shape)
        masked, masked_grads = case.mean(*inputs, where=where)
        deleted, deleted_grads = case.mean(*(np.compress(is_kept, x, axis) for x in inputs))
        _close(masked, deleted, rtol=1e-5, atol=1e-7)
        for grad, expected in zip(masked_grads, deleted_grads, strict=True):
            _close(np.compress(is_kept, grad, axis), expected, rtol=1e-5, atol=1e-7)
            _close(np.compress(~is_kept, grad, axis), 0.0)


@_law("nothing leaks from under a mask")
def _leaks(case: Case) -> None:
    inputs = case.inputs()
    batch = np.arange(case.mask_shape[0]) != 2
    scattered = np.random.default_rng(3).random(case.mask_shape) < 0.6
    for where, bad in itertools.product((batch, scattered), (np.nan, np.inf, -np.inf)):
        clean, clean_grads = case.mean(*inputs, where=where)
        corrupted = tuple(corrupt_masked(x, where, bad) for x in inputs)
        value, grads = case.mean(*corrupted, where=where)
        _close(value, clean, rtol=0)
        for grad, expected in zip(grads, clean_grads, strict=True):
            _close(grad, expected, rtol=0)
        _close(case.values(*corrupted, where=where), case.values(*inputs, where=where), rtol=0)


@_law("all masked is zero")
def _all_masked(case: Case) -> None:
    inputs = case.inputs()
    all_false = np.zeros(case.mask_shape, bool)
    for arrays, where in ((inputs, all_false), (tuple(x[:0] for x in inputs), all_false[:0])):
        value, grads = case.mean(*arrays, where=where)
        for result in (value, *grads, case.values(*arrays, where=where)):
            _close(result, 0.0)
    _close(case.mean(*(x[:0] for x in inputs))[0], 0.0)


@_law("a weight repeats")
def _weights(case: Case) -> None:
    inputs = case.inputs()
    for axis, size in enumerate(case.mask_shape if case.is_batch_reduced or not case.is_batch_dependent else ()):
        repeats = np.arange(size) % 3
        weights = np.broadcast_to(repeats, case.mask_shape[: axis + 1]).astype(np.float32)
        weighted, grads = case.mean(*inputs, sample_weights=weights)
        repeated = jax.jit(functools.partial(case.loss, reduction="mean"))(
            *(np.repeat(x, repeats, axis) for x in inputs)
        )
        _close(weighted, repeated, rtol=1e-5)
        # Weights inside a smoothed ratio may change it: those of pixels, and those of images that are pooled.
        if (axis == 0 and not case.is_batch_reduced) or case.values(*inputs).shape == case.mask_shape:
            doubled, _ = case.mean(*inputs, sample_weights=2 * weights)
            _close(weighted, doubled, rtol=1e-5)
        value, corrupted_grads = case.mean(
            *(corrupt_masked(x, weights > 0, np.nan) for x in inputs), sample_weights=weights
        )
        _close(value, weighted, rtol=1e-6)
        for grad, expected in zip(corrupted_grads, grads, strict=True):
            _close(grad, expected, rtol=1e-6, atol=1e-8)


@_law("reductions agree")
def _reductions(case: Case) -> None:
    inputs = case.inputs()
    where = np.arange(case.mask_shape[0]) != 1
    weights = 0.5 + np.arange(case.mask_shape[0], dtype=np.float32)

    @jax.jit
    def every(*inputs: Array, **keywords: Any) -> tuple[Any, ...]:
        return tuple(case.loss(*inputs, **keywords, reduction=how) for how in ("none", "sum", "mean", "parts"))

    for keywords in ({}, {"where": where}, {"where": where, "sample_weights": weights}):
        none, total, mean, parts = every(*inputs, **keywords)
        _close(np.sum(none), total, rtol=1e-5)
        _close(parts.sum, total, rtol=1e-6)
        _close(parts.mean(), mean, rtol=1e-6)
        _close(parts.sum / parts.count, mean, rtol=1e-6)
        if "where" in keywords and not case.is_batch_reduced:
            _close(none[1], 0.0)
    if not case.is_batch_dependent:
        values, _, mean, _ = every(*inputs)
        parts = jax.jit(functools.partial(case.loss, reduction="parts"))
        halves = [parts(*(x[s] for x in inputs)) for s in (slice(2), slice(2, None))]
        _close((halves[0] + halves[1]).mean(), mean, rtol=1e-5)
        weighted = np.reshape(weights, (-1,) + (1,) * (values.ndim - 1)) * values
        _close(case.values(*inputs, sample_weights=weights), weighted, rtol=1e-5)
    _raises(ValueError, (case.spec.name, "reduction"), lambda: case.loss(*inputs, reduction="average"))


@_law("half precision is computed in float32")
def _half(case: Case) -> None:
    mean = functools.partial(case.loss, reduction="mean")
    for dtype in (jnp.bfloat16, jnp.float16):
        half = tuple(x.astype(dtype) if is_float(x) else x for x in case.inputs())
        same = tuple(x.astype(jnp.float32) if is_float(x) else x for x in half)
        result = case.values(*half)
        for name, given in {"none": result, "mean": jax.eval_shape(mean, *half)}.items():
            assert given.dtype == jnp.float32, f"{dtype.__name__} gave {given.dtype} under reduction={name!r}"
        _close(result, case.values(*same), rtol=1e-6)
    _close(case.loss(*(x.tolist() for x in case.inputs())), case.values(*case.inputs()), rtol=1e-6)
    with jax.enable_x64(True):
        double = tuple(x.astype(jnp.float64) if is_float(x) else x for x in case.inputs())
        assert jax.eval_shape(case.loss, *double).dtype == jnp.float64, "float64 did not stay float64"


@_law("permuting the batch permutes the result")
def _permutation(case: Case) -> None:
    inputs = case.inputs()
    order = np.random.default_rng(0).permutation(case.mask_shape[0])
    values = case.values(*inputs)
    permuted = case.values(*(x[order] for x in inputs))
    _close(permuted, values if case.is_batch_reduced else values[order], rtol=2e-6, atol=1e-7)


@_law("wrong shapes raise")
def _shapes(case: Case) -> None:
    name, inputs = case.spec.name, case.inputs()
    for index in range(1, len(inputs)):
        for wrong in (inputs[index][..., None], inputs[index][:-1], inputs[index][:1]):
            given = (*inputs[:index], wrong, *inputs[index + 1 :])
            _raises(ValueError, (name, str(inputs[0].shape), str(wrong.shape)), lambda given=given: case.loss(*given))
    for argument, make in (("where", np.ones), ("sample_weights", np.ones)):
        dtype = bool if argument == "where" else np.float32
        for shape in ((case.mask_shape[0] + 1,), (*case.mask_shape, 1), (1, *case.mask_shape)):
            keywords = {argument: make(shape, dtype)}
            _raises(ValueError, (name, argument, str(shape)), lambda k=keywords: case.loss(*inputs, **k))
    _raises(TypeError, (name, "where", "bool"), lambda: case.loss(*inputs, where=np.ones(case.mask_shape, np.float32)))


@_law("nothing is below the minimum")
def _minimum(case: Case) -> None:
    if case.spec.minimum is not None and case.spec.may_be_negative(case.options) is None:
        lowest = min(float(jnp.min(case.values(*case.inputs(seed)))) for seed in range(5))
        assert lowest >= case.spec.minimum, f"{lowest} is below {case.spec.minimum}"


def _central_differences(f: Callable[[Array], Array], x: Array, h: float) -> Array:
    steps = h * jnp.eye(x.size, dtype=x.dtype)
    after, before = jnp.split(jax.lax.map(f, jnp.concatenate([x[None] + steps, x[None] - steps])), 2)
    return (after - before) / (2 * h)


def _close(actual: Any, expected: Any, *, rtol: float = 1e-7, atol: float = 0.0) -> None:
    actual = np.asarray(actual)
    np.testing.assert_allclose(actual, np.broadcast_to(np.asarray(expected), actual.shape), rtol=rtol, atol=atol)


def _raises(kind: type[Exception], words: tuple[str, ...], call: Callable[[], Any]) -> None:
    try:
        call()
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"the error does not mention {missing}: {error}"
    else:
        raise AssertionError(f"no {kind.__name__} was raised that mentions {words}")
