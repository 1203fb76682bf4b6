"""The objective, the training step, and the score.

The recipe has two stages. Stage 0 trains the class alone, by cross-entropy. Stage 1 adds the box and the ink, and goes
on with the class by focal loss, which turns to what is still misread (one should not start with it).

The terms have the units that they have in practice. The canvas stands for a photograph, and boxes are in its pixels, as
annotations are: an error of 3 % is a loss of 19, beside which class and ink, whose losses are below 1, hardly count.
Three answers to that are compared: equal weights (none), weights tuned by hand, and learned weights.
"""

import dataclasses
from collections.abc import Callable, Mapping
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

STEPS, BATCH = 2000, 64
PHOTO = 640  # pixels across the photograph that a canvas is a small copy of

# Found by `python -m jaxlosses.demo.tune`, on other seeds and without a look at the test digits: for the box 0.1, 0.03,
# 0.01, 0.003 and 0.001 were tried, and then for the class, and for the ink, 0.3, 1, 3 and 10; 1 was best for both.
TUNED = {"box": 0.01}


class Weighting(NamedTuple):
    """One way to weigh the terms: how they are combined, and the weights of those that do not have 1."""

    combine: str
    weights: Mapping[str, float]


WEIGHTINGS = {
    "equal weights": Weighting("sum", {}),
    "tuned weights": Weighting("sum", TUNED),
    "learned weights": Weighting("uncertainty", {}),
}


def make_objective(boundary: int, combine: str, weights: Mapping[str, float] | None = None) -> jl.Objective:
    """What is trained, and when: five terms, two stages."""
    terms = {
        "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label"), stop=1),
        "focal": jl.Term("softmax_focal_loss", ("out.logits", "batch.label"), start=1, options={"gamma": 2.0}),
        # L1, as DETR has it; errors of many pixels would make squared errors larger still.
        "box": jl.Term("absolute_error", ("out.box", "batch.box"), start=1),
        "dice": jl.Term(
            "dice_loss", ("out.ink", "batch.ink"), start=1, options={"activation": "sigmoid", "class_axis": None}
        ),
        "bce": jl.Term("sigmoid_binary_cross_entropy", ("out.ink", "batch.ink"), start=1),
    }
    for name, weight in (weights or {}).items():
        terms[name] = dataclasses.replace(terms[name], weight=weight)
    return jl.Objective(terms, boundaries=[boundary], combine=combine)


def predict(net: Reader, batch: Scenes) -> dict[str, Any]:
    """What the terms read: the network's outputs and the truth, with boxes in pixels of the photograph."""
    out = net(batch.image)
    return {"out": {**out, "box": PHOTO * out["box"]}, "batch": batch._replace(box=PHOTO * batch.box)}


class Task(nnx.Module):
    """Everything that is trained: the network, and what the objective learns."""

    def __init__(self, objective: jl.Objective, batch: Scenes, rngs: nnx.Rngs):
        """Make the network, and log-variances at the optimum for its losses on a first batch.

        From 0 they would travel for hundreds of steps, in which the box drowns the class as under equal weights.
        """
        self.net = Reader(rngs)
        data, first = predict(self.net, batch), {}
        for stage in range(len(objective.boundaries) + 1):  # every term in the first stage that has it
            _, aux = objective(data, stage=stage, params=objective.init())
            first = {name: loss for name, loss in aux["loss"].items() if aux["active"][name]} | first
        self.log_var = nnx.Dict({name: nnx.Param(value) for name, value in objective.init(first).items()})


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
            return objective(predict(task.net, batch), step=optimizer.step[...], params=log_var)

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
    task = Task(objective, jax.tree.map(lambda array: array[:BATCH], seen), nnx.Rngs(seed))
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
