"""VGG-16 and VGG-19, the feature extractors of perceptual and style losses: images in, named feature maps out.

    params = vgg.load("vgg16.safetensors")
    extract = functools.partial(vgg.features, params, layers=("relu2_2", "relu3_3"))
    loss = jl.perceptual_loss(generated, images, extract=extract, reduction="mean")

Block b of five has the convolutions conv{b}_1, conv{b}_2, ..., each followed by a relu{b}_1, ..., and ends in pool{b}.
Blocks 1 and 2 have two convolutions; the others have three in VGG-16 and four in VGG-19. The conv{b}_{i} here is the
convolution alone. The conv4_2 of Gatys et al. is a layer of Caffe that its ReLU overwrites: ask for relu4_2.

No weights come with the library, and it downloads none. `load` reads the published ImageNet weights from a safetensors
file, made once, where torch is installed, from torchvision's file (`vgg16-397923af.pth`, `vgg19-dcbb9e9d.pth`):

    import safetensors.torch, torch
    safetensors.torch.save_file(torch.load("vgg16-397923af.pth"), "vgg16.safetensors")

This module is not part of `import jaxlosses`: write `from jaxlosses.feature_extractors import vgg`. Only `load` needs
the extra, `pip install "jaxlosses[vgg]"`.
"""

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import did_you_mean, one_of
from jaxlosses.core.types import ArrayLike

__all__ = ["features", "init", "load"]

Params: TypeAlias = Mapping[str, Mapping[str, Array]]
"""`{"conv1_1": {"kernel": (3, 3, in, out), "bias": (out,)}, ...}`; the convolutions it holds are the network."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the images of ImageNet, in red, green and blue."""

_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (1, 2, 4, 8, 8)


def features(
    params: Params,
    images: ArrayLike,
    *,
    layers: str | Sequence[str] = ("relu2_2",),
    normalize: bool = True,
    pooling: str = "max",
) -> dict[str, Float[Array, "N _ _ _"]]:
    """The feature maps of images at some layers of VGG.

        x = (image - mean) / std;   conv 3x3, padded by 0 -> relu -> ... -> pool 2x2 -> ...

    A pure function of both arguments, to be jitted, differentiated and mapped. It stops after the last layer asked
    for. It computes in the dtype of the images, so images in bfloat16 make it fast and small, and products are as
    precise as `jax.default_matmul_precision` says. (float16 is too narrow for the activations of published weights.)

    Args:
        params: from `load` or `init`; the convolutions in it make out the network.
        images: `(N, H, W, 3)`, red, green, blue in [0, 1]; floats.
        layers: one or more names such as `"conv1_1"`, `"relu2_2"` or `"pool3"`.
        normalize: subtract the mean and divide by the deviation of ImageNet, as the published weights expect; False
            for images that are prepared already.
        pooling: `"max"`, or `"average"`, which Gatys et al. prefer for the making of images.

    Returns:
        A dict of the layers asked for, in that order: `(N, H/2^k, W/2^k, C)`, rounded down, after k pools.

    Raises:
        ValueError: if the network has no such layer, the images are not `(N, H, W, 3)` or too small for a layer, or
            `pooling` is another.
        TypeError: if the images are integers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlosses.feature_extractors import vgg
        >>> params = vgg.init(jax.random.key(0), depth=16, width=4)
        >>> maps = vgg.features(params, jnp.ones((1, 32, 32, 3)), layers=("relu1_2", "pool2"))
        >>> {name: x.shape for name, x in maps.items()}
        {'relu1_2': (1, 32, 32, 4), 'pool2': (1, 8, 8, 8)}

    Reference:
        Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014,
        arXiv:1409.1556.
    """
    one_of("vgg.features", "pooling", pooling, ("max", "average"))
    operations = dict(_operations(params, pooling))
    wanted = _check_layers(layers, operations)
    x = _check_images(images, wanted)
    if normalize:
        x = (x - jnp.asarray(MEAN, x.dtype).reshape(1, 1, 1, 3)) / jnp.asarray(STD, x.dtype).reshape(1, 1, 1, 3)
    maps: dict[str, Array] = {}
    for name, operation in operations.items():
        if maps.keys() == set(wanted):
            break
        x = operation(x)
        if name in wanted:
            maps[name] = x
    return {name: maps[name] for name in wanted}


def init(key: Array, *, depth: int = 16, width: int = 64) -> dict[str, dict[str, Float[Array, "..."]]]:
    """Random parameters, for tests and for training from nothing.

        kernel ~ N(0, 2 / (9 · channels in)),   bias = 0

    Args:
        key: a key of `jax.random`.
        depth: 16 or 19.
        width: the channels of the first block; the others have 2, 4, 8 and 8 times as many. The published networks
            have 64.

    Returns:
        The parameters of a network, in float32.

    Raises:
        ValueError: if `depth` is another.

    Example:
        >>> import jax
        >>> from jaxlosses.feature_extractors import vgg
        >>> params = vgg.init(jax.random.key(0), depth=19, width=8)
        >>> len(params), params["conv5_4"]["kernel"].shape
        (16, (3, 3, 64, 64))

    Reference:
        He, Zhang, Ren and Sun, Delving Deep into Rectifiers, 2015, arXiv:1502.01852.
    """
    one_of("vgg.init", "depth", depth, _CONVOLUTIONS)
    channels = [3, *(width * _WIDTHS[_block(name) - 1] for name in _convolution_names(depth))]
    shapes = {name: (3, 3, *channels[i : i + 2]) for i, name in enumerate(_convolution_names(depth))}

    @jax.jit
    def draw(key: Array) -> dict[str, dict[str, Array]]:
        sizes = [math.prod(shape) for shape in shapes.values()]
        numbers = jnp.split(jax.random.normal(key, (sum(sizes),), jnp.float32), list(itertools.accumulate(sizes))[:-1])
        return {
            name: {
                "kernel": (2 / (9 * shape[2])) ** 0.5 * drawn.reshape(shape),
                "bias": jnp.zeros(shape[3], jnp.float32),
            }
            for (name, shape), drawn in zip(shapes.items(), numbers, strict=True)
        }

    return draw(key)


def load(path: str | os.PathLike[str]) -> dict[str, dict[str, Float[Array, "..."]]]:
    """Read the published weights, under torchvision's names, from a safetensors file.

        features.0.weight (out, in, 3, 3), features.0.bias (out,), features.2.weight, ...  ->  (3, 3, in, out), (out,)

    The names tell VGG-16 from VGG-19, and the shapes tell the width. The classifier's entries are neither wanted nor
    read. The top of this module says how such a file is made.

    Args:
        path: of the file.

    Returns:
        The parameters of the network, in float32.

    Raises:
        ImportError: if safetensors is not installed.
        ValueError: if the file is none of safetensors, or not the weights of VGG-16 or VGG-19 without batch
            normalization; the message names the entries.

    Example:
        >>> from jaxlosses.feature_extractors import vgg
        >>> params = vgg.load("vgg16.safetensors")  # doctest: +SKIP

    Reference:
        Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014,
        arXiv:1409.1556.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError('vgg.load reads files with safetensors: pip install "jaxlosses[vgg]"') from error
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            wanted = [key for key in file.keys() if key.startswith("features.")]  # noqa: SIM118  # it is no dict
            entries = {key: file.get_tensor(key) for key in wanted}
    except SafetensorError as error:
        raise ValueError(
            f"vgg.load: {path} is not a safetensors file ({error}); "
            "the top of jaxlosses.feature_extractors.vgg says how to make one"
        ) from error
    return _from_torchvision(f"vgg.load: {path}", entries)


def _convolution_names(depth: int) -> Iterator[str]:
    """The convolutions, first to last."""
    for block, convolutions in enumerate(_CONVOLUTIONS[depth], start=1):
        yield from (f"conv{block}_{index + 1}" for index in range(convolutions))


def _block(name: str) -> int:
    return int(name[4])


def _torchvision_names(depth: int) -> dict[str, str]:
    """Where each convolution stands in torchvision's `features`, which counts ReLUs and pools too."""
    names, position = {}, 0
    for name in _convolution_names(depth):
        position += name != "conv1_1" and name.endswith("_1")  # the pool before it
        names[name] = f"features.{position}"
        position += 2
    return names


def _from_torchvision(source: str, entries: dict[str, np.ndarray]) -> dict[str, dict[str, Array]]:
    depth = 19 if "features.34.weight" in entries else 16
    names = _torchvision_names(depth)
    expected = [f"{name}.{kind}" for name in names.values() for kind in ("weight", "bias")]
    missing = [key for key in expected if key not in entries]
    unknown = [key for key in entries if key not in expected]
    if missing or unknown:
        what = [f"{word} {_first_few(keys)}" for word, keys in (("without", missing), ("with", unknown)) if keys]
        raise ValueError(
            f"{source} must be the weights of torchvision's vgg16 or vgg19 (no batch normalization) in safetensors "
            f"form; it is like vgg{depth}, but {' and '.join(what)}"
        )
    params, channels = {}, 3
    for name, torch_name in names.items():
        kernel, bias = entries[f"{torch_name}.weight"], entries[f"{torch_name}.bias"]
        for key, array, shape in (
            (f"{torch_name}.weight", kernel, (*kernel.shape[:1], channels, 3, 3)),
            (f"{torch_name}.bias", bias, kernel.shape[:1]),
        ):
            if array.shape != shape:
                raise ValueError(f"{source}: {key} {array.shape} must be {shape}, as (out, in, 3, 3) and (out,)")
        params[name] = {
            "kernel": jnp.asarray(kernel.transpose(2, 3, 1, 0), jnp.float32),
            "bias": jnp.asarray(bias, jnp.float32),
        }
        channels = len(bias)
    return params


def _first_few(words: list[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _operations(params: Params, pooling: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """The layers of the network that `params` hold, each with the operation that makes it of the map before it."""
    if "conv1_1" not in params:
        raise ValueError("vgg.features: params have no 'conv1_1'; they must be from vgg.load or vgg.init")
    for block in range(1, 6):
        for index in itertools.count(1):
            name = f"{block}_{index}"
            if f"conv{name}" not in params:
                break
            yield f"conv{name}", functools.partial(_convolve, params[f"conv{name}"])
            yield f"relu{name}", jax.nn.relu
        if f"conv{block}_1" in params:
            yield f"pool{block}", _pool_max if pooling == "max" else _pool_average


def _convolve(layer: Mapping[str, Array], x: Float[Array, "N H W _"]) -> Float[Array, "N H W C"]:
    kernel, bias = layer["kernel"].astype(x.dtype), layer["bias"].astype(x.dtype)
    y = lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + bias.reshape(1, 1, 1, -1)


def _pool_max(x: Float[Array, "N H W C"]) -> Float[Array, "N _ _ C"]:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _pool_average(x: Float[Array, "N H W C"]) -> Float[Array, "N _ _ C"]:
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def _check_layers(layers: str | Sequence[str], known: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = (layers,) if isinstance(layers, str) else tuple(layers)
    if not wanted:
        raise ValueError("vgg.features: layers must name at least one layer, such as 'relu2_2'")
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known)}")
            raise ValueError(f"vgg.features: the network has no layer {name!r}{hint}")
    return wanted


def _check_images(images: ArrayLike, layers: tuple[str, ...]) -> Float[Array, "N H W 3"]:
    x = checks.to_array("vgg.features", "images", images)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"vgg.features: images must be floats in [0, 1], got {x.dtype}; images.astype(float) / 255?")
    if x.ndim != 4 or x.shape[-1] != 3:
        hint = "; did you mean images[None]?" if x.shape[-1:] == (3,) and x.ndim == 3 else ""
        hint = "; did you mean jnp.moveaxis(images, 1, -1)?" if x.ndim == 4 and x.shape[1] == 3 else hint
        raise ValueError(f"vgg.features: images {x.shape} must be (N, H, W, 3){hint}")
    for name in layers:
        least = 2 ** (_block(name) - (not name.startswith("pool")))
        if min(x.shape[1:3]) < least:
            raise ValueError(
                f"vgg.features: images {x.shape} are too small for {name}: H and W must be {least} or more"
            )
    return x
