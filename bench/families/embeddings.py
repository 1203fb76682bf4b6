"""Baselines of the losses over embeddings."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    a, p, x = jax.random.normal(jax.random.key(7), (3, 4 * n, 256))
    similar = jax.random.randint(jax.random.key(8), (4 * n,), 0, 2)
    batch = max(16, n // 16)  # the plain forms of mining make arrays of batch³
    embeddings = jax.random.normal(jax.random.key(9), (batch, 64)) / 8
    labels = jnp.arange(batch) % (batch // 4)
    q, k = a[:n], p[:n]
    return [
        against("jnp", "contrastive_loss", contrastive, a, p, similar, margin=25.0),
        against("jnp", "pairwise_contrastive_loss", pairwise_contrastive, embeddings, labels),
        against("optax", "triplet_loss", optax.losses.triplet_margin_loss, a, p, x, squared=False, margin=1.0),
        against("jnp, squared", "triplet_loss", squared_triplet, a, p, x),
        against("jnp", "batch_all_triplet_loss", batch_all, embeddings, labels),
        against("jnp", "batch_hard_triplet_loss", batch_hard, embeddings, labels),
        against("jnp", "semi_hard_triplet_loss", semi_hard, embeddings, labels),
        against("jnp", "n_pair_loss", lambda a, p: one_way(a @ p.T), q, k, reg_lambda=0.0),
        against("jnp", "info_nce_loss", lambda q, k: one_way(cosines(q, k) / 0.07), q, k),
        against("jnp", "info_nce_loss", clip, q, k, symmetric=True, block_size=512),
    ]


def contrastive(a: Any, b: Any, similar: Any) -> Any:
    d = jnp.linalg.norm(a - b, axis=1)
    return jnp.where(similar == 1, d**2, jnp.maximum(25.0 - d, 0) ** 2) / 2


def pairwise_contrastive(x: Any, y: Any) -> Any:
    i, j = jnp.triu_indices(y.size, 1)
    d = jnp.linalg.norm(x[i] - x[j], axis=1)
    return jnp.where(y[i] == y[j], d**2, jnp.maximum(1.0 - d, 0) ** 2) / 2


def squared_triplet(a: Any, p: Any, n: Any) -> Any:
    return jnp.maximum(jnp.sum((a - p) ** 2, -1) - jnp.sum((a - n) ** 2, -1) + 0.2, 0)


def distances(x: Any) -> Any:
    return jnp.sum((x[:, None] - x[None]) ** 2, -1)


def relations(y: Any) -> tuple[Any, Any]:
    same = y[:, None] == y[None]
    return same & ~jnp.eye(y.size, dtype=bool), ~same


def batch_all(x: Any, y: Any) -> Any:
    d, (positive, negative) = distances(x), relations(y)
    valid = positive[:, :, None] & negative[:, None, :]
    return jnp.sum(valid * jnp.maximum(d[:, :, None] - d[:, None, :] + 0.2, 0)) / jnp.sum(valid)


def batch_hard(x: Any, y: Any) -> Any:
    d, (positive, negative) = distances(x), relations(y)
    return jnp.maximum(jnp.max(d * positive, 1) - jnp.min(jnp.where(negative, d, jnp.inf), 1) + 0.2, 0)


def semi_hard(x: Any, y: Any) -> Any:
    d, (positive, negative) = distances(x), relations(y)
    outside = jnp.where(negative[:, None, :] & (d[:, None, :] > d[:, :, None]), d[:, None, :], jnp.inf)
    nearest, farthest = jnp.min(outside, 2), jnp.max(jnp.where(negative, d, -jnp.inf), 1)[:, None]
    hinge = jnp.maximum(d - jnp.where(jnp.isinf(nearest), farthest, nearest) + 0.2, 0)
    return jnp.sum(hinge * positive) / jnp.sum(positive)


def cosines(q: Any, k: Any) -> Any:
    return (q / jnp.linalg.norm(q, axis=1)[:, None]) @ (k / jnp.linalg.norm(k, axis=1)[:, None]).T


def one_way(logits: Any) -> Any:
    return -jnp.diagonal(jax.nn.log_softmax(logits, axis=1))


def clip(q: Any, k: Any) -> Any:
    logits = cosines(q, k) / 0.07
    return (one_way(logits) + one_way(logits.T)) / 2
