"""Writes boxes.json: boxes compared by torchvision, and by the papers' formulas on one pair at a time.

Run by hand, with torch 2.13.0 and torchvision 0.29.2 installed: python tests/golden/boxes.py

torchvision has GIoU, DIoU, CIoU (with an epsilon of 1e-7 inside), the pairwise IoU and the conversion of formats.
EIoU, FocalL1, Focal-EIoU and CDIoU are written out below in torch scalars, from arXiv:2101.08158 and arXiv:2103.11696.
"""

import importlib.metadata
import json
import math
import sys
import types
from pathlib import Path

import torch

# Its compiled operators do not fit every build of torch; the box functions are plain Python and need none of them.
for name in ("torchvision", "torchvision.ops"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [str(importlib.metadata.distribution("torchvision").locate_file(name.replace(".", "/")))]
utils = sys.modules["torchvision.utils"] = types.ModuleType("torchvision.utils")
utils._log_api_usage_once = lambda _: None
extension = sys.modules["torchvision.extension"] = types.ModuleType("torchvision.extension")
extension._assert_has_ops = lambda: None

from torchvision.ops import boxes as ops  # noqa: E402
from torchvision.ops.ciou_loss import complete_box_iou_loss  # noqa: E402
from torchvision.ops.diou_loss import distance_box_iou_loss  # noqa: E402
from torchvision.ops.giou_loss import generalized_box_iou_loss  # noqa: E402

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)


def eiou(a, b):
    ax1, ay1, ax2, ay2 = a
    bx1, by1, bx2, by2 = b
    w = max(min(ax2, bx2) - max(ax1, bx1), 0 * ax1)
    h = max(min(ay2, by2) - max(ay1, by1), 0 * ax1)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - w * h
    cw, ch = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    centres = ((ax1 + ax2) / 2 - (bx1 + bx2) / 2) ** 2 + ((ay1 + ay2) / 2 - (by1 + by2) / 2) ** 2
    wider = ((ax2 - ax1) - (bx2 - bx1)) ** 2 / cw**2
    higher = ((ay2 - ay1) - (by2 - by1)) ** 2 / ch**2
    return w * h / union, 1 - w * h / union + centres / (cw**2 + ch**2) + wider + higher, cw, ch


def eiou_loss(a, b):
    return eiou(a, b)[1]


def focal_eiou_loss(a, b):
    iou, loss, *_ = eiou(a, b)
    return iou.detach() ** 0.5 * loss


def focal_l1(x, beta=0.8):
    alpha = math.e * beta
    if x <= 1:
        return -alpha * x**2 * (2 * torch.log(beta * x) - 1) / 4
    return -alpha * math.log(beta) * x + (2 * alpha * math.log(beta) + alpha) / 4


def focal_l1_of_eiou(a, b):
    return focal_l1(eiou(a, b)[1])


def cdiou_loss(a, b):
    iou, _, cw, ch = eiou(a, b)
    corners = [(0, 1), (2, 1), (0, 3), (2, 3)]
    distance = sum(torch.sqrt((a[x] - b[x]) ** 2 + (a[y] - b[y]) ** 2) for x, y in corners)
    return 1 - iou + distance / (4 * torch.sqrt(cw**2 + ch**2))


def one_by_one(loss):
    return lambda a, b: torch.stack([loss(x, y) for x, y in zip(a, b, strict=True)])


corners, sides = torch.rand(2, 8, 2), torch.rand(2, 8, 2) + 0.25
boxes, targets = torch.cat([corners, corners + sides], dim=-1)
losses = {
    "giou_loss": generalized_box_iou_loss,
    "diou_loss": distance_box_iou_loss,
    "ciou_loss": complete_box_iou_loss,
    "eiou_loss": one_by_one(eiou_loss),
    "focal_eiou_loss": one_by_one(focal_eiou_loss),
    "focal_eiou_loss, focal_l1": one_by_one(focal_l1_of_eiou),
    "cdiou_loss": one_by_one(cdiou_loss),
}
expected = {}
for name, loss in losses.items():
    leaf = boxes.clone().requires_grad_()
    values = loss(leaf, targets)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    expected[name] = {"values": values.tolist(), "gradient": gradient.tolist()}
formats = ("xyxy", "xywh", "cxcywh")
text = {
    "made_by": "tests/golden/boxes.py",
    "with": {"torch": torch.__version__, "torchvision": importlib.metadata.version("torchvision")},
    "boxes": boxes.tolist(),
    "targets": targets.tolist(),
    "losses": expected,
    "pairwise": {
        "iou": ops.box_iou(boxes, targets).tolist(),
        "giou": ops.generalized_box_iou(boxes, targets).tolist(),
        "diou": ops.distance_box_iou(boxes, targets).tolist(),
        "ciou": ops.complete_box_iou(boxes, targets).tolist(),
    },
    "formats": {
        f"{a} {b}": ops.box_convert(ops.box_convert(boxes, "xyxy", a), a, b).tolist() for a in formats for b in formats
    },
}
Path(__file__).with_suffix(".json").write_text(json.dumps(text, indent=1) + "\n")
