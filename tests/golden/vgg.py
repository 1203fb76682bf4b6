"""Writes vgg.json: activations and gradients of torch networks that are laid out like torchvision's vgg16 and vgg19.

Run by hand with torch 2.13.0 and numpy 2: `python tests/golden/vgg.py`. The tests only read the file. The networks are
built from the list of layers in the paper (table 1, D and E), not by our code, in double precision.
"""

import json
import pathlib

import numpy as np

CASES = [
    (16, 8, "max", ["conv1_1", "relu1_2", "pool1", "relu2_2", "conv3_1", "relu3_3", "pool4", "relu5_3", "pool5"]),
    (19, 8, "average", ["relu1_1", "pool2", "relu3_4", "relu4_2", "conv4_4", "relu5_4"]),
    (16, 64, "max", ["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"]),
]


def network(torch, plan, pooling, weights):
    """The modules, and the name of each."""
    modules, names, block, index = [], [], 1, 0
    for out in plan:
        if out == "pool":
            modules.append(torch.nn.MaxPool2d(2) if pooling == "max" else torch.nn.AvgPool2d(2))
            names.append(f"pool{block}")
            block, index = block + 1, 0
            continue
        index += 1
        weight, bias = (torch.tensor(weights[f"features.{len(modules)}.{kind}"]) for kind in ("weight", "bias"))
        convolution = torch.nn.Conv2d(weight.shape[1], out, 3, padding=1)
        convolution.weight.data, convolution.bias.data = weight, bias
        modules += [convolution, torch.nn.ReLU()]
        names += [f"conv{block}_{index}", f"relu{block}_{index}"]
    return torch.nn.Sequential(*modules).double(), names


def main():
    import torch  # no dependency of the tests, which import this file to look for doctests
    import vgg_weights  # beside this file

    torch.set_num_threads(2)
    cases = []
    mean, std = (torch.tensor(v).double().reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for depth, width, pooling, layers in CASES:
        modules, names = network(torch, vgg_weights.plan(depth, width), pooling, vgg_weights.weights(depth, width))
        image = torch.tensor(vgg_weights.image()).double().requires_grad_()
        x, found = (image.permute(0, 3, 1, 2) - mean) / std, {}
        for name, module in zip(names, modules, strict=True):
            x = module(x)
            found[name] = x.permute(0, 2, 3, 1)
        sum(found[name].pow(2).mean() for name in layers).backward()
        summaries = {name: vgg_weights.summary(found[name].detach()) for name in layers}
        cases.append(
            {
                "depth": depth,
                "width": width,
                "pooling": pooling,
                "layers": summaries,
                "gradient of the sum of mean squares": vgg_weights.summary(image.grad),
            }
        )
    record = {
        "made_by": "tests/golden/vgg.py",
        "with": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "cases": cases,
    }
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
