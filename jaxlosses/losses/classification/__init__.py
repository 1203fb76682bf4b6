"""Classification losses. Softmax losses expect one right class of several, sigmoid losses any number of labels.

softmax_cross_entropy         -Σ t log softmax(z)              a value per row of logits
softmax_focal_loss            -Σ t (1 - p)^γ log p             the same, with a smaller weight for easy rows
nll_loss, log_loss            -Σ t log p                       from log-probabilities, from probabilities
sigmoid_binary_cross_entropy  -t log σ(x) - (1-t) log σ(-x)    a value per logit
sigmoid_focal_loss            the same, times (1 - p_t)^γ
binary_cross_entropy          -t log p - (1-t) log(1-p)        from probabilities
class_counts, *_weights       class weights for imbalanced classes
hard_example_mask             online hard example mining
"""

from jaxlosses.losses.classification.multiclass import softmax_cross_entropy as softmax_cross_entropy
from jaxlosses.losses.classification.multiclass import softmax_focal_loss as softmax_focal_loss
from jaxlosses.losses.classification.likelihood import log_loss as log_loss
from jaxlosses.losses.classification.likelihood import nll_loss as nll_loss
from jaxlosses.losses.classification.binary import binary_cross_entropy as binary_cross_entropy
from jaxlosses.losses.classification.binary import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from jaxlosses.losses.classification.binary import sigmoid_focal_loss as sigmoid_focal_loss
from jaxlosses.losses.classification.imbalance import class_counts as class_counts
from jaxlosses.losses.classification.imbalance import effective_number_weights as effective_number_weights
from jaxlosses.losses.classification.imbalance import hard_example_mask as hard_example_mask
from jaxlosses.losses.classification.imbalance import inverse_frequency_weights as inverse_frequency_weights
from jaxlosses.losses.classification.imbalance import median_frequency_weights as median_frequency_weights
