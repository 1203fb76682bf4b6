"""Weights and an image that a script and a test both make from the same formula, for weights are too big to store."""

import numpy as np

BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def plan(depth, width):
    """The layers of torchvision's `features`, one after the other: channels of a convolution, or "pool"."""
    for block, convolutions in enumerate(BLOCKS[depth]):
        yield from [width * min(2**block, 8)] * convolutions
        yield "pool"


def weights(depth, width):
    """By torchvision's names; each drawn from a seed of its own, of He's scale."""
    result, position, channels = {}, 0, 3
    for out in plan(depth, width):
        if out == "pool":
            position += 1
            continue
        rng = np.random.RandomState(1000 * depth + position)
        kernel = rng.standard_normal((out, channels, 3, 3)) * (2 / (9 * channels)) ** 0.5
        result[f"features.{position}.weight"] = kernel.astype(np.float32)
        result[f"features.{position}.bias"] = (0.1 * rng.standard_normal(out)).astype(np.float32)
        position, channels = position + 2, out
    return result


def image(height=32, width=32):
    return np.random.RandomState(7).uniform(size=(1, height, width, 3)).astype(np.float32)


def picks(array):
    """Sixteen entries, spread over an array in NHWC."""
    flat = np.asarray(array).ravel()
    return flat[np.linspace(0, flat.size - 1, 16).astype(int)]


def summary(array):
    array = np.asarray(array, np.float64)
    return {"shape": list(array.shape), "mean": array.mean(), "std": array.std(), "picks": picks(array).tolist()}
