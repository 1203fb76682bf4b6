"""Overlap of masks: what a predicted and a true region share, as losses and as metrics.

overlap                  Dice, Jaccard and Tversky: 1 minus a ratio of sums over the pixels
sensitivity_specificity  the squared error of the object and of the background, each with a mean of its own
lovasz                   the Jaccard loss of hard masks, continued convexly to soft ones
coefficients             the ratios themselves, without smoothing, to report
"""

from jaxlosses.losses.segmentation.dice import dice_loss, jaccard_loss, tversky_loss
from jaxlosses.losses.segmentation.lovasz import lovasz_hinge_loss, lovasz_softmax_loss
from jaxlosses.losses.segmentation.metrics import (
    dice_coefficient,
    f_beta,
    jaccard_index,
    precision,
    sensitivity,
    specificity,
)
from jaxlosses.losses.segmentation.sensitivity_specificity import sensitivity_specificity_loss

__all__ = [
    "dice_coefficient",
    "dice_loss",
    "f_beta",
    "jaccard_index",
    "jaccard_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "precision",
    "sensitivity",
    "sensitivity_specificity_loss",
    "specificity",
    "tversky_loss",
]
