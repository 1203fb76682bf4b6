"""Two or three embeddings at a time, aligned row by row.

With the distance d = |x - y|, whose gradient between equal points is 0:

    contrastive   ½ [y d² + (1 - y) relu(m - d)²]        y = 1: similar
    triplet       relu(d_ap - d_an + m)                  d or d²

Both are invariant to moving and rotating all embeddings, and 0 once the far ones are far enough.
"""

import functools

import jax
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.masks import masked
from jaxlosses.core.numerics import multiply_inf_safe, softplus
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._shared import one_each
from jaxlosses.losses.embeddings.distances import norm
from jaxlosses.losses.embeddings.distances import squared as squared_length
from jaxlosses.registry import register

__all__ = ["contrastive_loss", "triplet_loss"]


def _pair_example(key: Array) -> tuple[Array, Array, Array]:
    first, second = 0.5 * jax.random.normal(key, (2, 5, 3))
    return first, second, jax.random.randint(key, (5,), 0, 2)


def _triplet_example(key: Array) -> tuple[Array, Array, Array]:
    anchors, positives, negatives = 0.5 * jax.random.normal(key, (3, 5, 3))
    return anchors, positives, negatives


_register = functools.partial(register, family="embeddings", input_kind="features", num_event_axes=1, minimum=0.0)


@_register(
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
    """Pull similar pairs together, and push other pairs apart until they are a margin away.

        l = ½ [y d² + (1 - y) relu(m - d)²],   d = |first - second|

    Tensorflow-addons leaves out the ½. The loss of that name in pytorch-metric-learning has no squares.

    Args:
        first: `(..., features)`.
        second: `(..., features)`, the same shape.
        similar: `(...)`, y, 1 for similar and 0 for dissimilar pairs (the paper's Y is 1 - y).
        margin: m > 0, the distance from which dissimilar pairs cost nothing.
        half: keep the factor ½.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
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
    y = one_each("contrastive_loss", "similar", similar, "first", a).astype(a.dtype)
    y = masked(y, mask.where)
    checks.check_values("contrastive_loss", "similar", lambda: (y == 0) | (y == 1), "be 0 or 1")
    apart = jax.nn.relu(margin - norm(a - b))
    values = multiply_inf_safe(y, squared_length(a - b)) + (1 - y) * apart**2
    return reduce(values / 2 if half else values, mask, reduction)


@_register(
    "triplet_loss",
    aliases=("triplet", "triplet_margin"),
    domain=("any numbers",) * 3,
    citation="arXiv:1503.03832",
    example_inputs=_triplet_example,
)
def triplet_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    *,
    margin: Number = 0.2,
    squared: bool = True,
    soft_margin: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """How much closer, by less than a margin, an anchor is to its positive than to its negative.

        l = relu(d_ap - d_an + m)   or, if `soft_margin`,   log(1 + exp(d_ap - d_an))

    with squared distances of embeddings of length 1 in FaceNet (`jaxlosses.l2_normalize` makes them). For the loss of
    torch and optax pass `squared=False, margin=1.0`; torch adds 1e-6 to each coordinate of a difference.

    Args:
        anchors: `(..., features)`.
        positives: `(..., features)`, of the anchors' classes.
        negatives: `(..., features)`, of other classes.
        margin: m >= 0, in units of the distance; not used if `soft_margin`.
        squared: take squared distances.
        soft_margin: softplus in the place of the hinge: every triplet keeps a gradient.
        where: bool, a start of the shape without the last axis; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)` >= 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import jaxlosses as jl
        >>> jl.triplet_loss([[1.0, 0.0]], [[0.8, 0.6]], [[0.6, 0.8]], squared=False, margin=1.0)
        Array([0.738], dtype=float32)

    Reference:
        Schroff, Kalenichenko and Philbin, FaceNet, 2015, arXiv:1503.03832. Soft margin: Hermans, Beyer and Leibe,
        In defense of the triplet loss, 2017, arXiv:1703.07737.
    """
    a, p, n, mask = checks.prepare_same_shape(
        "triplet_loss",
        where,
        sample_weights,
        consumed=-1,
        anchors=anchors,
        positives=positives,
        negatives=negatives,
    )
    length = squared_length if squared else norm
    return reduce(hinge(length(a - p) - length(a - n), margin, soft_margin), mask, reduction)


def hinge(gap: Float[Array, "*s"], margin: Number, soft: bool) -> Float[Array, "*s"]:
    """The cost of a positive that is farther than a negative by `gap`."""
    return softplus(gap) if soft else jax.nn.relu(gap + margin)
