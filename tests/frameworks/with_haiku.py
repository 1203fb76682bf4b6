"""Haiku: parameters are `{"net": ..., "loss": objective.init()}`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import optax
from jax import Array

import jaxlosses as jl


class State(NamedTuple):
    params: dict[str, Any]
    optimizer: optax.OptState
    step: Array


@hk.without_apply_rng
@hk.transform
def net(x):
    hidden = jax.nn.relu(hk.Linear(32)(x))
    return {"logits": hk.Linear(10)(hidden), "center": hk.Linear(2)(hidden)}


optimizer = optax.partition(
    {
        "net": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
        "loss": optax.adam(1e-2, b1=0.0),
    },
    {"net": "net", "loss": "loss"},
)


def start(objective: jl.Objective, batch: dict[str, Array]) -> State:
    params = {"net": net.init(jax.random.key(0), batch["x"]), "loss": objective.init()}
    return State(params, optimizer.init(params), jnp.zeros((), int))


def make_step(objective: jl.Objective) -> Callable[..., Any]:
    def loss_fn(params, batch, step):
        out = net.apply(params["net"], batch["x"])
        return objective({"out": out, "batch": batch}, step=step, params=params["loss"])

    @jax.jit
    def train_step(state, batch):
        (_, aux), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, state.step)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        return State(optax.apply_updates(state.params, updates), optimizer_state, state.step + 1), aux

    return train_step


def log_variances(state: State) -> dict[str, Array]:
    return state.params["loss"]
