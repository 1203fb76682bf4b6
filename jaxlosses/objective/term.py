"""One term of an objective: which loss, of which arrays, how heavy, and when."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.core import Tracer

from jaxlosses import registry
from jaxlosses.core.keywords import check_keywords
from jaxlosses.core.types import Number
from jaxlosses.objective.frozen import frozen
from jaxlosses.objective.paths import Path

__all__ = ["Term", "enabled_terms"]


@dataclasses.dataclass(frozen=True)
class Term:
    """One term of an objective: which loss of which arrays, how much it weighs, and when it is active.

    Args:
        loss: a registered name, or any function of arrays that returns a value per element or example (optax's losses,
            your own). Its positional parameters are its inputs; the others are options.
        inputs: one dotted path into the data for each input, such as `("out.logits", "batch.label")`; or a dict of
            paths by the names of the loss's parameters, which reaches the optional arrays too, such as
            `{"logits": "out.logits", "labels": "batch.text", "label_lengths": "batch.length"}`. A path may also be a
            function of the data, also one that computes.
        where: the path of a bool array; True counts. Its shape is a prefix of the values' shape.
        sample_weights: the path of numbers >= 0, aligned like `where`.
        weight: a number, or a function of the step (any optax schedule). A number is part of the program: to change
            weights without compiling again, pass `weights` to the call. A weight of 0 takes the term out of it.
        start: the first stage in which the term is active.
        stop: the first stage in which it no longer is; None for never.
        ramp: fade in linearly over this many steps after the boundary of `start`, from a weight of 0 at that step; it
            follows `step`, also when the call overrides the stage.
        reduction: `"mean"` (what counts, divided by how much of it there is), `"sum"`, or `"per_example"` (the mean
            within each example, and then over the examples that have anything).
        options: keywords of the loss, such as `{"gamma": 2.0}`. Lists and arrays become (nested) tuples, which hash.
            A number that is traced (swept, learned) is no option: put it among the data, and its path into `inputs`.
        fixed: True adds the term to what the combiner makes of the others, as weight times loss: nothing is learned for
            it, and no logarithm is taken of it. None is True for penalties, and False for all other losses.
        optional: True switches the term off where the data lacks one of its paths (a batch of another data set),
            instead of raising an error.

    Example:
        >>> import jaxlosses as jl
        >>> term = jl.Term("softmax_focal_loss", ("out.logits", "batch.label"), options={"gamma": 1.5})
        >>> term == jl.Term("softmax_focal_loss", ["out.logits", "batch.label"], options={"gamma": 1.5})
        True
    """

    loss: str | Callable[..., Any]
    inputs: Sequence[Path] | Mapping[str, Path]
    where: Path | None = None
    sample_weights: Path | None = None
    weight: Number | Callable[[Any], Any] = 1.0
    start: int = 0
    stop: int | None = None
    ramp: int = 0
    reduction: str = "mean"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fixed: bool | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        one = isinstance(self.inputs, str) or callable(self.inputs)
        object.__setattr__(self, "inputs", (self.inputs,) if one else frozen(self.inputs))
        spec = self.loss if isinstance(self.loss, registry.LossSpec) else None
        if spec or (callable(self.loss) and (spec := registry.find_by_function(self.loss))):
            object.__setattr__(self, "loss", spec.name)
        _refuse_tracers(self)
        object.__setattr__(self, "options", frozen(self.options))
        for field in ("weight", "start", "stop", "ramp"):
            object.__setattr__(self, field, frozen(getattr(self, field)))

    @property
    def spec(self) -> registry.LossSpec:
        """The facts about the loss; the defaults for a function that is not registered."""
        if isinstance(self.loss, str):
            return registry.get(self.loss)
        return registry.spec_for(self.loss)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where it finds its arrays: inputs, mask and weights."""
        inputs = self.inputs.values() if isinstance(self.inputs, Mapping) else self.inputs
        return (*inputs, *(path for path in (self.where, self.sample_weights) if path is not None))

    @property
    def is_fixed(self) -> bool:
        """Whether it stands outside the combiner."""
        return self.spec.input_kind == "tree" if self.fixed is None else self.fixed

    def active_in(self, stage: Any) -> Any:
        """Whether the term is active in a stage: an int, or a traced array."""
        started = stage >= self.start
        return started if self.stop is None else started & (stage < self.stop)


Term.__init__ = check_keywords("Term", Term.__init__, values=False)  # an Objective checks them, and knows its name


def enabled_terms(terms: Mapping[str, Term]) -> dict[str, Term]:
    """The terms that are in the program: all but those of a constant weight 0."""
    return {name: term for name, term in terms.items() if callable(term.weight) or term.weight != 0}


def _refuse_tracers(term: Term) -> None:
    """A term is part of the program; what is traced is among the data of a call."""
    if isinstance(term.weight, Tracer):
        raise ValueError("weight is traced, and a term is part of the program; pass weights={name: ...} to the call")
    options = term.options.items() if isinstance(term.options, Mapping) else ()
    for option, value in options:
        if isinstance(value, Tracer):
            raise ValueError(
                f"option {option!r} is traced, and a term is part of the program; put it among the data of the call, "
                f"and its path into inputs={{..., {option!r}: 'sweep.{option}'}}"
            )
