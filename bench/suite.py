"""What is measured: every loss, family by family, and an objective of five terms, each beside its baseline.

A baseline computes the same number, without masks, checks or safe gradients.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxlosses as jl
from bench.comparison import Comparison
from bench.families import (
    adversarial,
    boxes,
    classification,
    divergences,
    embeddings,
    images,
    penalties,
    regression,
    segmentation,
    sequences,
)


def comparisons(scale: float) -> list[Comparison]:
    """All comparisons; `scale` multiplies the batch."""
    n = max(4, int(4096 * scale))
    families = (
        regression,
        classification,
        divergences,
        boxes,
        segmentation,
        embeddings,
        sequences,
        images,
        adversarial,
        penalties,
    )
    return [*(one for family in families for one in family.comparisons(n)), _objective_comparison(n)]


def _objective_comparison(n: int) -> Comparison:
    key = jax.random.split(jax.random.key(0), 6)
    x, y = jax.random.normal(key[0], (2, n, 256))
    ink = jax.random.normal(key[1], (max(2, n // 128), 128, 128))
    box, target = boxes.random_boxes(key[2], n), boxes.random_boxes(key[3], n)
    drawn = (jax.random.uniform(key[4], ink.shape) > 0.5).astype(jnp.float32)
    out = {"logits": 3 * jax.random.normal(key[5], (n, 1000)), "box": box, "ink": ink, "depth": x}
    batch = {"label": jax.random.randint(key[5], (n,), 0, 1000), "box": target, "ink": drawn, "depth": y}
    return Comparison("Objective, 5 terms", "the sum by hand", _objective(), _by_hand, (out, batch))


def _objective() -> Callable[..., Any]:
    ink = {"class_axis": None, "activation": "sigmoid"}
    objective = jl.Objective(
        {
            "class": jl.Term("softmax_cross_entropy", ("out.logits", "batch.label")),
            "box": jl.Term("ciou_loss", ("out.box", "batch.box"), weight=2.0),
            "dice": jl.Term("dice_loss", ("out.ink", "batch.ink"), options=ink),
            "bce": jl.Term("sigmoid_binary_cross_entropy", ("out.ink", "batch.ink")),
            "depth": jl.Term("huber_loss", ("out.depth", "batch.depth"), weight=0.5),
        }
    )
    return lambda out, batch: objective({"out": out, "batch": batch})[0]


def _by_hand(out: dict[str, Any], batch: dict[str, Any]) -> Any:
    ink, drawn = out["ink"], batch["ink"]
    return (
        jnp.mean(optax.softmax_cross_entropy_with_integer_labels(out["logits"], batch["label"]))
        + 2.0 * jnp.mean(boxes.ciou_loss(out["box"], batch["box"]))
        + jnp.mean(segmentation.dice_loss(jax.nn.sigmoid(ink), drawn))
        + jnp.mean(optax.sigmoid_binary_cross_entropy(ink, drawn))
        + 0.5 * jnp.mean(optax.huber_loss(out["depth"], batch["depth"]))
    )
