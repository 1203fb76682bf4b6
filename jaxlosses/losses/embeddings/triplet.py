"""The triplet loss of given anchors, positives and negatives, aligned row by row."""

import functools

import jax
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.embeddings._lengths import nearer_by, norm
from jaxlosses.losses.embeddings._shared import hinge, register_embedding_loss

__all__ = ["triplet_loss"]


def _example(key: Array) -> tuple[Array, Array, Array]:
    anchors, positives, negatives = 0.5 * jax.random.normal(key, (3, 5, 3))
    return anchors, positives, negatives


@register_embedding_loss(
    "triplet_loss",
    law_exceptions=(
        (
            "scaled inputs give scaled values",
            "the degree is 2 or 1 by its option squared, and the lengths have tests of their own",
        ),
    ),
    translation_invariant=True,
    aliases=("triplet", "triplet_margin"),
    domain=("any numbers",) * 3,
    citation="arXiv:1503.03832",
    example_inputs=_example,
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
    """Triplet margin loss (FaceNet) of given anchors, positives and negatives, for verification and retrieval.

        l = relu(d_ap - d_an + m)   or, if `soft_margin`,   log(1 + exp(d_ap - d_an))

    It is 0 once the anchor is closer to its positive than to its negative by the margin. FaceNet takes squared
    distances of embeddings of length 1 (`jaxlosses.l2_normalize` makes them). For the loss of torch and optax pass
    `squared=False, margin=1.0`; torch adds 1e-6 to each coordinate of a difference.

    Args:
        anchors: `(..., features)`.
        positives: `(..., features)`, of the anchors' classes.
        negatives: `(..., features)`, of other classes.
        margin: m >= 0, in units of the distance; not used if `soft_margin`.
        squared: take squared distances.
        soft_margin: softplus instead of the hinge, so that every triplet has a gradient.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
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
        origin=lambda x: x,
        anchors=anchors,
        positives=positives,
        negatives=negatives,
    )
    far, near = (functools.partial(norm, a - x, (a, x), mask.where) for x in (p, n))
    gap = nearer_by(a, p, n) if squared else far() - near()
    return reduce(hinge(gap, margin, soft_margin), mask, reduction)
