"""One distribution against another: a value per row of probabilities.

With predictions q and truth p, both along one axis:

    entropy         H(p)    = -Σ p log p
    cross_entropy   H(p, q) = -Σ p log q = H(p) + KL(p‖q)
    kl_divergence   KL(p‖q) =  Σ p (log p - log q)

`p = 0` contributes 0, also where `q = 0`; `p > 0` at `q = 0` gives +inf. Nothing is renormalised: code lengths that sum
to less than 1 are as welcome as distributions. For p one-hot, KL and cross-entropy are the same number.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses import checks
from jaxlosses._numerics import safe_log, times
from jaxlosses.reduction import reduce
from jaxlosses.registry import register
from jaxlosses.types import ArrayLike, Number, Reduced

__all__ = ["cross_entropy", "entropy", "kl_divergence"]


def _example(key: Array) -> tuple[Array, Array]:
    q, p = jax.nn.softmax(jax.random.normal(key, (2, 5, 4)))
    return q, p


def _log_example(key: Array) -> tuple[Array, Array]:
    q, p = _example(key)
    return jnp.log(q), p


_register = functools.partial(
    register,
    family="divergences",
    consumes="classes",
    mask_lacks=1,
    minimum=0.0,
    citation="doi:10.1002/j.1538-7305.1948.tb01338.x",
)


@_register("entropy", domain=("probabilities",), example=lambda key: _example(key)[1:])
def entropy(
    probabilities: ArrayLike,
    *,
    base: Number | None = None,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The uncertainty of a distribution: between 0 (one-hot) and log C (uniform).

        H(p) = -Σ p log p;  dH/dp = -(log p + 1), and 0 at p = 0

    Args:
        probabilities: `(..., C)`, in [0, 1].
        base: of the logarithm; None for nats, 2 for bits.
        axis: the axis of the distribution.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`; or what `reduction` makes of it.

    Raises:
        ValueError: if `axis` is not there.

    Example:
        >>> import jaxlosses as jl
        >>> jl.entropy([[0.75, 0.25], [0.5, 0.5]], base=2).round(4)
        Array([0.8113, 1.    ], dtype=float32)

    Reference:
        Shannon, A Mathematical Theory of Communication, 1948, doi:10.1002/j.1538-7305.1948.tb01338.x.
    """
    p, kept = checks.same_shape("entropy", where, sample_weights, consumed=axis, probabilities=probabilities)
    checks.probabilities("entropy", "probabilities", p)
    return reduce(jnp.sum(-_p_log_p(p), axis) * _unit(base), kept, reduction)


@_register("cross_entropy", domain=("probabilities", "probabilities"), example=_example)
def cross_entropy(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    base: Number | None = None,
    eps: Number = 0.0,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The mean code length for `targets` under a code made for `probabilities`.

        H(p, q) = -Σ p log q,  q = probabilities, p = targets

    From logits use `softmax_cross_entropy`, which is exact where q underflows.

    Args:
        probabilities: `(..., C)`, q >= 0, what the model predicts.
        targets: `(..., C)`, p >= 0, the truth.
        base: of the logarithm; None for nats, 2 for bits.
        eps: a floor under q, with zero gradient below it; at 0, `p > 0` at `q = 0` gives +inf.
        axis: the axis of the distributions.
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`, at least H(p) for normalised q; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ or `axis` is not there.

    Example:
        >>> import jaxlosses as jl
        >>> jl.cross_entropy([0.2, 0.5, 0.3], [0.5, 0.3, 0.2])
        Array(1.2535, dtype=float32)

    Reference:
        Shannon, A Mathematical Theory of Communication, 1948, doi:10.1002/j.1538-7305.1948.tb01338.x.
    """
    q, p, kept = checks.same_shape(
        "cross_entropy", where, sample_weights, consumed=axis, probabilities=probabilities, targets=targets
    )
    checks.probabilities("cross_entropy", "probabilities", q)
    checks.probabilities("cross_entropy", "targets", p)
    log_q = safe_log(jnp.where(q <= eps, eps, q))
    return reduce(jnp.sum(times(p, -log_q), axis) * _unit(base), kept, reduction)


@_register("kl_divergence", aliases=("kl",), domain=("log-probabilities", "probabilities"), example=_log_example)
def kl_divergence(
    log_predictions: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The code length wasted on `targets` by a code made for the prediction.

        KL(p‖q) = Σ p (log p - log q),  log q = log_predictions, p = targets

    The first argument is a *log*-probability, as in optax and torch. KL is 0 only at q = p, and not symmetric.

    Args:
        log_predictions: `(..., C)`, log q <= 0; -inf is a probability of 0.
        targets: `(..., C)`, p >= 0.
        axis: the axis of the distributions; it is summed (torch's `"mean"` divides by its length, which is not KL).
        where: bool, a start of the shape without `axis`; True counts. See `jaxlosses.reduction`, also for the next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`, at least 0 for normalised p and q; or what `reduction` makes of it.
        Where p = 0 the value and both gradients are 0.

    Raises:
        ValueError: if the shapes differ or `axis` is not there.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.kl_divergence(jnp.log(jnp.array([0.2, 0.5, 0.3])), [0.5, 0.3, 0.2])
        Array(0.2238, dtype=float32)

    Reference:
        Kullback and Leibler, On Information and Sufficiency, 1951, doi:10.1214/aoms/1177729694.
    """
    log_q, p, kept = checks.same_shape(
        "kl_divergence",
        where,
        sample_weights,
        consumed=axis,
        log_predictions=log_predictions,
        targets=targets,
    )
    checks.expect(
        "kl_divergence",
        "log_predictions",
        lambda: log_q <= 0,
        "be <= 0, the logarithms of probabilities (log_softmax?)",
    )
    checks.probabilities("kl_divergence", "targets", p)
    some = p > 0
    surprise = jnp.where(some, jnp.log(jnp.where(some, p, 1)) - jnp.where(some, log_q, 0), 0)
    return reduce(jnp.sum(p * surprise, axis), kept, reduction)


def _p_log_p(p: Float[Array, "*s"]) -> Float[Array, "*s"]:
    # 0 log 0 = 0; the slope there is -inf, and 0 is returned in its place.
    none = p <= 0  # and not p > 0, so that NaN stays NaN
    return jnp.where(none, 0, p * jnp.log(jnp.where(none, 1, p)))


def _unit(base: Number | None) -> Number:
    return 1.0 if base is None else 1 / jnp.log(base)
