"""Writes images.json: the losses on images by torch, value and gradient; the values checked by plain loops.

Run by hand with torch 2.13.0 and numpy 2: `python tests/golden/images.py`. The tests only read the file.
"""

import itertools
import json
import pathlib

import numpy as np

SHAPES = {
    "x": {"a": (2, 3, 2, 3), "b": (2, 2, 2, 2)},
    "p": {"a": (2, 3, 2, 3), "b": (2, 2, 2, 2)},
    "s": {"a": (2, 2, 4, 3), "b": (2, 1, 3, 2)},  # of another size
}
CASES = [
    ("perceptual_loss", ("x", "p"), {"layer_weights": {"a": 1.0, "b": 0.5}}),
    ("content_loss", ("x", "p"), {"layer_weights": {"a": 1.0, "b": 0.5}}),
    ("style_loss", ("x", "p"), {}),
    ("style_loss", ("x", "p"), {"variant": "gatys", "layer_weights": {"a": 0.2, "b": 0.2}}),
    ("style_loss", ("x", "s"), {"layer_weights": {"a": 2.0, "b": 0.25}}),
    ("content_style_loss", ("x", "p", "p"), {"content_layers": ["b"], "style_layers": {"a": 0.2, "b": 0.2}}),
    ("content_style_loss", ("x", "p", "s"), {"variant": "johnson", "style_weight": 5.0}),
]


def loops(kind, f, p, variant):
    """One layer of one image, from the papers, entry by entry."""
    (h, w, c), (h2, w2, _) = f.shape, p.shape
    if kind == "content":
        square = sum((f[i] - p[i]) ** 2 for i in np.ndindex(f.shape))
        return square / 2 if variant == "gatys" else square / (c * h * w)
    total = 0.0
    for i, j in itertools.product(range(c), repeat=2):
        g = sum(f[y, x, i] * f[y, x, j] for y in range(h) for x in range(w))
        a = sum(p[y, x, i] * p[y, x, j] for y in range(h2) for x in range(w2))
        if variant == "gatys" and (h, w) == (h2, w2):
            total += (g - a) ** 2 / (4 * c**2 * (h * w) ** 2)
        else:
            total += (g / (c * h * w) - a / (c * h2 * w2)) ** 2
    return total


def by_torch(torch, kind, f, p, variant):
    """One layer of all images."""
    if kind == "content":
        mean = torch.nn.functional.mse_loss(f, p, reduction="none").mean((1, 2, 3))
        return mean * f[0].numel() / 2 if variant == "gatys" else mean
    rows = [m.flatten(1, 2).transpose(1, 2) for m in (f, p)]
    g, a = (torch.bmm(r, r.transpose(1, 2)) / r[0].numel() for r in rows)
    return (g - a).pow(2).sum((1, 2)) * (0.25 if variant == "gatys" else 1.0)


def parts(loss, options):
    """What a loss adds up: (weight, kind, input, layer)."""
    variant = options.get("variant", "johnson" if loss in ("perceptual_loss", "style_loss") else "gatys")
    if loss == "content_style_loss":
        weights = [options.get("content_weight", 1.0), options.get("style_weight", 1000.0)]
        for index, (kind, weight) in enumerate(zip(("content", "style"), weights, strict=True), start=1):
            layers = options.get(f"{kind}_layers", ["a", "b"])
            layers = layers if isinstance(layers, dict) else dict.fromkeys(layers, 1.0)
            for layer, w in layers.items():
                yield weight * w, kind, index, layer, variant
    else:
        for layer in ("a", "b"):
            kind = "style" if loss == "style_loss" else "content"
            yield options.get("layer_weights", {}).get(layer, 1.0), kind, 1, layer, variant


def main():
    import torch  # no dependency of the tests

    rng = np.random.RandomState(0)
    inputs = {
        name: {layer: rng.standard_normal(shape).round(3) for layer, shape in layers.items()}
        for name, layers in SHAPES.items()
    }
    cases = []
    for loss, names, options in CASES:
        maps = [{k: torch.tensor(v, requires_grad=True) for k, v in inputs[name].items()} for name in names]
        values, check = 0.0, np.zeros(2)
        for weight, kind, index, layer, variant in parts(loss, options):
            f, p = maps[0][layer], maps[index][layer]
            values = values + weight * by_torch(torch, kind, f, p, variant)
            f, p = (m.detach().numpy() for m in (f, p))
            check += [weight * loops(kind, f[n], p[n], variant) for n in range(2)]
        np.testing.assert_allclose(values.detach(), check, rtol=1e-12)
        (values * torch.tensor([1.0, 2.0])).sum().backward()  # a different weight for each image
        gradients = [
            {k: (torch.zeros_like(v) if v.grad is None else v.grad).tolist() for k, v in m.items()} for m in maps
        ]
        cases.append(
            {"loss": loss, "inputs": names, "options": options, "values": values.tolist(), "gradients": gradients}
        )
    x = torch.tensor(inputs["x"]["a"], requires_grad=True)
    rows = x.flatten(1, 2)
    gram = torch.einsum("npc,npd->ncd", rows, rows)
    (gram * torch.arange(gram.numel(), dtype=gram.dtype).reshape(gram.shape).cos()).sum().backward()
    record = {
        "made_by": "tests/golden/images.py",
        "with": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "inputs": {name: {k: v.tolist() for k, v in layers.items()} for name, layers in inputs.items()},
        "cases": cases,
        "gram": {"gatys": gram.tolist(), "gradient under cos(0, 1, ...)": x.grad.tolist()},
    }
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
