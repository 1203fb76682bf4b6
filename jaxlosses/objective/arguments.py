"""What a call of an objective is given beside the data: single numbers, by the names of the terms."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import Array

from jaxlosses.core.errors import check_names

if TYPE_CHECKING:
    from jaxlosses.objective.term import Term


def scalar(what: str, given: Any) -> Array:
    """`given` as an array, once it is a single number."""
    array = jnp.asarray(given)
    if array.ndim:
        raise ValueError(f"{what} must be a scalar, got shape {array.shape}; take one entry of what was replicated")
    return array


def scalars(what: str, given: Mapping[str, Any], terms: Iterable[str]) -> dict[str, Array]:
    """A number for some of the terms."""
    return {name: scalar(f"{what}[{name!r}]", x) for name, x in check_names(what, given, terms).items()}


def whole_counts(counts: Mapping[str, Any], terms: Mapping[str, "Term"], every: Iterable[str]) -> dict[str, Array]:
    """What `Objective.counts` made, for terms whose microbatches do add up to the batch."""
    given = scalars("counts", counts, every)
    for name, term in terms.items():
        if name not in given:
            raise ValueError(f"counts must be what counts() returned for the whole batch: {name!r} is missing")
        if term.spec.depends_on_batch or term.spec.input_kind == "tree":
            why = "compares examples with each other" if term.spec.depends_on_batch else "is no sum over examples"
            raise ValueError(
                f"term {name!r}: counts= adds up microbatches, but loss {term.spec.name!r} {why}; "
                "take it out of this objective and evaluate it once"
            )
    return {name: given[name] for name in terms}
