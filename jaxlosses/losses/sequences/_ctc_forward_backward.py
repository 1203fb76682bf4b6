"""The forward-backward algorithm of CTC: the probability of the labels, and at each frame the posterior of each label.

An alignment is a path through the states blank 0, label 0, blank 1, label 1, ..., label U-1, blank U. From one frame to
the next it stays, goes one state further, or skips the blank between two labels that differ; it then emits its state's
symbol, which the model gives the probability y_t. Before the first frame it is at blank 0, and after the last one at
blank U, or at label U-1. The textbook algorithm:

    forward     a(s, t)   the probability of all ways to be in s at frame t, with the symbols of frames 0 to t emitted
        a(blank n, t) = y_t(blank)   · (a(blank n, t-1) + a(label n-1, t-1))
        a(label n, t) = y_t(label n) · (a(label n, t-1) + a(blank n, t-1) + a(label n-1, t-1) if it differs from n)
    backward    b(s, t)   the probability of all ways to go on from s at frame t to the end, emitting t+1 and later
        b(blank n, t) = Σ over blank n, label n                               of y_{t+1}(s') · b(s', t+1)
        b(label n, t) = Σ over label n, blank n+1, label n+1 if it differs    of y_{t+1}(s') · b(s', t+1)
    likelihood  p = Σ_s a(s, t) · b(s, t), the same at every frame
    posterior   P(s at t | labels) = a(s, t) · b(s, t) / p;    d(-log p)/d(log y_t(label n)) = -P(label n at t | labels)

`tests/losses/sequences/ctc.py` has it as a plain loop. What differs here is two things. The probabilities are
`ScaledFloat`s. And time is folded, for half as many steps: from the last frame backwards, with the labels in reverse
order, the backward recursion *is* the forward one, so both run as one scan, with frame t beside frame T-1-t, and meet
in the middle. There p is known, and both scans run on, each backwards through the other one's half, for the posterior.

    before   (time, 1 + labels, batch)                     the blank of a frame comes before its labels
    folded   (chunks, steps, 1 + labels, 2, batch)         chunks · steps >= time / 2 frames; 2: from the start, the end
    states   blanks (labels + 1, 2, batch), labels (labels, 2, batch)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import collectives
from jaxlosses.losses.sequences import _scaled_float
from jaxlosses.losses.sequences._scaled_float import ScaledFloat

# A step makes a mantissa at most 5 times as large, so even the product of two of them stays a float.
_STEPS_PER_NORMALIZATION = 16


class AlignmentState(NamedTuple):
    """The probability of being at each blank, `(labels + 1, 2, batch)`, and at each label, `(labels, 2, batch)`."""

    blank: ScaledFloat
    label: ScaledFloat


class _Folded(NamedTuple):
    """The arguments of `negative_log_likelihood`, with time folded.

    Attributes:
        log_p: the log-probabilities of blank and labels.
        valid: which frames are not padding.
        skip_exponents: for each label, what going there from the label before multiplies by, as an exponent of two: 0
            where they differ, and else the exponent of the number 0. One row more than labels, as `pad_zeros` makes.
        start: before the first frame, and after the last one.
    """

    log_p: Float[Array, "chunks steps states 2 batch"]
    valid: Bool[Array, "chunks steps 2 batch"]
    skip_exponents: Float[Array, "states 2 batch"]
    start: AlignmentState


@jax.custom_jvp
def negative_log_likelihood(
    log_p: Float[Array, "time states batch"],
    repeats: Bool[Array, "labels batch"],
    valid: Bool[Array, "time batch"],
    lengths: Int[Array, " batch"],
) -> Float[Array, " batch"]:
    """Minus the logarithm of the probability that the frames spell the labels; +inf with zero gradient if they cannot.

    Args:
        log_p: at each frame, the log-probability of the blank, and of each label.
        repeats: whether a label is the same as the one before.
        valid: which frames are not padding, which comes last.
        lengths: how many labels are not padding, which comes last.
    """
    folded = _fold(log_p, repeats, valid, lengths)
    probability, _ = _join_halves(folded, _forward(folded)[0])
    return _negative_log(probability)


@negative_log_likelihood.defjvp
def _negative_log_likelihood_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    folded = _fold(*primals)
    middle, forward_labels = _forward(folded)
    probability, backward_start = _join_halves(folded, middle)
    posterior = _unfold(_posterior(folded, forward_labels, backward_start, probability), time=len(primals[0]))
    return _negative_log(probability), -jnp.sum(posterior * tangents[0], axis=(0, 1))


def _negative_log(probability: ScaledFloat) -> Array:
    # Rounding must not make a probability more than 1: the loss is never negative.
    return jnp.maximum(-probability.log(), 0)


def _forward(folded: _Folded) -> tuple[AlignmentState, ScaledFloat]:
    """Both forward recursions up to the middle: the state there, and a(label n, t) of every frame."""

    def step(state: AlignmentState, frame: tuple[Array, Array]) -> tuple[AlignmentState, ScaledFloat]:
        state = _emit(_transition_forward(state, folded.skip_exponents), state, *frame)
        return state, state.label

    return _scan_in_chunks(step, folded.start, (folded.log_p, folded.valid))


def _join_halves(folded: _Folded, middle: AlignmentState) -> tuple[ScaledFloat, AlignmentState]:
    """The probability of all alignments, and the states from which the backward recursions go on: the other half's."""
    middle = _normalized(middle)
    other_half = jax.tree.map(lambda x: jnp.flip(x, (0, 1)), middle)  # the order of the labels, and the two halves
    arrived = _transition_forward(middle, folded.skip_exponents)
    products = [a * b for a, b in zip(arrived, other_half, strict=True)]
    all_states = ScaledFloat(*(jnp.concatenate(parts)[:, 0] for parts in zip(*products, strict=True)))
    return all_states.sum(), other_half


def _posterior(
    folded: _Folded, forward_labels: ScaledFloat, backward_start: AlignmentState, probability: ScaledFloat
) -> Array:
    """How likely an alignment is at the blanks and at each label, at each frame: in the shape of `folded.log_p`."""
    impossible = probability.is_zero()
    inverse = ScaledFloat(1 / probability.mantissa, jnp.where(impossible, 0, -probability.exponent))
    inverse = jax.tree.map(lambda x: x[None, None], inverse)

    def step(state: AlignmentState, frame: tuple[Array, Array, ScaledFloat]) -> tuple[AlignmentState, Array]:
        log_p, valid, forward_label = frame
        backward = _transition_backward(state, folded.skip_exponents)
        mantissa, exponent = forward_label * backward.label * inverse
        posterior = mantissa * _scaled_float.power_of_two(jnp.minimum(exponent, 2 * _STEPS_PER_NORMALIZATION))
        return _emit(backward, state, log_p, valid), posterior

    _, labels = _scan_in_chunks(step, backward_start, (folded.log_p, folded.valid, forward_labels), reverse=True)
    valid = (folded.valid & ~impossible[None, None, None])[:, :, None]
    labels = jnp.where(valid, labels, 0)
    # A float counts up to 2^24: the exponents of a loss of 1e7 and more are rounded, and only proportions remain.
    sums = jnp.sum(labels, axis=2, keepdims=True)
    labels *= jnp.where(sums > 1.01, 1 / jnp.where(sums > 1.01, sums, 1), 1)
    blank = jnp.where(valid, 1 - jnp.sum(labels, axis=2, keepdims=True), 0)
    return jnp.concatenate([blank, labels], axis=2)


def _transition_forward(state: AlignmentState, skip_exponents: Array) -> AlignmentState:
    """One frame later, before its symbol is emitted: at each state the sum over the states from which it is reached."""
    previous = state.label.pad_zeros(1, 0)
    skipped = previous.times_power_of_two(skip_exponents)
    return AlignmentState(
        blank=state.blank + previous,
        label=_scaled_float.add(state.label, state.blank.entries(None, -1), skipped.entries(None, -1)),
    )


def _transition_backward(state: AlignmentState, skip_exponents: Array) -> AlignmentState:
    """One frame earlier, before its symbol is emitted: at each state the sum over the states that it can reach."""
    following = state.label.pad_zeros(0, 1)
    skipped = following.times_power_of_two(skip_exponents)
    return AlignmentState(
        blank=state.blank + following,
        label=_scaled_float.add(state.label, state.blank.entries(1, None), skipped.entries(1, None)),
    )


def _emit(state: AlignmentState, previous: AlignmentState, log_p: Array, valid: Array) -> AlignmentState:
    """`state` times the probabilities of a frame; where the frame is padding, the state before the transition."""
    y = _scaled_float.from_log(log_p)
    emitted = AlignmentState(state.blank * y.entries(None, 1), state.label * y.entries(1, None))
    return jax.tree.map(lambda new, old: jnp.where(valid[None], new, old), emitted, previous)


def _scan_in_chunks(
    step: Callable[..., Any], state: AlignmentState, frames: tuple[Any, ...], reverse: bool = False
) -> tuple[AlignmentState, Any]:
    """Scan over all frames, and normalize after each chunk only: XLA would compute every step twice for it."""

    def chunk(state: AlignmentState, frames: tuple[Any, ...]) -> tuple[AlignmentState, Any]:
        state, out = jax.lax.scan(step, state, frames, reverse=reverse)
        return _normalized(state), out

    return jax.lax.scan(chunk, state, frames, reverse=reverse)


def _normalized(state: AlignmentState) -> AlignmentState:
    return AlignmentState(state.blank.normalized(), state.label.normalized())


def _fold(log_p: Array, repeats: Array, valid: Array, lengths: Array) -> _Folded:
    """Frame t beside frame T-1-t, whose labels are reversed, in chunks; see the table at the top of this module.

    An odd number of frames gets one more at the end, and each half gets more at the middle until it is chunks · steps
    long; those frames are not valid, so they change no state.
    """
    time, states, _ = log_p.shape
    half = -(-time // 2)
    chunks = max(1, -(-half // _STEPS_PER_NORMALIZATION))
    steps = -(-half // chunks)  # so that the chunks are of one length, with as little padding as can be

    def fold_time(x: Array, reverse_labels: Callable[[Array], Array] = lambda x: x) -> Array:
        even = jnp.pad(x, [(0, 2 * half - time)] + [(0, 0)] * (x.ndim - 1))
        from_start, from_end = jnp.split(even, 2)
        pairs = jnp.stack([from_start, reverse_labels(jnp.flip(from_end, 0))], axis=-2)
        pairs = jnp.pad(pairs, [(0, chunks * steps - half)] + [(0, 0)] * (pairs.ndim - 1))
        return pairs.reshape(chunks, steps, *pairs.shape[1:])

    skips = jnp.where(repeats, _scaled_float.zero_exponent(log_p.dtype), 0).astype(log_p.dtype)
    skips = jnp.pad(skips, ((0, 1), (0, 0)))
    start = _start(states, jnp.stack([jnp.zeros_like(lengths), states - 1 - lengths]), log_p.dtype)
    return _Folded(
        fold_time(log_p, _reverse_labels),
        fold_time(valid),
        jnp.stack([skips, jnp.flip(skips, 0)], axis=1),
        collectives.vary_like(start, log_p, repeats, valid, lengths),
    )


def _unfold(folded: Array, time: int) -> Array:
    """The inverse of `_fold` for an array like `_Folded.log_p`: `(time, states, batch)`."""
    chunks, steps, *rest = folded.shape
    pairs = folded.reshape(chunks * steps, *rest)[: -(-time // 2)]
    from_start, from_end = pairs[:, :, 0], _reverse_labels(pairs[:, :, 1])
    return jnp.concatenate([from_start, jnp.flip(from_end, 0)])[:time]


def _reverse_labels(x: Array) -> Array:
    """`(time, 1 + labels, batch)` with the labels in reverse order, behind the blank."""
    # Split and not sliced: transposed, that is one concatenation instead of a sum of padded arrays.
    blank, labels = jnp.split(x, [1], axis=1)
    return jnp.concatenate([blank, jnp.flip(labels, 1)], axis=1)


def _start(states: int, blanks: Int[Array, "2 batch"], dtype: Any) -> AlignmentState:
    """Certainly at one blank: before the first frame blank 0, and in reverse order the blank behind the last label."""
    is_start = jax.lax.broadcasted_iota(blanks.dtype, (states, *blanks.shape), 0) == blanks[None]
    zero = jnp.full(is_start.shape, _scaled_float.zero_exponent(dtype), dtype)
    exponent = jnp.where(is_start, 0, zero)
    return AlignmentState(
        ScaledFloat(jnp.ones_like(exponent), exponent), ScaledFloat(jnp.ones_like(exponent[1:]), zero[1:])
    )
