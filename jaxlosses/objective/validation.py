"""What an objective cannot mean: names, options, inputs and stages, judged when it is made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxlosses.combine import get_combiner
from jaxlosses.core import signatures
from jaxlosses.core.errors import did_you_mean

if TYPE_CHECKING:
    from jaxlosses.objective import Objective
    from jaxlosses.objective.term import Term


def check_objective(objective: "Objective") -> None:
    """Raise for what cannot be meant, in words that name the term and suggest the fix."""
    get_combiner(objective.combine)
    if not objective.terms:
        raise ValueError("an objective needs at least one term")
    steps = list(objective.boundaries)
    if any(step <= 0 for step in steps) or sorted(set(steps)) != steps:
        raise ValueError(f"boundaries must be increasing steps > 0, got {objective.boundaries}")
    for name, term in objective.terms.items():
        try:
            _check_fields(term)
            _check_loss(term)
            _check_stages(term, objective.boundaries)
        except ValueError as error:
            raise ValueError(f"term {name!r}: {error}") from None
    for stage in range(len(objective.boundaries) + 1):
        live = objective.present_terms().values()
        if not any(term.start <= stage and (term.stop is None or stage < term.stop) for term in live):
            raise ValueError(f"stage {stage} has no active term")


def _check_fields(term: "Term") -> None:
    if not isinstance(term.loss, str) and not callable(term.loss):
        raise ValueError(f"loss must be a registered name or a function, got {term.loss!r}")
    for field, what, kind in (("inputs", "paths", Mapping | Sequence), ("options", "keywords of the loss", Mapping)):
        if not isinstance(getattr(term, field), kind):
            raise ValueError(f"{field} must be {what}, got {getattr(term, field)!r}")
    for field in ("start", "stop", "ramp"):
        number = getattr(term, field)
        if not (number is None and field == "stop") and type(number) is not int:
            what = "a number of steps" if field == "ramp" else "a stage"
            raise ValueError(f"{field} must be {what} (an integer), got {number!r}")
    for field, paths in {
        "inputs": term.inputs.values() if isinstance(term.inputs, Mapping) else term.inputs,
        "where": (term.where,),
        "sample_weights": (term.sample_weights,),
    }.items():
        for path in paths:
            if not isinstance(path, str) and not callable(path) and not (path is None and field != "inputs"):
                raise ValueError(f"{field} must be a path into the data, such as 'batch.label', got {path!r}")
    if not callable(term.weight) and not isinstance(term.weight, int | float):
        raise ValueError(f"weight must be a number or a function of the step, got {term.weight!r}")


def _check_loss(term: "Term") -> None:
    spec = term.spec
    known = [name for name in signatures.keywords_of(spec.function) if name not in signatures.SHARED_KEYWORDS]
    for option in term.options:
        if option in signatures.SHARED_KEYWORDS:
            raise ValueError(f"{option!r} is no option of the loss; did you mean Term(..., {option}=)?")
        if option not in known and not signatures.accepts_var_keyword(spec.function):
            raise ValueError(f"loss {spec.name!r} has no option {option!r}{did_you_mean(option, known)}")
    if isinstance(term.inputs, Mapping):
        _check_names(term, known)
    elif not len(spec.inputs) <= len(term.inputs) <= signatures.max_inputs(spec.function):
        inputs = f"{len(spec.inputs)} input{'s' if len(spec.inputs) != 1 else ''} {spec.inputs}"
        raise ValueError(f"loss {spec.name!r} takes {inputs}, inputs has {len(term.inputs)}: {term.inputs}")
    if term.reduction not in ("mean", "sum", "per_example"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'per_example', got {term.reduction!r}")
    if term.reduction == "per_example" and spec.depends_on_batch:
        raise ValueError(
            f"loss {spec.name!r} compares examples with each other: reduction='per_example' takes them apart"
        )


def _check_names(term: "Term", options: Sequence[str]) -> None:
    spec, given = term.spec, [str(name) for name in term.inputs]
    if missing := [name for name in spec.inputs if name not in given]:
        raise ValueError(f"loss {spec.name!r} takes {spec.inputs}, inputs has no {missing[0]!r}: {given}")
    for name in given:
        if name in signatures.SHARED_KEYWORDS:
            raise ValueError(f"{name!r} is no input of the loss; did you mean Term(..., {name}=)?")
        if name not in (*spec.inputs, *options) and not signatures.accepts_var_keyword(spec.function):
            known = (*spec.inputs, *options)
            raise ValueError(f"loss {spec.name!r} has no input {name!r}{did_you_mean(name, known)}")
        if name in term.options:
            raise ValueError(f"{name!r} is both an input and an option")


def _check_stages(term: "Term", boundaries: Sequence[int]) -> None:
    last = len(boundaries)
    stages = f"boundaries {boundaries} make stages 0 to {last}" if last else "without boundaries there is only stage 0"
    if not 0 <= term.start <= last:
        raise ValueError(f"start={term.start}, but {stages}")
    if term.stop is not None and not term.start < term.stop <= last + 1:
        raise ValueError(f"start={term.start} and stop={term.stop} are never active, as {stages}")
    if term.ramp and not term.start:
        raise ValueError(
            f"ramp={term.ramp} at start=0 fades in from nothing; did you mean weight=optax.linear_schedule?"
        )
    if term.ramp < 0:
        raise ValueError(f"ramp={term.ramp} must be a number of steps >= 0")
