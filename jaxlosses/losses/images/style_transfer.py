"""The losses of neural style transfer: content, style, and their sum against two images.

With the maps F and P of two images at a layer, as C rows over the H·W positions, and their Gram matrices (see
`gram_matrix`)

    G = F Fᵀ / (C H W)     A = P Pᵀ / (C H W)     symmetric, without negative eigenvalues

the losses add up over the layers, with a weight λ for each:

    variant      "johnson"                  "gatys"
    content      |F - P|² / (C H W)         |F - P|² / 2        what is where
    style        |G - A|²                   |G - A|² / 4        what there is, not where: quartic in F

Johnson's do not grow with the image, and his content loss is the `perceptual_loss`. Gatys's 1/(4C²(HW)²) |F Fᵀ - P Pᵀ|²
is a quarter of Johnson's |G - A|²; his style images have the size of the others, and for other sizes each Gram matrix
here is divided by its own.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlosses.core.errors import one_of
from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Number, Reduced
from jaxlosses.losses.images.feature_maps import (
    Extract,
    Features,
    LayerWeights,
    example_inputs,
    mean_square,
    prepare_features,
    register_feature_loss,
    resolve_layer_weights,
    scaled_square_distance,
    select_layers,
    weighted_layer_distance,
)
from jaxlosses.losses.images.gram import VARIANTS, normalized_gram

__all__ = ["content_loss", "content_style_loss", "style_loss"]


@register_feature_loss("content_loss", aliases=("content",), citation="arXiv:1508.06576", homogeneous_degree=2)
def content_loss(
    features: Features,
    target_features: Features,
    *,
    layer_weights: LayerWeights | None = None,
    variant: str = "gatys",
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Content loss of neural style transfer: half the summed squared error of feature maps.

        l = Σ_j λ_j |F_j - P_j|² / 2  ("gatys"),   or   Σ_j λ_j |F_j - P_j|² / (C_j H_j W_j)  ("johnson")

    It compares what is where in the two images. The second form is `perceptual_loss`. The paper takes the one layer
    conv4_2, which in its network is after the ReLU.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them; images if
            `extract` is given.
        target_features: the maps of the true images, of the same names and shapes; images if `extract` is given.
        layer_weights: λ_j >= 0, numbers under the names of the maps (for a list of maps a list or a vector); None for
            1 each.
        variant: `"gatys"` or `"johnson"`.
        extract: from images `(N, H, W, C)` to maps; applied to both inputs.
        detach_targets: stop the gradient into `target_features`.
        where: bool, `(N,)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if layers, or the shapes of a layer, differ, or `variant` is another.

    Example:
        >>> import jaxlosses as jl
        >>> jl.content_loss([[[[1.0, 0.0], [2.0, 1.0]]]], [[[[1.0, 0.0], [1.0, 2.0]]]])
        Array([1.], dtype=float32)

    Reference:
        Gatys, Ecker and Bethge, A Neural Algorithm of Artistic Style, 2015, arXiv:1508.06576.
    """
    one_of("content_loss", "variant", variant, VARIANTS)
    f, p, mask = prepare_features(
        "content_loss",
        where,
        sample_weights,
        extract,
        detach_targets,
        features=features,
        target_features=target_features,
    )
    weights = resolve_layer_weights("content_loss", layer_weights, f, p)
    return reduce(weighted_layer_distance("content_loss", _content_distance(variant), f, p, weights), mask, reduction)


@register_feature_loss("style_loss", aliases=("style",), citation="arXiv:1508.06576", homogeneous_degree=4)
def style_loss(
    features: Features,
    target_features: Features,
    *,
    layer_weights: LayerWeights | None = None,
    variant: str = "johnson",
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Style loss of neural style transfer: squared Frobenius distance between Gram matrices of feature maps.

        l = Σ_j λ_j |G_j - A_j|²  ("johnson"),   or   Σ_j λ_j |G_j - A_j|² / 4  ("gatys"),   G = F Fᵀ / (C H W)

    It compares what there is in the two images, wherever it is: moving, mirroring or shuffling positions changes
    nothing, and the two images may differ in size; see `gram_matrix`.
    Johnson takes relu1_2, relu2_2, relu3_3 and relu4_3 of VGG-16; Gatys conv1_1 to conv5_1 of VGG-19 (after the ReLU),
    each with λ = 1/5. `fast-neural-style` has the mean over the C² entries of a Gram matrix: λ_j = 1/C_j².
    For one style image and many others, `jax.vmap` over the others alone computes its Gram matrices once.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them; images if
            `extract` is given.
        target_features: the maps of the style images, of the same names, N and C; images if `extract` is given.
        layer_weights: λ_j >= 0, numbers under the names of the maps (for a list of maps a list or a vector); None for
            1 each.
        variant: `"johnson"` or `"gatys"`.
        extract: from images `(N, H, W, C)` to maps; applied to both inputs.
        detach_targets: stop the gradient into `target_features`.
        where: bool, `(N,)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if layers, or N or C of a layer, differ, or `variant` is another.

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
    one_of("style_loss", "variant", variant, VARIANTS)
    f, p, mask = prepare_features(
        "style_loss", where, sample_weights, extract, detach_targets, features=features, target_features=target_features
    )
    weights = resolve_layer_weights("style_loss", layer_weights, f, p)
    return reduce(
        weighted_layer_distance("style_loss", _style_distance(variant), f, p, weights, any_size=True), mask, reduction
    )


@register_feature_loss(
    "content_style_loss",
    law_exceptions=(
        ("scaled inputs give scaled values", "its content is of degree 2 and its style of degree 4"),
        (
            "integers keep their differences",
            "feature maps come out of networks, so they are never integers that float32 would round",
        ),
    ),
    aliases=("content_style", "neural_style"),
    citation="arXiv:1508.06576",
    domain=("features", "features", "features"),
    example_inputs=functools.partial(example_inputs, images=3),
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
    variant: str = "gatys",
    extract: Extract | None = None,
    detach_targets: bool = False,
    where: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    reduction: str = "none",
) -> Reduced:
    """Neural style transfer loss (Gatys et al.): a weighted sum of content and style losses against two images.

        l = α content(F, P) + β style(F, A),   α = content_weight, β = style_weight

    The two parts are `content_loss` and `style_loss` at the same `variant`. The paper has α/β = 1e-3 or 1e-4,
    content from conv4_2 and style from conv1_1, conv2_1, ..., conv5_1 with weights of 1/5, all after their ReLU.

    Args:
        features: the maps of the model's images: one `(N, H, W, C)`, or a list, tuple or dict of them, which holds at
            least the layers below; images if `extract` is given.
        content_features: the maps of the content images; of the same shapes. Images if `extract` is given.
        style_features: the maps of the style images; of the same N and C. Images if `extract` is given.
        content_weight: α >= 0.
        style_weight: β >= 0; it depends on the variant and on the scale of the maps.
        content_layers: the names of the layers whose content counts (for lists their positions), or a dict of their
            weights; None for all that `content_features` has, with weight 1.
        style_layers: likewise for the style.
        variant: `"gatys"` or `"johnson"`, for both parts.
        extract: from images `(N, H, W, C)` to maps; applied to all three inputs.
        detach_targets: stop the gradient into `content_features` and `style_features`.
        where: bool, `(N,)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
        sample_weights: numbers >= 0, `(N,)`.
        reduction: `"none"`, `"sum"`, `"mean"` or `"parts"`.

    Returns:
        `(N,)`, at least 0; or what `reduction` makes of it.

    Raises:
        ValueError: if a layer is missing, or its shapes do not fit, or `variant` is another.
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
    one_of("content_style_loss", "variant", variant, VARIANTS)
    f, p, a, mask = prepare_features(
        "content_style_loss",
        where,
        sample_weights,
        extract,
        detach_targets,
        features=features,
        content_features=content_features,
        style_features=style_features,
    )
    content_layers = select_layers("content_style_loss", "content_layers", content_layers, p)
    style_layers = select_layers("content_style_loss", "style_layers", style_layers, a)
    content = weighted_layer_distance("content_style_loss", _content_distance(variant), f, p, content_layers)
    style = weighted_layer_distance("content_style_loss", _style_distance(variant), f, a, style_layers, any_size=True)
    return reduce(jnp.add(content_weight * content, style_weight * style), mask, reduction)


def _content_distance(variant: str) -> Callable[[Array, Array], Float[Array, " N"]]:
    return _half_square if variant == "gatys" else mean_square


def _half_square(f: Float[Array, "N H W C"], p: Float[Array, "N H W C"]) -> Float[Array, " N"]:
    return scaled_square_distance(f, p, 0.5)


def _style_distance(variant: str) -> Callable[[Array, Array], Float[Array, " N"]]:
    scale = 0.25 if variant == "gatys" else 1.0
    return lambda f, a: scaled_square_distance(normalized_gram(f), normalized_gram(a), scale)
