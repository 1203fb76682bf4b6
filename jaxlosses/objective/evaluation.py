"""From the data of a call to every term's loss: where its arrays are, its sum and count, its multiplier.

    data ─▶ inputs, where, weights ─▶ loss(..., reduction="parts") ─▶ (sum, count) ─▶ over devices ─▶ loss, multiplier
            paths of the term         nothing, if it is off           of this batch   psum

The order is fixed: a mean of devices' or microbatches' means is wrong where masks differ, and a multiplier inside the
loss would be cancelled by a learned weight. What all terms make of the batch together, the total, is the combiner's:
see `combine_evaluations`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.combine.combiner import Combiner, zero_if_disabled
from jaxlosses.core import collectives
from jaxlosses.core.collectives import AxisName
from jaxlosses.core.errors import AlignmentError
from jaxlosses.core.signatures import SHARED_KEYWORDS, keywords_of
from jaxlosses.core.types import Parts
from jaxlosses.objective.arguments import Progress
from jaxlosses.objective.foreign_loss import masked_parts
from jaxlosses.objective.frozen import thawed
from jaxlosses.objective.paths import MissingPathError, look_up
from jaxlosses.objective.schedules import Ramp
from jaxlosses.objective.term import Term, enabled_terms


@dataclasses.dataclass(frozen=True, eq=False)
class TermEvaluation:
    """One term in one call.

    Attributes:
        loss: its mean or sum over this batch, unweighted.
        contribution: what the combiner gets: the loss, as its share of the whole batch where this is a microbatch of
            it, with 0 in the place of a NaN that the multiplier cancels.
        multiplier: weight x ramp x the call's own weight, and 0 where the term is off or nothing counts.
        batch_fraction: which part of the whole batch this microbatch is; 1 without microbatches.
        count: what the mean is over.
        active: whether the stage has it, and the data of an optional term is there.
        metrics: what the loss reports beside its values.
    """

    loss: Array
    contribution: Array
    multiplier: Array
    batch_fraction: Any
    count: Array
    active: Array | bool
    metrics: dict[str, Array]


class TermParts(NamedTuple):
    """A term on a batch before any division: its sum and count, and those of what its loss reports beside."""

    loss_parts: Parts
    metrics: dict[str, Parts]


def evaluate_terms(
    terms: Mapping[str, Term],
    boundaries: Sequence[int],
    data: Any,
    progress: Progress,
    weights: Mapping[str, Array],
    batch_counts: Mapping[str, Array] | None,
    axis_name: AxisName | None,
) -> dict[str, TermEvaluation]:
    """Evaluate every term that is in the program, in the order of the terms."""
    evaluations = {}
    for name, term in enabled_terms(terms).items():
        active = False if _is_data_missing(term, data) else _is_active(term, progress, last_stage=len(boundaries))
        parts = _parts_if_active(active, name, with_axis_name(term, axis_name), data)
        parts = _reduce_over_devices(term, parts, axis_name)  # outside of every branch, which devices might not share
        ramp_start = boundaries[term.start - 1] if term.ramp else 0
        factors = [_scheduled_weight(name, term, ramp_start, progress), *([weights[name]] if name in weights else [])]
        batch_count = None if batch_counts is None else batch_counts[name]
        evaluations[name] = _to_evaluation(term, parts, active, factors, batch_count)
    return evaluations


def evaluate_parts(name: str, term: Term, data: Any) -> TermParts:
    """The term's sum and count on `data`; errors name the term, and say which path is wrong."""
    try:
        inputs = find_inputs(term, data)
        where = None if term.where is None else look_up(data, term.where)
        weights = None if term.sample_weights is None else look_up(data, term.sample_weights)
        evaluate = _parts_per_example if term.reduction == "per_example" else _parts_of_batch
        return evaluate(term, inputs, where, weights)
    except AlignmentError as error:
        path = getattr(term, error.argument)
        message = (
            f"{error.argument} {path!r} has shape {error.shape}, which is no prefix of the loss's {error.expected}"
        )
        raise ValueError(f"term {name!r}: {message}") from error
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError, MissingPathError):
            raise  # JAX's own errors, which are subclasses with messages of their own
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"term {name!r}: {error}") from error


def evaluate_count(name: str, term: Term, data: Any) -> Array:
    """What the term's mean is over; 0 for an optional term whose data is not there."""
    if _is_data_missing(term, data):
        return jnp.zeros(())
    return evaluate_parts(name, on_one_device(term), data).loss_parts.count


def combine_evaluations(
    combiner: Combiner,
    terms: Mapping[str, Term],
    evaluations: Mapping[str, TermEvaluation],
    params: Mapping[str, Any],
) -> tuple[Array, dict[str, Any]]:
    """The total, and d total / d loss by term: what the combiner makes of its terms, and the fixed ones."""
    to_combine = {name: one for name, one in evaluations.items() if not terms[name].is_fixed}
    total: Any = 0.0
    weights: dict[str, Any] = {}
    if to_combine:
        total, weights = combiner.apply(
            {name: one.contribution for name, one in to_combine.items()},
            {name: one.multiplier for name, one in to_combine.items()},
            {name: one.batch_fraction for name, one in to_combine.items()},
            params,
            {name: terms[name].spec.likelihood for name in to_combine},
        )
    for name, one in evaluations.items():
        if name not in to_combine:
            total = total + one.multiplier * one.contribution
            weights = {**weights, name: one.multiplier}
    return jnp.asarray(total), dict(weights)


def to_aux(
    names: Iterable[str], evaluations: Mapping[str, TermEvaluation], weights: Mapping[str, Any]
) -> dict[str, dict[str, Array]]:
    """A scalar for every term, also for those that are not in the program, under what it says of the term."""
    columns = {
        "loss": {name: one.loss for name, one in evaluations.items()},
        "weight": weights,
        "count": {name: one.count for name, one in evaluations.items()},
        "active": {name: one.active for name, one in evaluations.items()},
    }
    aux = {
        key: {name: jnp.asarray(by_term.get(name, 0), jnp.float32) for name in names}
        for key, by_term in columns.items()
    }
    metrics = {f"{name}/{key}": x for name, one in evaluations.items() for key, x in one.metrics.items()}
    return aux | ({"metric": {name: jnp.asarray(x, jnp.float32) for name, x in metrics.items()}} if metrics else {})


def find_inputs(term: Term, data: Any) -> dict[str | int, Any]:
    """The arrays by the names of the loss's parameters, or by their positions."""
    paths = term.inputs.items() if isinstance(term.inputs, Mapping) else enumerate(term.inputs)
    return {key: look_up(data, path) for key, path in paths}


def on_one_device(term: Term) -> Term:
    """The term for one program on one device: its shapes and counts can be looked at outside of `shard_map`."""
    takes = "axis_name" in keywords_of(term.spec.function)
    options = {key: x for key, x in term.options.items() if key != "axis_name"}
    return dataclasses.replace(term, options={**options, "axis_name": ()} if takes else options)


def with_axis_name(term: Term, axis_name: AxisName | None) -> Term:
    """The term of a batch that is sharded over devices: a loss that depends on the batch gets the axis name."""
    takes = "axis_name" in keywords_of(term.spec.function) and (not term.spec.may_reduce_batch or axis_name == ())
    if axis_name is None or not takes or "axis_name" in term.options:
        return term
    return dataclasses.replace(term, options={**term.options, "axis_name": axis_name})


def missing_path(term: Term, data: Any) -> str | None:
    """What the data lacks of the paths of an optional term."""
    if not term.optional:
        return None
    for path in term.paths:
        try:
            look_up(data, path)
        except MissingPathError as error:
            return str(error)
    return None


def _is_data_missing(term: Term, data: Any) -> bool:
    return missing_path(term, data) is not None


def _is_active(term: Term, progress: Progress, last_stage: int) -> Array | bool:
    """True, and not an array, for a term that is never off."""
    if term.start == 0 and (term.stop is None or term.stop > last_stage):
        return True
    return term.active_in(progress.stage)


def _parts_if_active(active: Array | bool, name: str, term: Term, data: Any) -> TermParts:
    """The term's parts; nothing of an inactive term runs, for multiplying by 0 would let its NaN through."""
    if active is False:
        return TermParts(Parts(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)), {})
    if active is True:
        return evaluate_parts(name, term, data)
    evaluate = lambda: evaluate_parts(name, term, data)  # noqa: E731
    shapes = jax.eval_shape(evaluate)
    return jax.lax.cond(active, evaluate, lambda: jax.tree.map(collectives.zeros_like, shapes))


def _parts_of_batch(term: Term, inputs: dict[str | int, Any], where: Any, weights: Any) -> TermParts:
    spec = term.spec
    if set(SHARED_KEYWORDS) <= set(keywords_of(spec.function)):
        return TermParts(_call(term, inputs, where=where, sample_weights=weights, reduction="parts"), {})
    return TermParts(*masked_parts(spec.name, lambda x: _call(term, x), spec.has_aux, inputs, where, weights))


def _parts_per_example(term: Term, inputs: dict[str | int, Any], where: Any, weights: Any) -> TermParts:
    """The mean within each example, over the examples that have anything."""
    # A loss takes batches: each example becomes a batch of one, and vmap goes over these.
    scalars = {key: x for key, x in inputs.items() if key not in term.spec.inputs and jnp.ndim(x) == 0}
    arrays = {key: x for key, x in inputs.items() if key not in scalars}
    batches = jax.tree.map(lambda x: jnp.expand_dims(jnp.asarray(x), 1), (arrays, where, weights))
    per_example = jax.vmap(lambda arrays, *mask: _parts_of_batch(term, {**arrays, **scalars}, *mask))(*batches)
    example_weights = (
        weights if weights is not None and jnp.ndim(weights) == 1 else None
    )  # a weight of a whole example divides out in its mean

    def mean_over_examples(parts: Parts) -> Parts:
        has_any = (parts.count != 0).astype(parts.sum.dtype)
        counts = has_any if example_weights is None else has_any * jnp.asarray(example_weights, parts.sum.dtype)
        return Parts(jnp.sum(counts * jax.vmap(Parts.mean)(parts)), jnp.sum(counts))

    return jax.tree.map(mean_over_examples, per_example, is_leaf=lambda x: isinstance(x, Parts))


def _call(term: Term, inputs: dict[str | int, Any], **keywords: Any) -> Any:
    named = {key: x for key, x in inputs.items() if isinstance(key, str)}
    # An input without a path is one that may be None.
    by_position = [named.pop(key, None) for key in term.spec.inputs] if named else list(inputs.values())
    return term.spec.function(*by_position, **named, **thawed(term.options), **keywords)


def _reduce_over_devices(term: Term, parts: TermParts, axis_name: AxisName | None) -> TermParts:
    """The parts of all devices. A penalty is whole on each, and so is what the loss itself has pooled over them."""
    if axis_name is None or axis_name == () or term.spec.input_kind == "tree":
        return parts
    pooled = term.spec.may_reduce_batch and term.options.get("axis_name", ()) not in (None, ())
    collect: Callable[..., Any] = jax.lax.pmean if pooled else jax.lax.psum
    return jax.tree.map(lambda x: collect(x, axis_name), parts)


def _scheduled_weight(name: str, term: Term, ramp_start: int, progress: Progress) -> Any:
    if not callable(term.weight) and not term.ramp:
        return term.weight
    if progress.step is None:
        what = "weight is a schedule" if callable(term.weight) else f"ramp={term.ramp} counts steps"
        raise ValueError(f"term {name!r}: {what}: call the objective with step=")
    return Ramp(term.weight, ramp_start, term.ramp)(progress.step)


def _to_evaluation(
    term: Term, parts: TermParts, active: Array | bool, factors: list[Any], batch_count: Array | None
) -> TermEvaluation:
    """Divide, and multiply the factors of the term's weight; it is 0 where nothing counts."""
    loss_sum, own_count = parts.loss_parts
    count = own_count if batch_count is None else batch_count.astype(loss_sum.dtype)
    loss = contribution = loss_sum
    if term.reduction != "sum":
        loss, contribution = parts.loss_parts.mean(), Parts(loss_sum, count).mean()
    weight = math.prod(jnp.asarray(factor, loss_sum.dtype) for factor in factors)
    multiplier = jnp.where(active & (count != 0), weight, 0)
    weight_may_be_zero = callable(term.weight) or term.ramp or len(factors) > 1
    return TermEvaluation(
        loss=loss,
        contribution=zero_if_disabled(contribution, multiplier) if weight_may_be_zero else contribution,
        multiplier=multiplier,
        batch_fraction=1.0 if batch_count is None else Parts(own_count, count).mean(),
        count=own_count,
        active=active,
        metrics={key: x.mean() for key, x in parts.metrics.items()},
    )
