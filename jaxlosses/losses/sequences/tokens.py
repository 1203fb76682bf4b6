"""The cross-entropy of padded sequences with one label for each step, and the three means that are in use.

With w_t the weight of a token, where padding and masked tokens have the weight 0:

    "tokens"      Σ_b Σ_t w_t CE / Σ_b Σ_t w_t      every token counts the same, whatever sequence it is in
    "sequences"   mean_b (Σ_t w_t CE / Σ_t w_t)     every sequence counts the same, however long it is
    "examples"    mean_b Σ_t w_t CE                 the negative log-likelihood of a sequence

The three agree, up to the factor n, where all sequences have n tokens. A sequence without tokens counts as masked.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.keywords import public_function
from jaxlosses.core.masks import LossMask
from jaxlosses.core.numerics import multiply_inf_safe, nan_unless, safe_divide
from jaxlosses.core.reduction import reduce
from jaxlosses.core.softmax import check_classes
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.classification._shared import smoothed_cross_entropy
from jaxlosses.losses.sequences._lengths import prepare_lengths
from jaxlosses.registry import register

__all__ = ["perplexity", "sequence_cross_entropy"]


def _example(key: Array) -> tuple[Array, Array]:
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (4, 5, 3)), jax.random.randint(labels_key, (4, 5), 0, 3)


@register(
    "sequence_cross_entropy",
    family="sequences",
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
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
    """Token-level softmax cross-entropy of padded sequences, for language and sequence-to-sequence models.

        mean_over      value of a sequence l_b                       what it counts for in a mean
        "tokens"       Σ_t w_t CE(z_bt, y_bt)                        Σ_t w_t
        "sequences"    Σ_t w_t CE(z_bt, y_bt) / Σ_t w_t              1
        "examples"     Σ_t w_t CE(z_bt, y_bt)                        1

    With `reduction="mean"` the default is the mean over all tokens but padding, and `exp` of that is the perplexity.
    The mean of the `"none"` values is another number: that of `mean_over="examples"`.

    Args:
        logits: `(batch, time, classes)`, any numbers; -inf excludes a class. What padding holds does not matter.
        labels: `(batch, time)`, class ids; or `(batch, time, classes)`, distributions.
        lengths: `(batch,)`, how many tokens of each sequence are not padding; None for all.
        label_smoothing: in [0, 1], see `softmax_cross_entropy`.
        ignore_label: a class id that counts as padding, such as -100.
        mean_over: `"tokens"`, `"sequences"` or `"examples"`, see the table.
        where: bool, `(batch,)` for sequences or `(batch, time)` for tokens; True counts. `jaxlosses.core.reduction`
            explains this and the next two.
        sample_weights: numbers >= 0, `(batch,)` for sequences or `(batch, time)` for tokens: the w_t above.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)`, or what `reduction` makes of it. A label or length out of range gives NaN, in the gradient too.

    Raises:
        ValueError: if the shapes do not fit, or `mean_over` is another.
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
    return _sequence_cross_entropy(
        "sequence_cross_entropy",
        logits,
        labels,
        lengths,
        label_smoothing,
        ignore_label,
        mean_over,
        where,
        sample_weights,
        reduction,
    )


def _sequence_cross_entropy(
    loss: str,
    logits: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None,
    label_smoothing: Number,
    ignore_label: int | None,
    mean_over: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    reduction: str,
) -> Reduced:
    one_of(loss, "mean_over", mean_over, ("tokens", "sequences", "examples"))
    shape = checks.to_array(loss, "logits", logits).shape
    if len(shape) != 3:
        raise ValueError(f"{loss}: logits {shape} must be (batch, time, classes)")
    tokens = prepare_lengths(loss, "lengths", lengths, shape[:2])
    logits, prepared_labels, token_mask = checks.prepare_scores_and_labels(
        loss,
        where,
        sample_weights,
        axis=-1,
        ignore_label=ignore_label,
        extra_where=None if lengths is None else tokens.mask,
        logits=logits,
        labels=labels,
    )
    check_classes(loss, "logits", logits, -1)
    token_mask = token_mask.with_classes(logits, -1)
    assert token_mask.where is not None
    token_where = jnp.broadcast_to(token_mask.where, shape[:2])
    weights_by_token = sample_weights is not None and np.ndim(sample_weights) > 1
    token_weights, mask = _mask_of_sequences(token_mask, weights_by_token)
    weights = jnp.ones(shape[:2], logits.dtype) if token_weights is None else token_weights.astype(logits.dtype)
    weights = jnp.where(token_where, weights, 0)
    cross_entropy = jnp.where(token_where, smoothed_cross_entropy(logits, prepared_labels, label_smoothing), 0)
    weighted_sum, weight_sum = jnp.sum(multiply_inf_safe(weights, cross_entropy), axis=1), jnp.sum(weights, axis=1)

    assert mask.where is not None
    in_range = tokens.in_range | ~mask.where
    if mask.sample_weights is not None:  # a weight of 0 switches a sequence off, whatever it holds
        in_range |= mask.sample_weights == 0
    checks.check_values(loss, "lengths", lambda: in_range, f"lie in [0, {shape[1]}]")
    values = safe_divide(weighted_sum, weight_sum) if mean_over == "sequences" else weighted_sum
    return reduce(nan_unless(in_range, values), mask, reduction, weight_sum if mean_over == "tokens" else None)


def _mask_of_sequences(mask: LossMask, weights_by_token: bool) -> tuple[Float[Array, "batch time"] | None, LossMask]:
    """The weights of tokens inside their sequences, if there are any, and the mask of whole sequences.

    A sequence is masked if none of its tokens counts.
    """
    weights = mask.sample_weights
    if weights is not None and weights_by_token:
        mask = mask.restrict(weights > 0)
    assert mask.where is not None
    by_sequence = mask._replace(where=jnp.any(mask.where, axis=1), sample_weights=None, shape=None)
    if weights is None or weights_by_token:
        return weights, by_sequence
    return None, by_sequence._replace(sample_weights=weights.reshape(-1))


@public_function
def perplexity(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    ignore_label: int | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
) -> Float[Array, ""]:
    """Perplexity of a language model: exp of the mean cross-entropy over the tokens.

        exp(Σ_b Σ_t w_t CE(z_bt, y_bt) / Σ_b Σ_t w_t)

    It is 1 for a model that predicts every label with probability 1, and the number of classes for one that predicts
    all classes with the same probability. Over several batches add up
    `sequence_cross_entropy(..., reduction="parts")` and take `exp` of the mean at the end, and not the mean of
    perplexities.

    Args:
        logits: `(batch, time, classes)`, any numbers; -inf excludes a class.
        labels: `(batch, time)`, class ids; or `(batch, time, classes)`, distributions.
        lengths: `(batch,)`, how many tokens of each sequence are not padding; None for all.
        ignore_label: a class id that counts as padding, such as -100.
        where: bool, `(batch,)` for sequences or `(batch, time)` for tokens; True counts.
        sample_weights: numbers >= 0, `(batch,)` for sequences or `(batch, time)` for tokens.

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
        _sequence_cross_entropy(
            "perplexity", logits, labels, lengths, 0.0, ignore_label, "tokens", where, sample_weights, "mean"
        )
    )
