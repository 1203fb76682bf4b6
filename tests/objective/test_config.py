"""An objective as plain data: round trips, what a config may hold, and what it says about mistakes."""

import json
import tomllib

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from tests.objective.test_surface import DATA, STAGED, TOML


def test_round_trips():
    from_toml = jl.Objective.from_config(tomllib.loads(TOML))
    for objective in (STAGED, from_toml):
        config = objective.to_config()
        again = jl.Objective.from_config(json.loads(json.dumps(config)))
        assert again == objective
        assert hash(again) == hash(objective)
        assert again.to_config() == config
        step = jnp.asarray(130)
        np.testing.assert_array_equal(
            objective(DATA, step=step, params=objective.init())[0], again(DATA, step=step, params=again.init())[0]
        )
    assert list(STAGED.to_config()["terms"]["ce"]) == ["loss", "inputs", "stop"], "defaults are left out"


def test_a_config_that_changes_later_changes_nothing():
    config = STAGED.to_config()
    objectives = []
    for gamma in (1.0, 2.0):
        config["terms"]["focal"]["options"]["gamma"] = gamma
        objectives.append(jl.Objective.from_config(config))
    assert [objective.terms["focal"].options["gamma"] for objective in objectives] == [1.0, 2.0]


def test_a_config_dict():
    class ConfigDict:  # of ml_collections, which is no Mapping
        def to_dict(self):
            return STAGED.to_config()

    assert jl.Objective.from_config(ConfigDict()) == STAGED


def test_imports_only_when_allowed():
    config = {"terms": {"a": {"loss": "optax:l2_loss", "inputs": ["out.depth", "batch.depth"]}}}
    with pytest.raises(ValueError, match=r"^term 'a': loss 'optax:l2_loss' would import code; pass allow_import=True"):
        jl.Objective.from_config(config)
    objective = jl.Objective.from_config(config, allow_import=True)
    assert objective.terms["a"].loss is optax.l2_loss


def term(**fields):
    return {"terms": {"a": {"loss": "squared_error", "inputs": ["x", "y"], **fields}}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**term(), "boundries": [3]}, "unknown key 'boundries'; did you mean 'boundaries'?"),
        (term(wieght=2.0), "term 'a': unknown key 'wieght'; did you mean 'weight'?"),
        ({"terms": {"a": {"loss": "squared_error"}}}, "term 'a': a term needs 'inputs'"),
        (
            {"terms": {"a": {"loss": "squred_error", "inputs": ["x", "y"]}}},
            "term 'a': no loss named 'squred_error'; did you mean 'squared_error'?",
        ),
        (term(weight={"value": 2.0}), "term 'a': weight must be a number or have a 'schedule', got {'value': 2.0}"),
        (
            term(weight={"schedule": "linear_schedul"}),
            "term 'a': optax has no schedule 'linear_schedul'; did you mean 'linear_schedule'?",
        ),
        (
            term(weight={"schedule": "linear_schedule", "init_valu": 1.0}),
            "term 'a': schedule 'linear_schedule' has no argument 'init_valu'; did you mean 'init_value'?",
        ),
        (
            term(weight={"schedule": "linear_schedule", "init_value": 1.0}),
            "term 'a': schedule 'linear_schedule': missing a required argument: 'end_value'",
        ),
        ({"terms": [1]}, "terms must be a mapping, got [1]"),
        ({**term(), "combine": "uncertanty"}, "no combiner named 'uncertanty'; did you mean 'uncertainty'?"),
        (
            {**term(), "combine": {"name": "uncertainty", "limt": 3.0}},
            "combiner 'uncertainty' has no option 'limt'; did you mean 'limit'? (options: limit)",
        ),
        (
            term(inputs={"predictions": "x"}),
            "term 'a': loss 'squared_error' takes ('predictions', 'targets'), inputs has no 'targets': ['predictions']",
        ),
        (
            term(inputs={"predictions": "x", "targets": "y", "wher": "m"}),
            "term 'a': loss 'squared_error' has no input 'wher'",
        ),
        (
            term(inputs={"predictions": "x", "targets": "y", "where": "m"}),
            "term 'a': 'where' is no input of the loss; did you mean Term(..., where=)?",
        ),
    ],
)
def test_errors_of_a_config(config, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole text is compared below
        jl.Objective.from_config(config)
    assert str(error.value) == message


def test_functions_cannot_be_saved():
    for field, fields in {
        "loss": {"loss": lambda x, y: x - y},
        "weight": {"weight": optax.linear_schedule(0.0, 1.0, 10)},
        "inputs": {"inputs": (lambda data: data["x"], "y")},
    }.items():
        given = {"loss": "squared_error", "inputs": ("x", "y"), **fields}
        with pytest.raises(ValueError, match=rf"^term 'a': {field} cannot be saved: it is the function .*; use a path"):
            jl.Objective({"a": jl.Term(**given)}).to_config()
