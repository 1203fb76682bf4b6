"""What `where`, `sample_weights` and `reduction` mean."""

import functools
import itertools
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxlosses.testing.case import Case, corrupt_masked
from jaxlosses.testing.laws._law import close, law, raises


@law("masking equals deletion")
def _deletion(case: Case) -> None:
    inputs = case.inputs()
    for axis, size in enumerate(case.mask_shape):
        is_kept = np.arange(size) != 1
        where = np.broadcast_to(is_kept.reshape((-1,) + (1,) * (len(case.mask_shape) - axis - 1)), case.mask_shape)
        masked, masked_grads = case.mean(*inputs, where=where)
        deleted, deleted_grads = case.mean(*(np.compress(is_kept, x, axis) for x in inputs))
        close(masked, deleted, rtol=1e-5, atol=1e-7)
        for grad, expected in zip(masked_grads, deleted_grads, strict=True):
            close(np.compress(is_kept, grad, axis), expected, rtol=1e-5, atol=1e-7)
            close(np.compress(~is_kept, grad, axis), 0.0)


@law("nothing leaks from under a mask")
def _leaks(case: Case) -> None:
    inputs = case.inputs()
    batch = np.arange(case.mask_shape[0]) != 2
    scattered = np.random.default_rng(3).random(case.mask_shape) < 0.6
    for where, bad in itertools.product((batch, scattered), (np.nan, np.inf, -np.inf)):
        clean, clean_grads = case.mean(*inputs, where=where)
        corrupted = tuple(corrupt_masked(x, where, bad) for x in inputs)
        value, grads = case.mean(*corrupted, where=where)
        close(value, clean, rtol=0)
        for grad, expected in zip(grads, clean_grads, strict=True):
            close(grad, expected, rtol=0)
        close(case.values(*corrupted, where=where), case.values(*inputs, where=where), rtol=0)


@law("all masked is zero")
def _all_masked(case: Case) -> None:
    inputs = case.inputs()
    all_false = np.zeros(case.mask_shape, bool)
    for arrays, where in ((inputs, all_false), (tuple(x[:0] for x in inputs), all_false[:0])):
        value, grads = case.mean(*arrays, where=where)
        for result in (value, *grads, case.values(*arrays, where=where)):
            close(result, 0.0)
    close(case.mean(*(x[:0] for x in inputs))[0], 0.0)


@law("a weight repeats")
def _weights(case: Case) -> None:
    inputs = case.inputs()
    for axis, size in enumerate(case.mask_shape if case.is_batch_reduced or not case.is_batch_dependent else ()):
        repeats = np.arange(size) % 3
        weights = np.broadcast_to(repeats, case.mask_shape[: axis + 1]).astype(np.float32)
        weighted, grads = case.mean(*inputs, sample_weights=weights)
        repeated = jax.jit(functools.partial(case.loss, reduction="mean"))(
            *(np.repeat(x, repeats, axis) for x in inputs)
        )
        close(weighted, repeated, rtol=1e-5)
        # Weights inside a smoothed ratio may change it: those of pixels, and those of images that are pooled.
        if (axis == 0 and not case.is_batch_reduced) or case.values(*inputs).shape == case.mask_shape:
            doubled, _ = case.mean(*inputs, sample_weights=2 * weights)
            close(weighted, doubled, rtol=1e-5)
        value, corrupted_grads = case.mean(
            *(corrupt_masked(x, weights > 0, np.nan) for x in inputs), sample_weights=weights
        )
        close(value, weighted, rtol=1e-6)
        for grad, expected in zip(corrupted_grads, grads, strict=True):
            close(grad, expected, rtol=1e-6, atol=1e-8)


@law("reductions agree")
def _reductions(case: Case) -> None:
    inputs = case.inputs()
    where = np.arange(case.mask_shape[0]) != 1
    weights = 0.5 + np.arange(case.mask_shape[0], dtype=np.float32)

    @jax.jit
    def every(*inputs: Array, **keywords: Any) -> tuple[Any, ...]:
        return tuple(case.loss(*inputs, **keywords, reduction=how) for how in ("none", "sum", "mean", "parts"))

    for keywords in ({}, {"where": where}, {"where": where, "sample_weights": weights}):
        none, total, mean, parts = every(*inputs, **keywords)
        close(np.sum(none), total, rtol=1e-5)
        close(parts.sum, total, rtol=1e-6)
        close(parts.mean(), mean, rtol=1e-6)
        close(parts.sum / parts.count, mean, rtol=1e-6)
        if "where" in keywords and not case.is_batch_reduced:
            close(none[1], 0.0)
    if not case.is_batch_dependent:
        values, _, mean, _ = every(*inputs)
        parts = jax.jit(functools.partial(case.loss, reduction="parts"))
        halves = [parts(*(x[s] for x in inputs)) for s in (slice(2), slice(2, None))]
        close((halves[0] + halves[1]).mean(), mean, rtol=1e-5)
        weighted = np.reshape(weights, (-1,) + (1,) * (values.ndim - 1)) * values
        close(case.values(*inputs, sample_weights=weights), weighted, rtol=1e-5)
    raises(ValueError, (case.spec.name, "reduction"), lambda: case.loss(*inputs, reduction="average"))
