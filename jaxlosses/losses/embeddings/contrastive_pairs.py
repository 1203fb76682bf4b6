"""Contrastive losses: similar embeddings are pulled together, others pushed apart up to a margin.

With the distance d = |x - y|, whose gradient between equal points is 0, and y = 1 for similar embeddings:

    l = ½ [y d² + (1 - y) relu(m - d)²]
"""

import jax
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.masks import masked
from jaxlosses.core.numerics import multiply_inf_safe
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import check_one_per_row, register_embedding_loss
from jaxlosses.losses.embeddings.distances import norm, sum_of_squares

__all__ = ["contrastive_loss"]


def _pair_example(key: Array) -> tuple[Array, Array, Array]:
    first, second = 0.5 * jax.random.normal(key, (2, 5, 3))
    return first, second, jax.random.randint(key, (5,), 0, 2)


@register_embedding_loss(
    "contrastive_loss",
    aliases=("contrastive",),
    domain=("any numbers", "any numbers", "{0, 1}"),
    citation="doi:10.1109/CVPR.2006.100",
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
        "contrastive_loss", where, sample_weights, consumed=-1, first=first, second=second
    )
    y = check_one_per_row("contrastive_loss", "similar", similar, "first", a).astype(a.dtype)
    y = masked(y, mask.where)
    checks.check_values("contrastive_loss", "similar", lambda: (y == 0) | (y == 1), "be 0 or 1")
    shortfall = jax.nn.relu(margin - norm(a - b))
    values = multiply_inf_safe(y, sum_of_squares(a - b)) + (1 - y) * shortfall**2
    return reduce(values / 2 if half else values, mask, reduction)
