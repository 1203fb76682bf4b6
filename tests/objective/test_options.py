"""Options and numbers are checked when an objective is made, in words that name the term and the option."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl

pytestmark = pytest.mark.usefixtures("_annotations_off")

X = ("x", "y")
QUERIES = {"queries": "q", "positives": "p"}


def focal(**options):
    return {"t": jl.Term("softmax_focal_loss", X, options=options)}


WRONG = {
    "term 't': loss 'softmax_focal_loss': option 'gamma' must be a number, got '1e-5'; did you mean 1e-05, without "
    "quotes? (YAML reads 1e-5 as a string: write 1.0e-5)": lambda: focal(gamma="1e-5"),
    "term 't': loss 'softmax_focal_loss': option 'gamma' must be a number, got True": lambda: focal(gamma=True),
    "term 't': loss 'softmax_focal_loss': option 'gamma' must be a number, got None": lambda: focal(gamma=None),
    "term 't': loss 'softmax_focal_loss': option 'gamma' must be a number, got 'params.gamma'; what changes or is "
    "learned is an input: its path goes into inputs={..., 'gamma': 'params.gamma'}": lambda: focal(
        gamma="params.gamma"
    ),
    "term 't': loss 'info_nce_loss': option 'normalize' must be True or False, got 'false'": lambda: {
        "t": jl.Term("info_nce_loss", X, options={"normalize": "false"})
    },
    "term 't': loss 'iou_loss': option 'variant' must be a string, got 2": lambda: {
        "t": jl.Term("iou_loss", X, options={"variant": 2})
    },
    "term 't': loss 'huber_loss' has no option 'detla'; did you mean 'delta'? (options: delta)": lambda: {
        "t": jl.Term("huber_loss", X, options={"detla": 2.0})
    },
    "term 't': loss 'squared_error' has no option 'delta'; options: none": lambda: {
        "t": jl.Term("squared_error", X, options={"delta": 2.0})
    },
    "term 't': loss 'softmax_cross_entropy': option 'class_weights' must be a number or None, got ('1e-5', 1); did you "
    "mean 1e-05, without quotes? (YAML reads 1e-5 as a string: write 1.0e-5)": lambda: {
        "t": jl.Term("softmax_cross_entropy", X, options={"class_weights": ["1e-5", 1]})
    },
    "term 't': 'mask' is no input of the loss; did you mean Term(..., where=)?": lambda: {
        "t": jl.Term("huber_loss", {"predictions": "x", "targets": "y", "mask": "m"})
    },
    "term 't': loss 'l2_penalty' has no examples: reduction='per_example' takes them apart": lambda: {
        "t": jl.Term("l2_penalty", "x", reduction="per_example")
    },
    "term 't': 'mask' is no option of the loss; did you mean Term(..., where=)?": lambda: {
        "t": jl.Term("huber_loss", X, options={"mask": "m"})
    },
    "term 't': 'weights' is no option of the loss; did you mean Term(..., sample_weights=)?": lambda: {
        "t": jl.Term("huber_loss", X, options={"weights": "w"})
    },
    "term 't': weight must be a number or a function of the step, got '0.5'": lambda: {
        "t": jl.Term("huber_loss", X, weight="0.5")
    },
    "term 't': weight must be a number or a function of the step, got True": lambda: {
        "t": jl.Term("huber_loss", X, weight=True)
    },
    "term 't': fixed must be one of True, False, None, got 'yes'": lambda: {"t": jl.Term("huber_loss", X, fixed="yes")},
    "term 't': optional must be one of True, False, got None": lambda: {"t": jl.Term("huber_loss", X, optional=None)},
}


@pytest.mark.parametrize("message", WRONG)
def test_the_error_names_the_term_and_the_option(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # compared in full
        jl.Objective(WRONG[message]())
    assert str(error.value) == message


def test_a_function_in_the_place_of_a_number():
    with pytest.raises(
        ValueError, match=r"must be a number, got <function .*its path goes into inputs=\{..., 'gamma': "
    ):
        jl.Objective(focal(gamma=lambda data: data["gamma"]))


def test_numbers_of_every_kind_pass():
    for gamma in (2, 2.0, np.float32(2.0), np.asarray(2.0), jnp.asarray(2.0)):
        jl.Objective(focal(gamma=gamma))
    jl.Objective(focal(alpha=[0.25, 0.5, 0.25]))
    jl.Objective({"t": jl.Term("sigmoid_focal_loss", X, options={"normalizer": "positives"})})
    jl.Objective({"t": jl.Term(optax.losses.huber_loss, X, options={"delta": 0.5})})


def test_options_of_combiners_and_schedules():
    with pytest.raises(ValueError, match=r"^combiner 'uncertainty': option 'limit' must be a number or None, got '2'"):
        jl.Objective({"t": jl.Term("huber_loss", X)}, combine={"name": "uncertainty", "limit": "2"})
    with pytest.raises(
        ValueError, match=r"^schedule 'linear_schedule': option 'init_value' must be a number, got '0.1'"
    ):
        jl.schedule("linear_schedule", init_value="0.1", end_value=1.0, transition_steps=10)


def test_boundaries_are_integers():
    for boundaries in ([True], ["10"], [10.0], "10"):
        with pytest.raises(ValueError, match="boundaries must be a list of steps"):
            jl.Objective({"t": jl.Term("huber_loss", X)}, boundaries=boundaries)


def test_a_traced_option_is_told_where_it_belongs():
    def loss(temperature):
        term = jl.Term("info_nce_loss", ("q", "p"), options={"temperature": temperature})
        return jl.Objective({"t": term})({"q": jnp.eye(2), "p": jnp.eye(2)})[0]

    with pytest.raises(
        ValueError, match=r"^option 'temperature' is traced, .* inputs=\{..., 'temperature': 'sweep.temp"
    ):
        jax.grad(loss)(0.1)


def test_a_traced_value_anywhere_in_an_objective_is_explained():
    def in_a_list(x):
        return jl.Term("softmax_cross_entropy", X, options={"class_weights": [x, 1.0]})

    def in_a_schedule(x):
        return jl.schedule("constant_schedule", value=x)

    def in_a_combiner(x):
        return jl.Objective({"t": jl.Term("huber_loss", X)}, combine={"name": "soft_optimal", "temperature": x})

    for make in (in_a_list, in_a_schedule, in_a_combiner):
        with pytest.raises(ValueError, match="traced value cannot be part of a term or objective"):
            jax.jit(lambda x, make=make: (make(x), x)[1])(1.0)


def test_three_temperatures_at_once():
    objective = jl.Objective({"t": jl.Term("info_nce_loss", {**QUERIES, "temperature": "sweep.temperature"})})
    data = {"q": jnp.eye(3)[:2] + 0.2, "p": jnp.eye(3)[:2]}
    temperatures = jnp.array([0.1, 0.5, 1.0])
    totals = jax.vmap(lambda temperature: objective({**data, "sweep": {"temperature": temperature}})[0])(temperatures)
    expected = [jl.info_nce_loss(data["q"], data["p"], temperature=float(t), reduction="mean") for t in temperatures]
    np.testing.assert_allclose(totals, expected, rtol=1e-5)


def test_keywords_of_other_libraries_are_explained_in_direct_calls_too():
    wrong = {
        "huber_loss: no argument 'mask'; did you mean where=? (arguments: predictions, targets, delta, where, "
        "sample_weights, reduction)": lambda: jl.huber_loss(1.0, 2.0, mask=True),
        "Term: no argument 'mask'; did you mean where=? (arguments: loss, inputs": lambda: jl.Term(
            "huber_loss", X, mask="m"
        ),
        "Term: no argument 'weights'; did you mean sample_weights=?": lambda: jl.Term("huber_loss", X, weights="m"),
        "squared_error: no argument 'weights'; did you mean sample_weights=?": lambda: jl.squared_error(
            1.0, 2.0, weights=1.0
        ),
        "softmax_cross_entropy: no argument 'label_smothing'; did you mean 'label_smoothing'?": (
            lambda: jl.softmax_cross_entropy(jnp.zeros((1, 2)), jnp.zeros(1, int), label_smothing=0.1)
        ),
    }
    for message, call in wrong.items():
        with pytest.raises(TypeError) as error:
            call()
        assert str(error.value).startswith(message)
    with pytest.raises(ValueError, match=r"^term 't': unknown key 'mask'; did you mean 'where'\?$"):
        jl.Objective.from_config({"terms": {"t": {"loss": "huber_loss", "inputs": ["x", "y"], "mask": "m"}}})


def test_errors_of_the_call_itself_stay_as_they_are():
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        jl.huber_loss(1.0)
    with pytest.raises(TypeError, match="huber_loss: predictions must be an array"):
        jl.huber_loss(object(), 1.0)


def test_a_loss_with_any_keywords_keeps_its_own_errors():
    def loss(predictions, targets, *, where=None, sample_weights=None, reduction="none", **options):
        raise TypeError("inside")

    jl.register("test_any_keywords")(loss)
    try:
        with pytest.raises(TypeError, match=r"^inside$"):
            jl.get("test_any_keywords")(1.0, 2.0, scale=3)
    finally:
        jl.unregister("test_any_keywords")
