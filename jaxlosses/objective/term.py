"""One term of an objective: which loss, of which arrays, how heavy, and when."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.core import Tracer

from jaxlosses import registry
from jaxlosses.core.types import Number
from jaxlosses.objective.frozen import frozen
from jaxlosses.objective.paths import Path

__all__ = ["Term"]


@dataclasses.dataclass(frozen=True)
class Term:
    """What is compared, how much it weighs, and when.

    Args:
        loss: a registered name, or any function of arrays that returns a value per element or example (optax's losses,
            your own). Its positional parameters are its inputs; the others are options.
        inputs: one dotted path into the data for each input, such as `("out.logits", "batch.label")`; or a dict of
            paths by the names of the loss's parameters, which reaches the optional arrays too, such as
            `{"logits": "out.logits", "labels": "batch.text", "label_lengths": "batch.length"}`. A path may also be a
            function of the data.
        where: the path of a bool array; True counts. Its shape is the start of the values' shape.
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

    def __post_init__(self) -> None:
        one = isinstance(self.inputs, str) or callable(self.inputs)
        object.__setattr__(self, "inputs", (self.inputs,) if one else frozen(self.inputs))
        spec = self.loss if isinstance(self.loss, registry.LossSpec) else None
        if spec or (callable(self.loss) and (spec := registry.find_by_function(self.loss))):
            object.__setattr__(self, "loss", spec.name)
        if isinstance(self.weight, Tracer):
            raise ValueError(
                "weight is traced, and a term is part of the program; pass weights={name: ...} to the call"
            )
        object.__setattr__(self, "options", frozen(self.options))
        for field in ("weight", "start", "stop", "ramp"):
            object.__setattr__(self, field, frozen(getattr(self, field)))

    @property
    def spec(self) -> registry.LossSpec:
        """The facts about the loss; the defaults for a function that is not registered."""
        if isinstance(self.loss, str):
            return registry.get(self.loss)
        return registry.spec_for(self.loss)
