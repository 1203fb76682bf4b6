"""Values and gradients of the segmentation losses from elsewhere. Run by hand: `python tests/golden/segmentation.py`.

Dice, Jaccard and Tversky are MONAI's (1.6.1), the sensitivity-specificity loss is its formula in torch (2.13.0), the
metrics are scikit-learn's (1.9.1). For the Lovász losses the reference is the definition, in numpy (2.x) and plain
loops: pixels go wrong one by one, the worst first, and 1 - IoU is counted anew each time; gradients of these are
central differences in float64. Nothing of jaxlosses is called.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
import sklearn.metrics
import torch
from monai.losses import DiceLoss, TverskyLoss

RNG = np.random.default_rng(20)


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy(), dtype=torch.float64, requires_grad=True)


def torch_row(loss, p, g):
    """Per image and class (or per class), and the gradient of the sum."""
    p, g = channels_first(p), channels_first(g)
    values = loss(p, g.detach())
    (gradient,) = torch.autograd.grad(values.sum(), p)
    values = values.detach().numpy()
    return {"values": values.reshape(values.shape[:2]), "gradient": np.moveaxis(gradient.numpy(), 1, -1)}


def sensitivity_specificity(p, r, weight=0.05):
    sensitivity_error = ((r - p) ** 2 * r).sum((2, 3)) / r.sum((2, 3))
    specificity_error = ((r - p) ** 2 * (1 - r)).sum((2, 3)) / (1 - r).sum((2, 3))
    return weight * sensitivity_error + (1 - weight) * specificity_error


def micro_tversky(p, g, fp_weight=0.3, fn_weight=0.7, smooth=0.5):
    tp, fp, fn = ((a * b).sum((1, 2, 3)) for a, b in ((p, g), (p, 1 - g), (1 - p, g)))
    return (1 - (tp + smooth) / (tp + fp_weight * fp + fn_weight * fn + smooth))[:, None]


def jaccard_of_wrong_pixels(wrong, truth):
    """1 - IoU of the hard prediction that is wrong in this set of pixels."""
    predicted = {i for i in range(len(truth)) if bool(truth[i]) != (i in wrong)}
    actual = {i for i in range(len(truth)) if truth[i]}
    return 0.0 if not predicted | actual else 1 - len(predicted & actual) / len(predicted | actual)


def lovasz(errors, truth):
    """Berman et al. 2018, equation 9, by the sets themselves."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total, wrong = 0.0, set()
    for pixel in order:
        before = jaccard_of_wrong_pixels(wrong, truth)
        wrong.add(pixel)
        total += errors[pixel] * (jaccard_of_wrong_pixels(wrong, truth) - before)
    return total


def lovasz_hinge(logits, labels, per_image):
    groups = logits if per_image else logits.reshape(1, -1)
    truth = labels if per_image else labels.reshape(1, -1)
    errors = [
        [max(1 - z * (2 * y - 1), 0) for z, y in zip(zs, ys, strict=True)] for zs, ys in zip(groups, truth, strict=True)
    ]
    return np.array([lovasz(e, y) for e, y in zip(errors, truth, strict=True)])


def lovasz_softmax(p, labels, per_image):
    """Per group and class; None where the class is absent."""
    if not per_image:
        p, labels = p.reshape(1, -1, p.shape[-1]), labels.reshape(1, -1)
    return [
        [lovasz(np.abs((y == c) - q[:, c]), y == c) if (y == c).any() else None for c in range(q.shape[-1])]
        for q, y in zip(p, labels, strict=True)
    ]


def mean_of_present(rows):
    return sum(np.mean([v for v in row if v is not None]) for row in rows)


def central_differences(f, x, h=1e-6):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (f(up) - f(down)) / (2 * h)
    return gradient


def main():
    p = RNG.dirichlet(np.ones(3), (2, 4, 5)).round(4)
    ids = RNG.integers(0, 3, (2, 4, 5))
    hard, soft = np.eye(3)[ids], RNG.dirichlet(np.ones(3), (2, 4, 5)).round(4)
    truths = {"hard": hard, "soft": soft}
    rows = []

    def row(name, truth, options, reference):
        rows.append({"loss": name, "truth": truth, "options": options, **torch_row(reference, p, truths[truth])})

    for truth in truths:
        for soft_labels in (False, True):
            theirs = {"smooth_nr": 0.5, "smooth_dr": 0.5, "soft_label": soft_labels, "reduction": "none"}
            ours = {"smooth": 0.5, "soft_labels": soft_labels}
            row("dice_loss", truth, ours, DiceLoss(**theirs))
            row("dice_loss", truth, {**ours, "squared_denominator": True}, DiceLoss(squared_pred=True, **theirs))
            # MONAI doubles both sides of the Jaccard ratio, so its smoothing is half as strong.
            row("jaccard_loss", truth, {**ours, "smooth": 0.25}, DiceLoss(jaccard=True, **theirs))
            row(
                "tversky_loss",
                truth,
                {**ours, "fp_weight": 0.3, "fn_weight": 0.7},
                TverskyLoss(alpha=0.3, beta=0.7, **theirs),
            )
        theirs = {"smooth_nr": 0.0, "smooth_dr": 0.0, "reduction": "none", "include_background": False}
        ours = {"smooth": 0.0, "include_background": False}
        row("dice_loss", truth, ours, DiceLoss(**theirs))
        batch = DiceLoss(batch=True, **{**theirs, "reduction": "sum"})
        row("dice_loss", truth, {**ours, "per_image": False}, lambda p, g, f=batch: f(p, g).reshape(1, 1))
        row("sensitivity_specificity_loss", truth, {}, sensitivity_specificity)
        micro = {"average": "micro", "fp_weight": 0.3, "fn_weight": 0.7, "smooth": 0.5}
        row("tversky_loss", truth, micro, micro_tversky)

    logits, bits = (2 * RNG.normal(size=(3, 9))).round(3), RNG.integers(0, 2, (3, 9))
    bits[1] = 0
    # The second image lacks class 2.
    q, classes = RNG.dirichlet(np.ones(3), (2, 8)).round(4), RNG.integers(0, 3, (2, 8))
    classes[1] = classes[1] % 2
    lovasz_rows = {}
    for per_image in (True, False):
        key = "image" if per_image else "batch"
        hinge = lambda z, per_image=per_image: lovasz_hinge(z, bits, per_image)  # noqa: E731
        lovasz_rows[f"hinge per {key}"] = {
            "values": hinge(logits),
            "gradient": central_differences(lambda z, f=hinge: f(z).sum(), logits),
        }
        per_class = lovasz_softmax(q, classes, per_image)
        lovasz_rows[f"softmax per {key}"] = {
            "values": per_class,
            "gradient": central_differences(
                lambda x, per_image=per_image: mean_of_present(lovasz_softmax(x, classes, per_image)), q
            ),
        }

    predicted, true = RNG.integers(0, 2, (2, 30))
    metrics = {
        "dice_coefficient": sklearn.metrics.f1_score(true, predicted),
        "jaccard_index": sklearn.metrics.jaccard_score(true, predicted),
        "sensitivity": sklearn.metrics.recall_score(true, predicted),
        "specificity": sklearn.metrics.recall_score(true, predicted, pos_label=0),
        "precision": sklearn.metrics.precision_score(true, predicted),
        "f_beta": sklearn.metrics.fbeta_score(true, predicted, beta=2),
    }
    written = {
        "made_by": "tests/golden/segmentation.py",
        "with": {name: importlib.metadata.version(name) for name in ("torch", "monai", "scikit-learn", "numpy")},
        "overlap": {"p": p, "ids": ids, "soft": soft, "rows": rows},
        "lovasz": {"logits": logits, "bits": bits, "q": q, "classes": classes, **lovasz_rows},
        "metrics": {"predicted": predicted, "true": true, **metrics},
    }
    to_list = lambda x: x.tolist() if hasattr(x, "tolist") else x  # noqa: E731
    rounded = json.loads(json.dumps(written, default=to_list), parse_float=lambda text: round(float(text), 9))
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(rounded, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
