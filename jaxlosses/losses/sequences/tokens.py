"""One label for each step of a sequence: the cross-entropy of each token, in the three means that people take.

With the tokens of sequence b that are there, n_b of them, each of weight w:

    "tokens"     Σ_b Σ_t w CE / Σ_b Σ_t w        every token counts the same, whatever sequence it is in
    "sequence"   mean_b (Σ_t w CE / Σ_t w)       every sequence counts the same, however long it is
    "batch"      mean_b Σ_t w CE                 the log-likelihood of a sequence

The three agree, up to the factor n, where all sequences have n tokens. A sequence without any counts as masked.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.masks import LossMask
from jaxlosses.core.numerics import multiply_inf_safe, safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification.multiclass import smoothed_surprise
from jaxlosses.losses.sequences._lengths import prepare_lengths
from jaxlosses.registry import register

__all__ = ["perplexity", "sequence_cross_entropy"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 5, 3)), jax.random.randint(labels_key, (4, 5), 0, 3)


@register(
    "sequence_cross_entropy",
    family="sequences",
    aliases=("seq2seq_cross_entropy",),
    input_kind="classes and time",
    num_event_axes=1,
    domain=("logits", "class ids or distributions"),
    minimum=0.0,
    citation="arXiv:1409.3215",
    example_inputs=_example,
)
def sequence_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    label_smoothing: Number = 0.0,
    ignore_label: int | None = None,
    mean_over: str = "tokens",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How surprised a model is by sequences of labels, of which each may have a length of its own.

        l_b = Σ_t w_t CE(z_bt, y_bt), which counts for Σ_t w_t;   "sequence": l_b / Σ_t w_t, "batch": l_b, which count 1

    With `reduction="mean"` the default is the mean over all tokens, padding left out: what `exp` turns into the
    perplexity. The mean of the `"none"` values is another number, that of `mean_over="examples"`.

    Args:
        logits: `(batch, time, classes)`, any numbers; -inf takes a class out. What the padding holds does not matter.
        labels: `(batch, time)`, class ids; or `(batch, time, classes)`, distributions.
        lengths: `(batch,)`, how many tokens of each sequence are there; None for all.
        label_smoothing: in [0, 1], see `softmax_cross_entropy`.
        ignore_label: a class id that counts as padding, such as -100.
        normalization: `"token"`, `"sequence"` or `"batch"`, what the values are and what they count for in a mean.
        where: bool, `(batch,)` drops sequences, `(batch, time)` drops tokens; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0; `(batch,)` weighs sequences, `(batch, time)` weighs tokens inside their sequence.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)`, or what `reduction` makes of it. A label or length out of range gives NaN, in the gradient too.

    Raises:
        ValueError: if the shapes do not fit, or `normalization` is another.
        TypeError: if class ids or lengths are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> logits = [[[2.0, 1.0, 0.1], [0.5, 0.5, 0.5]], [[2.0, 1.0, 0.1], [9.0, 9.0, 9.0]]]
        >>> jl.sequence_cross_entropy(logits, [[0, 2], [0, 0]], lengths=[2, 1]).round(4)
        Array([1.5156, 0.417 ], dtype=float32)
        >>> jl.sequence_cross_entropy(logits, [[0, 2], [0, 0]], lengths=[2, 1], reduction="mean").round(4)
        Array(0.6442, dtype=float32)

    Reference:
        Sutskever, Vinyals and Le, Sequence to Sequence Learning with Neural Networks, 2014, arXiv:1409.3215.
    """
    loss = "sequence_cross_entropy"
    one_of(loss, "mean_over", mean_over, ("tokens", "sequences", "examples"))
    shape = checks.to_array(loss, "logits", logits).shape
    if len(shape) != 3:
        raise ValueError(f"{loss}: logits {shape} must be (batch, time, classes)")
    given = prepare_lengths(loss, "lengths", lengths, shape[:2])
    z, truth, loss_mask = checks.prepare_scores_and_labels(
        loss,
        where,
        sample_weights,
        axis=-1,
        ignore_label=ignore_label,
        extra_where=None if lengths is None else given.mask,
        logits=logits,
        labels=labels,
    )
    loss_mask = loss_mask.with_classes(z, -1)
    assert loss_mask.where is not None
    there = jnp.broadcast_to(loss_mask.where, shape[:2])
    weights, loss_mask = _split_weights(loss_mask, of_tokens=sample_weights is not None and np.ndim(sample_weights) > 1)
    w = jnp.where(there, jnp.ones(shape[:2], z.dtype) if weights is None else weights.astype(z.dtype), 0)
    surprise = jnp.where(there, smoothed_surprise(z, truth, label_smoothing), 0)
    total, size = jnp.sum(multiply_inf_safe(w, surprise), axis=1), jnp.sum(w, axis=1)
    assert loss_mask.where is not None
    in_range = given.in_range | ~loss_mask.where
    if loss_mask.sample_weights is not None:  # a weight of 0 switches a sequence off, whatever it holds
        in_range |= loss_mask.sample_weights == 0
    checks.check_values(loss, "lengths", lambda: in_range, f"lie in [0, {shape[1]}]")
    values = safe_divide(total, size) if mean_over == "sequences" else total
    values *= jnp.where(in_range, 1, jnp.nan).astype(values.dtype)
    return reduce(values, loss_mask, reduction, counts=size if mean_over == "tokens" else None)


def _split_weights(mask: LossMask, of_tokens: bool) -> tuple[Float[Array, "batch time"] | None, LossMask]:
    """The weights of tokens inside their sequences, if they are that, and the mask of whole sequences.

    A sequence of which no token counts is masked.
    """
    weights = mask.sample_weights
    if weights is not None and of_tokens:
        mask = mask.restrict(weights > 0)
    assert mask.where is not None
    of_sequences = mask._replace(where=jnp.any(mask.where, axis=1), sample_weights=None, shape=None)
    if weights is None or of_tokens:
        return weights, of_sequences
    return None, of_sequences._replace(sample_weights=weights.reshape(-1))


def perplexity(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
) -> Float[Array, ""]:
    """Among how many equally likely labels a model hesitates, on average over the tokens.

        exp(Σ_b Σ_t w CE(z_bt, y_bt) / Σ_b Σ_t w)

    It is 1 for a model that is always sure and right, and the number of classes for one that knows nothing. Over
    several batches add up `sequence_cross_entropy(..., reduction="parts")` and take `exp` of the mean at the end: the
    mean of perplexities is something else.

    Args:
        logits: `(batch, time, classes)`, any numbers; -inf takes a class out.
        labels: `(batch, time)`, class ids; or `(batch, time, classes)`, distributions.
        lengths: `(batch,)`, how many tokens of each sequence are there; None for all.
        ignore_label: a class id that counts as padding, such as -100.
        where: bool, `(batch,)` drops sequences, `(batch, time)` drops tokens; True counts.
        sample_weights: numbers >= 0, `(batch,)` or `(batch, time)`.

    Returns:
        A number >= 1; it is 1 if there are no tokens.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if class ids or lengths are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.perplexity([[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]], [[1, 3]])
        Array(4., dtype=float32)

    Reference:
        Jelinek, Mercer, Bahl and Baker, Perplexity, a Measure of the Difficulty of Speech Recognition Tasks, 1977,
        doi:10.1121/1.2016299.
    """
    return jnp.exp(
        sequence_cross_entropy(
            logits,
            labels,
            lengths=lengths,
            ignore_label=ignore_label,
            where=where,
            sample_weights=sample_weights,
            reduction="mean",
        )
    )
