"""Feature maps in one form: from an array, from a list or a dict of arrays, or from images and a network.

Features come as one map, as a list, tuple or dict of maps that may differ in H, W and C, or as images and a function:
`extract=` takes images (N, H, W, C) to features, for every input. `jaxlosses.feature_extractors.vgg` has the networks
of the papers. An image counts or does not: `where` and `sample_weights` are `(N,)`, and there is no masking of pixels,
which the layers of a network mix. In the place of a masked image the function gets zeros, where it must be finite.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlosses.core import checks
from jaxlosses.core.errors import shape_hint
from jaxlosses.core.masks import LossMask, masked
from jaxlosses.core.types import ArrayLike, Number
from jaxlosses.registry import register

Features: TypeAlias = ArrayLike | Mapping[str, Any]
"""One map `(N, H, W, C)`, or a list, tuple or dict of maps with one N."""

Extract: TypeAlias = Callable[[Array], Any]
"""From images `(N, H, W, C)` to `Features`."""

LayerWeights: TypeAlias = ArrayLike | Mapping[str, Any]
"""A number for each map, in the same structure."""

WeightsByPath: TypeAlias = Mapping[str, Number]
"""A number for each path."""


class FeatureMaps(NamedTuple):
    """The maps of one argument, by their paths in Python: `"['relu2_2']"` or `"[0]"`, and `""` for a single map."""

    argument: str
    by_path: dict[str, Float[Array, "N H W C"]]


def example_inputs(key: Array, images: int = 2) -> tuple[Array, ...]:
    """Feature maps of a few images, for the laws."""
    return tuple(jax.random.normal(key, (images, 4, 3, 2, 3)))


register_feature_loss = functools.partial(
    register,
    family="images",
    law_exceptions=(
        (
            "integers keep their differences",
            "feature maps come out of networks, so they are never integers that float32 would round",
        ),
    ),
    input_kind="pixels",
    num_event_axes=3,
    domain=("features", "features"),
    minimum=0.0,
    example_inputs=example_inputs,
)


def prepare_features(
    loss: str,
    where: ArrayLike | None,
    sample_weights: ArrayLike | None,
    extract: Extract | None,
    detach_targets: bool,
    **inputs: Features,
) -> tuple[*tuple[FeatureMaps, ...], LossMask]:
    """Check, convert and mask the maps of each argument: float32 (or float64), with 0 for masked images.

    With `extract` the arguments are images, and the network gets an image of zeros in the place of a masked one.
    `detach_targets` stops the gradient into every argument but the first.
    """
    trees = [FeatureMaps(argument, _by_path(value)) for argument, value in inputs.items()]
    maps, reference = _check_one_batch(loss, trees)
    mask = _make_mask(loss, where, sample_weights, maps)
    maps = [_masked(m, mask) for m in maps]
    if extract is not None:
        outputs = [FeatureMaps(f"extract({m.argument})", _by_path(extract(_images(loss, m)))) for m in maps]
        maps, _ = _check_one_batch(loss, outputs, reference)
    if detach_targets:
        maps[1:] = [m._replace(by_path=jax.lax.stop_gradient(m.by_path)) for m in maps[1:]]
    return (*maps, mask)


def weighted_layer_distance(
    loss: str,
    distance: Callable[[Array, Array], Float[Array, " N"]],
    features: FeatureMaps,
    targets: FeatureMaps,
    weights: WeightsByPath,
    *,
    any_size: bool = False,
) -> Float[Array, " N"]:
    """Σ w d(F, P) over the layers that have a weight; the maps of a layer may differ in H and W if `any_size`."""
    total: Any = 0.0
    for path, weight in weights.items():
        f = _look_up(loss, features, path, targets.argument)
        p = _look_up(loss, targets, path, features.argument)
        if f.shape != p.shape and not (any_size and f.shape[::3] == p.shape[::3]):
            first, second = features.argument + path, targets.argument + path
            must = "the same N and C" if any_size else "equal shapes"
            hint = shape_hint(first, f.shape, second, p.shape)
            raise ValueError(f"{loss}: {first} {f.shape} and {second} {p.shape} must have {must}; {hint}")
        total = total + jnp.asarray(weight).astype(f.dtype) * distance(f, p)
    return total


def mean_square(f: Float[Array, "N H W C"], p: Float[Array, "N H W C"]) -> Float[Array, " N"]:
    """|F - P|² / (C H W), a distance for `weighted_layer_distance`."""
    return scaled_square_distance(f, p, 1 / math.prod(f.shape[1:]))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def scaled_square_distance(x: Float[Array, "N ..."], y: Float[Array, "N ..."], factor: float) -> Float[Array, " N"]:
    """`factor` |x - y|² over all axes but the first; the factor comes first, for a square may overflow."""
    return jnp.sum(factor * (x - y) * (x - y), axis=tuple(range(1, x.ndim)))


@scaled_square_distance.defjvp
def _scaled_square_distance_jvp(
    factor: float, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    # Behind a barrier, for XLA's CPU compiler would otherwise store the difference that value and slope have in common.
    x, y = jax.lax.optimization_barrier(primals)
    slope = 2 * factor * (x - y) * (tangents[0] - tangents[1])
    return scaled_square_distance(*primals, factor), jnp.sum(slope, axis=tuple(range(1, x.ndim)))


def resolve_layer_weights(loss: str, layer_weights: Any, features: FeatureMaps, targets: FeatureMaps) -> WeightsByPath:
    """A weight for each layer of `features`, which must be the layers of `targets` and of `layer_weights` too."""
    for path in targets.by_path:
        _look_up(loss, features, path, targets.argument)
    if layer_weights is None:
        return dict.fromkeys(features.by_path, 1.0)
    weights = FeatureMaps("layer_weights", _weights_by_path(loss, "layer_weights", layer_weights))
    for path in weights.by_path:
        _look_up(loss, features, path, weights.argument)
    return {path: _look_up(loss, weights, path, features.argument) for path in features.by_path}


def select_layers(loss: str, argument: str, layers: Any, targets: FeatureMaps) -> WeightsByPath:
    """A weight for each layer that `layers` names, alone or with a weight; for all layers of `targets` if None."""
    if layers is None:
        return dict.fromkeys(targets.by_path, 1.0)
    if not isinstance(layers, Sequence | Mapping) or isinstance(layers, str) or not layers:
        raise TypeError(f"{loss}: {argument} must be names, as in ['relu4_2'], or a dict of weights, got {layers!r}")
    is_dict = isinstance(layers, Mapping)
    weights = _weights_by_path(loss, argument, layers) if is_dict else {f"[{layer!r}]": 1.0 for layer in layers}
    for path in weights:
        _look_up(loss, targets, path, argument)
    return weights


def _by_path(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_nested_numbers)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _is_nested_numbers(node: Any) -> bool:
    """Whether a list is one map, written out in numbers, and not a list of maps."""
    return isinstance(node, list | tuple) and not any(np.ndim(leaf) for leaf in jax.tree.leaves(node))


def _check_one_batch(
    loss: str, features: list[FeatureMaps], reference: tuple[str, tuple[int, ...]] | None = None
) -> tuple[list[FeatureMaps], tuple[str, tuple[int, ...]]]:
    """All maps in one precision, each `(N, H, W, C)` with the N of `reference`, which is the first of them if None."""
    for m in features:
        if not m.by_path:
            raise ValueError(
                f"{loss}: {m.argument} holds no array; it must be (N, H, W, C), or a list or dict of these"
            )
    labels = {m.argument + path: value for m in features for path, value in m.by_path.items()}
    arrays = dict(zip(labels, checks.to_floats(loss, **labels), strict=True))
    first, expected = reference or next((label, array.shape) for label, array in arrays.items())
    for label, array in arrays.items():
        if array.ndim != 4 or array.shape[0] != expected[0]:
            if label == first:
                hint = f"; did you mean {label}[None]?" if array.ndim == 3 else ""
                raise ValueError(f"{loss}: {label} {array.shape} must be (N, H, W, C){hint}")
            hint = shape_hint(first, expected, label, array.shape)
            raise ValueError(
                f"{loss}: {first} {expected} and {label} {array.shape} must both be (N, H, W, C), with one N; {hint}"
            )
        if 0 in array.shape[1:]:
            raise ValueError(f"{loss}: {label} {array.shape} must not be empty along H, W or C")
    maps = [m._replace(by_path={path: arrays[m.argument + path] for path in m.by_path}) for m in features]
    return maps, (first, expected)


def _make_mask(
    loss: str, where: ArrayLike | None, sample_weights: ArrayLike | None, maps: list[FeatureMaps]
) -> LossMask:
    arrays = [array for m in maps for array in m.by_path.values()]
    usable = None
    if sample_weights is not None:
        finite = [jnp.all(jnp.isfinite(array), axis=(1, 2, 3)) for array in arrays]
        usable = functools.reduce(jnp.logical_and, finite)
    return checks.make_mask(loss, where, sample_weights, arrays[0].shape[:1], valid=usable)


def _masked(maps: FeatureMaps, mask: LossMask) -> FeatureMaps:
    return maps._replace(by_path={path: masked(array, mask.where) for path, array in maps.by_path.items()})


def _images(loss: str, maps: FeatureMaps) -> Array:
    if list(maps.by_path) != [""]:
        paths = ", ".join(maps.argument + path for path in maps.by_path)
        raise ValueError(f"{loss}: with extract= {maps.argument} must be one array of images, got {paths}")
    return maps.by_path[""]


def _look_up(loss: str, maps: FeatureMaps, path: str, wanted_by: str) -> Any:
    if path not in maps.by_path:
        known = ", ".join(maps.argument + path for path in maps.by_path)
        raise ValueError(f"{loss}: there is {wanted_by}{path} but no {maps.argument}{path}, only {known}")
    return maps.by_path[path]


def _weights_by_path(loss: str, argument: str, tree: Any) -> dict[str, Array]:
    """The numbers of a tree, by path; a vector stands for the list of its entries."""
    is_vector = isinstance(tree, jax.Array | np.ndarray) and tree.ndim == 1
    leaves = jax.tree_util.tree_leaves_with_path(list(tree) if is_vector else tree)
    weights = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    for path, leaf in weights.items():
        weight = checks.to_array(loss, argument + path, leaf)
        if weight.ndim:
            raise ValueError(f"{loss}: {argument}{path} {weight.shape} must be one number; did you mean jax.vmap?")
        checks.check_values(loss, argument + path, lambda weight=weight: weight >= 0, "be >= 0")
        weights[path] = weight
    return weights
