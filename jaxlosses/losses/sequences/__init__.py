"""Labels for sequences.

ctc_loss                 -log Σ over the alignments of the labels     a value per sequence; frames outnumber labels
sequence_cross_entropy   Σ_t CE(z_t, y_t), as a mean over tokens      a value per sequence; one label per step
perplexity               exp of that mean                             a number for a corpus
ctc_collapse, ctc_greedy_decode   what a path, or the best path, spells
"""

from jaxlosses.losses.sequences.ctc import (
    ctc_collapse as ctc_collapse,
)
from jaxlosses.losses.sequences.ctc import (
    ctc_greedy_decode as ctc_greedy_decode,
)
from jaxlosses.losses.sequences.ctc import (
    ctc_loss as ctc_loss,
)
from jaxlosses.losses.sequences.tokens import (
    perplexity as perplexity,
)
from jaxlosses.losses.sequences.tokens import (
    sequence_cross_entropy as sequence_cross_entropy,
)
