"""jaxlosses: the loss library of JAX. One import, `import jaxlosses as jl`, is all a user needs.

The losses come in the order of their rooms, then what composes them. They take what the model produced first and the
truth second, everything else by keyword, and return one value per element or example unless `reduction` says otherwise.
"""

from jaxlosses.losses.regression import absolute_error, huber_loss, smooth_l1_loss, squared_error
from jaxlosses.losses.classification import (
    binary_cross_entropy,
    class_counts,
    effective_number_weights,
    hardest,
    inverse_frequency_weights,
    log_loss,
    median_frequency_weights,
    nll_loss,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
)
from jaxlosses.losses.divergences import cross_entropy, entropy, js_divergence, kl_divergence
from jaxlosses.losses.boxes import (
    box_cdiou,
    box_ciou,
    box_convert,
    box_diou,
    box_eiou,
    box_giou,
    box_iou,
    box_sanitize,
    cdiou_loss,
    ciou_loss,
    diou_loss,
    eiou_loss,
    focal_eiou_loss,
    focal_l1_loss,
    giou_loss,
    iou_loss,
)
from jaxlosses.losses.segmentation import (
    dice_coefficient,
    dice_loss,
    f_beta,
    jaccard_index,
    jaccard_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    precision,
    sensitivity,
    sensitivity_specificity_loss,
    specificity,
    tversky_loss,
)
from jaxlosses.losses.images import content_loss, content_style_loss, perceptual_loss, style_loss
from jaxlosses.losses.gram import gram_matrix
from jaxlosses.losses.adversarial import cycle_consistency_loss, discriminator_loss, generator_loss, identity_loss
from jaxlosses.losses.penalties import elastic_net_penalty, l1_penalty, l2_penalty, soft_threshold, structural_risk
from jaxlosses.types import Parts
from jaxlosses.registry import get, names, register, unregister
from jaxlosses import combine
from jaxlosses._schedules import schedule
from jaxlosses.term import Term
from jaxlosses.objective import Objective, value_only
from jaxlosses.checks import checked

__all__ = [
    "Objective",
    "Parts",
    "Term",
    "absolute_error",
    "binary_cross_entropy",
    "box_cdiou",
    "box_ciou",
    "box_convert",
    "box_diou",
    "box_eiou",
    "box_giou",
    "box_iou",
    "box_sanitize",
    "cdiou_loss",
    "checked",
    "ciou_loss",
    "class_counts",
    "combine",
    "content_loss",
    "content_style_loss",
    "cross_entropy",
    "cycle_consistency_loss",
    "dice_coefficient",
    "dice_loss",
    "diou_loss",
    "discriminator_loss",
    "effective_number_weights",
    "eiou_loss",
    "elastic_net_penalty",
    "entropy",
    "f_beta",
    "focal_eiou_loss",
    "focal_l1_loss",
    "generator_loss",
    "get",
    "giou_loss",
    "gram_matrix",
    "hardest",
    "huber_loss",
    "identity_loss",
    "inverse_frequency_weights",
    "iou_loss",
    "jaccard_index",
    "jaccard_loss",
    "js_divergence",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "log_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "median_frequency_weights",
    "names",
    "nll_loss",
    "perceptual_loss",
    "precision",
    "register",
    "schedule",
    "sensitivity",
    "sensitivity_specificity_loss",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_threshold",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "specificity",
    "squared_error",
    "structural_risk",
    "style_loss",
    "tversky_loss",
    "unregister",
    "value_only",
]
