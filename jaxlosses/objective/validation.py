"""Validation of an objective when it is made: names, options, inputs, stages, and what its combiner needs."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlosses.combine import get_combiner
from jaxlosses.core.errors import did_you_mean, shown, with_choices
from jaxlosses.core.keywords import is_optional
from jaxlosses.core.ranges import ANY, check_option_ranges, range_problem
from jaxlosses.core.signatures import (
    SHARED_KEYWORDS,
    SYNONYMS,
    accepts_var_keyword,
    check_option_values,
    is_of_this_library,
    max_inputs,
    options_of,
    parameters_of,
)
from jaxlosses.objective.schedule_arguments import LARGEST_STEP
from jaxlosses.objective.term import Term, enabled_terms


def validate_objective(terms: Mapping[str, Term], boundaries: Sequence[int], combine: str | Mapping[str, Any]) -> None:
    """Raise for what is invalid, in words that name the term and suggest the fix."""
    if not isinstance(terms, Mapping):
        raise ValueError(f"terms must be a dict of a jaxlosses.Term for each name, got {shown(terms)}")
    combiner = get_combiner(combine)
    if not isinstance(boundaries, tuple) or not all(type(step) is int for step in boundaries):
        given = list(boundaries) if isinstance(boundaries, tuple) else boundaries
        raise ValueError(f"boundaries must be a list of steps (integers), got {given!r}")
    if any(step <= 0 for step in boundaries) or sorted(set(boundaries)) != list(boundaries):
        raise ValueError(f"boundaries must be increasing steps > 0, got {boundaries}")
    if any(step > LARGEST_STEP for step in boundaries):
        raise ValueError(f"boundaries must be steps of at most 64 bits, got {shown(boundaries)}")
    if not terms:
        raise ValueError("an objective needs at least one term")
    for name, term in terms.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"the name of a term must be a string, got {name!r}")
        if not isinstance(term, Term):
            raise ValueError(f"term {name!r}: must be a jaxlosses.Term, got {term!r}")
        try:
            _check_fields(term)
            _check_options(term)
            _check_inputs(term)
            _check_reduction(term)
            _check_stages(term, boundaries)
            if combiner.nonnegative and not term.is_fixed and name in enabled_terms(terms):
                _check_sign(term, combine)
        except ValueError as error:
            raise ValueError(f"term {name!r}: {error}") from None
    for stage in range(len(boundaries) + 1):
        if not any(term.active_in(stage) for term in enabled_terms(terms).values()):
            raise ValueError(f"stage {stage} has no active term")


def _check_fields(term: Term) -> None:
    if not isinstance(term.loss, str) and not callable(term.loss):
        raise ValueError(f"loss must be a registered name or a function, got {term.loss!r}")
    for field, what, kind in (("inputs", "paths", Mapping | Sequence), ("options", "keywords of the loss", Mapping)):
        if not isinstance(getattr(term, field), kind):
            raise ValueError(f"{field} must be {what}, got {shown(getattr(term, field))}")
    for field in ("start", "stop", "ramp"):
        number = getattr(term, field)
        if not (number is None and field == "stop") and type(number) is not int:
            what = "a number of steps" if field == "ramp" else "a stage"
            raise ValueError(f"{field} must be {what} (an integer), got {number!r}")
    for field, values in (("fixed", (True, False, None)), ("optional", (True, False))):
        if not any(getattr(term, field) is value for value in values):
            raise ValueError(f"{field} must be one of {', '.join(map(repr, values))}, got {getattr(term, field)!r}")
    for field, paths in {
        "inputs": term.inputs.values() if isinstance(term.inputs, Mapping) else term.inputs,
        "where": (term.where,),
        "sample_weights": (term.sample_weights,),
    }.items():
        for path in paths:
            if not _is_path(path) and not (path is None and field != "inputs"):
                raise ValueError(f"{field} must be a path into the data, such as 'batch.label', got {shown(path)}")
    if callable(term.weight):
        return
    if isinstance(term.weight, bool) or not isinstance(term.weight, int | float):
        raise ValueError(f"weight must be a number or a function of the step, got {shown(term.weight)}")
    if problem := range_problem(ANY, term.weight):
        raise ValueError(f"weight {problem}")


def _is_path(path: Any) -> bool:
    """Whether it is a function, or names with dots between them."""
    return callable(path) or (isinstance(path, str) and all(step.strip() for step in path.split(".")))


def _check_options(term: Term) -> None:
    spec = term.spec
    known = options_of(spec.function)
    for option in term.options:
        field = option if option in SHARED_KEYWORDS else None if option in known else SYNONYMS.get(option)
        if field is not None:
            raise ValueError(f"{option!r} is no option of the loss; did you mean Term(..., {field}=)?")
        if option not in known and not accepts_var_keyword(spec.function):
            hint = with_choices(did_you_mean(option, known), "options", known)
            raise ValueError(f"loss {spec.name!r} has no option {option!r}{hint}")
    sweep = "; what changes or is learned is an input: its path goes into inputs={{..., {option!r}: {value!r}}}"
    is_ours = is_of_this_library(spec.function)
    check_option_values(f"loss {spec.name!r}", spec.function, term.options, sweep, lists=not is_ours)
    if is_ours:
        check_option_ranges(f"loss {spec.name!r}", spec.name, term.options)


def _check_inputs(term: Term) -> None:
    spec = term.spec
    if isinstance(term.inputs, Mapping):
        _check_input_names(term)
    elif not len(spec.inputs) <= len(term.inputs) <= max_inputs(spec.function):
        inputs = f"{len(spec.inputs)} input{'s' if len(spec.inputs) != 1 else ''} {spec.inputs}"
        raise ValueError(f"loss {spec.name!r} takes {inputs}, inputs has {len(term.inputs)}: {term.inputs}")


def _check_input_names(term: Term) -> None:
    spec, names = term.spec, [str(name) for name in term.inputs]
    known = (*spec.inputs, *options_of(spec.function))
    missing = [name for name in spec.inputs if name not in names]
    needed = [name for name in missing if not is_optional(parameters_of(spec.function)[name].annotation)]
    if needed or (missing and len(missing) == len(spec.inputs)):
        raise ValueError(f"loss {spec.name!r} takes {spec.inputs}, inputs has no {missing[0]!r}: {names}")
    for name in names:
        field = name if name in SHARED_KEYWORDS else None if name in known else SYNONYMS.get(name)
        if field is not None:
            raise ValueError(f"{name!r} is no input of the loss; did you mean Term(..., {field}=)?")
        if name not in known and not accepts_var_keyword(spec.function):
            raise ValueError(f"loss {spec.name!r} has no input {name!r}{did_you_mean(name, known)}")
        if name in term.options:
            raise ValueError(f"{name!r} is both an input and an option")


def _check_reduction(term: Term) -> None:
    if term.reduction not in ("mean", "sum", "per_example"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'per_example', got {term.reduction!r}")
    if term.reduction == "per_example" and term.spec.input_kind == "tree":
        raise ValueError(f"loss {term.spec.name!r} has no examples: reduction='per_example' takes them apart")
    if term.reduction == "per_example" and term.spec.depends_on_batch:
        raise ValueError(
            f"loss {term.spec.name!r} compares examples with each other: reduction='per_example' takes them apart"
        )


def _check_stages(term: Term, boundaries: Sequence[int]) -> None:
    last = len(boundaries)
    stages = f"boundaries {boundaries} make stages 0 to {last}" if last else "without boundaries there is only stage 0"
    if not 0 <= term.start <= last:
        raise ValueError(f"start={shown(term.start)}, but {stages}")
    if term.stop is not None and not term.start < term.stop <= last + 1:
        raise ValueError(f"start={term.start} and stop={shown(term.stop)} are never active, as {stages}")
    if not 0 <= term.ramp <= LARGEST_STEP:
        raise ValueError(f"ramp={shown(term.ramp)} must be a number of steps >= 0, of at most 64 bits")
    if term.ramp and not term.start:
        raise ValueError(
            f"ramp={term.ramp} at start=0 fades in from nothing; did you mean weight=optax.linear_schedule?"
        )


def _check_sign(term: Term, combine: str | Mapping[str, Any]) -> None:
    """Refuse what may be negative under a combiner that takes a loss's logarithm, or divides by its variance."""
    name = combine if isinstance(combine, str) else combine["name"]
    if isinstance(term.weight, int | float) and term.weight < 0:
        raise ValueError(
            f"weight={term.weight}, and combine={name!r} needs weights >= 0; fixed=True adds the term beside what is "
            "combined"
        )
    if (why := term.spec.may_be_negative(term.options)) is None:
        return
    raise ValueError(
        f"loss {term.spec.name!r} may be negative{why}, and combine={name!r} needs losses >= 0; "
        "choose another variant, or fixed=True to add it beside what is combined"
    )
