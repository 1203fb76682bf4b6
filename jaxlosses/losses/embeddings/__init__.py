"""Near and far: what is alike should lie close together, and what is not, apart.

contrastive_loss         y d² + (1-y) relu(m - d)²           a value per pair
triplet_loss             relu(d_ap - d_an + m)               a value per triplet
batch_all_triplet_loss   every triplet in a batch            a value per anchor
batch_hard_triplet_loss  the hardest one of each anchor
semi_hard_triplet_loss   a hard, but not the hardest negative for each pair of an anchor and a positive
n_pair_loss              one positive against those of all other anchors, by dot products
info_nce_loss            the same by cosines and with a temperature; given negatives; both directions (CLIP)
"""

from jaxlosses.losses.embeddings.contrastive import (
    info_nce_loss as info_nce_loss,
)
from jaxlosses.losses.embeddings.contrastive import (
    n_pair_loss as n_pair_loss,
)
from jaxlosses.losses.embeddings.distances import (
    cosine_similarity as cosine_similarity,
)
from jaxlosses.losses.embeddings.distances import (
    euclidean_distance as euclidean_distance,
)
from jaxlosses.losses.embeddings.distances import (
    l2_normalize as l2_normalize,
)
from jaxlosses.losses.embeddings.distances import (
    squared_distance as squared_distance,
)
from jaxlosses.losses.embeddings.pairs import (
    contrastive_loss as contrastive_loss,
)
from jaxlosses.losses.embeddings.pairs import (
    triplet_loss as triplet_loss,
)
from jaxlosses.losses.embeddings.triplet_mining import (
    batch_all_triplet_loss as batch_all_triplet_loss,
)
from jaxlosses.losses.embeddings.triplet_mining import (
    batch_hard_triplet_loss as batch_hard_triplet_loss,
)
from jaxlosses.losses.embeddings.triplet_mining import (
    semi_hard_triplet_loss as semi_hard_triplet_loss,
)
