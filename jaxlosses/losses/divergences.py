"""Entropies and divergences of categorical distributions: a value per row of probabilities.

With predictions q and targets p, both along one axis:

    entropy         H(p)     = -Σ p log p
    cross_entropy   H(p, q)  = -Σ p log q = H(p) + KL(p‖q)
    kl_divergence   KL(p‖q)  =  Σ p (log p - log q)
    js_divergence   JS(p, q) = (KL(p‖m) + KL(q‖m))/2,  m = (p + q)/2

`p = 0` contributes 0, also where `q = 0`; `p > 0` at `q = 0` gives +inf. Nothing is renormalised: rows need not sum to
1. For p one-hot, KL and cross-entropy are the same number.

A distribution may be given as probabilities, as their logarithms or as logits (`input_type`). Where a probability is 0,
the derivative by it is infinite, and 0 is returned in its place; derivatives by logits are finite everywhere.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core import entropy as terms
from jaxlosses.core.errors import one_of
from jaxlosses.core.masks import LossMask
from jaxlosses.core.numerics import clip_below, no_slope_if_inf
from jaxlosses.core.reduction import reduce
from jaxlosses.core.softmax import check_classes, exact_log_softmax
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.registry import register

__all__ = ["cross_entropy", "entropy", "js_divergence", "kl_divergence"]


def _example(key: Array) -> tuple[Array, Array]:
    q, p = jax.nn.softmax(jax.random.normal(key, (2, 5, 4)))
    return q, p


def _log_example(key: Array) -> tuple[Array, Array]:
    q, p = _example(key)
    return jnp.log(q), p


_register = functools.partial(
    register,
    family="divergences",
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
    input_kind="classes",
    num_event_axes=1,
    minimum=0.0,
    citation="doi:10.1002/j.1538-7305.1948.tb01338.x",
)


@_register("entropy", domain=("probabilities",), example_inputs=lambda key: _example(key)[1:])
def entropy(
    probabilities: ArrayLike,
    *,
    input_type: str = "probabilities",
    log_base: Number | None = None,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Shannon entropy of a categorical distribution, as a regulariser for exploration or confidence.

        H(p) = -Σ p log p;  dH/dp = -(log p + 1), and 0 at p = 0;  dH/dz = -p (log p + H)

    It is 0 for a one-hot distribution, and log C for the uniform one.

    Args:
        probabilities: `(..., C)`, in [0, 1]; or what `input_type` says.
        input_type: what is given: `"probabilities"`, `"log"` (log p) or `"logits"` (p = softmax(z)).
        log_base: of the logarithm; None for nats, 2 for bits.
        axis: the axis of the distribution.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`; or what `reduction` makes of it.

    Raises:
        ValueError: if `axis` is not there, or `input_type` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.entropy([[0.75, 0.25], [0.5, 0.5]], log_base=2).round(4)
        Array([0.8113, 1.    ], dtype=float32)

    Reference:
        Shannon, A Mathematical Theory of Communication, 1948, doi:10.1002/j.1538-7305.1948.tb01338.x.
    """
    one_of("entropy", "input_type", input_type, _INPUT_TYPES)
    x, mask = checks.prepare_same_shape("entropy", where, sample_weights, consumed=axis, probabilities=probabilities)
    p, log_p, mask = _distribution(x, "probabilities", input_type, axis, mask)
    return reduce(jnp.sum(terms.entropy_term(p, log_p), axis) * _log_base_factor(log_base), mask, reduction)


@_register("cross_entropy", domain=("probabilities", "probabilities"), example_inputs=_example)
def cross_entropy(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    log_base: Number | None = None,
    eps: Number = 0.0,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Cross-entropy H(p, q) of predicted probabilities q against a target distribution p, for soft targets.

        H(p, q) = -Σ p log q,  q = probabilities, p = targets

    From logits use `softmax_cross_entropy`, which is exact where q underflows.

    Args:
        probabilities: `(..., C)`, q >= 0, what the model predicts.
        targets: `(..., C)`, p >= 0, the target distribution.
        log_base: of the logarithm; None for nats, 2 for bits.
        eps: a floor under q, with zero gradient below it; at 0, `p > 0` at `q = 0` gives +inf.
        axis: the axis of the distributions.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
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
    q, p, mask = checks.prepare_same_shape(
        "cross_entropy", where, sample_weights, consumed=axis, probabilities=probabilities, targets=targets
    )
    checks.check_probabilities("cross_entropy", "probabilities", q)
    checks.check_probabilities("cross_entropy", "targets", p)
    if isinstance(eps, jax.Array) or np.any(eps):
        q = clip_below(q, jnp.asarray(eps, q.dtype))
    values = no_slope_if_inf(jnp.sum(terms.cross_entropy_term(p, q), axis))
    return reduce(values * _log_base_factor(log_base), mask, reduction)


@_register("kl_divergence", aliases=("kl",), domain=("log-probabilities", "probabilities"), example_inputs=_log_example)
def kl_divergence(
    log_predictions: ArrayLike,
    targets: ArrayLike,
    *,
    input_type: str = "log_predictions",
    log_base: Number | None = None,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Kullback-Leibler divergence KL(targets‖predictions), for distillation and variational objectives.

        KL(p‖q) = Σ p (log p - log q),  log q = log_predictions, p = targets;  d/dz = q - p for logits z of q

    The first argument is a *log*-probability, as in optax and torch. KL is 0 only at q = p, and not symmetric.

    Args:
        log_predictions: `(..., C)`, log q <= 0; -inf is a probability of 0; or what `input_type` says.
        targets: `(..., C)`, p >= 0; or what `input_type` says.
        input_type: what is given: `"log_predictions"` (log q and p), `"log"` (log q and log p), `"probabilities"` (q
            and p) or `"logits"` (of both).
        log_base: of the logarithm; None for nats, 2 for bits.
        axis: the axis of the distributions; it is summed (torch's `"mean"` divides by its length, which is not KL).
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`, at least 0 for normalised p and q; or what `reduction` makes of it. What lies
        below 0 by the rounding of 1 counts as 0.
        Where p = 0 the value and both gradients are 0.

    Raises:
        ValueError: if the shapes differ, `axis` is not there, or `input_type` is another.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> jl.kl_divergence(jnp.log(jnp.array([0.2, 0.5, 0.3])), [0.5, 0.3, 0.2])
        Array(0.2238, dtype=float32)
        >>> jl.kl_divergence([0.2, 0.5, 0.3], [0.5, 0.3, 0.2], input_type="probabilities")
        Array(0.2238, dtype=float32)

    Reference:
        Kullback and Leibler, On Information and Sufficiency, 1951, doi:10.1214/aoms/1177729694.
    """
    one_of("kl_divergence", "input_type", input_type, ("log_predictions", *_INPUT_TYPES))
    x, y, mask = checks.prepare_same_shape(
        "kl_divergence", where, sample_weights, consumed=axis, log_predictions=log_predictions, targets=targets
    )
    first, second = ("log", "probabilities") if input_type == "log_predictions" else (input_type, input_type)
    q, log_q, mask = _distribution(x, "log_predictions", first, axis, mask)
    p, log_p, mask = _distribution(y, "targets", second, axis, mask)
    if input_type == "logits":
        values = jnp.sum(terms.normalized_relative_entropy_term(log_p, log_q), axis)
    else:
        log_q = terms.log_or_lowest(q) if input_type == "probabilities" else x
        values = terms.relative_entropy_term(p, log_p, log_q)
        if input_type == "probabilities":
            values += terms.inf_where_impossible(p, log_q)
        values = _zero_for_rounding(jnp.sum(values, axis))
    return reduce(no_slope_if_inf(values) * _log_base_factor(log_base), mask, reduction)


@_register(
    "js_divergence",
    aliases=("js",),
    domain=("probabilities", "probabilities"),
    citation="doi:10.1109/18.61115",
    example_inputs=_example,
)
def js_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    input_type: str = "probabilities",
    log_base: Number | None = None,
    axis: int = -1,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Jensen-Shannon divergence: the symmetric, bounded KL to the mixture, also for distributions of different support.

        JS(p, q) = (KL(p‖m) + KL(q‖m))/2,  m = (p + q)/2;   dJS/dp = log(p/m)/2, and 0 at p = 0

    Its square root is a metric.

    Args:
        p: `(..., C)`, in [0, 1]; or what `input_type` says.
        q: `(..., C)`, the same shape and type.
        input_type: what is given: `"probabilities"`, `"log"` (log p and log q) or `"logits"` (of both).
        log_base: of the logarithm; None for nats, 2 for bits.
        axis: the axis of the distributions.
        where: bool, a prefix of the shape without `axis`; True counts. `jaxlosses.core.reduction` explains this and the
            next two.
        sample_weights: numbers >= 0, aligned like `where`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(...)`, the shape without `axis`, in [0, log 2] for normalised p and q; or what `reduction` makes of it.

    Raises:
        ValueError: if the shapes differ, `axis` is not there, or `input_type` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.js_divergence([0.5, 0.3, 0.2], [0.2, 0.5, 0.3])
        Array(0.0509, dtype=float32)

    Reference:
        Lin, Divergence Measures Based on the Shannon Entropy, 1991, doi:10.1109/18.61115.
    """
    one_of("js_divergence", "input_type", input_type, _INPUT_TYPES)
    x, y, mask = checks.prepare_same_shape("js_divergence", where, sample_weights, consumed=axis, p=p, q=q)
    p_, _, mask = _distribution(x, "p", input_type, axis, mask)
    q_, _, mask = _distribution(y, "q", input_type, axis, mask)
    return reduce(jnp.sum(terms.jensen_shannon_term(p_, q_), axis) / 2 * _log_base_factor(log_base), mask, reduction)


_INPUT_TYPES = ("probabilities", "log", "logits")


def _distribution(
    x: Float[Array, "*s"], argument: str, input_type: str, axis: int, mask: LossMask
) -> tuple[Float[Array, "*s"], Float[Array, "*s"], LossMask]:
    """The probabilities and their logarithms, as their factors; a row of logits without any class counts as masked."""
    if input_type == "probabilities":
        checks.check_probabilities(mask.loss, argument, x)
        return x, terms.log_of_weight(x), mask
    if input_type == "log":
        checks.check_values(
            mask.loss, argument, lambda: x <= 0, "be <= 0, the logarithms of probabilities (log_softmax?)"
        )
        return jnp.exp(x), jnp.maximum(x, jnp.finfo(x.dtype).min), mask
    check_classes(mask.loss, argument, x, axis)
    log_p = exact_log_softmax(x, axis)
    return jnp.exp(log_p), log_p, mask.with_classes(x, axis)


def _zero_for_rounding(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """The divergences, with 0 for those below 0 that the rounding of 1 explains; the gradient is theirs.

    Rows that do not sum to 1 may be negative, by the difference of their sums.
    """
    is_rounding = (values < 0) & (values >= -64 * jnp.finfo(values.dtype).eps)
    return values + jax.lax.stop_gradient(jnp.where(is_rounding, -values, 0))


def _log_base_factor(log_base: Number | None) -> Number:
    return 1.0 if log_base is None else 1 / jnp.log(log_base)
