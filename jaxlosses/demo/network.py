"""A small convolutional network with three heads: which digit, where, and which pixels are ink."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array


class Reader(nnx.Module):
    """From images `(N, 32, 32, 1)` to `{"logits": (N, 10), "box": (N, 4), "ink": (N, 32, 32)}`, the ink as logits."""

    def __init__(self, rngs: nnx.Rngs):
        """Make the layers with random weights."""
        self.half = nnx.Conv(1, 24, (5, 5), strides=2, rngs=rngs)
        self.quarter = nnx.Conv(24, 48, (3, 3), strides=2, rngs=rngs)
        self.eighth = nnx.Conv(48, 96, (3, 3), strides=2, rngs=rngs)
        self.summary = nnx.Linear(4 * 4 * 96, 128, rngs=rngs)
        self.digit = nnx.Linear(128, 10, rngs=rngs)
        self.corners = nnx.Linear(128, 4, rngs=rngs)
        self.outline = nnx.Linear(96 // 4 + 48, 32, rngs=rngs)
        self.ink = nnx.Linear(32 // 4 + 24, 4, rngs=rngs)

    def __call__(self, image: Array) -> dict[str, Array]:
        """Run all three heads."""
        half = nnx.relu(self.half(image))
        quarter = nnx.relu(self.quarter(half))
        eighth = nnx.relu(self.eighth(quarter))
        summary = nnx.relu(self.summary(eighth.reshape(len(image), -1)))
        outline = nnx.relu(self.outline(jnp.concatenate([_unfold(eighth), quarter], axis=-1)))
        ink = _unfold(self.ink(jnp.concatenate([_unfold(outline), half], axis=-1)))
        return {"logits": self.digit(summary), "box": _box(self.corners(summary)), "ink": ink[..., 0]}


def _unfold(x: Array) -> Array:
    """Twice the height and width from a quarter of the channels (depth to space)."""
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def _box(raw: Array) -> Array:
    """Centre and size in [0, 1] to corners, so that no box is inverted."""
    center, size = jnp.split(jax.nn.sigmoid(raw), 2, axis=-1)
    return jnp.concatenate([center - size / 2, center + size / 2], axis=-1)
