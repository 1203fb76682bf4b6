"""Losses and metrics of segmentation: what a predicted mask and a true one have in common.

dice                     the soft Dice loss
jaccard_tversky          the soft Jaccard loss, and the Tversky loss, of which it is a special case
sensitivity_specificity  the squared errors of the object and of the background, each with a mean of its own
lovasz                   the Lovász hinge and Lovász-Softmax losses: the Jaccard loss continued to soft masks
metrics                  Dice and Jaccard coefficients, precision, sensitivity, ... without smoothing, to report

Pooling. Each image and class has a coefficient of its own, and classes are averaged. `average="micro"` sums over the
classes first, and is never the default: between a softmax and one-hot targets it makes FP = FN, so that Tversky's two
weights mean nothing. `per_image=False` sums over the images first, so that an image weighs as much as there is in it.
Then there is one value, of shape () or (classes,), which counts 1 in a mean; `where` and `sample_weights` act inside
its sums. In `shard_map` and `pmap`, `axis_name` sums over the devices as well, and each has the value of the whole
batch.

Soft targets. For 0 < g < 1 the Dice, Jaccard and Tversky losses are not least at p = g. With `soft_labels` they are:
then TP = Σ min(p, g), which is (|p| + |g| - |p - g|)/2, FP = Σp - TP and FN = Σg - TP; hard targets give the same
values as before. The squares of V-Net do not need this: Σpg is half of Σp² + Σg² - Σ(p - g)².
"""

from jaxlosses.losses.segmentation.dice import dice_loss
from jaxlosses.losses.segmentation.jaccard_tversky import jaccard_loss, tversky_loss
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
