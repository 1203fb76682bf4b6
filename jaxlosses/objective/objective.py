"""Named terms, the stages in which they are active, and one way to combine them: data in, `(total, aux)` out.

The order inside is fixed, because every other order was measured to be wrong somewhere: mask -> (sum, count) -> loss
-> multiplier (weight x ramp x active x present) -> combiner. Learned weights never see a multiplier inside their loss,
and a term that is off, or has no labels in the batch, moves nothing.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlosses.combine import get_combiner
from jaxlosses.combine._shared import zero_if_disabled
from jaxlosses.core import collectives
from jaxlosses.core.types import Number, Parts
from jaxlosses.objective import config as _config
from jaxlosses.objective import report as _report
from jaxlosses.objective.arguments import scalar, scalars, whole_counts
from jaxlosses.objective.evaluation import Found, across, alone, evaluated, spread
from jaxlosses.objective.frozen import FrozenDict, frozen
from jaxlosses.objective.schedules import Ramp
from jaxlosses.objective.term import Term
from jaxlosses.objective.validation import check_objective

__all__ = ["Objective", "Term"]


@dataclasses.dataclass(frozen=True)
class Objective:
    """Many losses as one: pure, static, hashable by value, and ready for `jax.value_and_grad(..., has_aux=True)`.

    Args:
        terms: a `Term` for each name.
        boundaries: the steps at which stages 1, 2, ... begin.
        combine: `"sum"`, `"uncertainty"` for learned weights, or another name of `jaxlosses.combine`; with options, a
            dict: `{"name": "soft_optimal", "temperature": 2.0}`.

    Raises:
        ValueError: for a name, option, number of inputs or stage that cannot be meant; the message names the term.

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
        boundaries = frozen(self.boundaries)
        if not isinstance(boundaries, tuple) or not all(isinstance(step, int) for step in boundaries):
            raise ValueError(f"boundaries must be a list of steps (integers), got {self.boundaries!r}")
        object.__setattr__(self, "terms", FrozenDict(self.terms))
        object.__setattr__(self, "boundaries", boundaries)
        object.__setattr__(self, "combine", frozen(self.combine))
        for name, term in self.terms.items():
            if not isinstance(term, Term):
                raise ValueError(f"term {name!r}: must be a jaxlosses.Term, got {term!r}")
        check_objective(self)

    def init(self, losses: Mapping[str, Number] | None = None) -> dict[str, Array]:
        """What the combiner learns, to be put among the trained parameters: a dict of scalars, `{}` for a sum.

        Args:
            losses: each term's loss, for instance `aux["loss"]` of a first batch, to start log-variances where their
                gradient is 0; None to start them at 0. A term that is off reports a loss of 0, and starts at 0: with
                stages call the objective once with each `stage=` (and a `step=` if there are ramps or schedules), and
                take every term from a stage that has it.
        """
        likelihoods = self._likelihoods()
        if losses is not None:
            losses = {name: x for name, x in scalars("losses", losses, self.terms).items() if name in likelihoods}
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
        axis_name: str | tuple[str, ...] | None = None,
    ) -> tuple[Array, dict[str, dict[str, Array]]]:
        """Evaluate every active term and combine them.

        All arguments but `axis_name` may be traced: one compiled program serves every step, stage and weight.

        Args:
            data: what the terms' paths lead into, by habit `{"out": model_outputs, "batch": batch}`.
            step: how many steps were taken, a scalar of any dtype; needed for stages, ramps and schedules. Pass an
                array, not a Python int, to functions that treat Python numbers as static.
            stage: overrides the stage that `step` is in.
            params: what `init` made, as trained so far; only for combiners that learn.
            weights: multipliers of some terms, on top of their own weights.
            counts: of the whole batch, if `data` is a microbatch of it: what `counts` returned. Then totals and
                gradients of the microbatches are *added*, and give exactly those of the batch. What is not a sum over
                examples is refused: penalties, and losses that compare examples with each other.
            axis_name: inside `shard_map` or `pmap`, the axis over which the batch is spread: sums and counts are added
                over it, and losses that compare examples with each other see all of them. Take `jax.lax.pmean` of the
                gradients over the same axis. Masks that are pooled over the batch (`dice_loss` with `batch=True`) need
                it as an option of their own: `options={"axis_name": ...}`.

        Returns:
            The total, and `aux` with a scalar for every term: `aux["loss"]`, unweighted; `aux["weight"]`, the
            derivative of the total by that loss; `aux["count"]`, what the mean is over; `aux["active"]`, 0 or 1. Losses
            that report more (`has_aux` in `jaxlosses.register`) add `aux["metric"]`, by `"term/name"`.

        Raises:
            ValueError: if data, parameters or weights do not fit; the message names the term.
        """
        combiner, params = get_combiner(self.combine), self._known_params(params or {})
        if counts is not None and not combiner.additive:
            raise ValueError(f"totals of {self.combine!r} do not add up over microbatches: counts= needs a sum")
        of = self._evaluate(data, step, stage, weights, counts, axis_name)
        total, weight = combiner.apply(of.shown, of.multiplier, of.share, params, self._likelihoods())
        return total, self._aux(of, weight)

    def losses(self, data: Any, **options: Any) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
        """Every term's loss times its multiplier, not combined: for methods that want each term's gradient.

        Args:
            data: as in a call.
            **options: the keywords of a call.

        Returns:
            A dict of scalars, 0 for a term that is off, and `aux`. Feed a function that returns them to
            `jax.jacrev(..., has_aux=True)`, or to `jaxlosses.gradients`.
        """
        self._known_params(options.pop("params", None) or self.init())
        given = {key: options.pop(key, None) for key in ("step", "stage", "weights", "counts", "axis_name")}
        if options:
            raise ValueError(f"losses takes the keywords of a call, got {sorted(options)}")
        of = self._evaluate(data, *given.values())
        weighed = {name: of.multiplier[name] * of.shown[name] for name in of.shown}
        return {name: jnp.asarray(weighed.get(name, 0.0)) for name in self.terms}, self._aux(of, of.multiplier)

    def counts(self, data: Any) -> dict[str, Array]:
        """What every term's mean is over, for a whole batch that will be trained on in microbatches.

        Args:
            data: as in a call. In the place of outputs `jax.eval_shape(net, ...)` will do where counts depend on
                masks, weights and labels alone, as they mostly do: then no forward pass is made.
        """
        real = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x, data)
        return {name: evaluated(name, alone(term), real).parts.count for name, term in self.present_terms().items()}

    def at_stage(self, stage: int) -> "Objective":
        """The objective of one stage, whose program has nothing of the terms that are off in it.

        A conditional skips what an inactive term costs to run, but its program, its memory and the heads of a model
        that only it reads are still there. This objective has none of it: build the jitted step anew at a boundary.
        It takes the same `params`.
        """
        if not 0 <= stage <= len(self.boundaries):
            raise ValueError(f"at_stage({stage}): boundaries {self.boundaries} make stages 0 to {len(self.boundaries)}")
        terms = {}
        for name, term in self.terms.items():
            on = term.start <= stage and (term.stop is None or stage < term.stop)
            weight = term.weight if on and name in self.present_terms() else 0.0
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

    def check(self, data: Any) -> str:
        """Look at every term without running anything, and raise the first error there is.

        Args:
            data: as in a call; arrays, or what `jax.eval_shape` makes of them.

        Returns:
            A table of the terms: what they read, in which shapes, when they are active, and with which weight; and
            what no term reads.
        """
        return _report.checked_table(self, data)

    def to_config(self) -> dict[str, Any]:
        """The objective as plain data for TOML, JSON or a sweep; `from_config` makes an equal one of it.

        Raises:
            ValueError: for a term that has a function in it, which the message names.
        """
        return _config.to_config(self)

    @classmethod
    def from_config(cls, config: Any, *, allow_import: bool = False) -> "Objective":
        """Make an objective of plain data: the fields of `Objective` and `Term` by their names.

        Args:
            config: a mapping, or a ConfigDict of ml_collections. A schedule is
                `{"schedule": "linear_schedule", "init_value": 0.0, ...}`.
            allow_import: let a loss be `"module:function"`, which runs that module's code.

        Raises:
            ValueError: for a key that is none, or whatever else cannot be meant; the message names the term.

        Example:
            >>> import jaxlosses as jl
            >>> config = {"terms": {"box": {"loss": "giou_loss", "inputs": ["out.box", "batch.box"], "weight": 2.0}}}
            >>> jl.Objective.from_config(config).to_config() == config
            True
        """
        return _config.objective_from_config(cls, Term, config, allow_import)

    def present_terms(self) -> dict[str, Term]:
        """The terms that are in the program: all but those of a constant weight 0."""
        return {name: term for name, term in self.terms.items() if callable(term.weight) or term.weight != 0}

    def _likelihoods(self) -> dict[str, tuple[float, float]]:
        return {name: term.spec.likelihood for name, term in self.present_terms().items()}

    def _now(self, step: Number | None, stage: Number | None) -> "_Now":
        step = None if step is None else scalar("step", step)
        if step is not None and jnp.issubdtype(step.dtype, jnp.unsignedinteger):
            step = step.astype(int)  # nnx.Optimizer counts in uint32, where step - begin wraps around
        if stage is None and self.boundaries:
            if step is None:
                raise ValueError("this objective has stages: call it with step= or stage=")
            stage = sum(jnp.asarray(step >= boundary, int) for boundary in self.boundaries)
        return _Now(scalar("stage", 0 if stage is None else stage), step)

    def _is_active(self, term: Term, now: "_Now") -> Array | bool:
        """True, and not an array, for a term that is never off."""
        conditions = [now.stage >= term.start] if term.start > 0 else []
        if term.stop is not None and term.stop <= len(self.boundaries):
            conditions.append(now.stage < term.stop)
        return functools.reduce(jnp.logical_and, conditions) if conditions else True

    def _weight(self, name: str, term: Term, now: "_Now") -> Any:
        if not callable(term.weight) and not term.ramp:
            return term.weight
        if now.step is None:
            what = "weight is a schedule" if callable(term.weight) else f"ramp={term.ramp} counts steps"
            raise ValueError(f"term {name!r}: {what}: call the objective with step=")
        return Ramp(term.weight, self.boundaries[term.start - 1] if term.ramp else 0, term.ramp)(now.step)

    def _evaluate(
        self, data: Any, step: Any, stage: Any, weights: Any, counts: Any, axis_name: str | tuple[str, ...] | None
    ) -> "_Evaluated":
        now, terms = self._now(step, stage), self.present_terms()
        extra = scalars("weights", weights or {}, self.terms)
        of_batch = {} if counts is None else whole_counts(counts, terms, self.terms)
        active = {name: self._is_active(term, now) for name, term in terms.items()}
        found = {
            name: _gated(active[name], lambda name=name, term=term: evaluated(name, spread(term, axis_name), data))
            for name, term in terms.items()
        }
        if axis_name is not None:  # outside of every branch; one by one, which JAX 0.8 can differentiate
            found = {name: across(terms[name], one, axis_name) for name, one in found.items()}
        parts = {name: one.parts for name, one in found.items()}
        metrics = {f"{name}/{key}": x.mean() for name, one in found.items() for key, x in one.metrics.items()}
        whole = {name: part.count for name, part in parts.items()} | of_batch
        loss, multiplier, share = {}, {}, {}
        for name, term in terms.items():
            total = Parts(parts[name].sum, jnp.asarray(whole[name], parts[name].sum.dtype))
            loss[name] = total.sum if term.reduction == "sum" else total.mean()
            share[name] = 1.0 if counts is None else Parts(parts[name].count, total.count).mean()
            weight = self._weight(name, term, now) * jnp.asarray(extra.get(name, 1.0), loss[name].dtype)
            multiplier[name] = jnp.where(active[name] & (total.count != 0), weight, 0)
        # Where a weight may turn out to be 0, a NaN under it must not reach the total.
        varying = {name for name, term in terms.items() if callable(term.weight) or term.ramp} | set(extra)
        shown = {
            name: zero_if_disabled(loss[name], multiplier[name]) if name in varying else loss[name] for name in loss
        }
        count = {name: part.count for name, part in parts.items()}
        return _Evaluated(loss, shown, multiplier, share, count, active, metrics)

    def _aux(self, of: "_Evaluated", weight: Mapping[str, Any]) -> dict[str, dict[str, Array]]:
        shown = {"loss": of.loss, "weight": weight, "count": of.counted, "active": of.active}
        aux = {key: {name: _scalar(by_name.get(name, 0)) for name in self.terms} for key, by_name in shown.items()}
        return aux | ({"metric": {name: _scalar(x) for name, x in of.metrics.items()}} if of.metrics else {})

    def _known_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of the parameters those that belong to a term that is present; no other may be missing or strange."""
        expected = self.init()
        gone = set(self.terms) - set(self.present_terms()) if expected else set()
        if not set(expected) <= set(params) or set(params) - set(expected) - gone:
            raise ValueError(f"params must be what init() made: {sorted(expected)}, got {sorted(params)}")
        return scalars("params", {name: params[name] for name in expected}, expected)


class _Now(NamedTuple):
    stage: Array
    step: Array | None


class _Evaluated(NamedTuple):
    """By term: the loss, the same without a NaN that its multiplier silences, and what the combiner needs."""

    loss: dict[str, Array]
    shown: dict[str, Array]
    multiplier: dict[str, Array]
    share: dict[str, Any]
    counted: dict[str, Array]
    active: dict[str, Array | bool]
    metrics: dict[str, Array]


def _gated(active: Array | bool, evaluate: Callable[[], Found]) -> Found:
    """Nothing of an inactive term runs: multiplying by 0 would let its NaN through."""
    if active is True:
        return evaluate()
    nothing = jax.eval_shape(evaluate)
    return jax.lax.cond(active, evaluate, lambda: jax.tree.map(collectives.zeros_like, nothing))


def _scalar(value: Any) -> Array:
    return jnp.asarray(value, jnp.float32)
