"""jaxlosses: the loss library of JAX. One import, `import jaxlosses as jl`, is all a user needs.

The losses come in the order of their rooms, then what composes them. They take what the model produced first and the
truth second, everything else by keyword, and return one value per element or example unless `reduction` says otherwise.
"""

from jaxlosses import combine as combine
from jaxlosses.checks import checked as checked
from jaxlosses.losses.regression import (
    absolute_error as absolute_error,
    huber_loss as huber_loss,
    smooth_l1_loss as smooth_l1_loss,
    squared_error as squared_error,
)
from jaxlosses.losses.classification import (
    binary_cross_entropy as binary_cross_entropy,
    nll_loss as nll_loss,
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
    sigmoid_focal_loss as sigmoid_focal_loss,
    softmax_cross_entropy as softmax_cross_entropy,
    softmax_focal_loss as softmax_focal_loss,
)
from jaxlosses.losses.divergences import (
    cross_entropy as cross_entropy,
    entropy as entropy,
    kl_divergence as kl_divergence,
)
from jaxlosses.losses.box_similarities import (
    box_ciou as box_ciou,
    box_diou as box_diou,
    box_giou as box_giou,
    box_iou as box_iou,
)
from jaxlosses.losses.boxes import (
    ciou_loss as ciou_loss,
    diou_loss as diou_loss,
    giou_loss as giou_loss,
    iou_loss as iou_loss,
)
from jaxlosses.losses.segmentation import (
    dice_loss as dice_loss,
    jaccard_loss as jaccard_loss,
    tversky_loss as tversky_loss,
)
from jaxlosses.objective import Objective as Objective, Term as Term
from jaxlosses.registry import get as get, names as names, register as register, unregister as unregister
from jaxlosses.types import Parts as Parts
