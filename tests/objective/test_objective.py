"""Objectives: what is on when, what it weighs, what cannot leak, and what the errors say."""

import functools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from jaxlosses import Objective, Term

KEY = jax.random.key(0)
OUT = {
    "seg": jax.random.normal(KEY, (8, 3)),
    "depth": jnp.arange(8.0),
    "box": jl.get("ciou_loss").example_inputs(KEY)[0].reshape(-1, 4)[:8],
}
BATCH = {
    "seg": jnp.arange(8) % 3,
    "depth": jnp.arange(8.0)[::-1],
    "box": jl.get("ciou_loss").example_inputs(KEY)[1].reshape(-1, 4)[:8],
    "valid": jnp.arange(8) % 2 == 0,
    "weight": jnp.arange(8.0),
}
DATA = {"out": OUT, "batch": BATCH}


def staged(combine="sum", **changes):
    terms = {
        "seg": Term("softmax_cross_entropy", ("out.seg", "batch.seg"), stop=1),
        "focal": Term("softmax_focal_loss", ("out.seg", "batch.seg"), start=1, options={"gamma": 1.5}),
        "depth": Term("squared_error", ("out.depth", "batch.depth"), where="batch.valid", start=1, ramp=4, weight=0.5),
    }
    return Objective(terms | changes, boundaries=[10], combine=combine)


def test_a_sum_is_the_sum_written_by_hand():
    objective = Objective(
        {
            "z": Term("softmax_cross_entropy", ("out.seg", "batch.seg"), weight=2.0),
            "a": Term(
                "squared_error", ("out.depth", "batch.depth"), where="batch.valid", sample_weights="batch.weight"
            ),
            "b": Term("ciou_loss", ("out.box", "batch.box"), reduction="sum"),
        }
    )

    def by_hand(out):
        return (
            2 * jl.softmax_cross_entropy(out["seg"], BATCH["seg"], reduction="mean")
            + jl.squared_error(
                out["depth"], BATCH["depth"], where=BATCH["valid"], sample_weights=BATCH["weight"], reduction="mean"
            )
            + jl.ciou_loss(out["box"], BATCH["box"], reduction="sum")
        )

    (total, aux), gradient = jax.value_and_grad(lambda out: objective({"out": out, "batch": BATCH}), has_aux=True)(OUT)
    value, expected = jax.value_and_grad(by_hand)(OUT)
    np.testing.assert_allclose(total, value, rtol=1e-6)
    chex.assert_trees_all_close(gradient, expected, rtol=1e-6)
    assert aux["count"] == {"z": 8, "a": 2 + 4 + 6, "b": 8}
    assert aux["weight"] == {"z": 2, "a": 1, "b": 1}
    assert set(aux) == {"loss", "weight", "count", "active"}
    assert all(value.dtype == jnp.float32 and value.shape == () for of in aux.values() for value in of.values())


def test_an_objective_costs_what_the_hand_written_sum_costs():
    objective = Objective(
        {
            "class": Term("softmax_cross_entropy", ("out.seg", "batch.seg")),
            "depth": Term("squared_error", ("out.depth", "batch.depth"), where="batch.valid", weight=0.5),
        }
    )

    def by_hand(out, batch):
        return jl.softmax_cross_entropy(out["seg"], batch["seg"], reduction="mean") + 0.5 * jl.squared_error(
            out["depth"], batch["depth"], where=batch["valid"], reduction="mean"
        )

    composed = (
        jax.jit(jax.grad(lambda out, batch: objective({"out": out, "batch": batch})[0])).lower(OUT, BATCH).compile()
    )
    written = jax.jit(jax.grad(by_hand)).lower(OUT, BATCH).compile()
    assert composed.memory_analysis().temp_size_in_bytes <= written.memory_analysis().temp_size_in_bytes + 64
    assert composed.cost_analysis()["flops"] <= written.cost_analysis()["flops"] + 16


@pytest.mark.parametrize("combine", ["sum", "uncertainty"])
def test_what_is_on_when(combine):
    objective = staged(combine)
    seen = {step: objective(DATA, step=step, params=objective.init())[1] for step in (0, 9, 10, 12, 14, 99)}
    assert [float(aux["active"]["seg"]) for aux in seen.values()] == [1, 1, 0, 0, 0, 0]
    assert [float(aux["active"]["focal"]) for aux in seen.values()] == [0, 0, 1, 1, 1, 1]
    scale = 0.5 if combine == "uncertainty" else 1.0  # c e^-s of a squared error at s = 0
    assert [float(aux["weight"]["depth"]) for aux in seen.values()] == [0, 0, 0, 0.25 * scale, 0.5 * scale, 0.5 * scale]
    np.testing.assert_allclose(seen[99]["loss"]["seg"], 0)
    np.testing.assert_allclose(
        seen[0]["loss"]["seg"], jl.softmax_cross_entropy(OUT["seg"], BATCH["seg"], reduction="mean"), rtol=1e-6
    )
    np.testing.assert_allclose(
        seen[99]["loss"]["focal"],
        jl.softmax_focal_loss(OUT["seg"], BATCH["seg"], gamma=1.5, reduction="mean"),
        rtol=1e-6,
    )
    assert seen[99]["count"]["depth"] == 4


def test_a_stage_overrides_the_step():
    objective = staged()
    total = objective(DATA, step=0, stage=1)[0]
    np.testing.assert_allclose(total, objective(DATA, step=10)[0], rtol=1e-6)


def test_one_trace_serves_all_steps_stages_weights_and_parameters():
    objective = staged("uncertainty")

    @jax.jit
    @functools.partial(chex.assert_max_traces, n=1)
    def run(step, params, weights):
        return objective(DATA, step=step, params=params, weights=weights)[0]

    chex.clear_trace_counter()
    totals = []
    for step in (0, 9, 10, 50):
        for weight in (1.0, 0.0, 3.0):
            params = jax.tree.map(lambda s, step=step: s + 0.1 * step, objective.init())
            totals.append(float(run(jnp.asarray(step), params, {"focal": weight})))
    assert len(set(totals)) == 2 + 2 * 3


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_an_inactive_term_cannot_leak(bad):
    objective = staged("uncertainty")

    def total(out, params, step):
        return objective({"out": out, "batch": BATCH}, step=step, params=params)[0]

    spoilt = OUT | {"depth": jnp.full(8, bad)}
    value, (gradient, slopes) = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(spoilt, objective.init(), 3)
    assert jnp.isfinite(value)
    chex.assert_tree_all_finite(gradient)
    assert slopes["depth"] == 0
    assert slopes["focal"] == 0
    assert slopes["seg"] != 0


def test_masked_nan_labels_cannot_leak():
    objective = staged()
    labels = jnp.where(BATCH["valid"], BATCH["depth"], jnp.nan)
    gradient = jax.grad(lambda out: objective({"out": out, "batch": BATCH | {"depth": labels}}, step=20)[0])(OUT)
    chex.assert_tree_all_finite(gradient)


def test_a_term_without_labels_moves_nothing_and_its_log_variance_rests():
    objective = staged("uncertainty")
    batch = BATCH | {"valid": jnp.zeros(8, bool), "depth": jnp.full(8, jnp.nan)}

    def total(params):
        return objective({"out": OUT, "batch": batch}, step=20, params=params)

    (value, aux), slopes = jax.value_and_grad(total, has_aux=True)({"seg": 0.3, "focal": 0.2, "depth": 0.7})
    assert jnp.isfinite(value)
    assert slopes["depth"] == 0
    assert aux["count"]["depth"] == 0
    assert aux["weight"]["depth"] == 0
    focal = float(aux["loss"]["focal"])
    np.testing.assert_allclose(value, np.exp(-0.2) * focal + 0.5 * 0.2, rtol=1e-5)


def test_a_constant_weight_of_zero_takes_a_term_out_of_the_program():
    off = Term("squared_error", ("out.nothing", "batch.nothing"), weight=0.0)
    objective = Objective(
        {"seg": Term("softmax_cross_entropy", ("out.seg", "batch.seg")), "off": off}, combine="uncertainty"
    )
    assert list(objective.init()) == ["seg"]
    _, aux = objective(DATA, params=objective.init())
    assert aux["active"] == {"seg": 1, "off": 0}
    assert aux["loss"]["off"] == 0


def test_call_time_weights_multiply_and_vmap_sweeps_them():
    objective = staged()
    parts = objective(DATA, step=20)[1]["loss"]
    totals = jax.vmap(lambda w: objective(DATA, step=20, weights={"depth": w})[0])(jnp.array([0.0, 1.0, 4.0]))
    np.testing.assert_allclose(
        totals, parts["focal"] + 0.5 * parts["depth"] * np.array([0.0, 1.0, 4.0], np.float32), rtol=1e-5
    )


def test_a_schedule_is_a_weight():
    schedule = optax.linear_schedule(0.0, 1.0, 10)
    objective = Objective({"depth": Term("squared_error", ("out.depth", "batch.depth"), weight=schedule)})
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        weights = [float(objective(DATA, step=jnp.asarray(step))[1]["weight"]["depth"]) for step in (0, 5, 20)]
    assert weights == [0, 0.5, 1]
    with pytest.raises(ValueError, match=r"^term 'depth': weight is a schedule: call the objective with step=$"):
        objective(DATA)


def test_the_order_of_terms_changes_nothing():
    terms = dict(staged().terms)
    forward, backward = Objective(terms, boundaries=[10]), Objective(dict(reversed(terms.items())), boundaries=[10])
    assert forward == backward
    assert hash(forward) == hash(backward)
    np.testing.assert_allclose(forward(DATA, step=20)[0], backward(DATA, step=20)[0], rtol=1e-6)


def test_renaming_terms_permutes_nothing():
    """JAX sorts the keys of dicts; weights must follow the names and not the places."""
    make = lambda first, second: Objective(  # noqa: E731
        {
            first: Term("squared_error", ("out.depth", "batch.depth"), weight=2.0),
            second: Term("softmax_cross_entropy", ("out.seg", "batch.seg"), weight=100.0),
        },
        combine="uncertainty",
    )
    totals = []
    for first, second in (("a", "b"), ("b", "a"), ("z", "_")):
        params = {first: jnp.asarray(0.3), second: jnp.asarray(-0.2)}
        totals.append(float(make(first, second)(DATA, params=params)[0]))
    assert totals[0] == totals[1] == totals[2]


def test_an_objective_is_a_value():
    assert staged() == staged()
    assert hash(staged()) == hash(staged())
    assert staged() != staged("uncertainty")
    assert pickle.loads(pickle.dumps(staged())) == staged()
    weighted = Term(
        "softmax_cross_entropy", ["out.seg", "batch.seg"], options={"class_weights": np.array([1.0, 2.0, 3.0])}
    )
    assert weighted.options["class_weights"] == (1.0, 2.0, 3.0)
    hash(weighted)
    with pytest.raises(TypeError, match="do not change"):
        weighted.options["gamma"] = 1

    calls = []

    @functools.partial(jax.jit, static_argnums=0)
    def run(objective, data):
        calls.append(1)
        return objective(data, step=3)[0]

    run(staged(), DATA)
    run(staged(), DATA)
    assert len(calls) == 1


def test_any_function_of_arrays_is_a_loss():
    def my_error(predictions, targets, *, power=2.0):
        return jnp.abs(predictions - targets) ** power

    labels = jnp.where(BATCH["valid"], BATCH["depth"], jnp.nan)
    objective = Objective(
        {
            "mine": Term(my_error, ("out.depth", "batch.depth"), where="batch.valid", options={"power": 3.0}),
            "optax": Term(optax.huber_loss, ("out.depth", "batch.depth"), where="batch.valid", options={"delta": 0.5}),
            "named": Term(jl.huber_loss, ("out.depth", "batch.depth"), where="batch.valid", options={"delta": 0.5}),
        },
        combine="uncertainty",
    )
    data = {"out": OUT, "batch": BATCH | {"depth": labels}}
    run = lambda out: objective(data | {"out": out}, params=objective.init())  # noqa: E731
    with jax.numpy_dtype_promotion("standard"):
        (_, aux), gradient = jax.value_and_grad(run, has_aux=True)(OUT)
    chex.assert_tree_all_finite(gradient)
    np.testing.assert_allclose(aux["loss"]["optax"], aux["loss"]["named"], rtol=1e-6)
    difference = np.abs(OUT["depth"] - BATCH["depth"])[::2]
    np.testing.assert_allclose(aux["loss"]["mine"], np.mean(difference**3), rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        optax.cosine_distance,
        lambda p, t: jnp.linalg.norm(p - t, axis=-1),
        lambda p, t: jnp.sum(t * (jnp.log(t) - jnp.log(p)), axis=-1),
        lambda p, t: jnp.sum(jnp.log(p) - jnp.log1p(-t), axis=-1),
    ],
    ids=["cosine", "norm", "logs", "log of 1 - p"],
)
def test_a_foreign_loss_with_singular_points_is_masked_as_cleanly(loss):
    key = jax.random.key(3)
    p, t = jax.nn.softmax(jax.random.normal(key, (2, 4, 3)))
    keep = jnp.array([True, False, True, True])
    objective = Objective({"x": Term(loss, ("p", "t"), where="keep")})

    def total(p, t, keep):
        return objective({"p": p, "t": t, "keep": keep})[0]

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        value, gradient = jax.value_and_grad(total)(p.at[1].set(jnp.nan), t.at[1].set(jnp.inf), keep)
        expected, slopes = jax.value_and_grad(total)(p[keep], t[keep], jnp.ones(3, bool))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[keep], slopes, rtol=1e-6)
    assert (gradient[1] == 0).all()


def test_inputs_may_be_attributes_indices_and_functions():
    scene = jl.Parts(OUT["depth"], BATCH["depth"])
    for inputs in (
        ("scene.sum", "scene.count"),
        ("list.0", "list.1"),
        (lambda d: d["scene"].sum, lambda d: d["list"][1]),
    ):
        objective = Objective({"depth": Term("mae", inputs)})
        total, _ = objective({"scene": scene, "list": list(scene)})
        np.testing.assert_allclose(total, 4.0, rtol=1e-6)
    assert Objective({"h": Term("entropy", "p")})({"p": jnp.array([0.5, 0.5])})[0] == pytest.approx(np.log(2))


TERM = Term("squared_error", ("out.depth", "batch.depth"))
CONSTRUCTION = {
    "term 'seg': no loss named 'softmax_focl_loss'; did you mean 'softmax_focal_loss'?": (
        {"seg": Term("softmax_focl_loss", ("out.seg", "batch.seg"))},
        {},
    ),
    "term 'seg': loss 'softmax_focal_loss' has no option 'gama'; did you mean 'gamma'?"
    " (options: gamma, alpha, normalizer, axis, ignore_label)": (
        {"seg": Term("softmax_focal_loss", ("out.seg", "batch.seg"), options={"gama": 2.0})},
        {},
    ),
    "term 'seg': loss 'softmax_focal_loss' takes 2 inputs ('logits', 'labels'), inputs has 1: ('out.seg',)": (
        {"seg": Term("softmax_focal_loss", ("out.seg",))},
        {},
    ),
    "term 'focal': start=2, but boundaries (5,) make stages 0 to 1": (
        {"focal": Term("mse", ("a", "b"), start=2), "seg": TERM},
        {"boundaries": [5]},
    ),
    "term 'seg': start=1, but without boundaries there is only stage 0": (
        {"seg": Term("mse", ("a", "b"), start=1)},
        {},
    ),
    "term 'seg': start=1 and stop=1 are never active, as boundaries (5,) make stages 0 to 1": (
        {"seg": Term("mse", ("a", "b"), start=1, stop=1)},
        {"boundaries": [5]},
    ),
    "term 'seg': ramp=9 at start=0 fades in from nothing; did you mean weight=optax.linear_schedule?": (
        {"seg": Term("mse", ("a", "b"), ramp=9)},
        {},
    ),
    "term 'seg': 'where' is no option of the loss; did you mean Term(..., where=)?": (
        {"seg": Term("mse", ("a", "b"), options={"where": "m"})},
        {},
    ),
    "term 'seg': reduction must be 'mean', 'sum' or 'per_example', got 'avg'": (
        {"seg": Term("mse", ("a", "b"), reduction="avg")},
        {},
    ),
    "stage 0 has no active term": ({"seg": Term("mse", ("a", "b"), start=1)}, {"boundaries": [5]}),
    "an objective needs at least one term": ({}, {}),
    "boundaries must be increasing steps > 0, got (5, 5)": ({"seg": TERM}, {"boundaries": [5, 5]}),
    "no combiner named 'uncertanty'; did you mean 'uncertainty'?": ({"seg": TERM}, {"combine": "uncertanty"}),
}

CALLS = {
    "this objective has stages: call it with step= or stage=": (staged(), {}, DATA),
    "term 'depth': ramp=4 counts steps: call the objective with step=": (staged(), {"stage": 1}, DATA),
    "weights: no term 'dpth'; did you mean 'depth'?": (staged(), {"step": 1, "weights": {"dpth": 1.0}}, DATA),
    "params must be what init() made: ['depth', 'focal', 'seg'], got []": (staged("uncertainty"), {"step": 1}, DATA),
    "term 'depth': no 'batch.dpth': batch has ['box', 'depth', 'seg', 'valid', 'weight']; did you mean 'depth'?": (
        Objective({"depth": Term("mse", ("out.depth", "batch.dpth"))}),
        {},
        DATA,
    ),
    "term 'depth': no 'btch.depth': data has ['batch', 'out']; did you mean 'batch'?": (
        Objective({"depth": Term("mse", ("out.depth", "btch.depth"))}),
        {},
        DATA,
    ),
    "term 'depth': where 'batch.valid' has shape (3,), which is no prefix of the loss's (8,)": (
        staged(),
        {"step": 1},
        {"out": OUT, "batch": BATCH | {"valid": jnp.ones(3, bool)}},
    ),
    "term 'depth': squared_error: predictions (8,) and targets (8, 1) must have equal shapes; did you mean targets[:, 0]?": (
        Objective({"depth": TERM}),
        {},
        {"out": OUT, "batch": BATCH | {"depth": jnp.ones((8, 1))}},
    ),
}


@pytest.mark.parametrize("message", CONSTRUCTION)
def test_construction_errors(message):
    terms, keywords = CONSTRUCTION[message]
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole text is compared below
        Objective(terms, **keywords)
    assert str(error.value) == message


@pytest.mark.parametrize("message", CALLS)
def test_call_errors(message):
    objective, keywords, data = CALLS[message]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        objective(data, **keywords)
    assert str(error.value) == message
