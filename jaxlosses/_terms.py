"""One term on one batch: where its arrays are, and how its loss becomes a sum and a count."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxlosses import checks, registry
from jaxlosses._paths import look_up
from jaxlosses.reduction import reduce
from jaxlosses.types import Parts

if TYPE_CHECKING:
    from jaxlosses.term import Term


def parts_of(name: str, term: "Term", data: Any) -> Any:
    """The term's sum and count; errors name the term, and say which path is wrong."""
    try:
        inputs = inputs_of(term, data)
        where = None if term.where is None else look_up(data, term.where)
        weights = None if term.sample_weights is None else look_up(data, term.sample_weights)
        evaluate = _parts_by_example if term.reduction == "per_example" else _parts
        return evaluate(term, inputs, where, weights)
    except checks.AlignmentError as error:
        path = getattr(term, error.argument)
        message = (
            f"{error.argument} {path!r} has shape {error.shape}, which is not the start of the loss's {error.expected}"
        )
        raise ValueError(f"term {name!r}: {message}") from error
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError):
            raise
        raise type(error)(f"term {name!r}: {error}") from error


def inputs_of(term: "Term", data: Any) -> dict[str | int, Any]:
    """The arrays by the names of the loss's parameters, or by their places."""
    paths = term.inputs.items() if isinstance(term.inputs, Mapping) else enumerate(term.inputs)
    return {key: look_up(data, path) for key, path in paths}


def _parts(term: "Term", inputs: dict[str | int, Any], where: Any, weights: Any) -> Any:
    if set(registry.CONTRACT) <= set(registry.keywords_of(term.row.function)):
        return _call(term, inputs, where=where, sample_weights=weights, reduction="parts")
    # Any function that returns values: mask what goes in and what comes out, so that NaN neither enters nor leaves.
    inputs = {key: _masked(place, x, where, weights) for place, (key, x) in enumerate(inputs.items())}
    (values,) = checks.to_floats(term.row.name, values=_call(term, inputs))
    return reduce(values, checks.keep(term.row.name, where, weights, values.shape, values), "parts")


def _parts_by_example(term: "Term", inputs: dict[str | int, Any], where: Any, weights: Any) -> Parts:
    """The mean within each example, over the examples that have anything."""

    def one(inputs: Any, where: Any, weights: Any) -> Any:
        return _parts(term, inputs, where, weights)

    batches = jax.tree.map(lambda x: jnp.expand_dims(jnp.asarray(x), 1), (inputs, where, weights))
    each = jax.vmap(one)(*batches)
    return Parts(jnp.sum(jax.vmap(Parts.mean)(each)), jnp.sum(each.count != 0, dtype=each.sum.dtype))


def _call(term: "Term", inputs: dict[str | int, Any], **contract: Any) -> Any:
    named = {key: x for key, x in inputs.items() if isinstance(key, str)}
    placed = [named.pop(key) for key in term.row.inputs if key in named] if named else list(inputs.values())
    return term.row.function(*placed, **named, **term.options, **contract)


def _masked(place: int, x: Any, where: Any, weights: Any) -> Any:
    """What is masked, and what is not finite under a weight of 0, gives way to a harmless number."""
    if where is None and weights is None:
        return x
    array = jnp.asarray(x)
    floats = jnp.issubdtype(array.dtype, jnp.floating)
    # We cannot know where a foreign loss is smooth. 1/2, 1/3, ... are probabilities, have a logarithm and a norm,
    # and differ from each other.
    safe = 1 / (place + 2) if floats else 0
    spoilt = ~jnp.isfinite(array)
    for given, off in ((where, lambda mask: ~mask), (weights, lambda weight: (weight == 0) & spoilt)):
        # A shape that does not fit is judged later, by the values that come out.
        if given is not None and array.shape[: jnp.ndim(given)] == jnp.shape(given):
            array = jnp.where(off(checks.align(jnp.asarray(given), array.ndim)), safe, array)
    return array
