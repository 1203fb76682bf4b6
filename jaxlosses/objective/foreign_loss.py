"""Losses that are plain functions of arrays (optax's, your own): masked from outside, before and after the call.

A loss of this library masks its inputs itself. A plain function knows no mask, so what is masked is replaced by a
harmless number on the way in, and left out on the way out: NaN neither enters nor leaves.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core import checks
from jaxlosses.core.masks import align
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import Parts


def masked_parts(
    name: str, call: Callable[[dict], Any], has_aux: bool, inputs: dict[str | int, Any], where: Any, weights: Any
) -> tuple[Parts, dict[str, Parts]]:
    """Sum and count of a function's values, and of what it reports beside (`has_aux`).

    Args:
        name: the function's name, for messages.
        call: from the inputs to values, or to `(values, {name: numbers})`.
        has_aux: which of the two.
        inputs: the arrays by name or by position.
        where: bool, a prefix of the shape of the values; None for all.
        weights: numbers >= 0, a prefix of the shape of the values; None for 1.
    """
    result = call({key: _fill_masked(place, x, where, weights) for place, (key, x) in enumerate(inputs.items())})
    values, metrics = result if has_aux else (result, {})

    def parts(argument: str, x: Any) -> Any:
        (x,) = checks.to_floats(name, **{argument: x})
        return reduce(x, checks.make_mask(name, where, weights, x.shape, x), "parts")

    return parts("values", values), {key: parts(key, jax.lax.stop_gradient(x)) for key, x in metrics.items()}


def _fill_masked(place: int, x: Any, where: Any, weights: Any) -> Any:
    """Replace what is masked, and what is not finite under a weight of 0, by a harmless number."""
    if where is None and weights is None:
        return x
    return jax.tree.map(lambda leaf: _fill_array(place, jnp.asarray(leaf), where, weights), x)


def _fill_array(place: int, array: Array, where: Any, weights: Any) -> Array:
    # We cannot know where a foreign loss is smooth. 1/2, 1/3, ... are probabilities, have a logarithm and a norm,
    # and differ from each other.
    safe_fill = 1 / (place + 2) if jnp.issubdtype(array.dtype, jnp.floating) else 0
    not_finite = ~jnp.isfinite(array)
    for given, is_off in ((where, lambda mask: ~mask), (weights, lambda weight: (weight == 0) & not_finite)):
        # A shape that does not fit is judged later, by the values that come out.
        if given is not None and array.shape[: jnp.ndim(given)] == jnp.shape(given):
            array = jnp.where(is_off(align(jnp.asarray(given), array.ndim)), safe_fill, array)
    return array
