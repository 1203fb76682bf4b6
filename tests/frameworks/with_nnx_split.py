"""Flax nnx, functional: `nnx.split` makes the module a tree of parameters, and the rest is as in linen and Haiku."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import jaxlosses as jl
from tests.frameworks.with_nnx import Net


class State(NamedTuple):
    params: dict[str, Any]
    optimizer: optax.OptState
    step: Array


optimizer = optax.partition(
    {
        "net": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
        "loss": optax.adam(1e-2, b1=0.0),
    },
    {"net": "net", "loss": "loss"},
)


def start(objective: jl.Objective, batch: dict[str, Array]) -> State:
    params = {"net": nnx.state(Net(nnx.Rngs(0)), nnx.Param), "loss": objective.init()}
    return State(params, optimizer.init(params), jnp.zeros((), int))


def make_step(objective: jl.Objective) -> Callable[..., Any]:
    graph, _, rest = nnx.split(nnx.eval_shape(lambda: Net(nnx.Rngs(0))), nnx.Param, ...)

    def loss_fn(params, batch, step):
        net = nnx.merge(graph, params["net"], rest)
        return objective({"out": net(batch["x"]), "batch": batch}, step=step, params=params["loss"])

    @jax.jit
    def train_step(state, batch):
        (_, aux), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, state.step)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        return State(optax.apply_updates(state.params, updates), optimizer_state, state.step + 1), aux

    return train_step


def log_variances(state: State) -> dict[str, Array]:
    return state.params["loss"]
