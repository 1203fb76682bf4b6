"""The objective, the training step, and the score.

The recipe has two stages. Stage 0 trains the class alone, by cross-entropy. Stage 1 adds the box and the ink, and goes
on with the class by focal loss, which turns to what is still misread (one should not start with it). Uncertainty
weighting balances the terms: every term has a log-variance, which optax trains beside the network, at its own pace.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

import jaxlosses as jl
from jaxlosses.demo.network import Reader
from jaxlosses.demo.scenes import Scenes

BATCH = 64


def make_objective(boundary: int, combine: str) -> jl.Objective:
    """What is trained, and when: five terms, two stages."""
    return jl.Objective(
        {
            "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label"), stop=1),
            "focal": jl.Term("softmax_focal_loss", ("out.logits", "batch.label"), start=1, options={"gamma": 2.0}),
            "box": jl.Term("ciou_loss", ("out.box", "batch.box"), start=1),
            "dice": jl.Term(
                "dice_loss",
                ("out.ink", "batch.ink"),
                start=1,
                options={"activation": "sigmoid", "class_axis": None},
            ),
            "bce": jl.Term("sigmoid_binary_cross_entropy", ("out.ink", "batch.ink"), start=1),
        },
        boundaries=[boundary],
        combine=combine,
    )


class Task(nnx.Module):
    """Everything that is trained: the network, and what the objective learns."""

    def __init__(self, objective: jl.Objective, rngs: nnx.Rngs):
        """Make the network, and log-variances of 0."""
        self.net = Reader(rngs)
        self.log_var = nnx.Dict({name: nnx.Param(value) for name, value in objective.init().items()})


def make_optimizer(task: Task, steps: int) -> nnx.Optimizer:
    """AdamW for the network; for the log-variances Adam with a learning rate of their own, and no decay."""
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, min(100, steps // 10), steps)

    def label(path: Any, _: Any) -> str:
        return "log_var" if "log_var" in jax.tree_util.keystr(path) else "net"

    transforms: dict[Any, optax.GradientTransformation] = {
        "net": optax.adamw(rate, weight_decay=1e-3),
        "log_var": optax.adam(1e-2, b1=0.0),  # momentum would move the s of a term that has stopped
    }
    return nnx.Optimizer(
        task, optax.partition(transforms, lambda tree: jax.tree.map_with_path(label, tree)), wrt=nnx.Param
    )


def make_step(objective: jl.Objective) -> Callable[..., Any]:
    """One step of training, compiled once for both stages."""

    @nnx.jit
    def step(task: Task, optimizer: nnx.Optimizer, scenes: Scenes, key: Array) -> tuple[Array, dict[str, Any]]:
        index = jax.random.randint(jax.random.fold_in(key, optimizer.step[...]), (BATCH,), 0, len(scenes.label))
        batch = jax.tree.map(lambda array: array[index], scenes)

        def loss(task: Task) -> tuple[Array, dict[str, Any]]:
            log_var = {name: value[...] for name, value in task.log_var.items()}
            data = {"out": task.net(batch.image), "batch": batch}
            return objective(data, step=optimizer.step[...], params=log_var)

        (total, aux), gradients = nnx.value_and_grad(loss, has_aux=True)(task)
        optimizer.update(task, gradients)
        return total, aux

    return step


class Run(NamedTuple):
    """What a training run leaves behind."""

    objective: jl.Objective
    history: dict[str, dict[str, np.ndarray]]  # aux over steps: history["loss"]["box"]
    scores: dict[str, float]
    outputs: dict[str, Array]  # of the network, on the test scenes


def train(
    objective: jl.Objective,
    scenes: tuple[Scenes, Scenes],
    steps: int,
    seed: int,
    watch: Callable[[dict[str, Any]], None] = lambda aux: None,
) -> Run:
    """Train a network from scratch and score it on scenes whose digits it has not seen."""
    seen, unseen = scenes
    task = Task(objective, nnx.Rngs(seed))
    optimizer, step = make_optimizer(task, steps), make_step(objective)
    key, record = jax.random.key(seed), []
    for _ in range(steps):
        _, aux = step(task, optimizer, seen, key)
        record.append(aux)
        watch(aux)
    history = jax.tree.map(lambda *values: np.stack(values), *record)
    outputs = nnx.jit(lambda net, image: net(image))(task.net, unseen.image)
    return Run(objective, history, score(outputs, unseen), outputs)


def score(outputs: dict[str, Array], truth: Scenes) -> dict[str, float]:
    """Accuracy of the class, mean IoU of the boxes, Dice coefficient of the ink."""
    ink = (outputs["ink"] > 0).astype(jnp.float32)
    return {
        "accuracy": float(jnp.mean(jnp.argmax(outputs["logits"], axis=-1) == truth.label)),
        "mean IoU": float(jnp.mean(jl.box_iou(outputs["box"], truth.box))),
        "Dice": 1 - float(jl.dice_loss(ink, truth.ink, class_axis=None, smooth=0.0, reduction="mean")),
    }
