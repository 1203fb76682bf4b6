"""Baselines of the box losses."""

from typing import Any

import jax
import jax.numpy as jnp

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    boxes, targets = (random_boxes(key, 64 * n) for key in jax.random.split(jax.random.key(3)))
    return [
        against("jnp", "iou_loss", lambda a, b: 1 - iou(a, b), boxes, targets),
        against("jnp", "giou_loss", giou_loss, boxes, targets),
        against("jnp", "diou_loss", diou_loss, boxes, targets),
        against("jnp", "ciou_loss", ciou_loss, boxes, targets),
        against("jnp", "eiou_loss", eiou_loss, boxes, targets),
        against("jnp", "focal_eiou_loss", focal_eiou_loss, boxes, targets),
        against("jnp", "cdiou_loss", cdiou_loss, boxes, targets),
        against("jnp", "focal_l1_loss", focal_l1_loss, boxes, targets),
    ]


def random_boxes(key: Any, n: int) -> Any:
    corners, sides = jax.random.uniform(key, (2, n, 2))
    return jnp.concatenate([corners, corners + 0.1 + sides], axis=1)


def parts(a: Any, b: Any) -> tuple[Any, ...]:
    sides = jnp.maximum(jnp.minimum(a[:, 2:], b[:, 2:]) - jnp.maximum(a[:, :2], b[:, :2]), 0)
    overlap = sides[:, 0] * sides[:, 1]
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    union = size_a[:, 0] * size_a[:, 1] + size_b[:, 0] * size_b[:, 1] - overlap
    hull = jnp.maximum(a[:, 2:], b[:, 2:]) - jnp.minimum(a[:, :2], b[:, :2])
    return overlap / union, union, hull, size_a, size_b


def iou(a: Any, b: Any) -> Any:
    return parts(a, b)[0]


def giou_loss(a: Any, b: Any) -> Any:
    iou, union, hull, *_ = parts(a, b)
    area = hull[:, 0] * hull[:, 1]
    return 1 - iou + (area - union) / area


def diou_loss(a: Any, b: Any) -> Any:
    iou, _, hull, *_ = parts(a, b)
    offset = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    return 1 - iou + jnp.sum(offset**2, 1) / jnp.sum(hull**2, 1)


def ciou_loss(a: Any, b: Any) -> Any:
    iou, *_, size_a, size_b = parts(a, b)
    v = 4 / jnp.pi**2 * (jnp.arctan2(size_b[:, 0], size_b[:, 1]) - jnp.arctan2(size_a[:, 0], size_a[:, 1])) ** 2
    return diou_loss(a, b) + jax.lax.stop_gradient(v / (1 - iou + v)) * v


def eiou_loss(a: Any, b: Any) -> Any:
    *_, hull, size_a, size_b = parts(a, b)
    return diou_loss(a, b) + jnp.sum(((size_a - size_b) / hull) ** 2, 1)


def focal_eiou_loss(a: Any, b: Any) -> Any:
    return jax.lax.stop_gradient(jnp.sqrt(iou(a, b))) * eiou_loss(a, b)


def cdiou_loss(a: Any, b: Any) -> Any:
    hull = parts(a, b)[2]
    squares = (a - b) ** 2
    distances = [jnp.sqrt(squares[:, x] + squares[:, y]) for x in (0, 2) for y in (1, 3)]
    return 1 - iou(a, b) + sum(distances) / 4 / jnp.sqrt(jnp.sum(hull**2, 1))


def focal_l1_loss(a: Any, b: Any) -> Any:
    x, alpha, log_beta = jnp.abs(a - b), jnp.e * 0.8, jnp.log(0.8)
    curved = -alpha * x**2 * (2 * (log_beta + jnp.log(x)) - 1) / 4
    return jnp.where(x > 1, -alpha * log_beta * x + alpha * (2 * log_beta + 1) / 4, curved)
