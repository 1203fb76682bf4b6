"""One label for each step of a sequence: the cross-entropy of each token, in the three means that people take.

With the tokens of sequence b that are there, n_b of them, each of weight w:

    "token"      Σ_b Σ_t w CE / Σ_b Σ_t w        every token counts the same, whatever sequence it is in
    "sequence"   mean_b (Σ_t w CE / Σ_t w)       every sequence counts the same, however long it is
    "batch"      mean_b Σ_t w CE                 the log-likelihood of a sequence

The three agree, up to the factor n, where all sequences have n tokens. A sequence without any counts as masked.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses import checks
from jaxlosses._numerics import safe_divide, times
from jaxlosses.losses.classification.multiclass import smoothed_surprise
from jaxlosses.losses.sequences._lengths import within
from jaxlosses.reduction import reduce
from jaxlosses.registry import register
from jaxlosses.types import ArrayLike, Number, Reduced

__all__ = ["perplexity", "sequence_cross_entropy"]

_NORMALIZATIONS = ("token", "sequence", "batch")


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 5, 3)), jax.random.randint(labels_key, (4, 5), 0, 3)


@register(
    "sequence_cross_entropy",
    family="sequences",
    aliases=("seq2seq_cross_entropy",),
    consumes="classes and time",
    mask_lacks=1,
    domain=("logits", "class ids or distributions"),
    minimum=0.0,
    citation="arXiv:1409.3215",
    example=_example,
)
def sequence_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    label_smoothing: Number = 0.0,
    ignore_label: int | None = None,
    normalization: str = "token",
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How surprised a model is by sequences of labels, of which each may have a length of its own.

        l_b = Σ_t w_t CE(z_bt, y_bt), which counts for Σ_t w_t;   "sequence": l_b / Σ_t w_t, "batch": l_b, which count 1

    With `reduction="mean"` the default is the mean over all tokens, padding left out: what `exp` turns into the
    perplexity. The mean of the `"none"` values is another number, that of `normalization="batch"`.

    Args:
        logits: `(batch, time, classes)`, any numbers; -inf takes a class out. What the padding holds does not matter.
        labels: `(batch, time)`, class ids; or `(batch, time, classes)`, distributions.
        lengths: `(batch,)`, how many tokens of each sequence are there; None for all.
        label_smoothing: in [0, 1], see `softmax_cross_entropy`.
        ignore_label: a class id that counts as padding, such as -100.
        normalization: `"token"`, `"sequence"` or `"batch"`, what the values are and what they count for in a mean.
        where: bool, `(batch,)` drops sequences, `(batch, time)` drops tokens; True counts. See `jaxlosses.reduction`.
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
    if normalization not in _NORMALIZATIONS:
        known = ", ".join(map(repr, _NORMALIZATIONS))
        raise ValueError(f"{loss}: normalization must be one of {known}, got {normalization!r}")
    shape = checks.to_array(loss, "logits", logits).shape
    if len(shape) != 3:
        raise ValueError(f"{loss}: logits {shape} must be (batch, time, classes)")
    given = within(loss, "lengths", lengths, shape[:2])
    z, truth, kept = checks.classes(
        loss,
        where,
        sample_weights,
        axis=-1,
        ignore_label=ignore_label,
        counted=None if lengths is None else given.mask,
        logits=logits,
        labels=labels,
    )
    tokens = kept.with_classes(z, -1)
    assert tokens.mask is not None
    mask = jnp.broadcast_to(tokens.mask, shape[:2])
    weights, kept = tokens.by_example(weigh_inside=sample_weights is not None and np.ndim(sample_weights) > 1)
    w = jnp.where(mask, jnp.ones(shape[:2], z.dtype) if weights is None else weights.astype(z.dtype), 0)
    surprise = jnp.where(mask, smoothed_surprise(z, truth, label_smoothing), 0)
    total, size = jnp.sum(times(w, surprise), axis=1), jnp.sum(w, axis=1)
    assert kept.mask is not None
    in_range = given.known | ~kept.mask
    if kept.weights is not None:  # a weight of 0 switches a sequence off, whatever it holds
        in_range |= kept.weights == 0
    checks.expect(loss, "lengths", lambda: in_range, f"lie in [0, {shape[1]}]")
    values = safe_divide(total, size) if normalization == "sequence" else total
    values *= jnp.where(in_range, 1, jnp.nan).astype(values.dtype)
    return reduce(values, kept, reduction, counts=size if normalization == "token" else None)


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
