"""The rest of an objective: named inputs, per-example means, single stages, addition, config, tables."""

import json
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from jaxlosses.__main__ import main

DATA = {
    "out": {"seg": jnp.array([[2.0, 1.0, 0.1], [0.5, 0.5, 0.5]]), "depth": jnp.array([[1.0, 3.0], [2.0, 0.0]])},
    "batch": {
        "seg": jnp.array([0, 2]),
        "depth": jnp.array([[0.0, 1.0], [0.0, 0.0]]),
        "valid": jnp.array([[True, False], [True, True]]),
        "spare": jnp.zeros(3),
    },
}
STAGED = jl.Objective(
    {
        "ce": jl.Term("softmax_cross_entropy", ("out.seg", "batch.seg"), stop=1),
        "focal": jl.Term("softmax_focal_loss", ("out.seg", "batch.seg"), start=1, options={"gamma": 1.5}),
        "depth": jl.Term(
            "squared_error", ("out.depth", "batch.depth"), where="batch.valid", start=1, ramp=10, weight=0.5
        ),
    },
    boundaries=[100],
    combine="uncertainty",
)
TOML = """
boundaries = [100]
combine = {name = "uncertainty", limit = 5.0}
[terms.focal]
loss = "softmax_focal_loss"
inputs = ["out.seg", "batch.seg"]
start = 1
options = {gamma = 1.5}
[terms.ce]
loss = "softmax_cross_entropy"
inputs = {logits = "out.seg", labels = "batch.seg"}
[terms.depth]
loss = "squared_error"
inputs = ["out.depth", "batch.depth"]
where = "batch.valid"
reduction = "per_example"
weight = {schedule = "linear_schedule", init_value = 0.0, end_value = 1.0, transition_steps = 50}
"""


# What a term says


def test_named_inputs_reach_optional_arrays():
    by_name = jl.Term("n_pair_loss", {"anchors": "a", "positives": "p", "labels": "y"})
    data = {"a": jnp.eye(3), "p": jnp.eye(3) + 0.1, "y": jnp.array([0, 1, 0])}
    total, _ = jl.Objective({"pair": by_name})(data)
    np.testing.assert_allclose(
        total, jl.n_pair_loss(data["a"], data["p"], labels=data["y"], reduction="mean"), rtol=1e-6
    )
    assert by_name == jl.Term("n_pair_loss", {"labels": "y", "anchors": "a", "positives": "p"})
    assert hash(by_name) == hash(jl.Term("n_pair_loss", {"labels": "y", "anchors": "a", "positives": "p"}))


def test_a_foreign_loss_by_names():
    def weighed(predictions, targets, *, scale):
        return scale * jnp.abs(predictions - targets)

    term = jl.Term(weighed, {"predictions": "x", "targets": "y", "scale": "s"}, where="m")
    data = {
        "x": jnp.array([1.0, jnp.nan]),
        "y": jnp.zeros(2),
        "s": jnp.array([3.0, jnp.nan]),
        "m": jnp.array([True, False]),
    }
    value, grads = jax.value_and_grad(lambda x: jl.Objective({"a": term})(data | {"x": x})[0])(data["x"])
    assert value == 3
    np.testing.assert_array_equal(grads, [3, 0])


def test_a_mean_of_the_means_of_examples():
    x, y = jnp.array([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0], [9.0, 9.0, 9.0]]), jnp.zeros((3, 3))
    mask = jnp.array([[True, True, True], [True, False, False], [False, False, False]])
    per_example = jl.Term("absolute_error", ("x", "y"), where="m", reduction="per_example")
    foreign = jl.Term(lambda a, b: jnp.abs(a - b), ("x", "y"), where="m", reduction="per_example")
    for term in (per_example, foreign):
        total, aux = jax.jit(jl.Objective({"a": term}))({"x": x, "y": y, "m": mask})
        np.testing.assert_allclose(total, (2 + 4) / 2, rtol=1e-6)
        assert aux["count"]["a"] == 2
    plain = jl.Objective({"a": jl.Term("absolute_error", ("x", "y"), where="m")})
    np.testing.assert_allclose(plain({"x": x, "y": y, "m": mask})[0], 10 / 4, rtol=1e-6)
    nothing = jax.value_and_grad(lambda x: jl.Objective({"a": per_example})({"x": x, "y": y, "m": mask & False})[0])(x)
    assert nothing[0] == 0
    assert (nothing[1] == 0).all()


def test_weights_of_tokens_within_an_example():
    term = jl.Term("squared_error", ("x", "y"), sample_weights="w", reduction="per_example")
    data = {"x": jnp.array([[1.0, 2.0], [3.0, 5.0]]), "y": jnp.zeros((2, 2)), "w": jnp.array([[1.0, 3.0], [0.0, 0.0]])}
    np.testing.assert_allclose(jl.Objective({"a": term})(data)[0], (1 + 12) / 4, rtol=1e-6)


def test_a_registered_function_and_its_name_are_the_same_term():
    assert (
        jl.Term(jl.huber_loss, ("x", "y"))
        == jl.Term("huber_loss", ("x", "y"))
        == jl.Term("huber", ("x", "y")).__class__("huber_loss", ("x", "y"))
    )


# Stages, one at a time


@pytest.mark.parametrize(("stage", "step"), [(0, 20), (1, 104)])
def test_at_stage_is_the_same_without_the_rest(stage, step):
    params = {"ce": jnp.array(0.2), "focal": jnp.array(-0.1), "depth": jnp.array(0.4)}
    alone = STAGED.at_stage(stage)
    both = [
        jax.value_and_grad(lambda p, o=o: o(DATA, step=step, params=p), has_aux=True)(params) for o in (STAGED, alone)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *both)
    assert "cond" in str(jax.make_jaxpr(lambda p: STAGED(DATA, step=step, params=p)[0])(params))
    assert "cond" not in str(jax.make_jaxpr(lambda p: alone(DATA, step=step, params=p)[0])(params))
    assert alone == STAGED.at_stage(stage)
    assert hash(alone) == hash(STAGED.at_stage(stage))


def test_at_stage_drops_what_only_other_terms_read():
    poisoned = {"out": {**DATA["out"], "seg": None}, "batch": DATA["batch"]}
    objective = jl.Objective(
        {
            "a": jl.Term("squared_error", ("out.depth", "batch.depth"), stop=1),
            "b": jl.Term("softmax_cross_entropy", ("out.seg", "batch.seg"), start=1),
        },
        boundaries=[5],
    )
    assert jnp.isfinite(objective.at_stage(0)(poisoned)[0])
    with pytest.raises(ValueError, match=r"^at_stage\(2\): boundaries \(5,\) make stages 0 to 1$"):
        objective.at_stage(2)


# Losses one by one, and two objectives


def test_losses_are_gated_and_weighed():
    params = STAGED.init()
    losses, aux = STAGED.losses(DATA, step=105, params=params)
    _, expected = STAGED(DATA, step=105, params=params)
    assert losses["ce"] == 0
    np.testing.assert_allclose(losses["focal"], expected["loss"]["focal"], rtol=1e-6)
    np.testing.assert_allclose(losses["depth"], expected["loss"]["depth"] * 0.5 * 0.5, rtol=1e-6)
    assert aux["weight"]["depth"] == 0.25
    slopes, _ = jax.jacrev(
        lambda seg: STAGED.losses({"out": {**DATA["out"], "seg": seg}, "batch": DATA["batch"]}, step=105), has_aux=True
    )(DATA["out"]["seg"])
    assert set(slopes) == set(STAGED.terms)
    with pytest.raises(ValueError, match=r"losses takes the keywords of a call, got \['stpe'\]"):
        STAGED.losses(DATA, stpe=3)


def test_two_objectives_add_up():
    a = jl.Objective({"a": jl.Term("squared_error", ("out.depth", "batch.depth"))})
    b = jl.Objective(
        {"b": jl.Term("softmax_cross_entropy", ("out.seg", "batch.seg"), start=1)}
        | {"c": jl.Term("huber_loss", ("out.depth", "batch.depth"))},
        boundaries=[10],
    )
    for step in (0, 20):
        np.testing.assert_allclose((a + b)(DATA, step=step)[0], a(DATA)[0] + b(DATA, step=step)[0], rtol=1e-6)
    assert a + b == b + a
    with pytest.raises(ValueError, match="cannot add objectives that both have a term 'a'; rename one"):
        a + a
    with pytest.raises(ValueError, match=r"cannot add objectives with boundaries \(100,\) and \(10,\)"):
        jl.Objective(STAGED.terms, boundaries=[100]) + b
    with pytest.raises(ValueError, match="combine by 'sum' and by 'uncertainty'"):
        a + STAGED
    with pytest.raises(TypeError):
        a + 1


# Config


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
            "combiner 'uncertainty' has no option 'limt'; did you mean 'limit'?",
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


def test_batches_cannot_be_taken_apart():
    with pytest.raises(
        ValueError, match="term 'a': loss 'n_pair_loss' compares examples with each other: reduction='per_example'"
    ):
        jl.Objective({"a": jl.Term("n_pair_loss", ("x", "y"), reduction="per_example")})


# Looking at it


def test_check_draws_a_table_of_shapes():
    lines = STAGED.check(DATA).splitlines()
    assert lines[0].split() == ["term", "loss", "inputs", "mask", "stages", "weight"]
    assert (
        "depth  squared_error          out.depth (2, 2), batch.depth (2, 2)  batch.valid (2, 2)  1, ramp 10  0.5"
        in lines
    )
    assert lines[-3] == "combine: uncertainty, learning ['ce', 'depth', 'focal']"
    assert lines[-2] == "stage 0 from step 0; stage 1 from step 100"
    assert lines[-1] == "not read by any term: batch.spare"
    shapes = jax.eval_shape(lambda: DATA)
    assert STAGED.check(shapes) == STAGED.check(DATA)


def test_check_raises_the_first_fault():
    wrong = {"out": DATA["out"], "batch": {**DATA["batch"], "valid": jnp.ones(3, bool)}}
    with pytest.raises(
        ValueError, match=r"^term 'depth': where 'batch.valid' has shape \(3,\), which is not the start"
    ):
        STAGED.check(wrong)
    with pytest.raises(ValueError, match=r"^term 'ce': no 'out.seg': out has \['depth'\]"):
        STAGED.check({"out": {"depth": DATA["out"]["depth"]}, "batch": DATA["batch"]})


def test_the_command_line_checks_a_file(tmp_path, capsys):
    path = tmp_path / "objective.toml"
    path.write_text(TOML)
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "linear_schedule(init_value=0.0, end_value=1.0, transition_steps=50)" in out
    assert "stage 1 from step 100" in out
    path.with_suffix(".json").write_text(json.dumps(STAGED.to_config()))
    assert main(["check", str(path.with_suffix(".json"))]) == 0
    path.write_text(TOML.replace("gamma", "gama"))
    assert main(["check", str(path)]) == 2
    assert (
        "term 'focal': loss 'softmax_focal_loss' has no option 'gama'; did you mean 'gamma'?" in capsys.readouterr().err
    )
    assert main(["check", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    path.write_text("terms = [")
    assert main(["check", str(path)]) == 2


def test_value_only_keeps_the_signature():
    def loss_fn(params, batch, step=0):
        return params * batch, {"seen": step}

    assert jl.value_only(loss_fn)(2.0, batch=3.0) == 6.0
    import inspect

    assert list(inspect.signature(jl.value_only(loss_fn)).parameters) == ["params", "batch", "step"]
