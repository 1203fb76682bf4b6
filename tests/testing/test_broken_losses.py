"""The laws themselves: for each of them, a broken loss that it catches."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import pytest

from jaxlosses import registry, testing
from jaxlosses.core import checks
from jaxlosses.core.keywords import check_keywords
from jaxlosses.core.masks import LossMask
from jaxlosses.core.numerics import abs_zero_grad
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import Number, Parts

prepare_differences = functools.partial(checks.prepare_same_shape, origin=lambda first: first)


def loss_of(values, reduce=reduce, prepare=prepare_differences):
    """A squared error with one thing broken: its formula, its reduction or its checks of the inputs."""

    def broken(predictions, targets, *, where=None, sample_weights=None, reduction="none", scale: Number = 1.0):
        p, t, mask = prepare("broken", where, sample_weights, predictions=predictions, targets=targets)
        return reduce(scale * values(p, t), mask, reduction)

    return check_keywords("broken", broken)


def squares(p, t):
    return (p - t) ** 2


def eager_differs(p, t):
    return squares(p, t) if isinstance(p, jax.core.Tracer) else squares(p, t) + 1


@jax.custom_batching.custom_vmap
def unmappable(p, t):
    return squares(p, t)


@unmappable.def_vmap
def _wrong_rule(axis_size, in_batched, p, t):
    return 2 * squares(p, t), True


counter = itertools.count()


def impure(p, t):
    return squares(p, t) + next(counter)


def half_detached(p, t):
    return (p - t) * jax.lax.stop_gradient(p - t)


@jax.custom_vjp
def reverse_only(p, t):
    return squares(p, t)


reverse_only.defvjp(
    lambda p, t: (squares(p, t), (p, t)), lambda pt, g: (2 * g * (pt[0] - pt[1]), 2 * g * (pt[1] - pt[0]))
)


@jax.custom_jvp
def flat_slope(r):
    return r**2


@flat_slope.defjvp
def _slope_without_a_slope(primals, tangents):
    return primals[0] ** 2, 2 * jax.lax.stop_gradient(primals[0]) * tangents[0]


def mean_over_all(values, mask, reduction):
    return (
        reduce(values, mask._replace(sample_weights=None), "sum") / values.size
        if reduction == "mean"
        else reduce(values, mask, reduction)
    )


def mask_after(loss, where, sample_weights, **arrays):
    *_, mask = checks.prepare_same_shape(loss, where, sample_weights, **arrays)
    return *checks.to_floats(loss, **arrays), mask


def unguarded_mean(values, mask, reduction):
    parts = reduce(values, mask, "parts")
    return parts.sum / parts.count if reduction == "mean" else reduce(values, mask, reduction)


def weights_do_not_count(values, mask, reduction):
    if reduction not in ("mean", "parts"):
        return reduce(values, mask, reduction)
    parts = Parts(reduce(values, mask, "sum"), reduce(values, mask._replace(sample_weights=None), "parts").count)
    return parts.mean() if reduction == "mean" else parts


def none_is_unmasked(values, mask, reduction):
    return values if reduction == "none" else reduce(values, mask, reduction)


def keeps_half_precision(loss, where, sample_weights, **arrays):
    *rest, mask = checks.prepare_same_shape(loss, where, sample_weights, **arrays)
    return *(x.astype(jnp.asarray(a).dtype) for x, a in zip(rest, arrays.values(), strict=True)), mask


def positions_matter(p, t):
    return squares(p, t) * jnp.arange(1.0, len(p) + 1).astype(p.dtype)[:, None, None]


def broadcasts(loss, where, sample_weights, **arrays):
    with jax.numpy_rank_promotion("allow"):
        first, *others = (jnp.asarray(array) for array in arrays.values())
        others = [
            jnp.broadcast_to(jnp.sum(other), first.shape) if other.shape != first.shape else other for other in others
        ]
    return checks.prepare_same_shape(loss, where, sample_weights, predictions=first, targets=others[0])


def below_zero(p, t):
    return squares(p, t) - 100


def rounded_below_zero(p, t):
    return squares(p, t) - jnp.where(p == t, 1e-7, 0)


def infinite_inside(p, t):
    return squares(p, t) + 1 / jnp.exp(squares(p, t) + 1e4)


def squares_that_overflow(p, t):
    return squares(p * 1e20, t * 1e20) * 1e-40


def branches_on_a_number(p, t, scale):
    return squares(p, t) * (scale if scale > 0.8 else 0)


def branching(predictions, targets, *, where=None, sample_weights=None, reduction="none", scale=1.0):
    p, t, mask = checks.prepare_same_shape("broken", where, sample_weights, predictions=predictions, targets=targets)
    return reduce(branches_on_a_number(p, t, scale), mask, reduction)


def unchecked(predictions, targets, *, where=None, sample_weights=None, reduction="none", scale: Number = 1.0):
    p, t, mask = checks.prepare_same_shape("broken", where, sample_weights, predictions=predictions, targets=targets)
    return reduce(scale * squares(p, t), mask, reduction)


def widening(predictions, targets, *, where=None, sample_weights=None, reduction="none", scale=1.0):
    p, t, mask = checks.prepare_same_shape("broken", where, sample_weights, predictions=predictions, targets=targets)
    with jax.numpy_dtype_promotion("standard"):
        return reduce(jnp.asarray(scale) * squares(p, t), mask, reduction)


def looks_up(p, t):
    return squares(p, t)[jnp.arange(len(p))]


def scans(p, t):
    return jax.lax.scan(lambda carry, x: (carry + x, x), jnp.zeros(p.shape[1:], p.dtype), squares(p, t))[1]


BROKEN = {
    "jit equals eager": loss_of(eager_differs),
    "vmap equals a loop": loss_of(unmappable),
    "one trace serves all values": branching,
    "gradients equal central differences": loss_of(half_detached),
    "forward mode equals reverse mode": loss_of(reverse_only),
    "second derivatives equal central differences": loss_of(lambda p, t: flat_slope(p - t)),
    "masking equals deletion": loss_of(squares, reduce=mean_over_all),
    "nothing leaks from under a mask": loss_of(squares, prepare=mask_after),
    "all masked is zero": loss_of(squares, reduce=unguarded_mean),
    "a weight repeats": loss_of(squares, reduce=weights_do_not_count),
    "reductions agree": loss_of(squares, reduce=none_is_unmasked),
    "half precision is computed in float32": loss_of(squares, prepare=keeps_half_precision),
    "permuting the batch permutes the result": loss_of(positions_matter),
    "wrong shapes raise": loss_of(squares, prepare=broadcasts),
    "nothing is below the minimum": loss_of(below_zero),
    "wrong keywords raise": unchecked,
    "typed numbers keep the precision": widening,
    "integers keep their differences": loss_of(squares, prepare=checks.prepare_same_shape),
    "scaled inputs give scaled values": loss_of(squares_that_overflow),
    "an explicit mesh changes nothing": loss_of(looks_up),
    "shard_map changes nothing": loss_of(scans),
    "no infinity appears inside": loss_of(infinite_inside),
}


def case_of(function):
    example = registry.get("squared_error").example_inputs
    return testing.Case(
        registry.LossSpec(
            "broken",
            function,
            minimum=0.0,
            homogeneous_degree=2,
            translation_invariant=True,
            example_inputs=example,
        )
    )


@pytest.mark.parametrize("law", testing.LAWS)
def test_a_broken_loss_is_caught(law):
    with pytest.raises(AssertionError, match=f"broken breaks the law '{law}'"):
        testing.check(case_of(BROKEN[law]).spec, laws=[law])


@pytest.mark.parametrize("law", testing.LAWS)
def test_the_same_loss_unbroken_passes(law):
    testing.check(case_of(loss_of(squares)).spec, laws=[law])


def test_rounding_below_the_minimum_at_perfect_predictions_is_caught():
    spec = dataclasses.replace(case_of(loss_of(rounded_below_zero)).spec, domain=("any number", "any number"))
    with pytest.raises(AssertionError, match="below 0"):
        testing.check(spec, laws=["nothing is below the minimum"])


def test_a_kink_passes_but_its_wrong_subgradient_does_not():
    example = lambda key: (jnp.zeros((3, 1, 1)), jnp.zeros((3, 1, 1)))  # noqa: E731
    right = registry.LossSpec("broken", loss_of(lambda p, t: abs_zero_grad(p - t)), example_inputs=example)
    wrong = registry.LossSpec("broken", loss_of(lambda p, t: jnp.abs(p - t)), example_inputs=example)
    testing.check(right, laws=["gradients equal central differences"])
    with pytest.raises(AssertionError, match="central differences"):
        testing.check(wrong, laws=["gradients equal central differences"])


def test_retracing_is_caught():
    """A loss that makes its numbers part of the program compiles for each of them."""
    static = functools.partial(jax.jit, static_argnames="scale")(loss_of(squares))
    with pytest.raises(AssertionError, match="one trace"):
        testing.check(case_of(static).spec, laws=["one trace serves all values"])


def test_impurity_is_caught():
    with pytest.raises(AssertionError, match="jit equals eager"):
        testing.check(case_of(loss_of(impure)).spec, laws=["jit equals eager"])


def test_a_loss_without_example_inputs_cannot_be_checked():
    with pytest.raises(AssertionError, match="no example_inputs"):
        testing.check(registry.LossSpec("bare", loss_of(squares)), laws=["jit equals eager"])


_reduce = reduce


def batch_reduced_loss(values, reduce=reduce):
    """One value for the whole batch: the mean of the elements, which counts 1."""

    def broken(predictions, targets, *, where=None, sample_weights=None, reduction="none", scale: Number = 1.0):
        p, t, mask = checks.prepare_same_shape(
            "broken", where, sample_weights, predictions=predictions, targets=targets
        )
        where_any = None if mask.where is None else jnp.any(mask.where)
        return _reduce(reduce(scale * values(p, t), mask, "mean"), LossMask("broken", where_any, None), reduction)

    return check_keywords("broken", broken)


def batch_reduced_spec(function, may_reduce_batch=True):
    example = registry.get("squared_error").example_inputs
    return registry.LossSpec("broken", function, minimum=0.0, example_inputs=example, may_reduce_batch=may_reduce_batch)


@pytest.mark.parametrize("law", testing.LAWS)
def test_a_loss_with_one_value_for_the_batch_passes(law):
    testing.check(batch_reduced_spec(batch_reduced_loss(squares)), laws=[law])


def test_one_value_for_the_batch_must_be_declared_and_right():
    permutation = ["permuting the batch permutes the result"]
    with pytest.raises(AssertionError, match="permuting"):
        testing.check(batch_reduced_spec(batch_reduced_loss(squares), may_reduce_batch=False), laws=permutation)
    with pytest.raises(AssertionError, match="permuting"):
        testing.check(batch_reduced_spec(batch_reduced_loss(positions_matter)), laws=permutation)
    with pytest.raises(AssertionError, match="a weight repeats"):
        testing.check(batch_reduced_spec(batch_reduced_loss(squares, weights_do_not_count)), laws=["a weight repeats"])
