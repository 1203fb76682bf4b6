"""Writes sequences.json: values and gradients of torch 2.13.0 (CPU, float64), run by hand: python tests/golden/sequences.py

ctc               torch.nn.functional.ctc_loss of log_softmax(logits), per sequence, with the gradient of its sum
ctc_mean          its own mean, which divides each value by its number of labels first
cross_entropy     torch.nn.functional.cross_entropy per token, with the gradient of the mean over the tokens but padding
"""

import json
from pathlib import Path

import torch
from torch.nn import functional

torch.manual_seed(0)


def ctc(time, classes, labels, input_lengths, blank):
    logits = (2 * torch.randn(len(labels), time, classes, dtype=torch.float64)).round(decimals=3).requires_grad_()
    lengths = [len(row) for row in labels]
    targets = torch.tensor([row + [0] * (max(lengths) - len(row)) for row in labels])
    arguments = (
        functional.log_softmax(logits, -1).transpose(0, 1),
        targets,
        torch.tensor(input_lengths),
        torch.tensor(lengths),
        blank,
    )
    values = functional.ctc_loss(*arguments, reduction="none", zero_infinity=True)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    mean = functional.ctc_loss(*arguments, reduction="mean", zero_infinity=True)
    return {
        "logits": logits.tolist(),
        "labels": targets.tolist(),
        "input_lengths": input_lengths,
        "label_lengths": lengths,
        "blank_id": blank,
        "values": values.tolist(),
        "gradient": [[[round(x, 12) for x in row] for row in item] for item in gradient.tolist()],
        "mean": mean.item(),
    }


def cross_entropy(lengths, time, classes, smoothing):
    logits = (2 * torch.randn(len(lengths), time, classes, dtype=torch.float64)).round(decimals=3).requires_grad_()
    labels = torch.randint(0, classes, (len(lengths), time))
    there = torch.arange(time)[None] < torch.tensor(lengths)[:, None]
    tokens = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", label_smoothing=smoothing)
    mean = tokens[there].mean()
    (gradient,) = torch.autograd.grad(mean, logits)
    return {
        "logits": logits.tolist(),
        "labels": labels.tolist(),
        "lengths": lengths,
        "label_smoothing": smoothing,
        "sums": (tokens * there).sum(1).tolist(),
        "mean": mean.item(),
        "gradient": gradient.tolist(),
    }


golden = {
    "made_by": "tests/golden/sequences.py",
    "with": {"torch": torch.__version__.split("+")[0]},
    "ctc": [
        ctc(12, 5, [[1, 2, 3], [4, 4, 1, 1], [2], [], [1, 1, 1]], [12, 9, 1, 5, 4], 0),
        ctc(9, 4, [[0, 1, 2, 0], [2, 2]], [9, 6], 3),
    ],
    "cross_entropy": [cross_entropy([4, 1, 3], 4, 5, 0.0), cross_entropy([2, 4], 4, 3, 0.1)],
}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
