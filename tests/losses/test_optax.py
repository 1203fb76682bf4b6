"""Optax beside an objective: line searches, microbatches, late heads, steps that are skipped, sweeps."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlosses as jl
from tests.frameworks import problem


@pytest.fixture(autouse=True)
def _jax_as_it_comes():
    with problem.jax_as_it_comes():
        yield


def forward(params, x):
    hidden = jnp.tanh(x @ params["trunk"])
    return {"logits": hidden @ params["logits"], "center": hidden @ params["center"]}


def initial():
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"trunk": (64, 16), "logits": (16, 10), "center": (16, 2)}
    return {name: 0.3 * jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}


def loss_of(objective):
    """With learned log-variances the parameters are `{"net": ..., "loss": ...}`, as in a training step."""

    def loss_fn(params, batch, step=None, **keywords):
        data = {"out": forward(params["net"], batch["x"]), "batch": batch}
        return objective(data, step=step, params=params["loss"], **keywords)

    return loss_fn


BOTH = {
    "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label")),
    "center": jl.Term("squared_error", ("out.center", "batch.center"), where="batch.known"),
}


# Line searches


def test_l_bfgs_goes_down_on_logs_in_every_step():
    """`log` is uncertainty weighting with s solved for: nothing but the network is left for the search."""
    objective, batch = jl.Objective(BOTH, combine="log"), problem.batches(1)[0]

    def loss_fn(net, batch):
        return objective({"out": forward(net, batch["x"]), "batch": batch})

    value_fn, optimizer = jl.value_only(loss_fn), optax.lbfgs()

    @jax.jit
    def train_step(net, state, batch):
        value, gradient = optax.value_and_grad_from_state(value_fn)(net, batch, state=state)
        updates, state = optimizer.update(
            gradient, state, net, value=value, grad=gradient, value_fn=value_fn, batch=batch
        )
        return optax.apply_updates(net, updates), state, value

    net, totals = initial(), []
    # Optax's first state is of weak type, and would get a program of its own.
    state = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), optimizer.init(net))
    with problem.compilations() as compiled:
        for _ in range(25):
            net, state, total = train_step(net, state, batch)
            totals.append(float(total))
    assert len(compiled) == 1
    assert (np.diff(totals) < 0).all()
    before, after = loss_fn(initial(), batch)[1]["loss"], loss_fn(net, batch)[1]["loss"]
    assert all(after[name] < 0.95 * before[name] for name in BOTH)


def test_a_cached_value_is_of_the_stage_before():
    """Why the documentation asks for a fresh value and gradient where the step matters."""
    late = dataclasses.replace(BOTH["center"], start=1)
    staged, batch = jl.Objective(BOTH | {"center": late}, boundaries=[3]), problem.batches(1)[0]

    def loss_fn(net, batch, step):
        return staged({"out": forward(net, batch["x"]), "batch": batch}, step=step)

    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=15, store_grad=True)
    value_fn, optimizer = jl.value_only(loss_fn), optax.chain(optax.sgd(1.0), search)

    @jax.jit
    def train_step(net, state, step):
        fresh, gradient = jax.value_and_grad(value_fn)(net, batch, step)
        cached, _ = optax.value_and_grad_from_state(value_fn)(net, batch, step, state=state)
        keywords = {"value": fresh, "grad": gradient, "value_fn": value_fn, "batch": batch, "step": step}
        updates, state = optimizer.update(gradient, state, net, **keywords)
        return optax.apply_updates(net, updates), state, fresh, cached

    net = initial()
    state, fresh, cached = optimizer.init(net), np.zeros(6), np.zeros(6)
    for step in range(6):
        net, state, fresh[step], cached[step] = train_step(net, state, jnp.asarray(step))
    assert fresh[3] - cached[3] > 0.1
    np.testing.assert_allclose(np.delete(cached, 3), np.delete(fresh, 3), atol=1e-5)
    assert (np.diff(fresh)[[0, 1, 3, 4]] < 0).all()


# Microbatches


@pytest.mark.parametrize("combine", ["sum", "uncertainty", "revised_uncertainty"])
def test_microbatches_with_counts_are_exactly_the_whole_batch(combine):
    """Of 20 digits each, with 20, 9 and no centres; the mean of their means would be another number."""
    objective, whole = problem.objective(combine, boundary=2), problem.batches(1)[0]
    known = jnp.arange(60) < 29
    center = jnp.where(known[:, None], jnp.nan_to_num(whole["center"][:60]), jnp.nan)
    whole = {"x": whole["x"][:60], "label": whole["label"][:60], "center": center, "known": known}
    params = {"net": initial(), "loss": jax.tree.map(lambda s: s + 0.3, objective.init())}
    once = optax.partition(
        {"net": optax.sgd(0.1, momentum=0.9), "loss": optax.sgd(0.05)}, {"net": "net", "loss": "loss"}
    )
    gradients = jax.grad(loss_of(objective), has_aux=True)

    @jax.jit
    def whole_step(params, state, step):
        updates, state = once.update(gradients(params, whole, step)[0], state, params)
        return optax.apply_updates(params, updates), state

    parts = optax.MultiSteps(once, every_k_schedule=3, use_grad_mean=False)
    out = jax.eval_shape(lambda: forward(params["net"], whole["x"]))  # no forward pass
    counts = objective.counts({"out": out, "batch": whole})
    assert {name: float(count) for name, count in counts.items()} == {"class": 60, "focal": 60, "center": 58}

    @jax.jit
    def micro_step(params, state, batch):
        step = state.gradient_step  # and not the number of microbatches
        updates, state = parts.update(gradients(params, batch, step, counts=counts)[0], state, params)
        return optax.apply_updates(params, updates), state

    (a, state), (b, micro_state) = (params, once.init(params)), (params, parts.init(params))
    for step in range(4):
        a, state = whole_step(a, state, step)
        for start in (0, 20, 40):
            b, micro_state = micro_step(b, micro_state, {key: x[start : start + 20] for key, x in whole.items()})
        chex.assert_trees_all_close(b, a, rtol=1e-5, atol=1e-6)
    assert jnp.abs(a["net"]["center"] - params["net"]["center"]).max() > 1e-3


# Partitions


def test_a_late_head_under_conditionally_mask_neither_decays_nor_leaps():
    """Adam has seen zeros for so long that it takes the first gradients for giants, and decay went on meanwhile."""
    boundary, rate = 3000, 1e-3
    objective = jl.Objective(
        {
            "class": BOTH["class"],
            "center": jl.Term("squared_error", ("out.center", "batch.center"), "batch.known", start=1),
        },
        boundaries=[boundary],
    )
    batch, adamw = problem.batches(1)[0], optax.adamw(rate, weight_decay=0.1)
    patient = optax.partition(
        {"net": adamw, "late": optax.conditionally_mask(adamw, lambda step: step >= boundary)},
        {"trunk": "net", "logits": "net", "center": "late"},
    )

    def heads_over_steps(optimizer):
        def train_step(carry, step):
            net, state = carry
            data = lambda net: {"out": forward(net, batch["x"]), "batch": batch}  # noqa: E731
            gradient, _ = jax.grad(lambda net: objective(data(net), step=step), has_aux=True)(net)
            updates, state = optimizer.update(gradient, state, net)
            net = optax.apply_updates(net, updates)
            return (net, state), net["center"]

        net = initial()
        return jax.jit(lambda: jax.lax.scan(train_step, (net, optimizer.init(net)), jnp.arange(boundary + 40))[1])()

    start = initial()["center"]
    late, plain = heads_over_steps(patient), heads_over_steps(adamw)
    np.testing.assert_array_equal(late[boundary - 1], start)
    longest = lambda heads: np.abs(np.diff(heads[boundary - 1 :], axis=0)).max()  # noqa: E731
    assert rate < longest(late) < 1.3 * rate
    np.testing.assert_allclose(plain[boundary - 1], 0.74 * start, rtol=0.01)
    assert longest(plain) > 4 * rate


def test_clipping_inside_the_partition_leaves_the_log_variances_alone():
    objective, batch = jl.Objective(BOTH, combine="uncertainty"), problem.batches(1)[0]
    params, labels = {"net": initial(), "loss": objective.init()}, {"net": "net", "loss": "loss"}
    clip, sgd = optax.clip_by_global_norm(0.1), optax.sgd(1.0)
    inside = optax.partition({"net": optax.chain(clip, sgd), "loss": sgd}, labels)
    outside = optax.chain(clip, optax.partition({"net": sgd, "loss": sgd}, labels))
    gradient, aux = jax.jit(jax.grad(loss_of(objective), has_aux=True))(params, batch)
    moved = {side: tx.update(gradient, tx.init(params), params)[0] for side, tx in ((0, inside), (1, outside))}
    np.testing.assert_allclose(optax.tree.norm(moved[0]["net"]), 0.1, rtol=1e-5)
    np.testing.assert_allclose(moved[0]["loss"]["class"], aux["loss"]["class"] - 0.5, rtol=1e-5)
    assert jnp.abs(moved[1]["loss"]["class"]) < 0.1 * jnp.abs(moved[0]["loss"]["class"])


def test_apply_if_finite_skips_a_step_and_aux_tells_whose_fault_it_was():
    objective, good = jl.Objective(BOTH, combine="uncertainty"), problem.batches(1)[0]
    bad = good | {"center": good["center"].at[1, 0].set(jnp.inf)}
    params = {"net": initial(), "loss": objective.init()}
    adams = optax.partition({"net": optax.adamw(1e-2), "loss": optax.adam(1e-2)}, {"net": "net", "loss": "loss"})
    optimizer = optax.apply_if_finite(adams, max_consecutive_errors=3)

    @jax.jit
    def train_step(params, state, batch):
        gradient, aux = jax.grad(loss_of(objective), has_aux=True)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, aux

    once, state, _ = train_step(params, optimizer.init(params), good)
    twice, state, aux = train_step(once, state, bad)
    chex.assert_trees_all_equal(twice, once)
    assert [bool(jnp.isfinite(aux["loss"][name])) for name in ("class", "center")] == [True, False]
    again, state, _ = train_step(twice, state, good)
    assert (state.notfinite_count, state.total_notfinite) == (0, 1)
    assert all((again["loss"][name] != twice["loss"][name]) for name in BOTH)


# Sweeps


def test_a_sweep_over_weights_is_one_program():
    objective, batches = problem.counted(problem.objective("sum", boundary=10)), problem.batches(2)
    data, optimizer, start = jax.tree.map(lambda *x: jnp.stack(x), *batches), optax.adam(1e-2), initial()

    def train(objective, **keywords):
        def train_step(carry, step):
            net, state = carry
            batch = jax.tree.map(lambda x: x[step % 2], data)
            loss_fn = lambda net: objective({"out": forward(net, batch["x"]), "batch": batch}, step=step, **keywords)  # noqa: E731
            gradient, aux = jax.grad(loss_fn, has_aux=True)(net)
            updates, state = optimizer.update(gradient, state, net)
            return (optax.apply_updates(net, updates), state), aux["loss"]

        (net, _), losses = jax.lax.scan(train_step, (start, optimizer.init(start)), jnp.arange(40))
        return net, jax.tree.map(lambda loss: loss[-1], losses)

    weights = jnp.array([0.0, 1.0, 30.0])
    with problem.compilations() as compiled:
        nets, losses = jax.jit(jax.vmap(lambda weight: train(objective, weights={"center": weight})))(weights)
    assert (len(objective.traces), len(compiled)) == (1, 1)
    assert (jnp.diff(losses["center"]) < 0).all()
    np.testing.assert_array_equal(nets["center"][0], start["center"])
    fixed = problem.objective("sum", boundary=10)
    heavy = fixed.terms | {"center": dataclasses.replace(fixed.terms["center"], weight=30.0)}
    alone, _ = jax.jit(lambda: train(jl.Objective(heavy, boundaries=[10])))()
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[2], nets), alone, rtol=1e-3, atol=1e-4)
