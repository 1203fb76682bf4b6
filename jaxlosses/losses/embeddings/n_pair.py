"""The N-pair loss: each anchor's own positive against the positives of all other anchors, by dot products.

K equal similarities cost log K; one candidate alone costs 0.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.errors import one_of
from jaxlosses.core.numerics import softplus
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import (
    blockwise_vmap,
    candidate_cross_entropy,
    check_class_ids,
    enlarge,
    excess_scale,
    global_mask,
    global_row_indices,
    logit_at,
    mean_logit,
    prepare_embeddings,
    register_candidates_loss,
    scaled_logits,
)

__all__ = ["n_pair_loss"]


@register_candidates_loss("n_pair_loss", aliases=("n_pair",), citation="Sohn, NIPS 2016")
def n_pair_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    variant: str = "multi_class",
    reg_lambda: Number = 0.002,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Multi-class N-pair loss: softmax cross-entropy over dot products, with other pairs' positives as negatives.

        l_i = log(1 + Σ_{j≠i} exp(z_ij - z_ii)) + λ/4 (|f_i|² + |f_i⁺|²),   z_ij = f_i · f_j⁺      ("multi_class")
        l_i = Σ_{j≠i} log(1 + exp(z_ij - z_ii)) + λ/4 (|f_i|² + |f_i⁺|²)                           ("one_vs_one")

    The embeddings should not be normalised; the penalty, in the form and size of tensorflow-addons, keeps them
    short. Pairs are best of different classes. If labels repeat, pass them: the target is then shared evenly among the
    candidates of a row's label (`"one_vs_one"` leaves out the others of that label).

    Args:
        anchors: `(batch, features)`, f.
        positives: `(batch, features)`, f⁺, of the anchors' classes.
        labels: `(batch,)`, class ids, any integers; None if all are different.
        variant: `"multi_class"` or `"one_vs_one"`, which is never less.
        reg_lambda: λ >= 0; 0 for no penalty.
        block_size: how many anchors at a time, computed again for the gradient, so that memory grows with the batch
            and not with its square; None for all at once.
        axis_name: the mapped axis of devices, or several; the candidates then come from all of them. Inside
            `shard_map`, `()` says that the local batch is meant.
        where: bool, `(batch,)`; False takes a pair out as row and as candidate. `jaxlosses.core.reduction` explains
            this and the next two.
        sample_weights: numbers >= 0, `(batch,)`, of the anchors.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(batch,)` >= 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit, or `variant` is another.
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> anchors, positives = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.9]]
        >>> jl.n_pair_loss(anchors, positives, reg_lambda=0.0, reduction="mean")
        Array(0.8455, dtype=float32)

    Reference:
        Sohn, Improved deep metric learning with multi-class N-pair loss objective, 2016, NIPS 29.
    """
    one_of("n_pair_loss", "variant", variant, ("multi_class", "one_vs_one"))
    collectives.check_axis_name("n_pair_loss", axis_name)
    f, g, mask = prepare_embeddings("n_pair_loss", where, sample_weights, anchors=anchors, positives=positives)
    indices = global_row_indices(f, axis_name)
    class_ids = None if labels is None else check_class_ids("n_pair_loss", labels, "anchors", f, mask)
    ids = indices if class_ids is None else class_ids.ids
    candidates, candidate_ids = collectives.all_gather((g, ids), axis_name)
    valid, candidate_scale = global_mask(f, mask, axis_name), excess_scale(candidates)
    candidates = candidates / candidate_scale

    def of_row(row: Array, row_id: Array, index: Array) -> Float[Array, ""]:
        logits, scale = scaled_logits(row, candidates, candidate_scale)
        of_label = candidate_ids == row_id
        if variant == "one_vs_one":
            negative = ~of_label if valid is None else ~of_label & valid
            return jnp.sum(jnp.where(negative, softplus(enlarge(logits - logit_at(logits, index), scale)), 0))
        if labels is None:
            return candidate_cross_entropy(logits, logit_at(logits, index), valid, scale=scale)
        is_positive = of_label if valid is None else of_label & valid
        return candidate_cross_entropy(logits, mean_logit(logits, is_positive), valid, scale=scale)

    costs = blockwise_vmap(of_row, block_size, f, ids, indices)
    costs = costs if class_ids is None else class_ids.nan_unless_they_fit(costs)
    penalty = jnp.sum(reg_lambda / 4 * f * f + reg_lambda / 4 * g * g, axis=-1)  # λ first: a square may overflow
    return reduce(costs + penalty, mask, reduction)
