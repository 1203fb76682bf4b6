"""The options under which every loss is held to the laws; a loss that is missing here fails `test_api.py`."""

from jaxlosses import registry, testing

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
    "sigmoid_binary_cross_entropy": [{}, {"pos_weight": 3.0}],
    "sigmoid_focal_loss": [{}, {"gamma": 0.5, "alpha": 0.25}],
    "binary_cross_entropy": [{}, {"eps": 0.01}],
    "entropy": [{}, {"base": 2.0}],
    "cross_entropy": [{}, {"base": 2.0, "eps": 1e-3}],
    "kl_divergence": [{}],
    "iou_loss": [{}, {"mode": "log"}],
    "giou_loss": [{}],
    "diou_loss": [{}],
    "ciou_loss": [{}, {"iou_threshold": 0.5}],
    "dice_loss": [
        {},
        {"squared": True, "smooth": 0.0},
        {"per_class": True},
        {"activation": "softmax"},
        {"ignore_label": 1},
    ],
    "jaccard_loss": [{}, {"smooth": 0.0, "activation": "sigmoid"}],
    "tversky_loss": [{}, {"fp_weight": 0.3, "fn_weight": 0.7}],
    "ctc_loss": [{}, {"blank_id": 4, "zero_infinity": True}],
    "sequence_cross_entropy": [{}, {"normalization": "sequence", "label_smoothing": 0.1}, {"normalization": "batch"}],
}

CASES = {
    f"{name}-{index}" if index else name: testing.Case(registry.get(name), options)
    for name, rows in OPTIONS.items()
    for index, options in enumerate(rows)
}
