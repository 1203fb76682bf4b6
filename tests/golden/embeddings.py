"""Expected values and gradients of the embedding losses, from other libraries. Run by hand, from anywhere:

    python tests/golden/embeddings.py

It calls torch (distances, triplet, cross-entropies) and pytorch-metric-learning (N-pair; NT-Xent between two batches,
which is InfoNCE; all triplets; the batch-hard miner). Semi-hard mining, contrastive and one-vs-one have no counterpart
there with the same meaning: they are plain loops over single numbers here, differentiated by torch.
"""

import functools
import json
import pathlib

import pytorch_metric_learning
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn import functional

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
CASES = []


def numbers(x):
    """Nested lists, to 12 digits."""
    return json.loads(json.dumps(x.detach().tolist()), parse_float=lambda digits: float(f"{float(digits):.12g}"))


def case(name, loss, inputs, value, options=None, reduction="mean"):
    """Write down what `value` makes of the inputs, and its gradient by each of them that has one."""
    for x in inputs:
        if x.is_floating_point():
            x.requires_grad_(True)
    result = value(*inputs)
    floats = [x for x in inputs if x.is_floating_point()]
    gradients = torch.autograd.grad(result.sum(), floats)
    CASES.append(
        {
            "name": name,
            "loss": loss,
            "options": options or {},
            "reduction": reduction,
            "inputs": [numbers(x) for x in inputs],
            "value": numbers(result),
            "gradients": [numbers(g) for g in gradients],
        }
    )


def rounded(*shape):
    return torch.randn(*shape).mul(1e4).round().div(1e4)


def plain(squared):
    return distances.LpDistance(normalize_embeddings=False, power=2 if squared else 1)


def batch(n=10):
    return rounded(n, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 3, 1])[:n]


# Distances

case(
    "torch.pairwise_distance",
    "euclidean_distance",
    [rounded(4, 3), rounded(4, 3)],
    lambda x, y: functional.pairwise_distance(x, y, eps=0.0),
    reduction=None,
)
case(
    "torch.cdist",
    "euclidean_distance",
    [rounded(4, 3), rounded(5, 3)],
    lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"),
    {"pairwise": True},
    None,
)
case(
    "torch.cosine_similarity",
    "cosine_similarity",
    [rounded(4, 3), rounded(4, 3)],
    functional.cosine_similarity,
    reduction=None,
)
case("torch.normalize", "l2_normalize", [rounded(4, 3)], functional.normalize, reduction=None)


# Pairs and triplets


def contrastive(a, b, y):
    total = 0.0
    for i in range(len(a)):
        d = sum((a[i, k] - b[i, k]) ** 2 for k in range(a.shape[1])).sqrt()
        total = total + (d**2 if y[i] else max(1.5 - d, 0 * d) ** 2) / 2
    return total / len(a)


case(
    "loops",
    "contrastive_loss",
    [rounded(6, 3), rounded(6, 3), torch.tensor([1, 0, 0, 1, 0, 0])],
    contrastive,
    {"margin": 1.5},
)
case(
    "torch.triplet_margin_loss",
    "triplet_loss",
    [rounded(5, 3) for _ in range(3)],
    lambda a, p, n: functional.triplet_margin_loss(a, p, n, margin=1.0, eps=0.0),
    {"squared": False, "margin": 1.0},
)
case(
    "torch.triplet_margin_with_distance_loss",
    "triplet_loss",
    [rounded(5, 3) for _ in range(3)],
    lambda a, p, n: functional.triplet_margin_with_distance_loss(
        a, p, n, distance_function=lambda x, y: ((x - y) ** 2).sum(-1), margin=0.2
    ),
)
case(
    "softplus",
    "triplet_loss",
    [rounded(5, 3) for _ in range(3)],
    lambda a, p, n: functional.softplus(((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1)).mean(),
    {"soft_margin": True},
)


# Mining


def batch_hard(x, y, distance):
    loss = losses.TripletMarginLoss(margin=0.3, distance=distance, reducer=reducers.MeanReducer())
    return loss(x, y, miners.BatchHardMiner(distance=distance)(x, y))


for squared in (True, False):
    for only, reducer in ((False, reducers.MeanReducer()), (True, reducers.AvgNonZeroReducer())):
        every = losses.TripletMarginLoss(margin=0.3, distance=plain(squared), reducer=reducer)
        case(
            "pytorch-metric-learning",
            "batch_all_triplet_loss",
            [*batch()],
            every,
            {"squared": squared, "margin": 0.3, "positive_only": only},
        )
    case(
        "pytorch-metric-learning",
        "batch_hard_triplet_loss",
        [*batch()],
        functools.partial(batch_hard, distance=plain(squared)),
        {"squared": squared, "margin": 0.3},
    )


def semi_hard(x, y):
    """For each anchor and positive the nearest negative that is farther, or else the farthest negative."""

    def d(i, j):
        return sum((x[i, k] - x[j, k]) ** 2 for k in range(x.shape[1]))

    total, pairs = 0.0, 0
    for a in range(len(x)):
        negatives = [d(a, n) for n in range(len(x)) if y[n] != y[a]]
        for p in range(len(x)):
            if p == a or y[p] != y[a] or not negatives:
                continue
            farther = [v for v in negatives if v > d(a, p)]
            total = total + max(d(a, p) - (min(farther) if farther else max(negatives)) + 0.2, 0 * d(a, p))
            pairs += 1
    return total / pairs


case("loops", "semi_hard_triplet_loss", [*batch()], semi_hard)


# Candidates


def n_pair(a, p):
    embeddings, labels = torch.stack([a, p], 1).reshape(-1, a.shape[1]), torch.arange(len(a)).repeat_interleave(2)
    similarity = distances.DotProductSimilarity(normalize_embeddings=False)
    return losses.NPairsLoss(distance=similarity)(embeddings, labels)


def one_vs_one(a, p):
    total = 0.0
    for i in range(len(a)):
        for j in range(len(a)):
            if i != j:
                total = total + functional.softplus(a[i] @ p[j] - a[i] @ p[i])
    return total / len(a)


def nt_xent(temperature):
    def loss(q, p):
        ids = torch.arange(len(q))
        return losses.NTXentLoss(temperature)(q, ids, ref_emb=p, ref_labels=ids.clone())

    return loss


def cosines(x, y, temperature):
    return functional.normalize(x) @ functional.normalize(y).T / temperature


def clip(q, p):
    logits, ids = cosines(q, p, 0.1), torch.arange(len(q))
    return (functional.cross_entropy(logits, ids) + functional.cross_entropy(logits.T, ids)) / 2


BANK = rounded(4, 3)


def bank(q, p):
    logits = torch.cat([functional.cosine_similarity(q, p)[:, None] / 0.5, cosines(q, BANK, 0.5)], dim=1)
    return functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


case("pytorch-metric-learning", "n_pair_loss", [rounded(5, 3), rounded(5, 3)], n_pair, {"reg_lambda": 0.0})
case("loops", "n_pair_loss", [rounded(5, 3), rounded(5, 3)], one_vs_one, {"reg_lambda": 0.0, "variant": "one_vs_one"})
case("pytorch-metric-learning", "info_nce_loss", [rounded(5, 3), rounded(5, 3)], nt_xent(0.2), {"temperature": 0.2})
case(
    "torch.cross_entropy",
    "info_nce_loss",
    [rounded(5, 3), rounded(5, 3)],
    clip,
    {"temperature": 0.1, "symmetric": True},
)
case(
    "torch.cross_entropy",
    "info_nce_loss",
    [rounded(5, 3), rounded(5, 3)],
    bank,
    {"temperature": 0.5, "negatives": BANK.tolist()},
)

if __name__ == "__main__":
    made = {
        "made_by": "tests/golden/embeddings.py",
        "with": {
            "torch": torch.__version__.split("+")[0],
            "pytorch-metric-learning": pytorch_metric_learning.__version__,
        },
        "cases": CASES,
    }
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
