"""The perceptual loss: the mean squared error of the feature maps that a network makes of two images."""

from jaxlosses.core.reduction import reduce
from jaxlosses.core.types import ArrayLike, Reduced
from jaxlosses.losses.images.feature_maps import (
    Extract,
    Features,
    LayerWeights,
    mean_square,
    prepare_features,
    register_feature_loss,
    resolve_layer_weights,
    weighted_layer_distance,
)

__all__ = ["perceptual_loss"]


@register_feature_loss(
    "perceptual_loss",
    aliases=("perceptual", "feature_reconstruction"),
    citation="arXiv:1603.08155",
    likelihood=(0.5, 0.5),
    homogeneous_degree=2,
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
    """Perceptual (feature reconstruction) loss: mean squared error of network features, for super-resolution.

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
        where: bool, `(N,)`; True counts. `jaxlosses.core.reduction` explains this and the next two.
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
    f, p, mask = prepare_features(
        "perceptual_loss",
        where,
        sample_weights,
        extract,
        detach_targets,
        features=features,
        target_features=target_features,
    )
    weights = resolve_layer_weights("perceptual_loss", layer_weights, f, p)
    return reduce(weighted_layer_distance("perceptual_loss", mean_square, f, p, weights), mask, reduction)
