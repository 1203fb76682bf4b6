"""Connectionist temporal classification (CTC): labels for frames, when the alignment of the two is not known.

At each frame the model emits a label or the blank. The map B turns such a path π into labels: it merges repeats, then
deletes the blanks, so B(aa-ab-) = aab. The probability of the labels is the sum over all paths that B maps to them:

    p(l) = Σ_{π: B(π) = l} Π_t softmax(z_t)_{π_t}         ctc_loss = -log p(l)

U labels fit into T frames if T >= U + R, where R labels equal their predecessor: a blank must stand between the two.
The gradient is softmax(z) minus the posterior, the probability that a path emits k at frame t, given the labels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxlosses.core import checks
from jaxlosses.core.masks import LossMask, align
from jaxlosses.core.numerics import log_softmax_from_parts, logsumexp_parts, nan_unless
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Reduced
from jaxlosses.losses.sequences._ctc_forward_backward import negative_log_likelihood
from jaxlosses.losses.sequences._lengths import Lengths, prepare_lengths
from jaxlosses.registry import register

__all__ = ["ctc_loss"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 7, 5)), jax.random.randint(labels_key, (4, 3), 1, 4)


@register(
    "ctc_loss",
    family="sequences",
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
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
    """Connectionist temporal classification (CTC) loss: negative log-likelihood over all alignments to the frames.

    For speech and handwriting recognition, where labels are known in order but not at which frames they lie.

        l = -log Σ_{π: B(π) = labels} Π_t softmax(z_t)_{π_t};   dl/dz_tk = softmax(z_t)_k - P(π_t = k | labels)

    Labels that do not fit into their frames (T < U + R) cost +inf with a gradient of 0; see `zero_infinity`, or drop
    them with `where`. The mean divides by the number of sequences; torch first divides each one by its number of
    labels, which is `mean(ctc_loss(...) / maximum(label_lengths, 1))`. torch gives NaN gradients where labels do not
    fit, and optax some 1e5 with a gradient.

    Args:
        logits: `(batch, time, classes)`, any numbers. A softmax is applied, so log-probabilities give the same; for
            optax, whose padding comes last as well, `input_lengths` is `sum(1 - logit_paddings, 1)`.
        labels: `(batch, labels)`, class ids other than `blank_id`, padding last.
        input_lengths: `(batch,)`, how many frames of each sequence are not padding; None for all. What padding holds
            does not matter.
        label_lengths: `(batch,)`, how many labels of each sequence are not padding; None for all.
        blank_id: the class of the blank, in [0, classes); TensorFlow's is the last one.
        zero_infinity: give labels that do not fit a loss of 0 instead of +inf; they still count in a mean.
        where: bool, `(batch,)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
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
    inputs = _validate(logits, labels, input_lengths, label_lengths, blank_id)
    max_logit, log_normalizer = logsumexp_parts(jax.lax.stop_gradient(inputs.logits), axis=-1)
    finite = jnp.all(jnp.isfinite(log_normalizer[..., 0]) | ~inputs.frames.mask, axis=1)
    mask = checks.make_mask("ctc_loss", where, sample_weights, finite.shape, valid=finite & inputs.in_range)
    _check_values(inputs, mask, must_fit=not zero_infinity)

    frame_mask = inputs.frames.mask if mask.where is None else inputs.frames.mask & mask.where[:, None]
    log_p = _gather_log_probabilities(inputs, frame_mask, max_logit, log_normalizer)
    values = negative_log_likelihood(log_p, inputs.repeats.T, frame_mask.T, inputs.label_lengths.lengths)
    if zero_infinity:
        values = jnp.where(values == jnp.inf, 0, values)
    return reduce(nan_unless(inputs.in_range, values), mask, reduction)


class _Inputs(NamedTuple):
    """The checked arguments, and what follows from the labels.

    Attributes:
        logits: the scores of all classes at all frames.
        classes: the blank, and then the labels, clipped to the classes that exist.
        frames: `input_lengths`, and which frames are not padding.
        label_lengths: `label_lengths`, and which labels are not padding.
        labels_in_range: whether a label is a class other than the blank, or padding.
        repeats: whether a label is the same as the one before, and not padding.
        in_range: whether all labels and both lengths of a sequence are in range.
    """

    logits: Float[Array, "batch time classes"]
    classes: Int[Array, "batch states"]
    frames: Lengths
    label_lengths: Lengths
    labels_in_range: Bool[Array, "batch labels"]
    repeats: Bool[Array, "batch labels"]
    in_range: Bool[Array, " batch"]


def _validate(
    logits: ArrayLike,
    labels: ArrayLike,
    input_lengths: ArrayLike | None,
    label_lengths: ArrayLike | None,
    blank_id: int,
) -> _Inputs:
    """Check shapes and types, and compute which values are in range."""
    (logits,) = checks.to_floats("ctc_loss", logits=logits)
    labels = checks.to_integers("ctc_loss", "labels", labels)
    if logits.ndim != 3 or labels.ndim != 2 or labels.shape[0] != logits.shape[0]:
        hint = "did you mean labels[..., 0]?" if labels.shape[2:] == (1,) else "one row of labels for each sequence"
        raise ValueError(
            f"ctc_loss: logits {logits.shape} and labels {labels.shape} must be (batch, time, classes) and "
            f"(batch, labels); {hint}"
        )
    checks.check_axis("ctc_loss", "logits", logits, -1)
    num_classes = logits.shape[-1]
    if not 0 <= blank_id < num_classes:
        raise ValueError(f"ctc_loss: blank_id={blank_id} must be a class of logits {logits.shape}, in [0, classes)")
    frames = prepare_lengths("ctc_loss", "input_lengths", input_lengths, logits.shape[:2])
    not_padding = prepare_lengths("ctc_loss", "label_lengths", label_lengths, labels.shape)
    equal = jnp.pad(labels[:, 1:] == labels[:, :-1], ((0, 0), (1, 0)))[:, : labels.shape[1]]
    labels_in_range = (labels >= 0) & (labels < num_classes) & (labels != blank_id) | ~not_padding.mask
    return _Inputs(
        logits=logits,
        classes=jnp.pad(jnp.clip(labels, 0, num_classes - 1), ((0, 0), (1, 0)), constant_values=blank_id),
        frames=frames,
        label_lengths=not_padding,
        labels_in_range=labels_in_range,
        repeats=not_padding.mask & equal,
        in_range=jnp.all(labels_in_range, axis=1) & frames.in_range & not_padding.in_range,
    )


def _check_values(inputs: _Inputs, mask: LossMask, must_fit: bool) -> None:
    """Under `checked`, raise for values out of range; if labels must fit into their frames, also where they do not."""

    def check(argument: str, good: Bool[Array, "..."], must: str) -> None:
        ignored = jnp.asarray(False) if mask.where is None else ~mask.where
        checks.check_values(mask.loss, argument, lambda: good | align(ignored, good.ndim), must)

    frames, labels = inputs.frames, inputs.label_lengths
    check("input_lengths", frames.in_range, f"lie in [0, {frames.mask.shape[1]}]")
    check("label_lengths", labels.in_range, f"lie in [0, {labels.mask.shape[1]}]")
    must = "be class ids other than blank_id, as far as label_lengths say (padding last)"
    check("labels", inputs.labels_in_range, must)
    if must_fit:
        needed = jnp.sum(labels.mask, axis=1) + jnp.sum(inputs.repeats, axis=1)
        must = "fit: at least as many frames as labels, and one more for each repeat (or see zero_infinity)"
        check("labels", needed <= jnp.sum(frames.mask, axis=1), must)


def _gather_log_probabilities(
    inputs: _Inputs,
    frame_mask: Bool[Array, "batch time"],
    max_logit: Float[Array, "batch time 1"],
    log_normalizer: Float[Array, "batch time 1"],
) -> Float[Array, "time states batch"]:
    """At each frame the log-probabilities of the blank and of the labels; 0 where the frame is masked."""
    # Masked are the gathered entries and the gradient, and not the logits themselves, which are so much larger.
    log_normalizer = _attach_logsumexp_gradient(log_normalizer, inputs.logits, max_logit, frame_mask[..., None])
    # The classes are the same ones at every frame of a sequence.
    gather = jax.vmap(lambda z, k: z.at[:, k].get(mode="promise_in_bounds"), out_axes=2)
    parts = (jnp.transpose(x, (1, 2, 0)) for x in (max_logit, log_normalizer))
    log_p = log_softmax_from_parts(gather(inputs.logits, inputs.classes), *parts)
    return jnp.where(frame_mask.T[:, None], log_p, 0)


@jax.custom_jvp
def _attach_logsumexp_gradient(
    log_normalizer: Float[Array, "batch time 1"],
    logits: Float[Array, "batch time classes"],
    max_logit: Float[Array, "batch time 1"],
    frame_mask: Bool[Array, "batch time 1"],
) -> Float[Array, "batch time 1"]:
    """Value: `log_normalizer`. Gradient: that of `logsumexp(logits)`, which is softmax(logits), and 0 where masked.

    `max_logit` and `log_normalizer` are the parts of logsumexp, computed without a derivative of their own: with the
    *finished* log_normalizer the softmax fuses into the gradient, and no copy of it is stored.
    """
    return log_normalizer


@_attach_logsumexp_gradient.defjvp
def _attach_logsumexp_gradient_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    _, logits, max_logit, frame_mask = primals
    log_normalizer = _attach_logsumexp_gradient(*primals)
    softmax = jnp.where(frame_mask, jnp.exp(log_softmax_from_parts(logits, max_logit, log_normalizer)), 0)
    return log_normalizer, jnp.sum(softmax * tangents[1], axis=-1, keepdims=True)
