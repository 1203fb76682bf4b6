"""The bench: every loss has a baseline, which computes the same number, and a quick run goes through."""

import jax
import numpy as np
import pytest

import jaxlosses as jl
from bench.__main__ import main
from bench.suite import comparisons

COMPARISONS = {f"{one.name} against {one.baseline_name}": one for one in comparisons(1 / 1024)}


def test_every_loss_is_measured():
    assert {one.name for one in COMPARISONS.values()} >= set(jl.names())


@pytest.mark.parametrize("which", COMPARISONS)
def test_a_loss_and_its_baseline_agree(which):
    one = COMPARISONS[which]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(jax.jit(one.ours)(*one.inputs), jax.jit(one.baseline)(*one.inputs), rtol=1e-4)


def test_a_quick_run(capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        measured = main(["--quick", "--only", "huber"])
    assert [what for _, _, what, _ in measured] == ["value", "value and gradient"]
    assert "| `huber_loss` | optax" in capsys.readouterr().out.replace("  ", " ")
