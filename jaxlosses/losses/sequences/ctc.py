"""Connectionist temporal classification: labels for frames, when nobody knows which frame belongs to which label.

At each frame the model emits a label or the blank. The map B turns such a path π into labels: it merges what repeats,
then deletes the blanks, so B(aa-ab-) = aab. The probability of the labels is that of all paths that spell them:

    p(l) = Σ_{π: B(π) = l} Π_t softmax(z_t)_{π_t}         ctc_loss = -log p(l)

Labels fit into T frames if T >= U + R, with R the number of labels that equal their predecessor, for only a blank can
stand between those. The gradient is softmax(z) minus the posterior: how likely, given the labels, a path emits k at t.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks
from jaxlosses.core.masks import LossMask, align
from jaxlosses.core.numerics import log_softmax_from_parts, logsumexp_parts
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Reduced
from jaxlosses.losses.sequences import _ctc_forward_backward
from jaxlosses.losses.sequences._lengths import Lengths, prepare_lengths
from jaxlosses.registry import register

__all__ = ["ctc_collapse", "ctc_greedy_decode", "ctc_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 7, 5)), jax.random.randint(labels_key, (4, 3), 1, 4)


@register(
    "ctc_loss",
    family="sequences",
    aliases=("ctc",),
    input_kind="time",
    num_event_axes=2,
    domain=("logits", "class ids, none of them blank_id"),
    minimum=0.0,
    citation="doi:10.1145/1143844.1143891",
    example_inputs=_example,
)
def ctc_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    input_lengths: ArrayLike | None = None,
    label_lengths: ArrayLike | None = None,
    blank_id: int = 0,
    zero_infinity: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How improbable the labels are, over all ways to align them with the frames.

        l = -log Σ_{π: B(π) = labels} Π_t softmax(z_t)_{π_t};   dl/dz_tk = softmax(z_t)_k - P(π_t = k | labels)

    Labels that do not fit into their frames (T < U + R) cost +inf with a gradient of 0; see `zero_infinity`, or drop
    them with `where`. The mean divides by the number of sequences; torch first divides each one by its number of
    labels, which is `mean(ctc_loss(...) / maximum(label_lengths, 1))`. torch gives NaN gradients where labels do not
    fit, and optax some 1e5 with a gradient.

    Args:
        logits: `(batch, time, classes)`, any numbers. A softmax is applied, so log-probabilities give the same; for
            optax, whose padding comes last as well, `input_lengths` is `sum(1 - logit_paddings, 1)`.
        labels: `(batch, labels)`, class ids other than `blank_id`, the real ones first.
        input_lengths: `(batch,)`, how many frames of each sequence are there; None for all. What the others hold does
            not matter.
        label_lengths: `(batch,)`, how many labels of each sequence are there; None for all.
        blank_id: the class that emits nothing, in [0, classes); TensorFlow's is the last one.
        zero_infinity: give labels that cannot be a loss of 0 instead of +inf; they still count in a mean.
        where: bool, `(batch,)`; True counts. See `jaxlosses.core.reduction`, also for the next two.
        sample_weights: numbers >= 0, `(batch,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)`, or what `reduction` makes of it. A label that is the blank or no class, or a length out of range,
        gives NaN, in the gradient too.

    Raises:
        ValueError: if the shapes do not fit, or `blank_id` is no class.
        TypeError: if labels or lengths are not integers.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> p = jnp.array([[[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.5, 0.2, 0.3]]])
        >>> jl.ctc_loss(jnp.log(p), [[1, 2]])
        Array([1.0818], dtype=float32)

    Reference:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist Temporal Classification, 2006,
        doi:10.1145/1143844.1143891.
    """
    logits, labels = _inputs(logits, labels, blank_id)
    batch, time, classes = logits.shape
    frames = prepare_lengths("ctc_loss", "input_lengths", input_lengths, (batch, time))
    real = prepare_lengths("ctc_loss", "label_lengths", label_lengths, labels.shape)
    repeats = real.mask & jnp.pad(labels[:, 1:] == labels[:, :-1], ((0, 0), (1, 0)))[:, : labels.shape[1]]
    possible = (labels >= 0) & (labels < classes) & (labels != blank_id) | ~real.mask

    wrong = ~(jnp.all(possible, axis=1) & frames.in_range & real.in_range)

    top, log_total = logsumexp_parts(jax.lax.stop_gradient(logits), axis=-1)
    usable = jnp.all(jnp.isfinite(log_total[..., 0]) | ~frames.mask, axis=1) & ~wrong
    loss_mask = checks.make_mask("ctc_loss", where, sample_weights, (batch,), valid=usable)
    _expect(loss_mask, frames, real, possible, None if zero_infinity else repeats)

    # Frames are masked in what is read from the logits and not in the logits, which are so much larger.
    there = frames.mask if loss_mask.where is None else frames.mask & loss_mask.where[:, None]
    log_total = _with_slope(log_total, logits, top, there[..., None])
    ids = jnp.pad(jnp.clip(labels, 0, classes - 1), ((0, 0), (1, 0)), constant_values=blank_id)
    log_p = log_softmax_from_parts(_at(logits, ids), *(jnp.transpose(x, (1, 2, 0)) for x in (top, log_total)))
    log_p = jnp.where(there.T[:, None], log_p, 0)
    values = _ctc_forward_backward.negative_log_likelihood(log_p, repeats.T, there.T, real.lengths)
    if zero_infinity:
        values = jnp.where(values == jnp.inf, 0, values)
    return reduce(values * jnp.where(wrong, jnp.nan, 1).astype(values.dtype), loss_mask, reduction)


def ctc_collapse(
    path: ArrayLike, *, blank_id: int = 0, lengths: ArrayLike | None = None
) -> tuple[Int[Array, "*batch time"], Int[Array, "*batch"]]:
    """What a path of one symbol per frame spells: first repeats are merged, then blanks deleted.

        B(-s-tt-aatt-e) = B(ss-t-a-t-e) = state

    Args:
        path: `(..., time)`, class ids.
        blank_id: the id that spells nothing.
        lengths: `(...)`, how many frames of each path are there; None for all.

    Returns:
        The labels, `(..., time)`, moved to the left and followed by `blank_id`; and how many there are, `(...)`.

    Raises:
        ValueError: if the path has no time axis, or `lengths` are not one per path.
        TypeError: if the path or the lengths are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.ctc_collapse([[0, 3, 3, 0, 3, 5, 5]])
        (Array([[3, 3, 5, 0, 0, 0, 0]], dtype=int32), Array([3], dtype=int32))

    Reference:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist Temporal Classification, 2006,
        doi:10.1145/1143844.1143891.
    """
    ids = checks.to_integers("ctc_collapse", "path", path)
    if ids.ndim == 0:
        raise ValueError("ctc_collapse: path () must be (..., time)")
    return _collapse(ids, blank_id, prepare_lengths("ctc_collapse", "lengths", lengths, ids.shape))


def ctc_greedy_decode(
    logits: ArrayLike, *, input_lengths: ArrayLike | None = None, blank_id: int = 0
) -> tuple[Int[Array, "*batch time"], Int[Array, "*batch"]]:
    """What the path of the most likely symbol at each frame spells.

        labels = B(argmax_k z_tk)

    It is fast and a fair guess: the most likely labels may be others, for these add up the probabilities of many paths.

    Args:
        logits: `(..., time, classes)`, or log-probabilities.
        input_lengths: `(...)`, how many frames of each sequence are there; None for all.
        blank_id: the class that spells nothing.

    Returns:
        The labels, `(..., time)`, moved to the left and followed by `blank_id`; and how many there are, `(...)`.

    Raises:
        ValueError: if the logits lack an axis, or `input_lengths` are not one per sequence.
        TypeError: if `input_lengths` are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.ctc_greedy_decode([[0.0, 2.0, 1.0], [0.0, 3.0, 1.0], [2.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
        (Array([1, 2, 0, 0], dtype=int32), Array(2, dtype=int32))

    Reference:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist Temporal Classification, 2006,
        doi:10.1145/1143844.1143891.
    """
    scores = checks.to_array("ctc_greedy_decode", "logits", logits)
    if scores.ndim < 2 or scores.shape[-1] == 0:
        raise ValueError(f"ctc_greedy_decode: logits {scores.shape} must be (..., time, classes)")
    path = jnp.argmax(scores, axis=-1)
    return _collapse(path, blank_id, prepare_lengths("ctc_greedy_decode", "input_lengths", input_lengths, path.shape))


def _inputs(logits: ArrayLike, labels: ArrayLike, blank_id: int) -> tuple[Array, Array]:
    (scores,) = checks.to_floats("ctc_loss", logits=logits)
    ids = checks.to_integers("ctc_loss", "labels", labels)
    if scores.ndim != 3 or ids.ndim != 2 or ids.shape[0] != scores.shape[0]:
        hint = "did you mean labels[..., 0]?" if ids.shape[2:] == (1,) else "one row of labels for each sequence"
        raise ValueError(
            f"ctc_loss: logits {scores.shape} and labels {ids.shape} must be (batch, time, classes) and "
            f"(batch, labels); {hint}"
        )
    checks.check_axis("ctc_loss", "logits", scores, -1)
    if not 0 <= blank_id < scores.shape[-1]:
        raise ValueError(f"ctc_loss: blank_id={blank_id} must be a class of logits {scores.shape}, in [0, classes)")
    return scores, ids


def _expect(
    loss_mask: LossMask,
    frames: Lengths,
    real: Lengths,
    possible: Bool[Array, "..."],
    repeats: Bool[Array, "..."] | None,
) -> None:
    """Under `checked`, raise for what cannot be; with repeats given, also for labels that do not fit their frames."""

    def expect(argument: str, good: Bool[Array, "..."], must: str) -> None:
        masked = jnp.asarray(False) if loss_mask.where is None else ~loss_mask.where
        checks.check_values(loss_mask.loss, argument, lambda: good | align(masked, good.ndim), must)

    expect("input_lengths", frames.in_range, f"lie in [0, {frames.mask.shape[1]}]")
    expect("label_lengths", real.in_range, f"lie in [0, {real.mask.shape[1]}]")
    expect("labels", possible, "be class ids other than blank_id, as far as label_lengths say (the real ones first)")
    if repeats is not None:
        needed = jnp.sum(real.mask, axis=1) + jnp.sum(repeats, axis=1)
        fits = "fit: at least as many frames as labels, and one more for each repeat (or see zero_infinity)"
        expect("labels", needed <= jnp.sum(frames.mask, axis=1), fits)


def _collapse(path: Array, blank_id: int, frames: Lengths) -> tuple[Array, Array]:
    begins = jnp.concatenate([jnp.ones_like(path[..., :1], bool), path[..., 1:] != path[..., :-1]], axis=-1)
    spelt = begins & (path != blank_id) & frames.mask
    count = jnp.sum(spelt, axis=-1, dtype=jnp.int32)
    left = jnp.take_along_axis(path, jnp.argsort(~spelt, axis=-1, stable=True), axis=-1)
    place = jax.lax.broadcasted_iota(jnp.int32, path.shape, path.ndim - 1)
    return jnp.where(place < count[..., None], left, blank_id), count


def _at(logits: Float[Array, "batch time classes"], ids: Int[Array, "batch n"]) -> Float[Array, "time n batch"]:
    """At each frame the logits of some classes, the same ones at every frame of a sequence."""
    return jax.vmap(lambda z, k: z.at[:, k].get(mode="promise_in_bounds"), out_axes=2)(logits, ids)


# The softmax is written with the finished normaliser: it then fuses into the gradient, and no copy of it is kept.
@jax.custom_jvp
def _with_slope(
    log_total: Float[Array, "..."], logits: Float[Array, "..."], top: Float[Array, "..."], there: Bool[Array, "..."]
) -> Float[Array, "..."]:
    """The second part of `log_partition`, given both parts without their derivative, with its derivative."""
    return log_total


@_with_slope.defjvp
def _with_slope_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    _, logits, top, there = primals
    log_total = _with_slope(*primals)
    softmax = jnp.where(there, jnp.exp(log_softmax_from_parts(logits, top, log_total)), 0)
    return log_total, jnp.sum(softmax * tangents[1], axis=-1, keepdims=True)
