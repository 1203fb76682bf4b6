"""Flax linen: parameters are `{"net": ..., "loss": objective.init()}`, in a TrainState, which also counts the steps."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from jax import Array

import jaxlosses as jl


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        hidden = nn.relu(nn.Dense(32)(x))
        return {"logits": nn.Dense(10)(hidden), "center": nn.Dense(2)(hidden)}


optimizer = optax.partition(
    {
        "net": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
        "loss": optax.adam(1e-2, b1=0.0),
    },
    {"net": "net", "loss": "loss"},
)


def start(objective: jl.Objective, batch: dict[str, Array]) -> TrainState:
    net = Net()
    params = {"net": net.init(jax.random.key(0), batch["x"])["params"], "loss": objective.init()}
    return TrainState.create(apply_fn=net.apply, params=params, tx=optimizer)


def make_step(objective: jl.Objective) -> Callable[..., Any]:
    @jax.jit
    def train_step(state, batch):
        def loss_fn(params):
            out = state.apply_fn({"params": params["net"]}, batch["x"])
            return objective({"out": out, "batch": batch}, step=state.step, params=params["loss"])

        (_, aux), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradients), aux

    return train_step


def log_variances(state: TrainState) -> dict[str, Array]:
    return state.params["loss"]
