"""Equinox: what is trained is the pair `(model, objective.init())`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import Array

import jaxlosses as jl


class Net(eqx.Module):
    hidden: eqx.nn.Linear
    logits: eqx.nn.Linear
    center: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.hidden = eqx.nn.Linear(64, 32, key=keys[0])
        self.logits = eqx.nn.Linear(32, 10, key=keys[1])
        self.center = eqx.nn.Linear(32, 2, key=keys[2])

    def __call__(self, x):
        hidden = jax.nn.relu(self.hidden(x))
        return {"logits": self.logits(hidden), "center": self.center(hidden)}


class State(NamedTuple):
    trained: tuple[Net, dict[str, Array]]
    optimizer: optax.OptState
    step: Array


optimizer = optax.partition(
    {
        "net": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
        "loss": optax.adam(1e-2, b1=0.0),
    },
    ("net", "loss"),
)


def start(objective: jl.Objective, batch: dict[str, Array]) -> State:
    trained = (Net(jax.random.key(0)), objective.init())
    # Under filter_jit a Python int would be static, and every step another program.
    return State(trained, optimizer.init(eqx.filter(trained, eqx.is_inexact_array)), jnp.zeros((), int))


def make_step(objective: jl.Objective) -> Callable[..., Any]:
    @eqx.filter_value_and_grad(has_aux=True)
    def loss_fn(trained, batch, step):
        net, log_variances = trained
        out = jax.vmap(net)(batch["x"])
        return objective({"out": out, "batch": batch}, step=step, params=log_variances)

    @eqx.filter_jit
    def train_step(state, batch):
        (_, aux), gradients = loss_fn(state.trained, batch, state.step)
        arrays = eqx.filter(state.trained, eqx.is_inexact_array)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, arrays)
        return State(eqx.apply_updates(state.trained, updates), optimizer_state, state.step + 1), aux

    return train_step


def log_variances(state: State) -> dict[str, Array]:
    return state.trained[1]
