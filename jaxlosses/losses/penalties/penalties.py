"""Penalties on parameters: a tree of parameters in, a scalar out.

    l1_penalty              Σ|w|                              pulls small weights to exactly 0 (lasso)
    l2_penalty              Σw², or half of it                shrinks large weights most (ridge)
    elastic_net_penalty     α (ρ Σ|w| + (1 - ρ)/2 Σw²)        both
    structural_risk         mean loss + λ J                   a loss, and one of the above

The gradient of |w| at 0 is 0, so gradient steps alone never reach exactly 0: `soft_threshold` is the proximal map that
does. Sums are in float32 at least.

Every floating array of a tree counts; of an nnx module or state, only `nnx.Param` (no running statistics). `select`
says which of them, by their paths, and leaves out biases and scales:

    >>> import jax.numpy as jnp, jaxlosses as jl
    >>> params = {"dense": {"kernel": jnp.array([1.0, -2.0, 0.5]), "bias": jnp.array([10.0])}}
    >>> print(jl.l2_penalty(params, select="*/kernel"))
    5.25

A Variable that two layers of an nnx module share is one parameter, and counts once. `jax.jit(f)(module)` makes two of
it before a penalty can see that: give the module to `nnx.jit`, or `nnx.split` it first.

A path looks like `"dense/kernel"` in Flax (nnx and linen), `"linear/w"` in Haiku, `"layers/0/weight"` in Equinox.
In a pattern `*` stands for anything, `/` included, and `"*/kernel"` takes a `kernel` at the top level too. Several
patterns in a list take what any of them takes, and a function of (path, leaf) says everything else, such as
`lambda path, leaf: leaf.ndim > 1`.

A penalty is a term of an objective like any other, and a pattern can stand in its configuration file:
`jl.Term("l2_penalty", "params", weight=1e-4, options={"select": "*/kernel"})`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.keywords import public_function
from jaxlosses.core.numerics import abs_zero_grad, scaled_square
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, compute_dtype
from jaxlosses.losses.penalties._parameter_trees import Select, select_parameters
from jaxlosses.registry import register

__all__ = ["elastic_net_penalty", "l1_penalty", "l2_penalty", "soft_threshold", "structural_risk"]


def _example(key: Array) -> tuple[dict[str, Array]]:
    kernel, bias = jax.random.split(key)
    return ({"kernel": jax.random.normal(kernel, (3, 2)), "bias": jax.random.normal(bias, (2,))},)


_register = functools.partial(
    register, family="penalties", input_kind="tree", domain=("a tree of arrays",), minimum=0.0, example_inputs=_example
)


@_register("l1_penalty", aliases=("lasso",), citation="doi:10.1111/j.2517-6161.1996.tb02080.x")
def l1_penalty(params: Any, *, select: Select | None = None) -> Float[Array, ""]:
    """L1 (lasso) penalty of a parameter tree, for sparse weights: the sum of their absolute values.

        J = Σ|w|;   dJ/dw = sign(w), and 0 at 0

    Args:
        params: a tree of arrays, such as a model's parameters, or an nnx or Equinox module; what counts are floating
            arrays, and of nnx the `nnx.Param`s.
        select: a pattern of paths such as `"*/kernel"`, a list of patterns, or a function of (path, leaf); None: all.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: if `select`, or one of its patterns, takes no parameter; the message lists some that there are.
        TypeError: if a leaf is complex, or no array.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.l1_penalty({"w": jnp.array([1.0, -2.0, 0.5])})
        Array(3.5, dtype=float32)

    Reference:
        Tibshirani, Regression Shrinkage and Selection via the Lasso, 1996, doi:10.1111/j.2517-6161.1996.tb02080.x.
    """
    return _total("l1_penalty", abs_zero_grad, params, select)


@_register("l2_penalty", aliases=("ridge",), citation="doi:10.1080/00401706.1970.10488634")
def l2_penalty(params: Any, *, half: bool = False, select: Select | None = None) -> Float[Array, ""]:
    """L2 (ridge) penalty of a parameter tree, which shrinks large weights most: the sum of their squares.

        J = Σw²,  or Σw²/2 if `half`;   dJ/dw = 2w, or w

    Under Adam this is not weight decay, whose shrinkage is not divided by the gradient's scale: see `optax.adamw`.

    Args:
        params: a tree of arrays, such as a model's parameters, or an nnx or Equinox module; what counts are floating
            arrays, and of nnx the `nnx.Param`s.
        half: take half of it, so that the gradient is w.
        select: a pattern of paths such as `"*/kernel"`, a list of patterns, or a function of (path, leaf); None: all.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: if `select`, or one of its patterns, takes no parameter; the message lists some that there are.
        TypeError: if a leaf is complex, or no array.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.l2_penalty({"w": jnp.array([1.0, -2.0, 0.5])})
        Array(5.25, dtype=float32)

    Reference:
        Hoerl and Kennard, Ridge Regression, 1970, doi:10.1080/00401706.1970.10488634.
    """
    cost = lambda w: scaled_square(0.5 if half else 1.0, w)  # noqa: E731
    return _total("l2_penalty", cost, params, select)


@_register("elastic_net_penalty", aliases=("elastic_net",), citation="doi:10.1111/j.1467-9868.2005.00503.x")
def elastic_net_penalty(
    params: Any, *, alpha: Number = 1.0, l1_ratio: Number = 0.5, select: Select | None = None
) -> Float[Array, ""]:
    """Elastic-net penalty of a parameter tree: lasso and ridge at once, as glmnet and scikit-learn weigh them.

        J = α (ρ Σ|w| + (1 - ρ)/2 Σw²)

    In the terms of the paper, λ₁ = αρ and λ₂ = α(1 - ρ)/2.

    Args:
        params: a tree of arrays, such as a model's parameters, or an nnx or Equinox module; what counts are floating
            arrays, and of nnx the `nnx.Param`s.
        alpha: α >= 0, the strength.
        l1_ratio: ρ in [0, 1]: 1 is the lasso, 0 half of the ridge.
        select: a pattern of paths such as `"*/kernel"`, a list of patterns, or a function of (path, leaf); None: all.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: if `select`, or one of its patterns, takes no parameter; the message lists some that there are.
        TypeError: if a leaf is complex, or no array.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.elastic_net_penalty({"w": jnp.array([1.0, -2.0, 0.5])}, alpha=0.1, l1_ratio=0.5)
        Array(0.3062, dtype=float32)

    Reference:
        Zou and Hastie, Regularization and Variable Selection via the Elastic Net, 2005,
        doi:10.1111/j.1467-9868.2005.00503.x. This form: Friedman, Hastie and Tibshirani, 2010,
        doi:10.18637/jss.v033.i01.
    """
    alpha, ratio = jnp.asarray(alpha), jnp.asarray(l1_ratio)
    l1, l2 = alpha * ratio, alpha * (1 - ratio) / 2
    cost = lambda w: l1 * abs_zero_grad(w) + scaled_square(l2, w)  # noqa: E731
    return _total("elastic_net_penalty", cost, params, select)


@public_function
def soft_threshold(x: ArrayLike, threshold: Number) -> Float[Array, "..."]:
    """Soft thresholding, the proximal map of the lasso: shrinks towards 0, and sets what is small to exactly 0.

        sign(x) max(|x| - t, 0)

    Args:
        x: `(...)`, any numbers.
        threshold: t >= 0: the step size times the strength of the penalty.

    Returns:
        `(...)`, floating.

    Raises:
        TypeError: if `x` is not an array of real numbers.

    Example:
        >>> import jaxlosses as jl
        >>> jl.soft_threshold([-2.0, 0.3, 1.0], 0.5)
        Array([-1.5,  0. ,  0.5], dtype=float32)

    Reference:
        Donoho and Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage, 1994, doi:10.1093/biomet/81.3.425.
    """
    (array,) = checks.to_floats("soft_threshold", x=x)
    return jnp.sign(array) * jax.nn.relu(jnp.abs(array) - threshold)


@public_function
def structural_risk(
    losses: ArrayLike,
    penalty: Number,
    weight: Number,
    *,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
) -> Float[Array, ""]:
    """Structural risk: the mean loss plus a weighted penalty on the model.

        R = mean(l) + λ J

    Args:
        losses: `(...)`, any loss with `reduction="none"`.
        penalty: J, a scalar, such as `l2_penalty(params)`.
        weight: λ >= 0; at 0 it is the mean loss.
        where: bool, a prefix of the losses' shape; True counts. `jaxlosses.core.reduction` explains this and the next.
        sample_weights: numbers >= 0, a prefix of the losses' shape.

    Returns:
        A scalar; λJ where no loss counts.

    Raises:
        ValueError: if `where` or `sample_weights` do not fit.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.structural_risk([1.0, 3.0], jl.l2_penalty(jnp.array([2.0])), 0.1)
        Array(2.4, dtype=float32)

    Reference:
        Vapnik, The Nature of Statistical Learning Theory, 1995, doi:10.1007/978-1-4757-3264-1.
    """
    values, mask = checks.prepare_same_shape("structural_risk", where, sample_weights, losses=losses)
    return reduce(values, mask, "mean") + jnp.asarray(weight) * jnp.asarray(penalty)


def _total(name: str, cost: Callable[[Array], Array], params: Any, select: Select | None) -> Float[Array, ""]:
    """The sum of the cost of every parameter that counts."""
    totals = []
    for path, parameter in select_parameters(name, params, select):
        (array,) = checks.to_floats(
            name, parameter=checks.to_array(name, f"params[{path}]" if path else "params", parameter)
        )
        totals.append(jnp.sum(cost(array)))
    dtype = compute_dtype(*totals)
    return sum((total.astype(dtype) for total in totals), jnp.zeros((), dtype))
