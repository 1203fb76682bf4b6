"""The bench: every loss has a row, both sides of a row compute the same number, and a quick run goes through."""

import jax
import numpy as np
import pytest

import jaxlosses as jl
from bench.__main__ import main
from bench.rows import rows

ROWS = {f"{row.name} against {row.rival}": row for row in rows(1 / 1024)}


def test_every_loss_is_measured():
    assert {row.name for row in ROWS.values()} >= set(jl.names())


@pytest.mark.parametrize("which", ROWS)
def test_both_sides_agree(which):
    row = ROWS[which]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(jax.jit(row.ours)(*row.inputs), jax.jit(row.other)(*row.inputs), rtol=1e-4)


def test_a_quick_run(capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        measured = main(["--quick", "--only", "huber"])
    assert [what for _, _, what, _ in measured] == ["value", "value and gradient"]
    assert "| `huber_loss` | optax" in capsys.readouterr().out.replace("  ", " ")
