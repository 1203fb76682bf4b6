"""The same objective in every framework: one program for all stages, and each log-variance moves with its own term."""

import json
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
import pytest

import jaxlosses as jl
from tests.frameworks import (
    problem,
    with_equinox,
    with_haiku,
    with_linen,
    with_nnx,
    with_nnx_split,
)


class Run(NamedTuple):
    aux: dict[str, dict[str, np.ndarray]]  # over the steps
    log_variances: dict[str, np.ndarray]  # over the steps, with the start
    traces: int
    compiled_late: int


def named(framework):
    """A parameter of a test: one worker runs all tests of a framework."""
    name = framework.__name__.removeprefix("tests.frameworks.with_")
    return pytest.param(framework, id=name, marks=pytest.mark.xdist_group(name))


@pytest.fixture(scope="module", params=[*map(named, [with_nnx, with_nnx_split, with_linen, with_haiku, with_equinox])])
def run(request):
    framework, objective, batches = request.param, problem.counted(problem.objective()), problem.batches()
    with problem.jax_as_it_comes():
        state, step = framework.start(objective, batches[0]), framework.make_step(objective)
        record, moved = [], [framework.log_variances(state)]
        state, aux = step(state, batches[0])
        with problem.compilations() as compiled:
            for index in range(1, problem.STEPS + 1):
                record.append(aux)
                moved.append(framework.log_variances(state))
                state, aux = step(state, batches[index % len(batches)])
    stack = lambda *trees: np.stack(trees)  # noqa: E731
    return Run(jax.tree.map(stack, *record), jax.tree.map(stack, *moved), len(objective.traces), len(compiled))


def test_it_is_compiled_once_for_both_stages(run):
    assert run.traces == 1
    assert run.compiled_late == 0
    boundary, after = problem.BOUNDARY, problem.STEPS - problem.BOUNDARY
    np.testing.assert_array_equal(run.aux["active"]["class"], [1] * boundary + [0] * after)
    for late in ("focal", "center"):
        np.testing.assert_array_equal(run.aux["active"][late], [0] * boundary + [1] * after)


def test_every_loss_comes_down(run):
    for name, factor in (("class", 0.8), ("focal", 0.6), ("center", 0.5)):
        losses = run.aux["loss"][name][run.aux["active"][name] == 1]
        assert losses[-4:].mean() < factor * losses[:4].mean(), name


def test_log_variances_move_while_their_term_is_active_and_else_rest(run):
    for name, values in run.log_variances.items():
        moves = np.diff(values) != 0
        counts = (run.aux["active"][name] == 1) & (run.aux["weight"][name] != 0)  # a ramp begins with the weight 0
        np.testing.assert_array_equal(moves, counts, err_msg=name)


def test_log_variances_have_a_learning_rate_of_their_own_and_no_decay(run):
    first = run.log_variances["class"][1]  # the first step of Adam is as long as its learning rate
    np.testing.assert_allclose(np.abs(first), 1e-2, rtol=1e-3)
    after = run.log_variances["class"][problem.BOUNDARY :]
    assert after[0] != 0
    assert (after == after[0]).all()


@pytest.mark.parametrize("framework", [*map(named, [with_nnx_split, with_linen, with_haiku])])
def test_a_checkpoint_is_the_parameters_and_a_config_beside_them(framework, tmp_path):
    """A run that is stopped behind the boundary and restored goes on as if nothing had been."""
    objective, batches = problem.objective(boundary=2), problem.batches(2)
    with problem.jax_as_it_comes():
        state, step = framework.start(objective, batches[0]), framework.make_step(objective)
        for index in range(4):
            state, _ = step(state, batches[index % 2])
        saved = {"net": state.params["net"], "loss": state.params["loss"]}
        (tmp_path / "objective.json").write_text(json.dumps(objective.to_config()))
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / "params", saved)
        with ocp.StandardCheckpointer() as checkpointer:
            restored = checkpointer.restore(tmp_path / "params", jax.eval_shape(lambda: saved))
        chex.assert_trees_all_equal(restored, saved)
        assert all(value.dtype == jnp.float32 and value.shape == () for value in restored["loss"].values())
        again = jl.Objective.from_config(json.loads((tmp_path / "objective.json").read_text()))
        assert again == objective
        state_again = state._replace(params=restored) if hasattr(state, "_replace") else state.replace(params=restored)
        expected = step(state, batches[0])
        chex.assert_trees_all_equal(framework.make_step(again)(state_again, batches[0]), expected)


def test_a_config_may_be_a_config_dict():
    config = ml_collections.ConfigDict(problem.objective().to_config())
    assert jl.Objective.from_config(config) == problem.objective()
    config.terms.center.weight = 3.0
    assert jl.Objective.from_config(config).terms["center"].weight == 3.0
    locked = ml_collections.FrozenConfigDict(problem.objective().to_config())
    assert jl.Objective.from_config(locked) == problem.objective()


def test_a_python_step_under_filter_jit_is_a_program_each():
    """What the advice to pass an array is about."""
    objective, batch = problem.counted(problem.objective()), problem.batches(1)[0]
    with problem.jax_as_it_comes():
        state, step = with_equinox.start(objective, batch)._replace(step=0), with_equinox.make_step(objective)
        for _ in range(3):
            state, _ = step(state, batch)
    assert len(objective.traces) == 3
