"""What the classification losses share: registration, class weights, smoothed labels, what a mean divides by."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import one_of
from jaxlosses.core.labels import Labels
from jaxlosses.core.numerics import complement, multiply_inf_safe, no_slope_if_inf, safe_divide
from jaxlosses.core.softmax import expected_cost, mean_cost
from jaxlosses.core.types import ArrayLike, Number
from jaxlosses.registry import register


def example_logits_and_ids(key: Array) -> tuple[Array, Array]:
    """Logits and class ids."""
    logits_key, labels_key = jax.random.split(key)
    return 2 * jax.random.normal(logits_key, (5, 3, 4)), jax.random.randint(labels_key, (5, 3), 0, 4)


register_class_loss = functools.partial(
    register,
    family="classification",
    law_exceptions=(
        ("scaled inputs give scaled values", "a probability or a logit has a scale of its own"),
        ("integers keep their differences", "it depends on more than differences of probabilities or logits"),
    ),
    input_kind="classes",
    num_event_axes=1,
    domain=("logits", "class ids or distributions"),
    minimum=0.0,
    example_inputs=example_logits_and_ids,
)


def smoothed_cross_entropy(
    logits: Float[Array, "..."], target: Labels, label_smoothing: Number, class_weights: Array | None = None
) -> Float[Array, "..."]:
    """The cross-entropy of each row, with its labels smoothed over the classes that are not excluded."""
    values, log_normalizer = expected_cost(logits, target, class_weights)
    if isinstance(label_smoothing, int | float) and label_smoothing == 0:
        return values
    uniform = mean_cost(logits, log_normalizer, target.axis, class_weights)
    kept = multiply_inf_safe(complement(label_smoothing, values.dtype), values)
    return no_slope_if_inf(kept + label_smoothing * uniform)


def prepare_class_weights(loss: str, class_weights: ArrayLike | None, like: Array, axis: int) -> Array | None:
    """The class weights, checked and shaped to multiply `like`; None for none."""
    if class_weights is None:
        return None
    weights = prepare_per_class(loss, "class_weights", class_weights, like, axis)
    checks.check_values(loss, "class_weights", lambda: weights >= 0, "be >= 0")
    return weights


def prepare_per_class(loss: str, name: str, values: ArrayLike, like: Array, axis: int) -> Array:
    """A number for every class (or one for all), shaped to multiply `like`."""
    array = checks.to_array(loss, name, values).astype(like.dtype)
    num_classes = like.shape[axis]
    if array.shape not in ((), (num_classes,)):
        raise ValueError(f"{loss}: {name} {array.shape} must be ({num_classes},), one number per class; check axis=")
    shape: list[Any] = [1] * like.ndim
    shape[axis] = -1
    return array.reshape(shape)


def check_mean_over(loss: str, mean_over: str) -> None:
    """Refuse an unknown denominator of the mean."""
    one_of(loss, "mean_over", mean_over, ("weights", "examples"))


def mean_denominators(target: Labels, class_weights: Array | None, mean_over: str) -> Float[Array, "..."] | None:
    """What each row adds to the denominator of a mean: 1 (None), or Σ_k w_k t_k over Σ_k t_k."""
    if class_weights is None or mean_over == "examples":
        return None
    weights = target.expected_cost(*target.select(class_weights))
    if target.distributions is None:
        return weights
    return safe_divide(weights, jnp.sum(target.distributions, target.axis), otherwise=1.0)


def divide_by_normalizer(values: Float[Array, "*s"], normalizer: Number | None) -> Float[Array, "*s"]:
    """The values over `normalizer`, which is taken for 1 where it is less: no positives, no blow-up."""
    return values if normalizer is None else values / jnp.maximum(jnp.asarray(normalizer, values.dtype), 1)
