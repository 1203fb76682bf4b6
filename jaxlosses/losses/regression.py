"""Regression losses: a value per element, from the residual `r = predictions - targets`.

    absolute_error    |r|                                     minimised by the median
    squared_error     r²                                      minimised by the mean
    smooth_l1_loss    r²/(2β) inside |r| < β, |r| - β/2 out   slope at most 1
    huber_loss        r²/2    inside |r| < δ, δ(|r| - δ/2)    = δ · smooth L1 with β = δ

The absolute error is robust to outliers and has a kink at 0; the squared error is smooth and sensitive to outliers.
The other two are quadratic near 0 and linear far from it.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.numerics import abs_zero_grad
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.registry import register

__all__ = ["absolute_error", "huber_loss", "smooth_l1_loss", "squared_error"]


def _example(key: Array) -> tuple[Array, Array]:
    predictions, targets = 2 * jax.random.normal(key, (2, 5, 3))
    return predictions, targets


_register = functools.partial(
    register,
    family="regression",
    domain=("any number", "any number"),
    minimum=0.0,
    translation_invariant=True,
    example_inputs=_example,
)


@_register(
    "absolute_error", aliases=("l1", "mae"), citation="Laplace 1774", likelihood=(1.0, 1.0), homogeneous_degree=1
)
def absolute_error(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Absolute error (L1 loss; its mean is the MAE): regression to the conditional median, robust to outliers.

        l = |r|,  r = predictions - targets;  dl/dr = sign(r), and 0 at r = 0

    Args:
        predictions: `(...)`, any numbers.
        targets: `(...)`, the same shape.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.absolute_error([1.0, 2.0, 4.0], [1.0, 4.0, 0.0])
        Array([0., 2., 4.], dtype=float32)

    Reference:
        Laplace, Mémoire sur la probabilité des causes par les événements, 1774.
    """
    r, mask = checks.prepare_residuals(
        "absolute_error", where, sample_weights, predictions=predictions, targets=targets
    )
    return reduce(abs_zero_grad(r), mask, reduction)


@_register(
    "squared_error", aliases=("l2", "mse"), citation="Legendre 1805", likelihood=(0.5, 0.5), homogeneous_degree=2
)
def squared_error(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Squared error (L2 loss without the factor 1/2; its mean is the MSE): regression to the conditional mean.

        l = r²,  r = predictions - targets;  dl/dr = 2r

    `optax.l2_loss` is half of this.

    Args:
        predictions: `(...)`, any numbers.
        targets: `(...)`, the same shape.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.squared_error([1.0, 2.0, 4.0], [1.0, 4.0, 0.0])
        Array([ 0.,  4., 16.], dtype=float32)

    Reference:
        Legendre, Nouvelles méthodes pour la détermination des orbites des comètes, 1805.
    """
    r, mask = checks.prepare_residuals("squared_error", where, sample_weights, predictions=predictions, targets=targets)
    return reduce(r**2, mask, reduction)


@_register(
    "smooth_l1_loss",
    aliases=("smooth_l1",),
    citation="arXiv:1504.08083",
    homogeneous_degree=1,
    scaled_options=(("beta", 1),),
)
def smooth_l1_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    beta: Number = 1.0,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Smooth L1 loss (Fast R-CNN): quadratic below `beta`, slope 1 above; the usual choice for box offsets.

        l = r²/(2β)  if |r| < β,  else |r| - β/2

    The gradient is r/β inside and ±1 outside. Faster R-CNN's `sigma` is `beta = 1/sigma²`.

    Args:
        predictions: `(...)`, any numbers.
        targets: `(...)`, the same shape.
        beta: β >= 0, where the quadratic part ends; 0 gives the absolute error.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.smooth_l1_loss([-0.5, 2.5], [0.0, 0.0])
        Array([0.125, 2.   ], dtype=float32)

    Reference:
        Girshick, Fast R-CNN, 2015, arXiv:1504.08083.
    """
    r, mask = checks.prepare_residuals(
        "smooth_l1_loss", where, sample_weights, predictions=predictions, targets=targets
    )
    is_quadratic = jnp.abs(r) < beta
    inside = jnp.where(is_quadratic, r, 0)
    quadratic = inside * (inside / (2 * jnp.where(jnp.equal(beta, 0), 1, beta)))  # r² alone may overflow
    values = jnp.where(is_quadratic, quadratic, abs_zero_grad(r) - 0.5 * beta)
    return reduce(values, mask, reduction)


@_register(
    "huber_loss",
    aliases=("huber",),
    citation="doi:10.1214/aoms/1177703732",
    homogeneous_degree=2,
    scaled_options=(("delta", 1),),
)
def huber_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: Number = 1.0,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Huber loss: half the squared error up to `delta`, linear beyond, which bounds the influence of outliers.

        l = r²/2  if |r| < δ,  else δ(|r| - δ/2)

    The gradient is r, clipped to [-δ, δ].

    Args:
        predictions: `(...)`, any numbers.
        targets: `(...)`, the same shape.
        delta: δ > 0, where the quadratic part ends; statisticians take 1.345.
        where: bool, a prefix of the shape; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, a prefix of the shape.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ; nothing is broadcast.

    Example:
        >>> import jaxlosses as jl
        >>> jl.huber_loss([-0.5, 2.5], [0.0, 0.0], delta=0.5)
        Array([0.125, 1.125], dtype=float32)

    Reference:
        Huber, Robust Estimation of a Location Parameter, 1964, doi:10.1214/aoms/1177703732.
    """
    r, mask = checks.prepare_residuals("huber_loss", where, sample_weights, predictions=predictions, targets=targets)
    is_quadratic = jnp.abs(r) < delta
    quadratic = 0.5 * jnp.where(is_quadratic, r, 0) ** 2
    slope = jnp.where(
        is_quadratic, 1, jnp.asarray(delta, r.dtype)
    )  # an infinite δ is never reached, and would give NaN
    values = jnp.where(is_quadratic, quadratic, slope * (abs_zero_grad(r) - 0.5 * slope))
    return reduce(values, mask, reduction)
