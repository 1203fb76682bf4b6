"""Flax nnx, with modules: one module holds the network and the log-variances; nnx.Optimizer counts the steps."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from jax import Array

import jaxlosses as jl


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 32, rngs=rngs)
        self.logits = nnx.Linear(32, 10, rngs=rngs)
        self.center = nnx.Linear(32, 2, rngs=rngs)

    def __call__(self, x):
        hidden = nnx.relu(self.hidden(x))
        return {"logits": self.logits(hidden), "center": self.center(hidden)}


class Task(nnx.Module):
    def __init__(self, objective, rngs):
        self.net = Net(rngs)
        self.log_variances = nnx.Dict({name: nnx.Param(value) for name, value in objective.init().items()})


optimizer = optax.partition(
    {
        "net": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
        "log_variances": optax.adam(1e-2, b1=0.0),
    },
    lambda tree: jax.tree.map_with_path(lambda path, _: path[0].key, tree),  # by the attribute of Task
)


def start(objective: jl.Objective, batch: dict[str, Array]) -> tuple[Task, nnx.Optimizer]:
    task = Task(objective, nnx.Rngs(0))
    return task, nnx.Optimizer(task, optimizer, wrt=nnx.Param)


def make_step(objective: jl.Objective) -> Callable[..., Any]:
    @nnx.jit
    def train_step(task, optimizer, batch):
        def loss_fn(task):
            log_variances = {name: param[...] for name, param in task.log_variances.items()}
            data = {"out": task.net(batch["x"]), "batch": batch}
            return objective(data, step=optimizer.step[...], params=log_variances)

        (_, aux), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(task)
        optimizer.update(task, gradients)
        return aux

    return lambda state, batch: (state, train_step(*state, batch))  # modules change in place


def log_variances(state: tuple[Task, nnx.Optimizer]) -> dict[str, Array]:
    return {name: param[...] for name, param in state[0].log_variances.items()}
