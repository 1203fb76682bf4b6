"""`summarize`: an epoch's steps, or a batch's microbatches, as one row of a log."""

import csv
import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl

OBJECTIVE = jl.Objective(
    {
        "box": jl.Term("absolute_error", ("out", "y"), where="has"),
        "late": jl.Term("squared_error", ("out", "y"), start=1),
        "soft": jl.Term("huber_loss", ("out", "y"), sample_weights="w", weight=0.5),
    },
    boundaries=[100],
)
BATCH = {
    "out": jnp.zeros(4),
    "y": jnp.array([1.0, 3.0, 5.0, -7.0]),
    "has": jnp.array([True, True, True, False]),
    "w": jnp.array([1.0, 0.0, 2.0, 1.0]),
}


def halves(batch):
    return jax.tree.map(lambda x: x.reshape(2, 2), batch)


def test_losses_by_their_counts():
    _, aux = jax.lax.scan(lambda step, data: (step + 1, OBJECTIVE(data, step=step)[1]), 0, halves(BATCH))
    row = jl.summarize(aux)
    assert row["loss/box"] == pytest.approx((1 + 3 + 5) / 3)
    assert row["loss/soft"] == pytest.approx((0.5 * 1 + 4.5 * 2 + 6.5 * 1) / 4)
    assert row["count/box"] == 3
    assert row["count/soft"] == 4
    assert row["weight/soft"] == pytest.approx(0.5)
    assert row["active/box"] == 1


def test_a_term_that_never_was_active_is_nan():
    row = jl.summarize([OBJECTIVE(BATCH, step=step)[1] for step in (0, 50)])
    assert math.isnan(row["loss/late"])
    assert row["active/late"] == row["weight/late"] == row["count/late"] == 0
    row = jl.summarize([OBJECTIVE(BATCH, step=step)[1] for step in (0, 100, 100)])
    assert row["loss/late"] == pytest.approx((1 + 9 + 25 + 49) / 4)
    assert row["active/late"] == pytest.approx(2 / 3)
    assert row["weight/late"] == pytest.approx(2 / 3)


def test_microbatches_are_the_batch():
    counts = OBJECTIVE.counts(BATCH)
    aux = jax.lax.map(lambda data: OBJECTIVE(data, step=100, counts=counts)[1], halves(BATCH))
    total = sum(OBJECTIVE(jax.tree.map(lambda x, k=k: x[k], halves(BATCH)), step=100, counts=counts)[0] for k in (0, 1))
    whole_total, whole = OBJECTIVE(BATCH, step=100)
    np.testing.assert_allclose(total, whole_total, rtol=1e-6)
    row = jl.summarize(aux)
    for key in ("loss", "weight", "count", "active"):
        for name in OBJECTIVE.terms:
            assert row[f"{key}/{name}"] == pytest.approx(float(whole[key][name]), rel=1e-6), (key, name)


def test_steps_of_microbatches_of_any_shape():
    counts = OBJECTIVE.counts(BATCH)
    one = jax.lax.map(lambda data: OBJECTIVE(data, step=100, counts=counts)[1], halves(BATCH))
    assert jl.summarize(jax.tree.map(lambda x: jnp.stack([x, x]), one))["loss/box"] == pytest.approx(3.0)
    assert jl.summarize(OBJECTIVE(BATCH, step=100)[1])["loss/box"] == pytest.approx(3.0)


def test_under_jit_and_in_a_csv_row():
    steps = [OBJECTIVE(BATCH, step=step)[1] for step in (0, 100)]
    row, traced = jl.summarize(steps), jax.jit(jl.summarize)(steps)
    assert {key: pytest.approx(float(x), nan_ok=True) for key, x in traced.items()} == row
    text = io.StringIO()
    writer = csv.DictWriter(text, row)
    writer.writeheader()
    writer.writerow(row)
    assert float(next(csv.DictReader(io.StringIO(text.getvalue())))["loss/box"]) == pytest.approx(3.0)


def test_metrics_are_folded_too():
    jl.register("test_with_rate", has_aux=True)(lambda x, y: (jnp.abs(x - y), {"hit": jnp.abs(x - y) < 2.0}))
    try:
        objective = jl.Objective({"a/b": jl.Term("test_with_rate", ("out", "y"), where="has")})
        row = jl.summarize([objective(jax.tree.map(lambda x, k=k: x[k], halves(BATCH)))[1] for k in (0, 1)])
        assert row["metric/a/b/hit"] == pytest.approx(1 / 3)
    finally:
        jl.unregister("test_with_rate")


def test_counts_beyond_float32():
    ones = {"loss": 1, "weight": 1, "count": 1, "active": 1}
    aux = {key: {"t": np.full(3, x, np.float32)} for key, x in ones.items()}
    aux["count"]["t"] = np.array([2**24, 1, 1], np.float32)
    assert jl.summarize(aux)["count/t"] == 2**24 + 2


@pytest.mark.parametrize("wrong", [[], {}, {"loss": {}}])
def test_what_is_no_aux(wrong):
    with pytest.raises(ValueError, match=r"^summarize: "):
        jl.summarize(wrong)


def test_metrics_of_a_term_that_is_off_in_some_steps():
    jl.register("test_hits", has_aux=True)(lambda x, y: (jnp.abs(x - y), {"hit": jnp.abs(x - y) < 2.0}))
    try:
        objective = jl.Objective({"box": jl.Term("test_hits", ("out", "extra"), optional=True)})
        steps = [
            objective({"out": jnp.zeros(2), "extra": jnp.array([1.0, 3.0])})[1],
            objective({"out": jnp.zeros(2)})[1],
        ]
        row = jl.summarize(steps)
        assert row["metric/box/hit"] == 0.5
        assert row["loss/box"] == 2.0
        assert row["active/box"] == 0.5
    finally:
        jl.unregister("test_hits")
