"""One term on one batch: where its arrays are, and how its loss becomes a sum and a count."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.core import checks, signatures
from jaxlosses.core.errors import AlignmentError
from jaxlosses.core.masks import align
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import Parts
from jaxlosses.objective.frozen import thawed
from jaxlosses.objective.paths import look_up

if TYPE_CHECKING:
    from jaxlosses.objective.term import Term


class Found(NamedTuple):
    """A term on a batch: its sum and count, and those of what its loss reports beside."""

    parts: Parts
    metrics: dict[str, Parts]


def evaluated(name: str, term: "Term", data: Any) -> Found:
    """The term on `data`; errors name the term, and say which path is wrong."""
    try:
        inputs = inputs_of(term, data)
        where = None if term.where is None else look_up(data, term.where)
        weights = None if term.sample_weights is None else look_up(data, term.sample_weights)
        evaluate = _by_example if term.reduction == "per_example" else _whole
        return evaluate(term, inputs, where, weights)
    except AlignmentError as error:
        path = getattr(term, error.argument)
        message = (
            f"{error.argument} {path!r} has shape {error.shape}, which is not the start of the loss's {error.expected}"
        )
        raise ValueError(f"term {name!r}: {message}") from error
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError):
            raise
        raise type(error)(f"term {name!r}: {error}") from error


def alone(term: "Term") -> "Term":
    """The term for one program on one device: its shapes and counts can be looked at outside of `shard_map`."""
    return dataclasses.replace(term, options={key: x for key, x in term.options.items() if key != "axis_name"})


def spread(term: "Term", axis_name: Any) -> "Term":
    """The term of a batch that is spread over devices; a loss that looks at several examples at once is told so."""
    takes = "axis_name" in signatures.keywords_of(term.spec.function) and not term.spec.may_reduce_batch
    if axis_name is None or not takes or "axis_name" in term.options:
        return term
    return dataclasses.replace(term, options={**term.options, "axis_name": axis_name})


def across(term: "Term", found: Found, axis_name: Any) -> Found:
    """What all devices found. A penalty is whole on each, and so is what the loss itself has pooled over them."""
    if term.spec.input_kind == "tree":
        return found
    collect = jax.lax.pmean if term.spec.may_reduce_batch and "axis_name" in term.options else jax.lax.psum
    return jax.tree.map(lambda x: collect(x, axis_name), found)


def inputs_of(term: "Term", data: Any) -> dict[str | int, Any]:
    """The arrays by the names of the loss's parameters, or by their places."""
    paths = term.inputs.items() if isinstance(term.inputs, Mapping) else enumerate(term.inputs)
    return {key: look_up(data, path) for key, path in paths}


def _whole(term: "Term", inputs: dict[str | int, Any], where: Any, weights: Any) -> Found:
    if set(signatures.SHARED_KEYWORDS) <= set(signatures.keywords_of(term.spec.function)):
        return Found(_call(term, inputs, where=where, sample_weights=weights, reduction="parts"), {})
    # Any function that returns values: mask what goes in and what comes out, so that NaN neither enters nor leaves.
    inputs = {key: _masked(place, x, where, weights) for place, (key, x) in enumerate(inputs.items())}
    result = _call(term, inputs)
    values, metrics = result if term.spec.has_aux else (result, {})

    def parts(argument: str, x: Any) -> Any:
        (x,) = checks.to_floats(term.spec.name, **{argument: x})
        return reduce(x, checks.make_mask(term.spec.name, where, weights, x.shape, x), "parts")

    return Found(parts("values", values), {key: parts(key, jax.lax.stop_gradient(x)) for key, x in metrics.items()})


def _by_example(term: "Term", inputs: dict[str | int, Any], where: Any, weights: Any) -> Found:
    """The mean within each example, over the examples that have anything."""

    def one(inputs: Any, where: Any, weights: Any) -> Any:
        return _whole(term, inputs, where, weights)

    batches = jax.tree.map(lambda x: jnp.expand_dims(jnp.asarray(x), 1), (inputs, where, weights))
    each = jax.vmap(one)(*batches)
    return jax.tree.map(_mean_over, each, is_leaf=lambda x: isinstance(x, Parts))


def _mean_over(each: Parts) -> Parts:
    return Parts(jnp.sum(jax.vmap(Parts.mean)(each)), jnp.sum(each.count != 0, dtype=each.sum.dtype))


def _call(term: "Term", inputs: dict[str | int, Any], **contract: Any) -> Any:
    named = {key: x for key, x in inputs.items() if isinstance(key, str)}
    placed = [named.pop(key) for key in term.spec.inputs if key in named] if named else list(inputs.values())
    return term.spec.function(*placed, **named, **thawed(term.options), **contract)


def _masked(place: int, x: Any, where: Any, weights: Any) -> Any:
    """What is masked, and what is not finite under a weight of 0, gives way to a harmless number."""
    if where is None and weights is None:
        return x
    return jax.tree.map(lambda leaf: _masked_array(place, jnp.asarray(leaf), where, weights), x)


def _masked_array(place: int, array: Array, where: Any, weights: Any) -> Array:
    floats = jnp.issubdtype(array.dtype, jnp.floating)
    # We cannot know where a foreign loss is smooth. 1/2, 1/3, ... are probabilities, have a logarithm and a norm,
    # and differ from each other.
    safe = 1 / (place + 2) if floats else 0
    spoilt = ~jnp.isfinite(array)
    for given, off in ((where, lambda mask: ~mask), (weights, lambda weight: (weight == 0) & spoilt)):
        # A shape that does not fit is judged later, by the values that come out.
        if given is not None and array.shape[: jnp.ndim(given)] == jnp.shape(given):
            array = jnp.where(off(align(jnp.asarray(given), array.ndim)), safe, array)
    return array
