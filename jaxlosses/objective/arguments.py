"""What a call of an objective is given beside the data: the step or stage, and single numbers by term."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlosses.core.errors import check_names, shown
from jaxlosses.core.ranges import ANY, NONNEGATIVE, check_range
from jaxlosses.core.types import Number
from jaxlosses.objective.schedules import can_reach
from jaxlosses.objective.term import Term


class Progress(NamedTuple):
    """How far training is: the stage it is in, and the step if there is one."""

    stage: Array
    step: Array | None


def resolve_step_and_stage(boundaries: Sequence[int], step: Number | None, stage: Number | None) -> Progress:
    """The stage that the step is in, unless a stage is given."""
    now = None if step is None else to_step(step)
    if stage is not None:
        check_stage("stage={}", stage, boundaries)
        return Progress(to_scalar("stage", stage), now)
    if now is None:
        if boundaries:
            raise ValueError("this objective has stages: call it with step= or stage=")
        return Progress(jnp.asarray(0), None)
    passed = [now >= jnp.asarray(boundary, now.dtype) for boundary in boundaries if can_reach(now, boundary)]
    return Progress(sum((jnp.asarray(is_past, int) for is_past in passed), jnp.asarray(0)), now)


def check_stage(argument: str, stage: Any, boundaries: Sequence[int]) -> None:
    """Raise for a stage that there is not, as far as it is known before the program runs."""
    is_known = isinstance(stage, bool | int | float | np.generic) or not hasattr(stage, "dtype")
    if is_known and (isinstance(stage, bool) or stage not in range(len(boundaries) + 1)):
        stages = f"boundaries {boundaries} make stages 0 to {len(boundaries)}"
        raise ValueError(f"{argument.format(shown(stage))}: {stages if boundaries else 'there is only stage 0'}")


def to_step(step: Number) -> Array:
    """The step as a scalar, in the dtype it came in: steps may count tokens, by a float or by uint32."""
    if not isinstance(step, jax.Array):  # NumPy and Python numbers: JAX would cut a large one short in silence
        given = np.asarray(step)
        if given.dtype.kind not in "iufO":
            raise ValueError(f"step must be a number, got {step!r}")
        dtype = np.dtype(jax.dtypes.canonicalize_dtype(int if given.dtype.kind == "O" else given.dtype))
        if given.dtype.kind == "O":  # a Python integer beyond 64 bits
            fits = False
        elif given.dtype.kind == "f":
            with np.errstate(over="ignore"):
                fits = np.all(np.isfinite(given.astype(dtype)))
        else:
            fits = np.all(given == given.astype(dtype))
        if not fits:
            raise ValueError(
                f"step={step!r} does not fit into {dtype.name}; count in float32 or uint32, as far as these go, or "
                "enable jax_enable_x64"
            )
    if isinstance(step, int | float | np.generic) and not step >= 0:
        raise ValueError(f"step must be a number >= 0, got {step!r}")
    return to_scalar("step", step)


def to_scalar(argument: str, value: Any) -> Array:
    """`value` as an array, once it is a single number."""
    array = jnp.asarray(value)
    if array.ndim:
        raise ValueError(f"{argument} must be a scalar, got shape {array.shape}; take one entry of what was replicated")
    return array


def to_scalars(argument: str, values: Mapping[str, Any], terms: Iterable[str]) -> dict[str, Array]:
    """A number for some of the terms."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{argument} must be a dict of numbers by term, got {shown(values)}")
    given = check_names(argument, values, terms)
    if argument in ("weights", "counts"):
        for name, number in given.items():
            check_range(argument, repr(name), number, ANY if argument == "weights" else NONNEGATIVE)
    return {name: to_scalar(f"{argument}[{name!r}]", x) for name, x in given.items()}


def to_batch_counts(counts: Mapping[str, Any], terms: Mapping[str, Term], every: Iterable[str]) -> dict[str, Array]:
    """What `Objective.counts` made, for terms whose microbatches do add up to the batch."""
    batch_counts = to_scalars("counts", counts, every)
    for name, term in terms.items():
        if name not in batch_counts:
            raise ValueError(f"counts must be what counts() returned for the whole batch: {name!r} is missing")
        if term.spec.depends_on_batch or term.spec.input_kind == "tree":
            why = "compares examples with each other" if term.spec.depends_on_batch else "is no sum over examples"
            raise ValueError(
                f"term {name!r}: counts= adds up microbatches, but loss {term.spec.name!r} {why}; "
                "take it out of this objective and evaluate it once"
            )
    return {name: batch_counts[name] for name in terms}
