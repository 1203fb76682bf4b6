"""Baselines of the losses on images."""

from typing import Any

import jax
import jax.numpy as jnp

from bench.comparison import Comparison, against


def comparisons(n: int) -> list[Comparison]:
    key = jax.random.key(6)
    f, p, a = jax.random.normal(key, (3, max(2, n // 512), 64, 64, 128))
    return [
        against("jnp", "perceptual_loss", perceptual_loss, f, p),
        against("jnp", "content_loss", content_loss, f, p),
        against("jnp", "style_loss", style_loss, f, a),
        against("jnp", "content_style_loss", content_style_loss, f, p, a),
    ]


def perceptual_loss(f: Any, p: Any) -> Any:
    return jnp.mean((f - p) ** 2, (1, 2, 3))


def content_loss(f: Any, p: Any) -> Any:
    return jnp.sum((f - p) ** 2, (1, 2, 3)) / 2


def gram(f: Any) -> Any:
    return jnp.einsum("nhwc,nhwd->ncd", f, f) / f[0].size


def style_loss(f: Any, a: Any) -> Any:
    return jnp.sum((gram(f) - gram(a)) ** 2, (1, 2))


def content_style_loss(f: Any, p: Any, a: Any) -> Any:
    return content_loss(f, p) + 1000 * style_loss(f, a) / 4
