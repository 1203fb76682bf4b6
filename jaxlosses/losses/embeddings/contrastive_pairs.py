"""Contrastive losses: similar embeddings are pulled together, others pushed apart up to a margin.

With the distance d, whose gradient between equal points is 0, and y = 1 for similar embeddings, else 0:

    l = ½ [y d² + (1 - y) relu(m - d)²]

contrastive_loss             given pairs                    a value per pair
pairwise_contrastive_loss    all pairs of a labelled batch  a value per item
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.masks import masked
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._lengths import norm, squared_norm, weighted_square
from jaxlosses.losses.embeddings._shared import (
    AnchorContext,
    ValueAndCount,
    check_one_per_row,
    count_true,
    labelled_example,
    reduce_over_anchors,
    register_embedding_loss,
)

__all__ = ["contrastive_loss", "pairwise_contrastive_loss"]


def _pair_example(key: Array) -> tuple[Array, Array, Array]:
    first, second = 0.5 * jax.random.normal(key, (2, 5, 3))
    return first, second, jax.random.randint(key, (5,), 0, 2)


@register_embedding_loss(
    "contrastive_loss",
    translation_invariant=True,
    aliases=("contrastive",),
    domain=("any numbers", "any numbers", "{0, 1}"),
    citation="doi:10.1109/CVPR.2006.100",
    homogeneous_degree=2,
    scaled_options=(("margin", 1),),
    example_inputs=_pair_example,
)
def contrastive_loss(
    first: ArrayLike,
    second: ArrayLike,
    similar: ArrayLike,
    *,
    margin: Number = 1.0,
    half: bool = True,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Contrastive loss (Hadsell et al.) of labelled pairs: attracts similar ones, repels others up to a margin.

        l = ½ [y d² + (1 - y) relu(m - d)²],   d = |first - second|

    Tensorflow-addons leaves out the ½. The loss of that name in pytorch-metric-learning has no squares.

    Args:
        first: `(..., features)`.
        second: `(..., features)`, the same shape.
        similar: `(...)`, y, 1 for similar and 0 for dissimilar pairs (the paper's Y is 1 - y).
        margin: m > 0, the distance from which dissimilar pairs cost nothing.
        half: keep the factor ½.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` >= 0, at most m²/2 for dissimilar pairs; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import jaxlosses as jl
        >>> jl.contrastive_loss([[0.0, 0.0], [0.0, 0.0]], [[0.3, 0.4], [0.3, 0.4]], [1, 0])
        Array([0.125, 0.125], dtype=float32)

    Reference:
        Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006,
        doi:10.1109/CVPR.2006.100.
    """
    a, b, mask = checks.prepare_same_shape(
        "contrastive_loss", where, sample_weights, consumed=-1, origin=lambda x: x, first=first, second=second
    )
    y = check_one_per_row("contrastive_loss", "similar", similar, "first", a).astype(a.dtype)
    y = masked(y, mask.where)
    checks.check_values("contrastive_loss", "similar", lambda: (y == 0) | (y == 1), "be 0 or 1")
    distance = norm(a - b, (a, b), mask.where)
    values = weighted_square(y, a - b, distance) + (1 - y) * jax.nn.relu(margin - distance) ** 2
    return reduce(values / 2 if half else values, mask, reduction)


@register_embedding_loss(
    "pairwise_contrastive_loss",
    translation_invariant=True,
    aliases=("pairwise_contrastive",),
    domain=("any numbers", "class ids"),
    citation="doi:10.1109/CVPR.2006.100",
    homogeneous_degree=2,
    scaled_options=(("margin", 1),),
    depends_on_batch=True,
    example_inputs=labelled_example,
)
def pairwise_contrastive_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: Number = 1.0,
    half: bool = True,
    block_size: int | None = None,
    axis_name: AxisName | None = None,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Contrastive loss (Hadsell et al.) of all pairs in a labelled batch: attracts items of one label, repels others.

        c_ij = ½ [s_ij d² + (1 - s_ij) relu(m - d)²],   d = |x_i - x_j|,   s_ij = 1 if y_i = y_j, else 0

        l_i = ½ Σ_{j≠i} c_ij,   its sum Σ_{i<j} c_ij,   its mean Σ_{i<j} c_ij / #{i<j}

    Each item of a pair has half of the pair's value, and counts it for ½: sum and mean have every pair once.

    Args:
        embeddings: `(batch, features)`.
        labels: `(batch,)`, class ids, any integers.
        margin: m > 0, the distance from which items of different labels cost nothing.
        half: keep the factor ½ of c.
        block_size: how many items at a time, each against all others; None for as many as keep a block in some tens of
            MB.
        axis_name: the mapped axis of devices, or several; the partners then come from all of them. Inside `shard_map`,
            `()` says that the local batch is meant.
        where: bool, `(batch,)`; False takes an item out of all its pairs. `jaxlosses.core.reduction` explains this and
            the next two.
        sample_weights: numbers >= 0, `(batch,)`, of the items; a pair has the mean weight of its two.
        reduction: `"none"`, `"sum"`, `"mean"` (over pairs), or `"parts"`.

    Returns:
        `(batch,)` >= 0, half the sum over an item's pairs; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the labels are not integers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.pairwise_contrastive_loss([[0.0], [0.5], [0.6], [2.0]], [0, 0, 1, 1], reduction="mean")
        Array(0.265, dtype=float32)

    Reference:
        Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006,
        doi:10.1109/CVPR.2006.100.
    """

    def all_pairs(x: AnchorContext) -> ValueAndCount:
        differences = x.differences()
        attraction = jnp.where(x.positive, squared_norm(differences), 0)
        repulsion = jnp.where(x.negative, jax.nn.relu(margin - x.lengths(differences)) ** 2, 0)
        total = jnp.sum(attraction + repulsion)
        return total / (4 if half else 2), count_true(x.positive | x.negative, total) / 2

    return reduce_over_anchors(
        "pairwise_contrastive_loss",
        all_pairs,
        embeddings,
        labels,
        block_size=block_size,
        axis_name=axis_name,
        where=where,
        sample_weights=sample_weights,
        reduction=reduction,
    )
