"""Focal losses for boxes: good boxes weigh most, the opposite of focal losses for classes.

    FocalL1         L(x) = -α x² (2 log βx - 1)/4            up to |x| = 1, a straight line from there on
    Focal-EIoU      l = W · EIoU loss,   W = IoU^γ           small overlap, small weight
    Focal-EIoU*     l = FocalL1(EIoU loss)                   the paper's second form, and by its account the weaker

W is a constant for the gradient. Otherwise W · EIoU loss would have a second minimum where the boxes do not overlap at
all, and its gradient would push them apart.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.numerics import abs_zero_grad, safe_log
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.boxes._shared import compare, prepare_boxes, register_box_loss
from jaxlosses.losses.boxes.iou import cost, eiou_penalty, iou
from jaxlosses.losses.boxes.pair import Pair
from jaxlosses.registry import register

__all__ = ["focal_eiou_loss", "focal_l1_loss"]


@register(
    "focal_l1_loss",
    law_exceptions=(
        ("scaled inputs give scaled values", "its curve bends at an error of 1, and no option moves that"),
    ),
    family="boxes",
    translation_invariant=True,
    aliases=("focal_l1",),
    domain=("any number", "any number"),
    minimum=0.0,
    citation="arXiv:2101.08158",
    likelihood=(1.0, 1.0),
    example_inputs=lambda key: tuple(jax.random.normal(key, (2, 5, 3))),
)
def focal_l1_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    beta: Number = 0.8,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """FocalL1 loss for box offsets: L1 with small gradients for small errors and a constant one for outliers.

        l = -α x² (2 log βx - 1)/4   for x <= 1,   -α log(β) x + α (2 log β + 1)/4   above;   x = |p - t|, α = eβ

    Its gradient grows up to an error of 1/eβ, and is the same for all errors above 1. For boxes, sum it over the
    offsets of x, y, w and h.

    Args:
        predictions: `(...)`, any numbers.
        targets: `(...)`, the same shape.
        beta: β in [1/e, 1]: the smaller, the steeper for outliers. α = eβ makes the largest gradient 1.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0, and at most e/4 for β = 1; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.focal_l1_loss([0.2, 0.5, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]).round(4)
        Array([0.1014, 0.385 , 0.7863, 1.2715], dtype=float32)

    Reference:
        Zhang et al., Focal and Efficient IOU Loss, 2021, arXiv:2101.08158.
    """
    p, t, mask = checks.prepare_same_shape(
        "focal_l1_loss", where, sample_weights, origin=lambda first: first, predictions=predictions, targets=targets
    )
    half = abs_zero_grad(p / 2 - t / 2)  # of the error, which may be larger than the largest number
    return reduce(_focal_l1("focal_l1_loss", half, beta), mask, reduction)


@register_box_loss(
    "focal_eiou_loss",
    aliases=("focal_eiou",),
    citation="arXiv:2101.08158",
    options_without_stop_gradient=(("detach_weight", False),),
)
def focal_eiou_loss(
    boxes: ArrayLike,
    targets: ArrayLike,
    *,
    gamma: Number = 0.5,
    variant: str = "weighted",
    beta: Number = 0.8,
    mean_over: str = "examples",
    detach_weight: bool = True,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Focal-EIoU loss: the EIoU loss weighted by IoU^gamma, so that well-aligned boxes dominate.

        l = IoU^γ (1 - EIoU)   ("weighted")   or   l = FocalL1(1 - EIoU)   ("focal_l1")

    Poor boxes weigh *less* here, whereas a focal loss for classes gives more weight to what is classified poorly. Boxes
    that do not overlap weigh nothing in the first variant: pair it with another loss early in training.

    Args:
        boxes: `(..., 4)` as x1, y1, x2, y2 in any unit.
        targets: `(..., 4)`, the same shape and unit.
        gamma: γ >= 0, the focus of `"weighted"`; at 0 it is the EIoU loss.
        variant: `"weighted"` or `"focal_l1"`.
        beta: β in [1/e, 1] of `"focal_l1"`, see `focal_l1_loss`.
        mean_over: what a mean divides by: the number of `"examples"`, or the sum of the `"weights"` IoU^γ.
        detach_weight: stop the gradient through IoU^γ; without, disjoint boxes are pushed apart.
        where: bool, a prefix of `(...)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of `(...)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0, and 0 with zero gradient at IoU = 0 if `"weighted"`; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, the last axis is not 4, or `variant` or `mean_over` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.focal_eiou_loss([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 6.0, 5.0])
        Array(0.4317, dtype=float32)

    Reference:
        Zhang et al., Focal and Efficient IOU Loss, 2021, arXiv:2101.08158.
    """
    one_of("focal_eiou_loss", "variant", variant, ("weighted", "focal_l1"))
    # The second variant has no weights.
    allowed = ("examples", "weights") if variant == "weighted" else ("examples",)
    one_of(f"focal_eiou_loss, variant={variant!r}", "mean_over", mean_over, allowed)
    a, b, mask = prepare_boxes("focal_eiou_loss", boxes, targets, where, sample_weights)
    if variant == "focal_l1":
        return reduce(_focal_l1("focal_eiou_loss", compare(cost(eiou_penalty), a, b) / 2, beta), mask, reduction)
    values, overlap = compare(_eiou_cost_and_iou, a, b)
    weight = _power(overlap, gamma)
    if detach_weight:
        weight = jax.lax.stop_gradient(weight)
    return reduce(weight * values, mask, reduction, counts=weight if mean_over == "weights" else None)


def _eiou_cost_and_iou(pair: Pair) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    return cost(eiou_penalty)(pair), iou(pair)


def _focal_l1(loss: str, half: Float[Array, "*s"], beta: Number) -> Float[Array, "*s"]:
    """FocalL1 of twice `half`."""
    beta = jnp.asarray(beta, half.dtype)
    checks.check_values(loss, "beta", lambda: (beta >= jnp.exp(-1.0) - 1e-6) & (beta <= 1), "lie in [1/e, 1]")
    alpha, log_beta = jnp.e * beta, jnp.log(beta)
    at_zero, outlier = half == 0, half > 0.5  # x² log x -> 0, whose autodiff at 0 is NaN
    inlier = 2 * jnp.where(at_zero | outlier, 0.5, half)
    curved = -alpha * inlier * (2 * (log_beta * inlier + _x_log_x(inlier)) - inlier) / 4
    straight = -2 * alpha * log_beta * half + alpha * (2 * log_beta + 1) / 4
    return jnp.where(at_zero, 0, jnp.where(outlier, straight, curved))


def _power(x: Float[Array, "*s"], gamma: Number) -> Float[Array, "*s"]:
    """`x ** gamma` with zero gradient at 0, and 1 there for an exponent of 0."""
    at_zero = x <= 0
    return jnp.where(at_zero, jnp.where(jnp.asarray(gamma) == 0, 1.0, 0.0), jnp.where(at_zero, 1, x) ** gamma)


@jax.custom_jvp
def _x_log_x(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return x * safe_log(x)


# By the rule of a product, 1/x² would come in, which overflows long before 1/x.
@_x_log_x.defjvp
def _x_log_x_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _x_log_x(*primals), tangents[0] * (safe_log(primals[0]) + 1)
