"""Checks and reduction: what is accepted, what is refused in which words, and how parts add up."""

import pickle

import jax
import jax.experimental.checkify
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl
from jaxlosses import testing
from jaxlosses.core import checks
from jaxlosses.core.errors import AlignmentError
from jaxlosses.core.masks import LossMask
from jaxlosses.core.reduction import reduce

X = jnp.zeros((4, 3))

REFUSED = {
    "squared_error: predictions (4, 3) and targets (3, 4) must have equal shapes; did you mean to transpose targets?": (
        ValueError,
        lambda: jl.squared_error(X, X.T),
    ),
    "squared_error: predictions (4, 3) and targets (3,) must have equal shapes; "
    "losses do not broadcast: jnp.broadcast_to(targets, (4, 3)) if that is meant": (
        ValueError,
        lambda: jl.squared_error(X, X[0]),
    ),
    "squared_error: predictions (3, 1) and targets (1, 4) must have equal shapes; losses do not broadcast; "
    "each with each is jnp.broadcast_arrays(predictions, targets), if that is meant": (
        ValueError,
        lambda: jl.squared_error(X[:3, :1], X[:, :1].T),
    ),
    "squared_error: predictions (4, 1) and targets (1, 4) must have equal shapes; did you mean to transpose targets? "
    "If not, each with each is jnp.broadcast_arrays(predictions, targets)": (
        ValueError,
        lambda: jl.squared_error(X[:, :1], X[:, :1].T),
    ),
    "squared_error: predictions (2, 4, 1) and targets (2, 1, 3) must have equal shapes; losses do not broadcast; "
    "each with each is jnp.broadcast_arrays(predictions, targets), if that is meant": (
        ValueError,
        lambda: jl.squared_error(jnp.zeros((2, 4, 1)), jnp.zeros((2, 1, 3))),
    ),
    "squared_error: predictions (3,) and targets (4, 3) must have equal shapes; "
    "losses do not broadcast: jnp.broadcast_to(predictions, (4, 3)) if that is meant": (
        ValueError,
        lambda: jl.squared_error(X[0], X),
    ),
    "squared_error: predictions (4, 3) and targets (5,) must have equal shapes; losses do not broadcast": (
        ValueError,
        lambda: jl.squared_error(X, jnp.zeros(5)),
    ),
    "squared_error: predictions (4, 1) and targets (4,) must have equal shapes; did you mean predictions[:, 0]?": (
        ValueError,
        lambda: jl.squared_error(X[:, :1], X[:, 0]),
    ),
    "squared_error: where (3,) must be (4,) or (4, 3); it lines up from the left, "
    "and this one fits the right: jnp.broadcast_to(where, (4, 3))?": (
        ValueError,
        lambda: jl.squared_error(X, X, where=jnp.ones(3, bool)),
    ),
    "squared_error: where must be boolean, got float32; did you mean sample_weights=, or a comparison such as where=mask > 0?": (
        TypeError,
        lambda: jl.squared_error(X, X, where=jnp.ones(4)),
    ),
    "squared_error: predictions must be an array or a list of numbers, got 'abc'": (
        TypeError,
        lambda: jl.squared_error("abc", X),
    ),
    "squared_error: targets must be real, got complex64; did you mean targets.real?": (
        TypeError,
        lambda: jl.squared_error(X, jnp.zeros((4, 3), complex)),
    ),
    "squared_error: reduction must be one of 'none', 'sum', 'mean', 'parts', got 'avg'": (
        ValueError,
        lambda: jl.squared_error(X, X, reduction="avg"),
    ),
    "softmax_cross_entropy: logits (4, 3) need labels (4,) (class ids) or (4, 3) (distributions), got (4, 1); "
    "did you mean labels[:, 0]?": (ValueError, lambda: jl.softmax_cross_entropy(X, jnp.zeros((4, 1), int))),
    "softmax_cross_entropy: logits (4, 3) need labels (3,) (class ids) or (4, 3) (distributions), got (4,); "
    "did you mean axis=1?": (ValueError, lambda: jl.softmax_cross_entropy(X, jnp.zeros(4, int), axis=0)),
    "softmax_cross_entropy: logits (4, 3) need labels (4,) (class ids) or (4, 3) (distributions), got (7,); "
    "check the class axis (axis=)": (ValueError, lambda: jl.softmax_cross_entropy(X, jnp.zeros(7, int))),
    "softmax_cross_entropy: logits (4, 3) has no axis 2; its axes are -2 to 1": (
        ValueError,
        lambda: jl.softmax_cross_entropy(X, jnp.zeros(4, int), axis=2),
    ),
    "softmax_cross_entropy: logits (4, 0) must not be empty along axis -1": (
        ValueError,
        lambda: jl.softmax_cross_entropy(X[:, :0], jnp.zeros(4, int)),
    ),
    "softmax_cross_entropy: class_weights (4,) must be (3,), one number per class; check axis=": (
        ValueError,
        lambda: jl.softmax_cross_entropy(X, jnp.zeros(4, int), class_weights=jnp.ones(4)),
    ),
    "sigmoid_binary_cross_entropy: pos_weight (4,) must be a number, (3,), one for each class of the last axis, or an "
    "array that broadcasts to logits (4, 3) with the same rank": (
        ValueError,
        lambda: jl.sigmoid_binary_cross_entropy(X, X, pos_weight=jnp.ones(4)),
    ),
    "softmax_cross_entropy: logits (4, 3, 2) need labels (4, 2) (class ids) or (4, 3, 2) (distributions), got "
    "(4, 1, 2); did you mean labels[:, 0]?": (
        ValueError,
        lambda: jl.softmax_cross_entropy(jnp.zeros((4, 3, 2)), jnp.zeros((4, 1, 2), int), axis=1),
    ),
    "giou_loss: boxes (4, 3) must end in an axis of 4: x1, y1, x2, y2": (ValueError, lambda: jl.giou_loss(X, X)),
    "iou_loss: variant must be one of 'linear', 'log', got 'square'": (
        ValueError,
        lambda: jl.iou_loss(jnp.zeros(4), jnp.zeros(4), variant="square"),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message):
    kind, call = REFUSED[message]
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message


BAD_VALUES = {
    "softmax_cross_entropy: labels must be class ids in [0, 3)": lambda: jl.softmax_cross_entropy(
        X, jnp.array([0, 1, 2, 3])
    ),
    "softmax_cross_entropy: labels must be distributions": lambda: jl.softmax_cross_entropy(X, X - 1),
    "softmax_cross_entropy: class_weights must be >= 0": lambda: jl.softmax_cross_entropy(
        X, jnp.zeros(4, int), class_weights=[1.0, -1.0, 1.0]
    ),
    "binary_cross_entropy: probabilities must lie in [0, 1]": lambda: jl.binary_cross_entropy(X + 2, X),
    "sigmoid_binary_cross_entropy: labels must lie in [0, 1]": lambda: jl.sigmoid_binary_cross_entropy(X, X + 2),
    "cross_entropy: targets must lie in [0, 1]": lambda: jl.cross_entropy(X, X + 2),
    "nll_loss: log_probabilities must be <= 0": lambda: jl.nll_loss(X + 1, jnp.zeros(4, int)),
    "dice_loss: probabilities must lie in [0, 1]": lambda: jl.dice_loss(X + 2, X, class_axis=None),
    "squared_error: sample_weights must be >= 0": lambda: jl.squared_error(X, X, sample_weights=-jnp.ones(4)),
}


@pytest.mark.parametrize("message", BAD_VALUES)
def test_bad_values_raise_only_when_checked(message):
    call = BAD_VALUES[message]
    call()
    with pytest.raises(jax.experimental.checkify.JaxRuntimeError) as error:
        jl.checked(call)()
    assert message in str(error.value)


def test_checked_reaches_into_compiled_functions_and_leaves_no_trace():
    step = jax.jit(jax.value_and_grad(lambda z, y: jl.softmax_cross_entropy(z, y, reduction="mean")))
    bad, good = jnp.array([0, 1, 2, 7]), jnp.array([0, 1, 2, 0])
    assert jnp.isnan(step(X, bad)[0])
    with pytest.raises(Exception, match="softmax_cross_entropy: labels"):
        jl.checked(step)(X, bad)
    np.testing.assert_allclose(jl.checked(step)(X, good)[0], np.log(3), rtol=1e-6)
    assert jnp.isnan(step(X, bad)[0])


def test_checked_sees_through_an_objective_and_its_stages():
    objective = jl.Objective(
        {"a": jl.Term("mse", ("x", "x")), "b": jl.Term("softmax_cross_entropy", ("x", "y"), start=1)}, boundaries=[5]
    )
    run = jl.checked(lambda step: objective({"x": X, "y": jnp.full(4, 9)}, step=step))
    run(jnp.asarray(0))
    with pytest.raises(Exception, match="softmax_cross_entropy: labels"):
        run(jnp.asarray(5))


def test_masked_and_ignored_values_are_not_bad():
    labels, keep = jnp.array([0, 1, 2, 255]), jnp.array([True, True, True, False])
    jl.checked(jl.softmax_cross_entropy)(X, labels, ignore_label=255)
    jl.checked(jl.softmax_cross_entropy)(X, labels, where=keep)
    jl.checked(jl.softmax_cross_entropy)(X, labels, sample_weights=keep.astype(float))


def test_nothing_is_checked_in_an_unchecked_program():
    text = str(jax.make_jaxpr(lambda z, y: jl.softmax_cross_entropy(z, y))(X, jnp.zeros(4, int)))
    assert "check" not in text


def test_masks_may_be_scalars_lists_and_numpy():
    for where in (True, [True] * 4, np.ones((4, 3), bool)):
        assert jl.squared_error(X + 1, X, where=where, reduction="mean") == 1
    assert jl.squared_error(X + 1, X, where=False, reduction="mean") == 0


def test_microbatches_with_ragged_masks_add_up():
    """Four items of loss 1, then one of loss 9 beside three masked ones: 2.6, and not the 5.0 of a mean of means."""
    predictions = jnp.sqrt(jnp.array([[1.0, 1, 1, 1], [9.0, 1, 1, 1]]))
    keep = jnp.array([[True] * 4, [True, False, False, False]])
    parts = [
        jl.squared_error(p, jnp.zeros(4), where=k, reduction="parts") for p, k in zip(predictions, keep, strict=True)
    ]
    np.testing.assert_allclose((parts[0] + parts[1]).mean(), 2.6, rtol=1e-6)
    np.testing.assert_allclose(
        jl.squared_error(predictions, jnp.zeros((2, 4)), where=keep, reduction="mean"), 2.6, rtol=1e-6
    )


def test_counting_does_not_stop_at_two_to_the_24():
    size = 2**24 + 10
    parts = jax.eval_shape(
        lambda x: jl.squared_error(x, x, reduction="parts"), jax.ShapeDtypeStruct((size,), jnp.float32)
    )
    assert parts.count.shape == ()
    mask = LossMask("loss", jnp.ones(size, bool), None)
    values = jnp.zeros(size)
    assert reduce(values, mask, "parts").count == size


def test_a_loss_of_ones_own_needs_only_its_formula_and_a_row():
    @jl.register(
        "test_log_cosh", likelihood=(1.0, 0.5), example_inputs=jl.get("squared_error").example_inputs, minimum=0.0
    )
    def test_log_cosh(predictions, targets, *, where=None, sample_weights=None, reduction="none"):
        x, y, mask = checks.prepare_same_shape(
            "test_log_cosh", where, sample_weights, predictions=predictions, targets=targets
        )
        return reduce(jnp.logaddexp(x - y, y - x) - np.log(2).astype(x.dtype), mask, reduction)

    try:
        testing.check("test_log_cosh")
        total, _ = jl.Objective({"a": jl.Term("test_log_cosh", ("x", "y"))})(
            {"x": jnp.array([2.5]), "y": jnp.array([0.0])}
        )
        np.testing.assert_allclose(total, 1.8135681679, rtol=1e-6)
    finally:
        jl.unregister("test_log_cosh")


def test_an_alignment_error_can_be_sent_to_another_process():
    with pytest.raises(AlignmentError) as caught:
        jl.squared_error(X, X, where=jnp.ones(3, bool))
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.argument == "where"


def test_checked_takes_numpy_arrays_static_keywords_and_vmap():
    ones = np.ones((2, 3), np.float32)
    assert jl.checked(jl.squared_error)(ones, 2 * ones, reduction="mean") == 1
    assert jl.checked(jax.vmap(jl.squared_error))(ones, 2 * ones).shape == (2, 3)
    per_row = jax.vmap(lambda z, y: jl.softmax_cross_entropy(z, y))
    with pytest.raises(ValueError, match="softmax_cross_entropy: labels must be class ids"):
        jl.checked(per_row)(np.ones((2, 3, 4), np.float32), np.full((2, 3), 7))
    assert np.isfinite(jl.checked(per_row)(np.ones((2, 3, 4), np.float32), np.full((2, 3), 3))).all()
