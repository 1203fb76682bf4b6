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

from jaxlosses import checks, registry
from jaxlosses import combine as combiners
from jaxlosses._frozen import FrozenDict, frozen
from jaxlosses._meant import check_objective
from jaxlosses._paths import Path, look_up
from jaxlosses.reduction import reduce
from jaxlosses.types import Number, Parts

__all__ = ["Objective", "Term"]


@dataclasses.dataclass(frozen=True)
class Term:
    """What is compared, how much it weighs, and when.

    Args:
        loss: a registered name, or any function of arrays that returns a value per element or example (optax's losses,
            your own). Its positional parameters are its inputs; the others are options.
        inputs: one dotted path into the data for each input, such as `("out.logits", "batch.label")`. A path may also
            be a function of the data.
        where: the path of a bool array; True counts. Its shape is the start of the values' shape.
        sample_weights: the path of numbers >= 0, aligned like `where`.
        weight: a number, or a function of the step (any optax schedule). A number is part of the program: to change
            weights without compiling again, pass `weights` to the call. A weight of 0 takes the term out of it.
        start: the first stage in which the term is active.
        stop: the first stage in which it no longer is; None for never.
        ramp: fade in linearly over this many steps after the boundary of `start`; it follows `step`, also when the
            call overrides the stage.
        reduction: `"mean"` (what counts, divided by how much of it there is) or `"sum"`.
        options: keywords of the loss, such as `{"gamma": 2.0}`. Lists and arrays become (nested) tuples, which hash.

    Example:
        >>> import jaxlosses as jl
        >>> term = jl.Term("softmax_focal_loss", ("out.logits", "batch.label"), options={"gamma": 1.5})
        >>> term == jl.Term("softmax_focal_loss", ["out.logits", "batch.label"], options={"gamma": 1.5})
        True
    """

    loss: str | Callable[..., Any]
    inputs: Sequence[Path]
    where: Path | None = None
    sample_weights: Path | None = None
    weight: Number | Callable[[Any], Any] = 1.0
    start: int = 0
    stop: int | None = None
    ramp: int = 0
    reduction: str = "mean"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        inputs = (self.inputs,) if isinstance(self.inputs, str) or callable(self.inputs) else tuple(self.inputs)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "options", frozen(self.options))
        object.__setattr__(self, "weight", frozen(self.weight))

    @property
    def row(self) -> registry.Loss:
        """The facts about the loss; the defaults for a function that is not registered."""
        if isinstance(self.loss, str):
            return registry.get(self.loss)
        return registry.facts_of(self.loss)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Many losses as one: pure, static, hashable by value, and ready for `jax.value_and_grad(..., has_aux=True)`.

    Args:
        terms: a `Term` for each name.
        boundaries: the steps at which stages 1, 2, ... begin.
        combine: `"sum"`, or `"uncertainty"` for learned weights (see `jaxlosses.combine`).

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
    combine: str = dataclasses.field(default="sum", kw_only=True)

    def __post_init__(self) -> None:
        boundaries = frozen(self.boundaries)
        if not isinstance(boundaries, tuple) or not all(isinstance(step, int) for step in boundaries):
            raise ValueError(f"boundaries must be a list of steps (integers), got {self.boundaries!r}")
        object.__setattr__(self, "terms", FrozenDict(self.terms))
        object.__setattr__(self, "boundaries", boundaries)
        for name, term in self.terms.items():
            if not isinstance(term, Term):
                raise ValueError(f"term {name!r}: must be a jaxlosses.Term, got {term!r}")
        check_objective(self)

    def init(self, losses: Mapping[str, Number] | None = None) -> dict[str, Array]:
        """What the combiner learns, to be put among the trained parameters: a dict of scalars, `{}` for a sum.

        Args:
            losses: each term's loss, for instance `aux["loss"]` of a first batch, to start log-variances where their
                gradient is 0; None to start them at 0.
        """
        return combiners.named(self.combine).init(self._nll(), losses)

    def __call__(
        self,
        data: Any,
        *,
        step: Number | None = None,
        stage: Number | None = None,
        params: Mapping[str, Any] | None = None,
        weights: Mapping[str, Number] | None = None,
    ) -> tuple[Array, dict[str, dict[str, Array]]]:
        """Evaluate every active term and combine them.

        All arguments may be traced: one compiled program serves every step, stage and weight.

        Args:
            data: what the terms' paths lead into, by habit `{"out": model_outputs, "batch": batch}`.
            step: how many steps were taken; needed for stages, ramps and schedules. Pass an array, not a Python int,
                to functions that treat Python numbers as static.
            stage: overrides the stage that `step` is in.
            params: what `init` made, as trained so far; only for combiners that learn.
            weights: multipliers of some terms, on top of their own weights.

        Returns:
            The total, and `aux` with a scalar for every term: `aux["loss"]`, unweighted; `aux["weight"]`, the
            derivative of the total by that loss; `aux["count"]`, what the mean is over; `aux["active"]`, 0 or 1.

        Raises:
            ValueError: if data, parameters or weights do not fit; the message names the term.
        """
        now = self._now(step, stage)
        extra = combiners.check_names("weights", weights or {}, self.terms)
        _check_params(self.init(), params or {})
        loss, multiplier, count, active = {}, {}, {}, {}
        for name, term in self.present_terms().items():
            active[name] = self._is_active(term, now)
            parts = _gated(active[name], lambda name=name, term=term: _parts(name, term, data))
            loss[name], count[name] = parts.mean() if term.reduction == "mean" else parts.sum, parts.count
            weight = self._weight(name, term, now) * jnp.asarray(extra.get(name, 1.0), loss[name].dtype)
            multiplier[name] = jnp.where(active[name] & (parts.count != 0), weight, 0)
        # Where a weight may turn out to be 0, a NaN under it must not reach the total.
        varying = {name for name, term in self.terms.items() if callable(term.weight) or term.ramp} | set(extra)
        shown = {name: combiners.silenced(loss[name], multiplier[name]) for name in loss if name in varying}
        total, weight = combiners.named(self.combine).apply(
            loss | shown, multiplier, dict.fromkeys(loss, 1.0), params or {}, self._nll()
        )
        aux = {"loss": loss, "weight": weight, "count": count, "active": active}
        return total, {key: {name: _scalar(of.get(name, 0)) for name in self.terms} for key, of in aux.items()}

    def present_terms(self) -> dict[str, Term]:
        """The terms that are in the program: all but those of a constant weight 0."""
        return {name: term for name, term in self.terms.items() if callable(term.weight) or term.weight != 0}

    def _nll(self) -> dict[str, tuple[float, float]]:
        return {name: term.row.nll for name, term in self.present_terms().items()}

    def _now(self, step: Number | None, stage: Number | None) -> "_Now":
        step = None if step is None else jnp.asarray(step)
        if stage is None and self.boundaries:
            if step is None:
                raise ValueError("this objective has stages: call it with step= or stage=")
            stage = jnp.sum(step >= jnp.asarray(self.boundaries))
        return _Now(jnp.asarray(0 if stage is None else stage), step)

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
        weight = term.weight(now.step) if callable(term.weight) else term.weight
        if not term.ramp:
            return weight
        return weight * jnp.clip((now.step - jnp.asarray(self.boundaries[term.start - 1], float)) / term.ramp, 0, 1)


class _Now(NamedTuple):
    stage: Array
    step: Array | None


def _gated(active: Array | bool, evaluate: Callable[[], Parts]) -> Parts:
    """Nothing of an inactive term runs: multiplying by 0 would let its NaN through."""
    if active is True:
        return evaluate()
    nothing = jax.eval_shape(evaluate)
    return jax.lax.cond(active, evaluate, lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing))


def _parts(name: str, term: Term, data: Any) -> Any:
    try:
        inputs = [look_up(data, path) for path in term.inputs]
        where = None if term.where is None else look_up(data, term.where)
        weights = None if term.sample_weights is None else look_up(data, term.sample_weights)
        if set(registry.CONTRACT) <= set(registry.keywords_of(term.row.function)):
            keywords = {**term.options, "where": where, "sample_weights": weights, "reduction": "parts"}
            return term.row.function(*inputs, **keywords)
        return _reduce_foreign(term, inputs, where, weights)
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


def _reduce_foreign(term: Term, inputs: list[Any], where: Any, weights: Any) -> Any:
    """Any function that returns values: mask what goes in and what comes out, so that NaN neither enters nor leaves."""
    inputs = [_masked_input(place, x, where, weights) for place, x in enumerate(inputs)]
    (values,) = checks.to_floats(term.row.name, values=term.row.function(*inputs, **term.options))
    return reduce(values, checks.keep(term.row.name, where, weights, values.shape, values), "parts")


def _masked_input(place: int, x: Any, where: Any, weights: Any) -> Any:
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


def _scalar(value: Any) -> Array:
    return jnp.asarray(value, jnp.float32)


def _check_params(expected: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    if set(expected) != set(params):
        raise ValueError(f"params must be what init() made: {sorted(expected)}, got {sorted(params)}")
