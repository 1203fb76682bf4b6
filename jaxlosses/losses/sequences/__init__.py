"""Losses of sequences: labels for frames or for steps.

ctc_loss                 -log Σ over the alignments of the labels     a value per sequence; more frames than labels
sequence_cross_entropy   Σ_t CE(z_t, y_t), or a mean over tokens      a value per sequence; one label per step
perplexity               exp of the mean over tokens                  one number
ctc_collapse, ctc_greedy_decode   from a path, or from a model's outputs, to labels
"""

from jaxlosses.losses.sequences.ctc import (
    ctc_loss as ctc_loss,
)
from jaxlosses.losses.sequences.ctc_decoding import (
    ctc_collapse as ctc_collapse,
)
from jaxlosses.losses.sequences.ctc_decoding import (
    ctc_greedy_decode as ctc_greedy_decode,
)
from jaxlosses.losses.sequences.tokens import (
    perplexity as perplexity,
)
from jaxlosses.losses.sequences.tokens import (
    sequence_cross_entropy as sequence_cross_entropy,
)
