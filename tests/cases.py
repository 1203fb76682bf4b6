"""The options under which every loss is held to the laws; a loss that is missing here fails `test_api.py`."""

import jax.numpy as jnp

from jaxlosses import registry, testing


def two_layers(images):
    """A network, small and smooth, of two layers that differ in height and channels."""
    wide = jnp.sin(images) + 0.1 * jnp.roll(images, 1, axis=2)
    return {"wide": wide, "deep": jnp.concatenate([wide[:, :1], wide[:, 1:2] ** 2], axis=3)}


OPTIONS: dict[str, list[dict]] = {
    "absolute_error": [{}],
    "squared_error": [{}],
    "smooth_l1_loss": [{}, {"beta": 0.3}],
    "huber_loss": [{}, {"delta": 0.5}],
    "softmax_cross_entropy": [
        {},
        {"label_smoothing": 0.1},
        {"class_weights": [0.5, 1.0, 2.0, 0.0], "label_smoothing": 0.2},
        {"ignore_label": 2},
    ],
    "softmax_focal_loss": [{}, {"gamma": 0.5, "alpha": [0.5, 1.0, 2.0, 0.25]}, {"gamma": 0.0, "ignore_label": 1}],
    "nll_loss": [{}, {"class_weights": [0.5, 1.0, 2.0, 0.0]}],
    "log_loss": [{"class_weights": [0.5, 1.0, 2.0, 0.0], "mean_over": "examples"}],
    "sigmoid_binary_cross_entropy": [{}, {"pos_weight": 3.0, "alpha": 0.75}],
    "sigmoid_focal_loss": [{}, {"gamma": 0.5, "alpha": 0.25, "normalizer": 3.0}],
    "binary_cross_entropy": [{}, {"eps": 0.01}],
    "entropy": [{}, {"input_type": "logits", "log_base": 2.0}],
    "cross_entropy": [{}, {"log_base": 2.0, "eps": 1e-3}],
    "kl_divergence": [{}, {"input_type": "logits", "log_base": 2.0}],
    "js_divergence": [{}, {"input_type": "logits"}],
    "iou_loss": [{}, {"variant": "log"}],
    "giou_loss": [{}],
    "diou_loss": [{}],
    "ciou_loss": [{}, {"iou_threshold": 0.5}],
    "eiou_loss": [{}],
    "focal_l1_loss": [{}],
    "focal_eiou_loss": [{"mean_over": "weights"}, {"variant": "focal_l1"}],
    "cdiou_loss": [{}, {"similarity": "giou", "weight": 0.5}],
    "dice_loss": [
        {},
        {"squared_denominator": True, "smooth": 0.0},
        {"per_class": True},
        {"activation": "softmax"},
        {"ignore_label": 1},
        {"per_image": False, "classes": "present"},
    ],
    "jaccard_loss": [{}, {"smooth": 0.0, "activation": "sigmoid"}, {"soft_labels": True, "log": True}],
    "tversky_loss": [
        {},
        {"fp_weight": 0.3, "fn_weight": 0.7},
        {"average": "micro", "include_background": False, "classes": "present"},
    ],
    "sensitivity_specificity_loss": [{}, {"sensitivity_weight": 0.4, "per_class": True, "classes": (2, 0)}],
    "lovasz_hinge_loss": [{}],
    "lovasz_softmax_loss": [{}, {"per_image": True, "activation": "softmax", "ignore_label": 1}],
    "discriminator_loss": [{}, {"variant": "least_squares", "real_label": 0.9}],
    "generator_loss": [{}, {"variant": "minimax"}],
    "cycle_consistency_loss": [{}],
    "identity_loss": [{}],
    "perceptual_loss": [{}, {"extract": two_layers, "layer_weights": {"wide": 0.5, "deep": 2.0}}],
    "content_loss": [{"layer_weights": 0.7}],
    "style_loss": [{}, {"extract": two_layers, "variant": "gatys"}],
    "content_style_loss": [{}, {"extract": two_layers, "content_layers": ["deep"], "style_layers": {"wide": 0.2}}],
    "contrastive_loss": [{"margin": 1.5}],
    "pairwise_contrastive_loss": [{"margin": 1.5}, {"half": False, "block_size": 2}],
    "triplet_loss": [{"squared": False, "margin": 1.0}, {"soft_margin": True}],
    "batch_all_triplet_loss": [{}, {"squared": False, "positive_only": True, "block_size": 2}],
    "batch_hard_triplet_loss": [{}, {"squared": False, "soft_margin": True, "block_size": 2}],
    "semi_hard_triplet_loss": [{}, {"squared": False, "block_size": 2}],
    "n_pair_loss": [{}, {"variant": "one_vs_one", "block_size": 2}],
    "info_nce_loss": [
        {"temperature": 0.5},
        {"temperature": 0.5, "symmetric": True, "block_size": 2},
        {"negatives": [[1.0, 0.5, -2.0], [0.3, 0.2, 0.1]], "normalize": False},
    ],
    "ctc_loss": [{}, {"blank_id": 4, "zero_infinity": True}],
    "sequence_cross_entropy": [{}, {"mean_over": "sequences", "label_smoothing": 0.1}, {"mean_over": "examples"}],
}

CASES = {
    f"{name}-{index}" if index else name: testing.Case(registry.get(name), options)
    for name, rows in OPTIONS.items()
    for index, options in enumerate(rows)
}
