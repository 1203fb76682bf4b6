"""Steps may count tokens: floats, unsigned integers, and numbers that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl

DATA = {"x": jnp.array([3.0]), "y": jnp.array([1.0])}
NEAR, FAR = jl.Term("squared_error", ("x", "y")), jl.Term("absolute_error", ("x", "y"), start=1)


def staged(*boundaries, **fields):
    return jl.Objective(
        {"near": NEAR, "far": jl.Term("absolute_error", ("x", "y"), start=1, **fields)}, boundaries=boundaries
    )


BILLIONS = staged(3_000_000_000, ramp=1_000_000_000)


@pytest.mark.parametrize(
    ("step", "weight"), [(2_999_999_999, 0), (3_000_000_000, 0), (3_500_000_000, 0.5), (4_000_000_000, 1)]
)
@pytest.mark.parametrize("dtype", [jnp.uint32, jnp.float32])
def test_tokens_beyond_int32(step, weight, dtype):
    if dtype == jnp.float32 and step == 2_999_999_999:
        step = 2_900_000_000  # float32 has no number between
    _, aux = jax.jit(BILLIONS)(DATA, step=jnp.asarray(np.asarray(step, dtype)))
    np.testing.assert_allclose(aux["weight"]["far"], weight, atol=1e-6)
    assert bool(aux["active"]["far"]) == (step >= 3_000_000_000)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int16, jnp.uint8])
def test_a_boundary_that_the_dtype_cannot_reach_is_never_reached(dtype):
    objective = staged(100, 5_000_000_000)
    _, aux = jax.jit(objective)(DATA, step=jnp.asarray(120, dtype))
    assert aux["active"]["far"] == 1
    never = staged(5_000_000_000, ramp=10)
    assert jax.jit(never)(DATA, step=jnp.asarray(jnp.iinfo(dtype).max, dtype))[1]["active"]["far"] == 0


def test_a_floating_step_is_compared_as_it_is():
    objective = staged(10)
    assert objective(DATA, step=jnp.asarray(9.5))[1]["active"]["far"] == 0
    assert objective(DATA, step=jnp.asarray(10.0))[1]["active"]["far"] == 1
    np.testing.assert_allclose(staged(10, ramp=10)(DATA, step=12.5)[1]["weight"]["far"], 0.25)


@pytest.mark.parametrize("step", [5_000_000_000, np.int64(5_000_000_000), np.uint64(2**63), np.asarray(-(2**40))])
def test_a_step_that_does_not_fit_is_an_error(step):
    with pytest.raises(ValueError, match=r"^step=.* does not fit into u?int32; count in float32 or uint32"):
        BILLIONS(DATA, step=step)


@pytest.mark.parametrize("step", [2**64, -(2**70), np.float64(1e39)])
def test_a_step_beyond_all_dtypes_is_named_too(step):
    with pytest.raises(ValueError, match=r"^step=.* does not fit into (int|float)32; count in float32 or uint32"):
        BILLIONS(DATA, step=step)


@pytest.mark.usefixtures("_annotations_off")
def test_a_step_that_is_no_number():
    with pytest.raises(ValueError, match=r"^step must be a number, got '5'$"):
        BILLIONS(DATA, step="5")


def test_ramps_and_schedules_over_more_tokens_than_int32_counts():
    objective = staged(1_000_000_000, ramp=3_000_000_000)
    for dtype in (jnp.uint32, jnp.float32):
        step = jnp.asarray(np.asarray(2_500_000_000, dtype))
        np.testing.assert_allclose(jax.jit(objective)(DATA, step=step)[1]["weight"]["far"], 0.5, rtol=1e-6)
        linear = jl.schedule("linear_schedule", init_value=1.0, end_value=0.0, transition_steps=5_000_000_000)
        jump = jl.schedule("piecewise_constant_schedule", init_value=1.0, boundaries_and_scales={2_400_000_000: 0.1})
        for weight, expected in ((linear, 0.5), (jump, 0.1)):
            term = jl.Term("squared_error", ("x", "y"), weight=weight)
            _, aux = jax.jit(jl.Objective({"near": term}))(DATA, step=step)
            np.testing.assert_allclose(aux["weight"]["near"], expected, rtol=1e-6)


def test_a_function_of_ones_own_gets_an_integer():
    table = jnp.array([1.0, 2.0, 4.0])
    objective = jl.Objective({"near": jl.Term("squared_error", ("x", "y"), weight=lambda step: table[step])})
    assert objective(DATA, step=jnp.uint32(2))[1]["weight"]["near"] == 4


def test_numpy_steps_that_fit():
    for step in (np.int64(12), np.uint8(12), np.float64(12), 12, 12.0):
        assert staged(10)(DATA, step=step)[1]["active"]["far"] == 1


def test_a_schedule_of_optax_sees_no_unsigned_step():
    schedule = jl.schedule("linear_schedule", init_value=1.0, end_value=0.0, transition_steps=100, transition_begin=50)
    for weight in (schedule, optax.linear_schedule(1.0, 0.0, 100, 50)):
        objective = jl.Objective({"near": jl.Term("squared_error", ("x", "y"), weight=weight)})
        for step, expected in ((0, 1.0), (100, 0.5), (4_000_000_000, 0.0)):
            _, aux = jax.jit(objective)(DATA, step=jnp.asarray(np.uint32(step)))
            np.testing.assert_allclose(aux["weight"]["near"], expected, atol=1e-7)  # as optax rounds it


def test_at_stage_keeps_the_ramp_beyond_int32():
    objective = BILLIONS.at_stage(1)
    _, aux = jax.jit(objective)(DATA, step=jnp.asarray(np.uint32(3_250_000_000)))
    np.testing.assert_allclose(aux["weight"]["far"], 0.25, rtol=1e-6)
