"""Terms that stand outside the combiner, and terms whose data may be missing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlosses as jl

DATA = {"out": jnp.array([3.0, 1.0]), "y": jnp.array([1.0, 1.0]), "params": {"w": jnp.array([3.0, 4.0])}}
FIT = jl.Term("squared_error", ("out", "y"))  # its mean is 2, its likelihood (1/2, 1/2)


def test_a_penalty_is_added_beside_what_is_combined():
    objective = jl.Objective({"fit": FIT, "decay": jl.Term("l2_penalty", "params", weight=0.01)}, combine="uncertainty")
    assert set(objective.init()) == {"fit"}
    total, aux = objective(DATA, params={"fit": jnp.asarray(0.4)})
    np.testing.assert_allclose(total, 0.5 * np.exp(-0.4) * 2 + 0.5 * 0.4 + 0.01 * 25, rtol=1e-6)
    np.testing.assert_allclose(aux["loss"]["decay"], 25)
    np.testing.assert_allclose(aux["weight"]["decay"], 0.01, rtol=1e-6)
    slope = jax.grad(lambda w: objective({**DATA, "params": {"w": w}}, params={"fit": 0.4})[0])(DATA["params"]["w"])
    np.testing.assert_allclose(slope, 0.01 * 2 * np.array([3.0, 4.0]), rtol=1e-6)


def test_fixed_false_lets_the_combiner_weigh_a_penalty():
    decay = jl.Term("l2_penalty", "params", fixed=False)
    objective = jl.Objective({"fit": FIT, "decay": decay}, combine="log")
    np.testing.assert_allclose(objective(DATA)[0], np.log(2) + np.log(25), rtol=1e-6)


@pytest.mark.parametrize(
    ("combine", "combined"),
    [
        ("sum", 2.0),
        ("log", np.log(2.0)),
        ("geometric", 2.0),
        ("soft_optimal", 2.0),
        ({"name": "revised_uncertainty", "limit": 2.0}, 0.5 * 2 + np.log(2)),
    ],
)
def test_any_term_may_be_fixed_under_any_combiner(combine, combined):
    extra = jl.Term("absolute_error", ("out", "y"), weight=3.0, fixed=True)  # its mean is 1
    objective = jl.Objective({"fit": FIT, "extra": extra}, combine=combine)
    total, aux = objective(DATA, params=objective.init(), weights={"extra": 0.5})
    np.testing.assert_allclose(total, combined + 3.0 * 0.5 * 1.0, rtol=1e-6)
    np.testing.assert_allclose(aux["weight"]["extra"], 1.5)


def test_an_objective_of_fixed_terms_alone():
    objective = jl.Objective({"decay": jl.Term("l1_penalty", "params", weight=2.0)}, combine="uncertainty")
    assert objective.init() == {}
    np.testing.assert_allclose(objective(DATA)[0], 14.0)


def test_fixed_follows_the_registry_also_through_a_partial_and_a_config():
    squares = functools.partial(jl.l2_penalty, half=True)
    assert jl.Term(squares, "params").is_fixed
    assert not FIT.is_fixed
    objective = jl.Objective({"fit": jl.Term("squared_error", ("out", "y"), fixed=True, optional=True)})
    assert objective.to_config()["terms"]["fit"]["fixed"] is True
    assert jl.Objective.from_config(objective.to_config()) == objective


def test_a_loss_that_may_be_negative_is_refused_where_losses_must_not_be():
    generator = {"variant": "minimax"}
    term = functools.partial(jl.Term, "generator_loss", "out")
    for combine in ("uncertainty", "revised_uncertainty", "log", "geometric", {"name": "soft_optimal"}):
        name = combine if isinstance(combine, str) else combine["name"]
        message = (
            rf"^term 'g': loss 'generator_loss' may be negative with variant='minimax', and combine='{name}' needs "
            r"losses >= 0; choose another variant, or fixed=True to add it beside what is combined$"
        )
        with pytest.raises(ValueError, match=message):
            jl.Objective({"g": term(options=generator)}, combine=combine)
        jl.Objective({"g": term(options=generator, fixed=True), "fit": FIT}, combine=combine)
        jl.Objective({"g": term(options={"variant": "least_squares"})}, combine=combine)
        jl.Objective({"g": term()}, combine=combine)
    jl.Objective({"g": term(options=generator)})
    jl.Objective({"mine": jl.Term(lambda x: -x, "out")}, combine="log")  # nobody knows


def test_a_registered_minimum_below_zero_is_known():
    jl.register("test_signed_loss", minimum=-1.0)(lambda x: x)
    try:
        with pytest.raises(ValueError, match="loss 'test_signed_loss' may be negative, and combine='log' needs"):
            jl.Objective({"t": jl.Term("test_signed_loss", "out")}, combine="log")
    finally:
        jl.unregister("test_signed_loss")


OPTIONAL = jl.Objective(
    {
        "fit": FIT,
        "depth": jl.Term("absolute_error", ("depth", "true_depth"), where="has_depth", optional=True),
    },
    combine="uncertainty",
)
DEPTH = {"depth": jnp.array([1.0, 5.0]), "true_depth": jnp.array([3.0, 0.0]), "has_depth": jnp.array([True, False])}


@pytest.mark.parametrize("lacking", ["depth", "true_depth", "has_depth"])
def test_an_optional_term_is_off_where_its_data_is_missing(lacking):
    data = {**DATA, **{key: x for key, x in DEPTH.items() if key != lacking}}
    params = {"fit": jnp.asarray(0.3), "depth": jnp.asarray(-0.2)}
    (total, aux), slopes = jax.jit(jax.value_and_grad(lambda p, d: OPTIONAL(d, params=p), has_aux=True))(params, data)
    np.testing.assert_allclose(total, 0.5 * np.exp(-0.3) * 2 + 0.5 * 0.3, rtol=1e-6)
    assert {key: float(aux[key]["depth"]) for key in aux} == {"loss": 0, "weight": 0, "count": 0, "active": 0}
    assert slopes["depth"] == 0
    assert OPTIONAL.counts(data)["depth"] == 0
    assert OPTIONAL.losses(data)[0]["depth"] == 0
    assert f"off: no '{lacking}'" in OPTIONAL.check(data)


def test_an_optional_term_whose_data_is_there_is_like_any_other():
    total, aux = OPTIONAL({**DATA, **DEPTH}, params={"fit": 0.0, "depth": 0.0})
    np.testing.assert_allclose(total, 0.5 * 2 + 2.0, rtol=1e-6)  # |1 - 3| over the one that is there
    assert aux["active"]["depth"] == 1


def test_a_missing_path_is_an_error_without_optional():
    strict = jl.Objective({"depth": jl.Term("absolute_error", ("depth", "true_depth"))})
    with pytest.raises(ValueError, match=r"^term 'depth': no 'depth': data has \['out', 'params', 'y'\]"):
        strict(DATA)


def test_a_function_as_path_may_make_a_term_optional_too():
    term = jl.Term("absolute_error", (lambda d: d["extra"]["x"], "y"), optional=True)
    objective = jl.Objective({"fit": FIT, "extra": term})
    assert objective(DATA)[1]["active"]["extra"] == 0
    assert objective({**DATA, "extra": {"x": DATA["y"]}})[1]["active"]["extra"] == 1


def test_other_errors_of_an_optional_term_are_not_swallowed():
    with pytest.raises(ValueError, match=r"^term 'depth': absolute_error: predictions \(2,\) and targets \(3,\)"):
        OPTIONAL({**DATA, **DEPTH, "true_depth": jnp.zeros(3)}, params=OPTIONAL.init())


def test_a_stage_of_fixed_terms_alone_takes_the_same_params():
    objective = jl.Objective(
        {"decay": jl.Term("l2_penalty", "params"), "fit": jl.Term("squared_error", ("out", "y"), start=1)},
        boundaries=[10],
        combine="uncertainty",
    )
    params = objective.init()
    np.testing.assert_allclose(objective.at_stage(0)(DATA, params=params)[0], 25.0)
    with pytest.raises(ValueError, match=r"params must be what init\(\) made: \[\], got \['decay'\]"):
        objective.at_stage(0)(DATA, params={"decay": 0.0})


def test_check_of_an_optional_term_whose_path_computes():
    term = jl.Term("squared_error", ("out", "y"), where=lambda d: ~jnp.isnan(d["y"]), optional=True)
    assert "off" not in jl.Objective({"t": term}).check(DATA)


def test_a_typo_in_a_function_is_no_missing_data():
    term = jl.Term("squared_error", ("out", lambda d: jnp.logg(d["y"])), optional=True)
    with pytest.raises(AttributeError, match="logg"):
        jl.Objective({"fit": FIT, "t": term})(DATA)


def test_the_total_of_fixed_terms_has_their_precision():
    with jax.enable_x64(True):
        decay = jl.Objective({"decay": jl.Term("l2_penalty", "params")}, combine="uncertainty")
        assert decay({"params": {"w": jnp.ones(2, jnp.float32)}})[0].dtype == jnp.float32
