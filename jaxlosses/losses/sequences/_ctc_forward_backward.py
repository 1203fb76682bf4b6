"""The sum over all alignments of labels to frames, and how likely each of them passes through a label at a frame.

An alignment walks through blank 0, label 1, blank 1, ..., label U, blank U: at each frame it stays, takes one step, or
skips the blank between two different labels. The forward recursion sums, frame by frame, over all ways to arrive:

    blank'_n = y_blank · (blank_n + label_n)
    label'_n = y_n     · (label_n + blank_{n-1} + label_{n-1} if it differs from label n)

The time axis is folded: frame i travels together with frame T-1-i, whose labels are reversed, for seen from its end a
walk obeys the same recursion. The two halves meet in the middle, where Σ forward · backward is the probability: half
as many steps, and the other halves of both walks, back to the ends, are all that the gradient needs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.losses.sequences import _scaled_float
from jaxlosses.losses.sequences._scaled_float import Wide

_STEPS = 16  # without normalising: m grows by a factor of 5 at most in a step, so even m · m stays a float


class Walk(NamedTuple):
    """The probability of being at each blank (U+1, ...) and at each label (U, ...)."""

    blank: Wide
    label: Wide


class _Folded(NamedTuple):
    """Frames (chunks, steps, U+1, 2, B) and whether they are there, gaps (U+1, 2, B), and where the walks start."""

    log_p: Float[Array, "chunks steps states 2 batch"]
    valid: Bool[Array, "chunks steps 2 batch"]
    gaps: Float[Array, "states 2 batch"]
    start: Walk


def surprise(
    log_p: Float[Array, "time states batch"],
    repeats: Bool[Array, "labels batch"],
    valid: Bool[Array, "time batch"],
    lengths: Int[Array, " batch"],
) -> Float[Array, " batch"]:
    """Minus the logarithm of the probability that the frames spell the labels; +inf with zero gradient if they cannot.

    Args:
        log_p: at each frame, the log-probability of the blank, and of each label.
        repeats: whether a label is the same as the one before.
        valid: which frames are there; they come first.
        lengths: how many labels are there; they come first.
    """
    return _surprise(*_fold(log_p, repeats, valid, lengths))


@jax.custom_jvp
def _surprise(log_p: Array, valid: Array, gaps: Array, start: Walk) -> Array:
    frames = _Folded(log_p, valid, gaps, start)
    probability, _ = _meet(frames, _forward(frames)[0])
    return _cost(probability)


@_surprise.defjvp
def _surprise_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    frames = _Folded(*primals)
    ends, arrivals = _forward(frames)
    probability, returns = _meet(frames, ends)
    posterior = _posterior(frames, arrivals, returns, probability)
    return _cost(probability), -jnp.sum(posterior * tangents[0], axis=(0, 1, 2, 3))


def _cost(probability: Wide) -> Array:
    # Rounding must not make a probability more than 1: the loss is never negative.
    return jnp.maximum(-_scaled_float.log(probability), 0)


def _forward(frames: _Folded) -> tuple[Walk, Wide]:
    """Both walks up to the middle, and at every frame the probability of having arrived at each label."""

    def step(walk: Walk, frame: tuple[Array, Array]) -> tuple[Walk, Wide]:
        walk = _emit(_ahead(walk, frames.gaps), walk, *frame)
        return walk, walk.label

    return _in_chunks(step, frames.start, (frames.log_p, frames.valid))


def _meet(frames: _Folded, ends: Walk) -> tuple[Wide, Walk]:
    """The probability of all alignments, and the walks onward from the middle: each is the other one's, reversed."""
    ends = _normalised(ends)
    returns = jax.tree.map(_swap, ends)
    before, after = _ahead(ends, frames.gaps), returns
    through = [_scaled_float.times(a, b) for a, b in zip(before, after, strict=True)]
    both = Wide(*(jnp.concatenate(pair)[:, 0] for pair in zip(*through, strict=True)))
    return _scaled_float.total(both), returns


def _posterior(frames: _Folded, arrivals: Wide, returns: Walk, probability: Wide) -> Array:
    """How likely an alignment passes through each blank and label at each frame, in the shape of `frames.log_p`."""
    impossible = _scaled_float.is_zero(probability)
    scale = Wide(1 / probability.m, jnp.where(impossible, 0, -probability.e))

    def step(walk: Walk, frame: tuple[Array, Array, Wide]) -> tuple[Walk, Array]:
        log_p, valid, arrived = frame
        onward = _back(walk, frames.gaps)
        m, e = _scaled_float.times(
            _scaled_float.times(arrived, onward.label), Wide(scale.m[None, None], scale.e[None, None])
        )
        return _emit(onward, walk, log_p, valid), m * _scaled_float.power_of_two(jnp.minimum(e, 2 * _STEPS))

    _, labels = _in_chunks(step, returns, (frames.log_p, frames.valid, arrivals), reverse=True)
    there = (frames.valid & ~impossible[None, None, None])[:, :, None]
    labels = jnp.where(there, labels, 0)
    # A float counts up to 2^24: the exponents of a loss of 1e7 and more are rounded, and only proportions remain.
    sums = jnp.sum(labels, axis=2, keepdims=True)
    labels *= jnp.where(sums > 1.01, 1 / jnp.where(sums > 1.01, sums, 1), 1)
    blank = jnp.where(there, 1 - jnp.sum(labels, axis=2, keepdims=True), 0)
    return jnp.concatenate([blank, labels], axis=2)


def _ahead(walk: Walk, gaps: Array) -> Walk:
    """One frame later, before its symbol is emitted."""
    before = _padded(walk.label, ((1, 0), (0, 0), (0, 0)))
    skipped = Wide(before.m, before.e + gaps)
    return _arrive(walk, before, *(Wide(w.m[:-1], w.e[:-1]) for w in (walk.blank, skipped)))


def _back(walk: Walk, gaps: Array) -> Walk:
    """One frame earlier: the same with all arrows reversed."""
    after = _padded(walk.label, ((0, 1), (0, 0), (0, 0)))
    skipped = Wide(after.m, after.e + gaps)
    return _arrive(walk, after, *(Wide(w.m[1:], w.e[1:]) for w in (walk.blank, skipped)))


def _arrive(walk: Walk, neighbour: Wide, blank: Wide, skipped: Wide) -> Walk:
    return Walk(_scaled_float.add(walk.blank, neighbour), _scaled_float.add(walk.label, blank, skipped))


def _emit(arrived: Walk, before: Walk, log_p: Array, valid: Array) -> Walk:
    """Multiply by the probabilities of a frame; nothing has happened at a frame that is not there."""
    y = _scaled_float.from_log(log_p)
    emitted = Walk(
        _scaled_float.times(arrived.blank, Wide(y.m[:1], y.e[:1])),
        _scaled_float.times(arrived.label, Wide(y.m[1:], y.e[1:])),
    )
    return jax.tree.map(lambda new, old: jnp.where(valid[None], new, old), emitted, before)


def _in_chunks(
    step: Callable[..., Any], walk: Walk, frames: tuple[Any, ...], reverse: bool = False
) -> tuple[Walk, Any]:
    """Scan over all frames, and normalise after each chunk only: XLA would compute every step twice for it."""

    def chunk(walk: Walk, frames: tuple[Any, ...]) -> tuple[Walk, Any]:
        walk, out = jax.lax.scan(step, walk, frames, reverse=reverse)
        return _normalised(walk), out

    return jax.lax.scan(chunk, walk, frames, reverse=reverse)


def _normalised(walk: Walk) -> Walk:
    return Walk(_scaled_float.normalised(walk.blank), _scaled_float.normalised(walk.label))


def _padded(w: Wide, widths: tuple[tuple[int, int], ...]) -> Wide:
    return Wide(
        jnp.pad(w.m, widths, constant_values=1), jnp.pad(w.e, widths, constant_values=_scaled_float.lowest(w.e.dtype))
    )


def _swap(x: Array) -> Array:
    """The two directions change places, and so does the order of the labels."""
    return jnp.flip(x, (0, 1))


def _fold(log_p: Array, repeats: Array, valid: Array, lengths: Array) -> _Folded:
    time, states, _ = log_p.shape
    half = -(-time // 2)
    chunks = max(1, -(-half // _STEPS))
    steps = -(-half // chunks)  # so that the chunks are of one length, with as few empty frames as can be

    def in_pairs(early: Array, late: Array) -> Array:
        """Frames and their mirror images, in chunks; what is missing in the middle is not valid."""
        missing = [(0, chunks * steps - half)] + [(0, 0)] * early.ndim
        pairs = jnp.pad(jnp.stack([early, late], axis=-2), missing)
        return pairs.reshape(chunks, steps, *pairs.shape[1:])

    odd = (0, 2 * half - time)
    # Split and not sliced: transposed, that is one concatenation instead of a sum of padded arrays.
    early, late = jnp.split(jnp.pad(log_p, (odd, (0, 0), (0, 0))), 2)
    blank, labels = jnp.split(jnp.flip(late, 0), [1], axis=1)
    early_valid, late_valid = jnp.split(jnp.pad(valid, (odd, (0, 0))), 2)
    closed = jnp.where(repeats, _scaled_float.lowest(log_p.dtype), 0).astype(log_p.dtype)
    gaps = jnp.pad(closed, ((0, 1), (0, 0)))
    return _Folded(
        in_pairs(early, jnp.concatenate([blank, jnp.flip(labels, 1)], axis=1)),
        in_pairs(early_valid, jnp.flip(late_valid, 0)),
        jnp.stack([gaps, jnp.flip(gaps, 0)], axis=1),
        _start(states, jnp.stack([jnp.zeros_like(lengths), states - 1 - lengths]), log_p.dtype),
    )


def _start(states: int, places: Int[Array, "2 batch"], dtype: Any) -> Walk:
    """Before the first frame a walk is at one blank: the first one, or seen from the end the last."""
    here = jax.lax.broadcasted_iota(places.dtype, (states, *places.shape), 0) == places[None]
    nowhere = jnp.full(here.shape, _scaled_float.lowest(dtype), dtype)
    e = jnp.where(here, 0, nowhere)
    return Walk(Wide(jnp.ones_like(e), e), Wide(jnp.ones_like(e[1:]), nowhere[1:]))
