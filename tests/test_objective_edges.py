"""What a reviewer's objective stumbled over: steps of other dtypes, batches in pieces, and what comes from a file."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxlosses as jl

MSE, MAE = jl.Term("squared_error", ("a", "b")), jl.Term("absolute_error", ("a", "b"))
DATA = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.zeros(3)}


def late(term=MAE, **fields):
    return dataclasses.replace(term, start=1, **fields)


# Steps


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.float32, jnp.int32, jnp.uint32])
@pytest.mark.parametrize(("step", "scheduled", "ramped"), [(0, 0.0, 0.0), (999, 0.0, 0.0), (1250, 0.5, 0.25)])
def test_a_step_of_any_dtype(dtype, step, scheduled, ramped):
    rise = jl.schedule("linear_schedule", init_value=0.0, end_value=1.0, transition_steps=500, transition_begin=1000)
    objective = jl.Objective(
        {"a": MSE, "b": dataclasses.replace(MAE, weight=rise), "c": late(ramp=1000)}, boundaries=[1000]
    )
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix dtypes
        weight = objective(DATA, step=dtype(step))[1]["weight"]
    np.testing.assert_allclose([weight["b"], weight["c"]], [scheduled, ramped], rtol=1e-6)
    strict = jl.Objective({"a": MSE, "c": late(ramp=1000)}, boundaries=[1000])
    np.testing.assert_allclose(strict(DATA, step=dtype(step))[1]["weight"]["c"], ramped, rtol=1e-6)


@pytest.mark.parametrize("name", ["step", "stage"])
def test_a_replicated_step_is_refused(name):
    objective = jl.Objective({"a": MSE, "b": late()}, boundaries=[3])
    with pytest.raises(ValueError, match=rf"^{name} must be a scalar, got shape \(4,\)"):
        objective(DATA, **{name: jnp.array([4, 4, 0, 0])})


def test_numbers_by_term_are_scalars():
    learned = jl.Objective({"a": MSE}, combine="uncertainty")
    with pytest.raises(ValueError, match=r"^weights\['a'\] must be a scalar"):
        jl.Objective({"a": MSE})(DATA, weights={"a": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"^params\['a'\] must be a scalar"):
        learned(DATA, params={"a": jnp.zeros(3)})


# Batches in pieces


PENALTY = jl.Term("l2_penalty", "params", weight=0.1)
TRIPLETS = jl.Term("batch_hard_triplet_loss", ("e", "l"))


def test_counts_of_all_terms_or_an_error():
    objective = jl.Objective({"a": MSE, "b": MAE})
    with pytest.raises(
        ValueError, match=r"^counts must be what counts\(\) returned for the whole batch: 'b' is missing"
    ):
        objective(DATA, counts={"a": 3.0})


@pytest.mark.parametrize(("term", "why"), [(PENALTY, "is no sum over examples"), (TRIPLETS, "compares examples")])
def test_what_does_not_come_in_pieces_is_refused(term, why):
    objective = jl.Objective({"a": MSE, "t": term})
    with pytest.raises(ValueError, match=rf"^term 't': counts= adds up microbatches, but loss .* {why}"):
        objective(DATA, counts={"a": 3.0, "t": 1.0})


SPREAD = {
    "trip": TRIPLETS,
    "pen": PENALTY,
    "focal": jl.Term("sigmoid_focal_loss", ("z", "t"), options={"normalizer": "positives"}),
    "dice": jl.Term("dice_loss", ("z", "t"), options={"activation": "sigmoid", "class_axis": None, "per_image": False}),
    "mse": jl.Term("squared_error", ("z", "t")),
}


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_looks_at_the_whole_batch_on_four_devices(reduction, start):
    keys = jax.random.split(jax.random.key(0), 3)
    batch = {
        "e": jax.random.normal(keys[0], (16, 3)),
        "l": jnp.arange(16) % 4,
        "z": jax.random.normal(keys[1], (16, 5)),
        "t": (jax.random.uniform(keys[2], (16, 5)) > 0.7).astype(jnp.float32),
    }
    params = {"scale": jnp.float32(1.5)}
    terms = {name: dataclasses.replace(term, reduction=reduction, start=start) for name, term in SPREAD.items()}
    pooled = {**terms["dice"].options, "axis_name": "data"}
    told = {**terms, "dice": dataclasses.replace(terms["dice"], options=pooled)}
    boundaries = [1] if start else []
    alone, spread = (
        jl.Objective({**given, "on": MSE}, boundaries=boundaries) if start else jl.Objective(given)
        for given in (terms, told)
    )

    def loss(objective, params, batch, **keywords):
        scaled = {**batch, **{name: params["scale"] * batch[name] for name in "ez"}}
        data = {**scaled, "params": params, "a": batch["t"][:, 0], "b": batch["t"][:, 1]}
        return objective(data, step=jnp.int32(5), **keywords)[0]

    @jax.jit
    @functools.partial(
        jax.shard_map,
        mesh=Mesh(np.array(jax.devices()[:4]), ("data",)),
        in_specs=(PartitionSpec(), PartitionSpec("data")),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    def on_devices(params, batch):
        value, gradients = jax.value_and_grad(functools.partial(loss, spread))(params, batch, axis_name="data")
        return value, jax.lax.pmean(gradients, "data")

    expected = jax.jit(jax.value_and_grad(functools.partial(loss, alone)))(params, batch)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5), on_devices(params, batch), expected)


def test_an_axis_is_not_needed_to_look_at_an_objective():
    told = dataclasses.replace(TRIPLETS, options={"axis_name": "data"})
    data = {"e": jnp.ones((4, 3)), "l": jnp.array([0, 0, 1, 1])}
    objective = jl.Objective({"t": told})
    assert "batch_hard_triplet_loss" in objective.check(data)
    assert objective.counts(data)["t"] == 4


# What is made and saved


def test_a_row_of_the_registry_is_its_loss():
    assert jl.Term(jl.get("squared_error"), ("a", "b")) == MSE


def test_schedules_of_schedules_round_trip():
    one, two = (jl.schedule("constant_schedule", value=value) for value in (1.0, 2.0))
    joined = jl.schedule("join_schedules", schedules=[one, two], boundaries=[5])
    steps = jl.schedule("piecewise_constant_schedule", init_value=1.0, boundaries_and_scales={5: 0.5})
    for schedule, after in ((joined, 2.0), (steps, 0.5)):
        objective = jl.Objective({"a": dataclasses.replace(MSE, weight=schedule)})
        again = jl.Objective.from_config(json.loads(json.dumps(objective.to_config())))
        assert again == objective
        with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix dtypes
            assert again(DATA, step=jnp.int32(7))[1]["weight"]["a"] == after


def test_init_takes_the_losses_that_a_call_reports():
    objective = jl.Objective({"a": MSE, "b": dataclasses.replace(MAE, weight=0)}, combine="uncertainty")
    first = objective(DATA, params=objective.init())[1]["loss"]
    assert objective.init(first).keys() == {"a"}
    with pytest.raises(ValueError, match="losses: no term 'c'"):
        objective.init({"c": 1.0})


def test_at_stage_leaves_out_what_has_no_weight():
    objective = jl.Objective({"a": MSE, "b": late(ramp=3, weight=0.0)}, boundaries=[5], combine="uncertainty")
    assert objective.at_stage(1).init().keys() == {"a"}
    objective.at_stage(1)(DATA, step=7, params=objective.init())


def test_keys_that_are_numbers():
    objective = jl.Objective({"a": jl.Term("squared_error", ("levels.3", "b"))})
    np.testing.assert_allclose(objective({"levels": {3: DATA["a"]}, "b": DATA["b"]})[0], 14 / 3)


def test_check_looks_past_what_is_no_array():
    objective = jl.Objective({"a": jl.Term("squared_error", ("a", "b"))})
    assert "(3,)" in objective.check({**DATA, "file": ["x.png"], "shape": jax.ShapeDtypeStruct((2,), jnp.float32)})


def test_a_foreign_loss_of_a_tree_under_a_mask_and_with_a_dict_for_an_option():
    def error(tree, x, *, scales):
        return jax.tree.map(lambda scale: scale * (tree["w"] - x) ** 2, scales)["k"]

    term = jl.Term(error, ("p", "x"), where="on", options={"scales": {"k": 2.0}})
    data = {"p": {"w": jnp.array([1.0, 2.0, jnp.nan])}, "x": jnp.zeros(3), "on": jnp.array([True, True, False])}
    np.testing.assert_allclose(jl.Objective({"t": term})(data)[0], 5.0)


def test_losses_keep_double_precision():
    with jax.enable_x64(True):
        data = {name: jnp.asarray(x, jnp.float64) for name, x in DATA.items()}
        losses, _ = jl.Objective({"a": MSE}).losses(data)
        assert losses["a"].dtype == jnp.float64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": "1"}, "start must be a stage (an integer), got '1'"),
        ({"stop": 1.5}, "stop must be a stage (an integer), got 1.5"),
        ({"ramp": True}, "ramp must be a number of steps (an integer), got True"),
        ({"inputs": 5}, "inputs must be paths, got 5"),
        ({"options": 5}, "options must be keywords of the loss, got 5"),
    ],
)
def test_fields_of_another_kind(fields, message):
    term = dataclasses.replace(MSE)
    for name, value in fields.items():  # past the annotations, which this suite checks, and a file's values do not pass
        object.__setattr__(term, name, value)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        jl.Objective({"t": term})
    assert str(caught.value) == f"term 't': {message}"


def test_a_module_that_is_not_there():
    config = {"terms": {"t": {"loss": "no_such_module:f", "inputs": ["a", "b"]}}}
    with pytest.raises(ValueError, match=r"^term 't': loss 'no_such_module:f' cannot be imported: No module"):
        jl.Objective.from_config(config, allow_import=True)


def test_a_traced_weight_belongs_to_the_call():
    def total(weight):
        return jl.Objective({"a": dataclasses.replace(MSE, weight=weight)})(DATA)[0]

    with pytest.raises(ValueError, match=r"^weight is traced, .* pass weights=\{name: \.\.\.\} to the call$"):
        jax.jit(total)(2.0)
