"""What a network sees in two images: a value per image, from feature maps (N, H, W, C).

With the maps F and P of the two images at a layer, as C rows over the H·W positions, and their Gram matrices (see
`gram_matrix`)

    G = F Fᵀ / (C H W)     A = P Pᵀ / (C H W)     symmetric, without negative eigenvalues

the losses add up over the layers, with a weight λ for each:

                 Johnson                    Gatys
    content      |F - P|² / (C H W)         |F - P|² / 2        what is where
    style        |G - A|²                   |G - A|² / 4        what there is, not where: quartic in F

All are 0 for equal maps. Johnson's do not grow with the image, and his content loss is the `perceptual_loss`. Gatys's
1/(4C²(HW)²) |F Fᵀ - P Pᵀ|² is a quarter of Johnson's |G - A|²; his style images have the size of the others, and for
other sizes each Gram matrix here is divided by its own.

Features come as one map, as a list, tuple or dict of maps that may differ in H, W and C, or as images and a function:
`extract=` takes images (N, H, W, C) to features, on both sides. `jaxlosses.feature_extractors.vgg` has the networks of the papers.
An image counts or does not: `where` and `sample_weights` are `(N,)`, and there is no masking of pixels, which the
layers of a network mix. In the place of a masked image the function sees zeros, where it must be finite.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.images.feature_maps import Extract, Features, LayerWeights, chosen, compare, take_in, weights_of
from jaxlosses.losses.images.gram import check_normalization, gram
from jaxlosses.registry import register

__all__ = ["content_loss", "content_style_loss", "perceptual_loss", "style_loss"]

_IMAGE_AXES = (1, 2, 3)


def _example(key: Array, images: int = 2) -> tuple[Array, ...]:
    return tuple(jax.random.normal(key, (images, 4, 3, 2, 3)))


_register = functools.partial(
    register,
    family="images",
    input_kind="pixels",
    num_event_axes=3,
    domain=("features", "features"),
    minimum=0.0,
    example_inputs=_example,
)


@_register(
    "perceptual_loss",
    aliases=("perceptual", "feature_reconstruction"),
    citation="arXiv:1603.08155",
    likelihood=(0.5, 0.5),
)
def perceptual_loss(
    features: Features,
    target_features: Features,
    *,
    layer_weights: LayerWeights | None = None,
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The mean squared difference of feature maps, summed over layers.

        l = Σ_j λ_j |F_j - P_j|² / (C_j H_j W_j)

    With the images themselves as features it is the mean squared error of each. The paper takes relu2_2 or relu3_3 of
    VGG-16.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them; images if
            `extract` is given.
        target_features: the maps of the true images, of the same names and shapes; images if `extract` is given.
        layer_weights: λ_j >= 0, numbers under the names of the maps (for a list of maps a list or a vector); None for
            1 each.
        extract: from images `(N, H, W, C)` to maps; applied to both inputs.
        detach_targets: stop the gradient into `target_features`.
        where: bool, `(N,)`; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if layers, or the shapes of a layer, differ; the message names the layer.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> maps = {"relu1": jnp.ones((1, 4, 4, 2)), "relu2": jnp.ones((1, 2, 2, 8))}
        >>> true = {"relu1": jnp.zeros((1, 4, 4, 2)), "relu2": jnp.ones((1, 2, 2, 8)).at[0, 0, 0, 0].set(5.0)}
        >>> jl.perceptual_loss(maps, true, layer_weights={"relu1": 1.0, "relu2": 0.5})
        Array([1.25], dtype=float32)

    Reference:
        Johnson, Alahi and Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016, arXiv:1603.08155.
    """
    f, p, mask = take_in(
        "perceptual_loss",
        where,
        sample_weights,
        extract,
        detach_targets,
        features=features,
        target_features=target_features,
    )
    weights = weights_of("perceptual_loss", layer_weights, f, p)
    return reduce(compare("perceptual_loss", _mean_square, f, p, weights), mask, reduction)


@_register("content_loss", aliases=("content",), citation="arXiv:1508.06576")
def content_loss(
    features: Features,
    target_features: Features,
    *,
    layer_weights: LayerWeights | None = None,
    normalization: str = "gatys",
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Half the squared difference of feature maps, summed over layers: what is where in the image.

        l = Σ_j λ_j |F_j - P_j|² / 2  ("gatys"),   or   Σ_j λ_j |F_j - P_j|² / (C_j H_j W_j)  ("johnson")

    The second is `perceptual_loss`. The paper takes the one layer conv4_2, which in its network is after the ReLU.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them; images if
            `extract` is given.
        target_features: the maps of the true images, of the same names and shapes; images if `extract` is given.
        layer_weights: λ_j >= 0, numbers under the names of the maps (for a list of maps a list or a vector); None for
            1 each.
        normalization: `"gatys"` or `"johnson"`.
        extract: from images `(N, H, W, C)` to maps; applied to both inputs.
        detach_targets: stop the gradient into `target_features`.
        where: bool, `(N,)`; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if layers, or the shapes of a layer, differ, or `normalization` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.content_loss([[[[1.0, 0.0], [2.0, 1.0]]]], [[[[1.0, 0.0], [1.0, 2.0]]]])
        Array([1.], dtype=float32)

    Reference:
        Gatys, Ecker and Bethge, A Neural Algorithm of Artistic Style, 2015, arXiv:1508.06576.
    """
    check_normalization("content_loss", normalization)
    f, p, mask = take_in(
        "content_loss",
        where,
        sample_weights,
        extract,
        detach_targets,
        features=features,
        target_features=target_features,
    )
    weights = weights_of("content_loss", layer_weights, f, p)
    return reduce(compare("content_loss", _content(normalization), f, p, weights), mask, reduction)


@_register("style_loss", aliases=("style",), citation="arXiv:1508.06576")
def style_loss(
    features: Features,
    target_features: Features,
    *,
    layer_weights: LayerWeights | None = None,
    normalization: str = "johnson",
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The squared difference of Gram matrices, summed over layers: what there is in the image, wherever it is.

        l = Σ_j λ_j |G_j - A_j|²  ("johnson"),   or   Σ_j λ_j |G_j - A_j|² / 4  ("gatys"),   G = F Fᵀ / (C H W)

    Moving, mirroring or shuffling positions changes nothing, and the two images may differ in size; see `gram_matrix`.
    Johnson takes relu1_2, relu2_2, relu3_3 and relu4_3 of VGG-16; Gatys conv1_1 to conv5_1 of VGG-19 (after the ReLU),
    each with λ = 1/5. `fast-neural-style` has the mean over the C² entries of a Gram matrix: λ_j = 1/C_j².
    For one style image and many others, `jax.vmap` over the others alone computes its Gram matrices once.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them; images if
            `extract` is given.
        target_features: the maps of the style images, of the same names, N and C; images if `extract` is given.
        layer_weights: λ_j >= 0, numbers under the names of the maps (for a list of maps a list or a vector); None for
            1 each.
        normalization: `"johnson"` or `"gatys"`.
        extract: from images `(N, H, W, C)` to maps; applied to both inputs.
        detach_targets: stop the gradient into `target_features`.
        where: bool, `(N,)`; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if layers, or N or C of a layer, differ, or `normalization` is another.

    Example:
        >>> import jaxlosses as jl
        >>> here, there = [[[[1.0, 0.0], [2.0, 1.0]]]], [[[[2.0, 1.0], [1.0, 0.0]]]]
        >>> jl.style_loss(here, there)
        Array([0.], dtype=float32)
        >>> jl.style_loss(here, [[[[1.0, 0.0], [1.0, 2.0]]]])
        Array([1.125], dtype=float32)

    Reference:
        Gatys, Ecker and Bethge, A Neural Algorithm of Artistic Style, 2015, arXiv:1508.06576.
        Johnson, Alahi and Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016, arXiv:1603.08155.
    """
    check_normalization("style_loss", normalization)
    f, p, mask = take_in(
        "style_loss", where, sample_weights, extract, detach_targets, features=features, target_features=target_features
    )
    weights = weights_of("style_loss", layer_weights, f, p)
    return reduce(compare("style_loss", _style(normalization), f, p, weights, any_size=True), mask, reduction)


@_register(
    "content_style_loss",
    aliases=("content_style", "neural_style"),
    citation="arXiv:1508.06576",
    domain=("features", "features", "features"),
    example_inputs=functools.partial(_example, images=3),
)
def content_style_loss(
    features: Features,
    content_features: Features,
    style_features: Features,
    *,
    content_weight: Number = 1.0,
    style_weight: Number = 1000.0,
    content_layers: Sequence[str | int] | Mapping[str, Number] | None = None,
    style_layers: Sequence[str | int] | Mapping[str, Number] | None = None,
    normalization: str = "gatys",
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """The content of one image in the style of another.

        l = α content(F, P) + β style(F, A),   α = content_weight, β = style_weight

    The two parts are `content_loss` and `style_loss` at the same `normalization`. The paper has α/β = 1e-3 or 1e-4,
    content from conv4_2 and style from conv1_1, conv2_1, ..., conv5_1 with weights of 1/5, all after their ReLU.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them, which holds at
            least the layers below; images if `extract` is given.
        content_features: the maps of the content images; of the same shapes. Images if `extract` is given.
        style_features: the maps of the style images; of the same N and C. Images if `extract` is given.
        content_weight: α >= 0.
        style_weight: β >= 0; worth nothing without the normalization and the scale of the maps it was chosen for.
        content_layers: the names of the layers whose content counts (for lists their positions), or a dict of their
            weights; None for all that `content_features` has, with weight 1.
        style_layers: likewise for the style.
        normalization: `"gatys"` or `"johnson"`, for both parts.
        extract: from images `(N, H, W, C)` to maps; applied to all three inputs.
        detach_targets: stop the gradient into `content_features` and `style_features`.
        where: bool, `(N,)`; True counts. See `jaxlosses.core.reduction`.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if a layer is missing, or its shapes do not fit, or `normalization` is another.
        TypeError: if `content_layers` or `style_layers` is neither names nor a dict.

    Example:
        >>> import jax.numpy as jnp, jaxlosses as jl
        >>> drawn = {"relu1": jnp.ones((1, 2, 2, 1)), "relu2": jnp.ones((1, 1, 1, 2))}
        >>> photo, painting = {"relu2": jnp.zeros((1, 1, 1, 2))}, {"relu1": jnp.zeros((1, 5, 5, 1))}
        >>> jl.content_style_loss(drawn, photo, painting, style_weight=8.0)
        Array([3.], dtype=float32)

    Reference:
        Gatys, Ecker and Bethge, A Neural Algorithm of Artistic Style, 2015, arXiv:1508.06576.
    """
    check_normalization("content_style_loss", normalization)
    f, p, a, mask = take_in(
        "content_style_loss",
        where,
        sample_weights,
        extract,
        detach_targets,
        features=features,
        content_features=content_features,
        style_features=style_features,
    )
    content_layers = chosen("content_style_loss", "content_layers", content_layers, p)
    style_layers = chosen("content_style_loss", "style_layers", style_layers, a)
    content = compare("content_style_loss", _content(normalization), f, p, content_layers)
    style = compare("content_style_loss", _style(normalization), f, a, style_layers, any_size=True)
    return reduce(jnp.add(content_weight * content, style_weight * style), mask, reduction)


def _mean_square(f: Float[Array, "N H W C"], p: Float[Array, "N H W C"]) -> Float[Array, " N"]:
    return jnp.mean((f - p) ** 2, axis=_IMAGE_AXES)


def _half_square(f: Float[Array, "N H W C"], p: Float[Array, "N H W C"]) -> Float[Array, " N"]:
    return 0.5 * jnp.sum((f - p) ** 2, axis=_IMAGE_AXES)


def _content(normalization: str) -> Callable[[Array, Array], Float[Array, " N"]]:
    return _half_square if normalization == "gatys" else _mean_square


def _style(normalization: str) -> Callable[[Array, Array], Float[Array, " N"]]:
    scale = 0.25 if normalization == "gatys" else 1.0
    return lambda f, a: scale * jnp.sum((gram(f) - gram(a)) ** 2, axis=(1, 2))
