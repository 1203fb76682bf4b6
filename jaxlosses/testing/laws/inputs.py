"""Which inputs a loss takes, and what it makes of them."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxlosses.testing.case import Case, is_float
from jaxlosses.testing.laws._law import close, law, raises


@law("half precision is computed in float32")
def _half(case: Case) -> None:
    mean = functools.partial(case.loss, reduction="mean")
    for dtype in (jnp.bfloat16, jnp.float16):
        half = tuple(x.astype(dtype) if is_float(x) else x for x in case.inputs())
        same = tuple(x.astype(jnp.float32) if is_float(x) else x for x in half)
        result = case.values(*half)
        for name, given in {"none": result, "mean": jax.eval_shape(mean, *half)}.items():
            assert given.dtype == jnp.float32, f"{dtype.__name__} gave {given.dtype} under reduction={name!r}"
        close(result, case.values(*same), rtol=1e-6)
    close(case.loss(*(x.tolist() for x in case.inputs())), case.values(*case.inputs()), rtol=1e-6)
    with jax.enable_x64(True):
        double = tuple(x.astype(jnp.float64) if is_float(x) else x for x in case.inputs())
        assert jax.eval_shape(case.loss, *double).dtype == jnp.float64, "float64 did not stay float64"


@law("permuting the batch permutes the result")
def _permutation(case: Case) -> None:
    inputs = case.inputs()
    order = np.random.default_rng(0).permutation(case.mask_shape[0])
    values = case.values(*inputs)
    permuted = case.values(*(x[order] for x in inputs))
    close(permuted, values if case.is_batch_reduced else values[order], rtol=2e-6, atol=1e-7)


@law("wrong shapes raise")
def _shapes(case: Case) -> None:
    name, inputs = case.spec.name, case.inputs()
    for index in range(1, len(inputs)):
        for wrong in (inputs[index][..., None], inputs[index][:-1], inputs[index][:1]):
            given = (*inputs[:index], wrong, *inputs[index + 1 :])
            raises(ValueError, (name, str(inputs[0].shape), str(wrong.shape)), lambda given=given: case.loss(*given))
    for argument, make in (("where", np.ones), ("sample_weights", np.ones)):
        dtype = bool if argument == "where" else np.float32
        for shape in ((case.mask_shape[0] + 1,), (*case.mask_shape, 1), (1, *case.mask_shape)):
            keywords = {argument: make(shape, dtype)}
            raises(ValueError, (name, argument, str(shape)), lambda k=keywords: case.loss(*inputs, **k))
    raises(TypeError, (name, "where", "bool"), lambda: case.loss(*inputs, where=np.ones(case.mask_shape, np.float32)))


@law("nothing is below the minimum")
def _minimum(case: Case) -> None:
    """Neither at random inputs nor at perfect predictions, where the minimum is and rounding goes below it."""
    if case.spec.minimum is None or case.spec.may_be_negative(case.options) is not None:
        return
    for seed in range(5):
        for inputs in (case.inputs(seed), *_perfect_inputs(case, case.inputs(seed))):
            lowest = float(jnp.min(case.values(*inputs)))
            assert lowest >= case.spec.minimum, f"{lowest} is below {case.spec.minimum}"


def _perfect_inputs(case: Case, inputs: tuple[np.ndarray, ...]) -> Iterator[tuple[np.ndarray, ...]]:
    """The inputs with predictions made of the targets, as far as the registry says what these are."""
    if min(len(inputs), len(case.spec.domain)) < 2:
        return
    (predictions, targets, *rest), (domain, targets_domain, *_) = inputs, case.spec.domain
    if domain == "log-probabilities" and "input_type" not in case.options and targets_domain == "probabilities":
        yield np.log(targets), targets, *rest
    elif targets.shape == predictions.shape and is_float(targets):
        yield targets, targets, *rest
    elif targets_domain == "[0, 1]":
        for scale in (3, 17, 100):
            yield scale * (2 * targets.astype(predictions.dtype) - 1), targets, *rest
    elif "class ids" in targets_domain and targets.shape == predictions.shape[:-1]:
        one_hot = np.eye(predictions.shape[-1], dtype=predictions.dtype)[targets]
        for scale in (3, 17, 100):
            activate = {"log-probabilities": jax.nn.log_softmax, "probabilities": jax.nn.softmax}.get(
                domain, np.asarray
            )
            yield np.asarray(activate(scale * one_hot)), targets, *rest
