"""Named terms, the stages in which they are active, and one way to combine them: data in, `(total, aux)` out.

A call validates its arguments (`arguments`), evaluates every term on the data (`evaluation`: path -> loss -> sum and
count -> devices -> multiplier), and gives losses and multipliers to the combiner (`jaxlosses.combine`). Learned weights
never see a multiplier inside their loss, and a term that is off, or has no labels in the batch, moves nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.combine import get_combiner
from jaxlosses.core.collectives import AxisName, check_axis_name
from jaxlosses.core.types import Likelihood, Number
from jaxlosses.objective.arguments import check_stage, resolve_step_and_stage, to_batch_counts, to_scalars
from jaxlosses.objective.config import from_config, to_config
from jaxlosses.objective.evaluation import TermEvaluation, combine_evaluations, evaluate_count, evaluate_terms, to_aux
from jaxlosses.objective.frozen import FrozenDict, frozen
from jaxlosses.objective.report import describe
from jaxlosses.objective.schedules import Ramp
from jaxlosses.objective.term import Term, enabled_terms
from jaxlosses.objective.validation import validate_objective

__all__ = ["Objective"]

Aux = dict[str, dict[str, Array]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """A multi-task objective: named losses with stages and weights, as one function ready for `jax.value_and_grad`.

    It is pure, static and hashable by value, and returns `(total, aux)`.

    Args:
        terms: a `Term` for each name.
        boundaries: the steps at which stages 1, 2, ... begin.
        combine: `"sum"`, `"uncertainty"` for learned weights, or another name of `jaxlosses.combine`; with options, a
            dict: `{"name": "soft_optimal", "temperature": 2.0}`.

    Raises:
        ValueError: for an invalid name, option, number of inputs or stage; the message names the term.

    Example:
        Stage 0 trains the class alone; from step 1000 on the box joins, and learned weights balance the two.

        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> objective = jl.Objective({
        ...     "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label")),
        ...     "box": jl.Term("giou_loss", ("out.box", "batch.box"), where="batch.has_box", start=1),
        ... }, boundaries=[1000], combine="uncertainty")
        >>> out = {"logits": jnp.array([[2.0, 1.0, 0.1]]), "box": jnp.array([[0.0, 0.0, 4.0, 4.0]])}
        >>> batch = {"label": jnp.array([0]), "box": jnp.array([[1.0, 1.0, 6.0, 5.0]]), "has_box": jnp.array([True])}
        >>> total, aux = objective({"out": out, "batch": batch}, step=1500, params=objective.init())
        >>> print(f"{total:.4f} = {aux['loss']['class']:.4f} + {aux['loss']['box']:.4f}")
        1.1837 = 0.4170 + 0.7667
    """

    terms: Mapping[str, Term]
    boundaries: Sequence[int] = dataclasses.field(default=(), kw_only=True)
    combine: str | Mapping[str, Any] = dataclasses.field(default="sum", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", FrozenDict(self.terms) if isinstance(self.terms, Mapping) else self.terms)
        object.__setattr__(self, "boundaries", frozen(self.boundaries))
        object.__setattr__(self, "combine", frozen(self.combine))
        validate_objective(self.terms, self.boundaries, self.combine)

    def init(self, losses: Mapping[str, Number] | None = None) -> dict[str, Array]:
        """What the combiner learns, to be put among the trained parameters: a dict of scalars, `{}` for a sum.

        Args:
            losses: each term's loss, for instance `aux["loss"]` of a first batch, to start each log-variance at its
                optimum for that loss; None to start them at 0. A term that is off reports a loss of 0, and starts at 0:
                with stages call the objective once with each `stage=` (and a `step=` if there are ramps or schedules),
                and take every term from a stage that has it.
        """
        likelihoods = self._likelihoods()
        if losses is not None:
            losses = {n: x for n, x in to_scalars("losses", losses, self.terms).items() if n in likelihoods}
        return get_combiner(self.combine).init(likelihoods, losses)

    def __call__(
        self,
        data: Any,
        *,
        step: Number | None = None,
        stage: Number | None = None,
        params: Mapping[str, Any] | None = None,
        weights: Mapping[str, Number] | None = None,
        counts: Mapping[str, Number] | None = None,
        axis_name: AxisName | None = None,
    ) -> tuple[Array, Aux]:
        """Evaluate every active term and combine them.

        All arguments but `axis_name` may be traced: one compiled program serves every step, stage and weight.

        Args:
            data: what the terms' paths lead into, by habit `{"out": model_outputs, "batch": batch}`.
            step: how many steps were taken (or tokens seen), a scalar of any dtype; needed for stages, ramps and
                schedules. Pass an array, not a Python int, to functions that treat Python numbers as static.
            stage: overrides the stage that `step` is in.
            params: what `init` made, as trained so far; only for combiners that learn.
            weights: multipliers of some terms, on top of their own weights.
            counts: of the whole batch, if `data` is a microbatch of it: what `counts` returned. Then totals and
                gradients of the microbatches are *added*, and give exactly those of the batch. In `aux`, counts add up;
                losses and metrics do not, they are the microbatch's own means, and weights are the batch's:
                `jaxlosses.summarize` folds all of them. What does not add up is refused: penalties, losses that compare
                examples with each other, and combiners other than the sum and the two uncertainties.
            axis_name: inside `shard_map` or `pmap`, the axis over which the batch is sharded: sums and counts are added
                over it, and losses that compare examples with each other see all of them. Take `jax.lax.pmean` of the
                gradients over the same axis. `()` says that each device's own batch is meant. Masks that are pooled
                over the batch (`dice_loss` with `per_image=False`) need it as an option of their own:
                `options={"axis_name": ...}`.

        Returns:
            The total, and `aux` with a scalar for every term: `aux["loss"]`, unweighted; `aux["weight"]`, the
            derivative of the total by that loss (under `counts`, of the batch's total by the batch's loss);
            `aux["count"]`, what the mean is over; `aux["active"]`, 0 or 1. Losses that report more (`has_aux` in
            `jaxlosses.register`) add `aux["metric"]`, by `"term/name"`.

        Raises:
            ValueError: if data, parameters or weights do not fit; the message names the term.
        """
        combiner, params = get_combiner(self.combine), self._check_params(params or {})
        if counts is not None and not combiner.additive:
            raise ValueError(f"totals of {self.combine!r} do not add up over microbatches: counts= needs a sum")
        evaluations = self._evaluate(data, step, stage, weights, counts, axis_name)
        total, effective_weights = combine_evaluations(combiner, self.terms, evaluations, params)
        return total, to_aux(self.terms, evaluations, effective_weights)

    def losses(
        self,
        data: Any,
        *,
        step: Number | None = None,
        stage: Number | None = None,
        params: Mapping[str, Any] | None = None,
        weights: Mapping[str, Number] | None = None,
        counts: Mapping[str, Number] | None = None,
        axis_name: AxisName | None = None,
    ) -> tuple[dict[str, Array], Aux]:
        """Every term's loss times its multiplier, not combined: for methods that want each term's gradient.

        Args:
            data: as in a call, and so are the keywords.
            step: see there.
            stage: see there.
            params: what `init` made; checked, and not used.
            weights: see there.
            counts: see there.
            axis_name: see there.

        Returns:
            A dict of scalars, 0 for a term that is off, and `aux`. Feed a function that returns them to
            `jax.jacrev(..., has_aux=True)`, or to `jaxlosses.gradients`.
        """
        self._check_params(params or self.init())
        evaluations = self._evaluate(data, step, stage, weights, counts, axis_name)
        weighted = {name: one.multiplier * one.contribution for name, one in evaluations.items()}
        aux = to_aux(self.terms, evaluations, {name: one.multiplier for name, one in evaluations.items()})
        return {name: jnp.asarray(weighted.get(name, 0.0)) for name in self.terms}, aux

    def counts(self, data: Any) -> dict[str, Array]:
        """What every term's mean is over, for a whole batch that will be trained on in microbatches.

        Args:
            data: as in a call. In the place of outputs `jax.eval_shape(net, ...)` will do where counts depend on
                masks, weights and labels alone, as they mostly do: then no forward pass is made. A path that is a
                function sees zeros in the place of such outputs. Inside `shard_map` add the counts up over the devices.
        """
        filled = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x, data)
        return {name: evaluate_count(name, term, filled) for name, term in enabled_terms(self.terms).items()}

    def at_stage(self, stage: int) -> "Objective":
        """The objective of one stage, whose program has nothing of the terms that are off in it.

        A conditional skips what an inactive term costs to run, but its program, its memory and the heads of a model
        that only it reads are still there. This objective has none of it: build the jitted step anew at a boundary.
        It takes the same `params`.
        """
        check_stage("at_stage({})", stage, self.boundaries)
        terms, present = {}, enabled_terms(self.terms)
        for name, term in self.terms.items():
            weight = term.weight if name in present and term.active_in(stage) else 0.0
            if term.ramp and weight != 0.0:
                weight = Ramp(weight, self.boundaries[term.start - 1], term.ramp)
            terms[name] = dataclasses.replace(term, start=0, stop=None, ramp=0, weight=weight)
        return Objective(terms, combine=self.combine)

    def __add__(self, other: "Objective") -> "Objective":
        """The terms of both. Their stages and combiners must be the same; without stages, either's will do."""
        if not isinstance(other, Objective):
            return NotImplemented
        if self.combine != other.combine:
            raise ValueError(f"cannot add objectives that combine by {self.combine!r} and by {other.combine!r}")
        if self.boundaries and other.boundaries and self.boundaries != other.boundaries:
            raise ValueError(f"cannot add objectives with boundaries {self.boundaries} and {other.boundaries}")
        if both := sorted(set(self.terms) & set(other.terms)):
            raise ValueError(f"cannot add objectives that both have a term {both[0]!r}; rename one")
        boundaries = self.boundaries or other.boundaries
        return Objective({**self.terms, **other.terms}, boundaries=boundaries, combine=self.combine)

    def check(self, data: Any = None) -> str:
        """Look at every term without running anything, and raise the first error there is.

        Args:
            data: as in a call; arrays, or what `jax.eval_shape` makes of them. None to look at the terms alone.

        Returns:
            A table of the terms: what they read, in which shapes, when they are active, and with which weight; and
            what no term reads.
        """
        return describe(self.terms, self.boundaries, self.combine, sorted(self.init()), data)

    def to_config(self) -> dict[str, Any]:
        """The objective as plain data for TOML, JSON or a sweep; `from_config` makes an equal one of it.

        Raises:
            ValueError: for a term that has a function in it, which the message names.
        """
        return to_config(self.terms, self.boundaries, self.combine)

    @classmethod
    def from_config(cls, config: Any, *, allow_import: bool = False) -> "Objective":
        """Make an objective of plain data: the fields of `Objective` and `Term` by their names.

        Args:
            config: a mapping, or a ConfigDict of ml_collections. A schedule is
                `{"schedule": "linear_schedule", "init_value": 0.0, ...}`.
            allow_import: let a loss be `"module:function"`, which runs that module's code.

        Raises:
            ValueError: for an unknown key, or whatever else is invalid; the message names the term.

        Example:
            >>> import jaxlosses as jl
            >>> config = {"terms": {"box": {"loss": "giou_loss", "inputs": ["out.box", "batch.box"], "weight": 2.0}}}
            >>> jl.Objective.from_config(config).to_config() == config
            True
        """
        return cls(**from_config(config, allow_import))

    def _evaluate(
        self, data: Any, step: Any, stage: Any, weights: Any, counts: Any, axis_name: AxisName | None
    ) -> dict[str, TermEvaluation]:
        check_axis_name("Objective", axis_name)
        progress = resolve_step_and_stage(self.boundaries, step, stage)
        weights = to_scalars("weights", weights or {}, self.terms)
        if counts is not None:
            counts = to_batch_counts(counts, enabled_terms(self.terms), self.terms)
        return evaluate_terms(self.terms, self.boundaries, data, progress, weights, counts, axis_name)

    def _likelihoods(self) -> dict[str, Likelihood]:
        """How the combiner reads the losses that it gets: those of enabled terms that are not fixed."""
        return {n: term.spec.likelihood for n, term in enabled_terms(self.terms).items() if not term.is_fixed}

    def _check_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters that the combiner needs. None may be missing; others may be there for disabled terms only."""
        expected = self.init()
        learnable = {name: term.spec.likelihood for name, term in self.terms.items() if not term.is_fixed}
        known = set(get_combiner(self.combine).init(learnable, None))
        if not set(expected) <= set(params) or not set(params) <= known:
            raise ValueError(f"params must be what init() made: {sorted(expected)}, got {sorted(params)}")
        return to_scalars("params", {name: params[name] for name in expected}, expected)
