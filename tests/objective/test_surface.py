"""The rest of an objective: named inputs, per-example means, single stages, addition, tables."""

import json

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


def test_weights_of_whole_examples():
    """(3 (1 + 4)/2 + 1 (9 + 25)/2) / (3 + 1), where the third example weighs nothing, whatever it holds."""
    term = jl.Term("squared_error", ("x", "y"), sample_weights="w", reduction="per_example")
    x = jnp.array([[1.0, 2.0], [3.0, 5.0], [jnp.nan, 1.0]])
    data = {"x": x, "y": jnp.zeros((3, 2)), "w": jnp.array([3.0, 1.0, 0.0])}
    total, slope = jax.value_and_grad(lambda x: jl.Objective({"a": term})({**data, "x": x})[0])(x)
    np.testing.assert_allclose(total, (3 * 2.5 + 17) / 4, rtol=1e-6)
    np.testing.assert_allclose(slope, [[0.75, 1.5], [0.75, 1.25], [0, 0]], rtol=1e-6)


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
    with pytest.raises(TypeError, match="stpe"):
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
    with pytest.raises(ValueError, match=r"^term 'depth': where 'batch.valid' has shape \(3,\), which is no prefix"):
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


def test_half_precision_outputs_are_combined_in_float32():
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, DATA["out"])
    same = jax.tree.map(lambda x: x.astype(jnp.float32), half)
    totals = [STAGED({"out": out, "batch": DATA["batch"]}, step=105, params=STAGED.init()) for out in (half, same)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *totals)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(totals[0]))
    gradient = jax.grad(
        lambda seg: STAGED({"out": {**half, "seg": seg}, "batch": DATA["batch"]}, step=50, params=STAGED.init())[0]
    )
    assert gradient(half["seg"]).dtype == jnp.bfloat16


def test_a_loss_that_reports_more():
    @jl.register("with_hits", has_aux=True)
    def with_hits(logits, labels):
        hits = jnp.argmax(logits, -1) == labels
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels), {"accuracy": hits}

    try:
        fields = {"inputs": ("z", "y"), "where": "on", "sample_weights": "w"}
        objective = jl.Objective(
            {
                "seg": jl.Term("with_hits", **fields),
                "late": jl.Term("with_hits", **fields, start=1),
                "each": jl.Term("with_hits", ("z", "y"), where="on", reduction="per_example"),
            },
            boundaries=[5],
        )
        data = {
            "z": jnp.array([[2.0, 0.0], [0.0, 2.0], [jnp.nan, 0.0], [1.0, 0.0]]),
            "y": jnp.array([0, 0, 0, 0]),
            "on": jnp.array([True, True, False, True]),
            "w": jnp.array([1.0, 2.0, 1.0, 3.0]),
        }
        total, aux = jax.jit(objective)(data, step=jnp.int32(0))
        assert jnp.isfinite(total)
        assert aux["metric"].keys() == {"seg/accuracy", "late/accuracy", "each/accuracy"}
        np.testing.assert_allclose(aux["metric"]["seg/accuracy"], 4 / 6)  # 1 and 3 of the weights 1, 2, 3
        np.testing.assert_allclose(aux["metric"]["each/accuracy"], 2 / 3)
        assert aux["metric"]["late/accuracy"] == 0
        assert "metric" not in jl.Objective({"a": jl.Term("squared_error", ("w", "w"))})(data)[1]
        assert objective.counts(data)["seg"] == 6
    finally:
        jl.unregister("with_hits")
