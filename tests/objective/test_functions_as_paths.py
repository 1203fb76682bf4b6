"""Paths that are functions, and that compute: `check` and `counts` evaluate them abstractly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl


def measured(data):
    return ~jnp.isnan(data["batch"]["depth"])


OBJECTIVE = jl.Objective(
    {"depth": jl.Term("huber_loss", ("out.depth", lambda d: 2.0 * d["batch"]["depth"]), where=measured)}
)
DATA = {"out": {"depth": jnp.ones((2, 3))}, "batch": {"depth": jnp.array([[1.0, jnp.nan, 2.0], [jnp.nan, 1.0, 1.0]])}}


def test_check_traces_them():
    for data in (DATA, jax.eval_shape(lambda: DATA)):
        table = OBJECTIVE.check(data)
        assert "measured (2, 3)" in table
        assert "out.depth (2, 3)" in table


def test_check_of_data_that_is_not_all_arrays():
    assert "measured (2, 3)" in OBJECTIVE.check({**DATA, "file": "scene.png", "sampler": object()})


def test_counts_computes_them():
    out = jax.eval_shape(lambda: DATA["out"])
    assert OBJECTIVE.counts({"out": out, "batch": DATA["batch"]})["depth"] == 4


def test_the_call_itself():
    total, aux = jax.jit(OBJECTIVE)(DATA)
    # 1 against 2, 4, 2, 2: huber of 1, 3, 1, 1
    np.testing.assert_allclose(total, (0.5 + 2.5 + 0.5 + 0.5) / 4, rtol=1e-6)
    assert aux["count"]["depth"] == 4


def test_an_error_inside_one_names_the_term():
    wrong = jl.Objective({"depth": jl.Term("huber_loss", ("out.depth", lambda d: d["batch"]["depth"][:, :2]))})
    with pytest.raises(ValueError, match=r"^term 'depth': huber_loss: predictions \(2, 3\) and targets \(2, 2\)"):
        wrong.check(DATA)
