"""jaxlosses: the loss library of JAX. One import, `import jaxlosses as jl`, is all a user needs.

The losses come in the order of their rooms, then what composes them. They take what the model produced first and the
truth second, everything else by keyword, and return one value per element or example unless `reduction` says otherwise.
"""

from jaxlosses.losses.regression import absolute_error, huber_loss, smooth_l1_loss, squared_error
from jaxlosses.losses.classification import (
    binary_cross_entropy,
    nll_loss,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
)
from jaxlosses.losses.divergences import cross_entropy, entropy, kl_divergence
from jaxlosses.losses.boxes import ciou_loss, diou_loss, giou_loss, iou_loss
from jaxlosses.losses.box_similarities import box_ciou, box_diou, box_giou, box_iou
from jaxlosses.losses.segmentation import dice_loss, jaccard_loss, tversky_loss
from jaxlosses.losses.sequences import (
    ctc_collapse,
    ctc_greedy_decode,
    ctc_loss,
    perplexity,
    sequence_cross_entropy,
)
from jaxlosses.types import Parts
from jaxlosses.registry import get, names, register, unregister
from jaxlosses import combine
from jaxlosses.objective import Objective, Term
from jaxlosses.checks import checked

__all__ = [
    "Objective",
    "Parts",
    "Term",
    "absolute_error",
    "binary_cross_entropy",
    "box_ciou",
    "box_diou",
    "box_giou",
    "box_iou",
    "checked",
    "ciou_loss",
    "combine",
    "cross_entropy",
    "ctc_collapse",
    "ctc_greedy_decode",
    "ctc_loss",
    "dice_loss",
    "diou_loss",
    "entropy",
    "get",
    "giou_loss",
    "huber_loss",
    "iou_loss",
    "jaccard_loss",
    "kl_divergence",
    "names",
    "nll_loss",
    "perplexity",
    "register",
    "sequence_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "squared_error",
    "tversky_loss",
    "unregister",
]
