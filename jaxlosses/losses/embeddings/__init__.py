"""Losses of embeddings (metric learning): what is alike should lie close together, and what is not, far apart.

contrastive_loss            labelled pairs                                             a value per pair
pairwise_contrastive_loss   all pairs of a labelled batch                              a value per item
triplet_loss                given anchors, positives and negatives                     a value per triplet
batch_all_triplet_loss      every triplet in a labelled batch                          a value per anchor
batch_hard_triplet_loss     an anchor's farthest positive and nearest negative         a value per anchor
semi_hard_triplet_loss      a positive, and the nearest negative farther than it       a value per anchor
n_pair_loss                 one positive against the others' positives, dot products   a value per anchor
info_nce_loss               one positive against negatives, cosines at a temperature   a value per query
"""

from jaxlosses.losses.embeddings.contrastive_pairs import contrastive_loss as contrastive_loss
from jaxlosses.losses.embeddings.contrastive_pairs import pairwise_contrastive_loss as pairwise_contrastive_loss
from jaxlosses.losses.embeddings.distances import cosine_similarity as cosine_similarity
from jaxlosses.losses.embeddings.distances import euclidean_distance as euclidean_distance
from jaxlosses.losses.embeddings.distances import l2_normalize as l2_normalize
from jaxlosses.losses.embeddings.distances import squared_distance as squared_distance
from jaxlosses.losses.embeddings.info_nce import info_nce_loss as info_nce_loss
from jaxlosses.losses.embeddings.n_pair import n_pair_loss as n_pair_loss
from jaxlosses.losses.embeddings.triplet import triplet_loss as triplet_loss
from jaxlosses.losses.embeddings.triplet_mining import batch_all_triplet_loss as batch_all_triplet_loss
from jaxlosses.losses.embeddings.triplet_mining import batch_hard_triplet_loss as batch_hard_triplet_loss
from jaxlosses.losses.embeddings.triplet_mining import semi_hard_triplet_loss as semi_hard_triplet_loss
