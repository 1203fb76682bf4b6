"""What is measured: every loss, and an objective of five terms, each beside its rival.

A rival computes the same number: optax's loss where there is one that does, otherwise the formula as one would write it
by hand, without masks, checks or safe gradients.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import jaxlosses as jl


class Row(NamedTuple):
    """One line of the table."""

    name: str
    rival: str
    ours: Callable[..., Any]
    other: Callable[..., Any]
    inputs: tuple[Any, ...]


def rows(scale: float) -> list[Row]:
    """All rows; `scale` multiplies the batch."""
    n = max(4, int(4096 * scale))
    key = jax.random.split(jax.random.key(0), 8)
    x, y = jax.random.normal(key[0], (2, n, 256))
    logits = 3 * jax.random.normal(key[1], (n, 1000))
    ids = jax.random.randint(key[2], (n,), 0, 1000)
    log_p, p = jax.nn.log_softmax(logits), jax.nn.softmax(jnp.flip(logits, 1))
    bits = (y > 0).astype(jnp.float32)
    boxes, targets = _boxes(key[3], 64 * n), _boxes(key[4], 64 * n)
    images = jax.nn.sigmoid(jax.random.normal(key[5], (max(2, n // 128), 128, 128)))
    truth = (jax.random.uniform(key[6], images.shape) > 0.5).astype(jnp.float32)
    pairs: list[tuple[str, str, Callable[..., Any], tuple[Any, ...]]] = [
        ("absolute_error", "jnp", lambda x, y: jnp.abs(x - y), (x, y)),
        ("squared_error", "optax", optax.squared_error, (x, y)),
        ("smooth_l1_loss", "jnp", _smooth_l1, (x, y)),
        ("huber_loss", "optax", optax.huber_loss, (x, y)),
        ("softmax_cross_entropy", "optax, ids", optax.softmax_cross_entropy_with_integer_labels, (logits, ids)),
        ("softmax_cross_entropy", "optax, dense", optax.softmax_cross_entropy, (logits, p)),
        ("softmax_focal_loss", "jnp", _softmax_focal, (logits, ids)),
        ("nll_loss", "jnp", lambda z, i: -jnp.take_along_axis(z, i[:, None], 1)[:, 0], (log_p, ids)),
        ("sigmoid_binary_cross_entropy", "optax", optax.sigmoid_binary_cross_entropy, (x, bits)),
        ("sigmoid_focal_loss", "optax", optax.sigmoid_focal_loss, (x, bits)),
        ("binary_cross_entropy", "jnp", _binary_cross_entropy, (jax.nn.sigmoid(x), bits)),
        ("entropy", "jnp", lambda p: -jnp.sum(p * jnp.log(p), -1), (p,)),
        ("cross_entropy", "jnp", lambda q, p: -jnp.sum(p * jnp.log(q), -1), (jnp.exp(log_p), p)),
        ("kl_divergence", "optax", optax.kl_divergence, (log_p, p)),
        ("iou_loss", "jnp", lambda a, b: 1 - _iou(a, b), (boxes, targets)),
        ("giou_loss", "jnp", _giou_loss, (boxes, targets)),
        ("diou_loss", "jnp", _diou_loss, (boxes, targets)),
        ("ciou_loss", "jnp", _ciou_loss, (boxes, targets)),
        ("dice_loss", "jnp", _dice_loss, (images, truth)),
        ("jaccard_loss", "jnp", _jaccard_loss, (images, truth)),
        ("tversky_loss", "jnp", _tversky_loss, (images, truth)),
    ]
    table = [Row(name, rival, _mean_of(name), _mean(other), inputs) for name, rival, other, inputs in pairs]
    out = {"logits": logits, "box": boxes[:n], "ink": jax.random.normal(key[7], images.shape), "depth": x}
    batch = {"label": ids, "box": targets[:n], "ink": truth, "depth": y}
    return [*table, Row("Objective, 5 terms", "the sum by hand", _objective(), _by_hand, (out, batch))]


def _mean_of(name: str) -> Callable[..., Any]:
    options = {"class_axis": None} if jl.get(name).family == "segmentation" else {}
    return lambda *inputs: jl.get(name)(*inputs, **options, reduction="mean")


def _mean(loss: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs: jnp.mean(loss(*inputs))


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
        + 2.0 * jnp.mean(_ciou_loss(out["box"], batch["box"]))
        + jnp.mean(_dice_loss(jax.nn.sigmoid(ink), drawn))
        + jnp.mean(optax.sigmoid_binary_cross_entropy(ink, drawn))
        + 0.5 * jnp.mean(optax.huber_loss(out["depth"], batch["depth"]))
    )


def _boxes(key: Any, n: int) -> Any:
    corners, sides = jax.random.uniform(key, (2, n, 2))
    return jnp.concatenate([corners, corners + 0.1 + sides], axis=1)


def _smooth_l1(x: Any, y: Any) -> Any:
    r = jnp.abs(x - y)
    return jnp.where(r < 1, 0.5 * r**2, r - 0.5)


def _softmax_focal(logits: Any, ids: Any) -> Any:
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), ids[:, None], 1)[:, 0]
    return -((1 - jnp.exp(log_p)) ** 2) * log_p


def _binary_cross_entropy(p: Any, t: Any) -> Any:
    return -(t * jnp.log(p) + (1 - t) * jnp.log(1 - p))


def _parts(a: Any, b: Any) -> tuple[Any, ...]:
    sides = jnp.maximum(jnp.minimum(a[:, 2:], b[:, 2:]) - jnp.maximum(a[:, :2], b[:, :2]), 0)
    overlap = sides[:, 0] * sides[:, 1]
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    union = size_a[:, 0] * size_a[:, 1] + size_b[:, 0] * size_b[:, 1] - overlap
    hull = jnp.maximum(a[:, 2:], b[:, 2:]) - jnp.minimum(a[:, :2], b[:, :2])
    return overlap / union, union, hull, size_a, size_b


def _iou(a: Any, b: Any) -> Any:
    return _parts(a, b)[0]


def _giou_loss(a: Any, b: Any) -> Any:
    iou, union, hull, *_ = _parts(a, b)
    area = hull[:, 0] * hull[:, 1]
    return 1 - iou + (area - union) / area


def _diou_loss(a: Any, b: Any) -> Any:
    iou, _, hull, *_ = _parts(a, b)
    offset = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    return 1 - iou + jnp.sum(offset**2, 1) / jnp.sum(hull**2, 1)


def _ciou_loss(a: Any, b: Any) -> Any:
    iou, *_, size_a, size_b = _parts(a, b)
    v = 4 / jnp.pi**2 * (jnp.arctan2(size_b[:, 0], size_b[:, 1]) - jnp.arctan2(size_a[:, 0], size_a[:, 1])) ** 2
    return _diou_loss(a, b) + jax.lax.stop_gradient(v / (1 - iou + v)) * v


def _dice_loss(p: Any, g: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    return 1 - (2 * total(p * g) + 1) / (total(p) + total(g) + 1)


def _jaccard_loss(p: Any, g: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    return 1 - (total(p * g) + 1) / (total(p) + total(g) - total(p * g) + 1)


def _tversky_loss(p: Any, g: Any) -> Any:
    total = lambda x: jnp.sum(x, (1, 2))  # noqa: E731
    tp = total(p * g)
    return 1 - (tp + 1) / (tp + 0.5 * total(p * (1 - g)) + 0.5 * total((1 - p) * g) + 1)
