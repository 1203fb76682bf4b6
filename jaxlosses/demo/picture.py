"""One picture of a training run: losses, learned weights, and what the network sees in scenes it never saw."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from jaxlosses.demo.scenes import CANVAS, Scenes
from jaxlosses.demo.training import Run

COLORS: dict[str, str] = dict(
    zip(("class", "focal", "box", "dice", "bce"), ("#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7"), strict=True)
)
TRUTH, WRONG = "#FFFFFF", "#B00020"


def draw(run: Run, truth: Scenes, path: Path) -> None:
    """Draw a run with learned weights, and save it as a PNG."""
    figure = plt.figure(figsize=(12, 8.4), layout=ConstrainedLayoutEngine(w_pad=0.08))
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.2, 1], squeeze=False)[:, 0]
    left, right = np.ravel(top.subplots(1, 2))
    _curves(left, run, "loss", "loss of each term (unweighted; the box in pixels of the photograph)")
    _curves(right, run, "weight", "weight of each term in the total (learned)")
    top.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(COLORS), frameon=False)
    top.suptitle("One objective, two stages: class alone, then class, box and ink together")
    _samples(bottom, run, truth)
    _save(figure, path)


def _curves(axes: Axes, run: Run, what: str, title: str) -> None:
    boundary = run.objective.boundaries[0]
    for name in run.objective.terms:
        values, steps = run.history[what][name], np.flatnonzero(run.history["active"][name])
        axes.plot(steps, _smooth(values[steps]), color=COLORS[name], label=name, linewidth=1.8)
    axes.axvline(boundary, color="0.3", linestyle="--", linewidth=1)
    axes.set(title=title, xlabel="step", ylabel=what, yscale="log", xlim=(0, len(run.history[what]["class"])))
    axes.annotate(
        "stage 1", (boundary, 0.97), (4, 0), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
    )
    axes.spines[["top", "right"]].set_visible(False)


def _smooth(values: np.ndarray, width: int = 25) -> np.ndarray:
    """A running mean, of what there is at the ends."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _samples(figure: SubFigure, run: Run, truth: Scenes, columns: int = 8) -> None:
    digits = np.argmax(run.outputs["logits"], axis=-1)
    pictures = np.ravel(figure.subplots(2, columns))
    for index, axes in enumerate(pictures):
        axes.imshow(truth.image[index, ..., 0], cmap="gray", vmin=0, vmax=1)
        axes.contour(run.outputs["ink"][index], levels=[0], colors=[COLORS["dice"]], linewidths=1)
        for box, color, style in ((truth.box[index], TRUTH, ":"), (run.outputs["box"][index], COLORS["box"], "-")):
            axes.add_patch(_rectangle(np.asarray(box), color, style))
        if digits[index] == truth.label[index]:
            axes.set_title(f"{digits[index]}")
        else:
            axes.set_title(f"{digits[index]}, is {truth.label[index]}", color=WRONG)
        axes.set(xlim=(-0.5, CANVAS - 0.5), ylim=(CANVAS - 0.5, -0.5))
        axes.set_axis_off()
    figure.suptitle(
        "Unseen digits: class (red if wrong), box (orange; the true one is dotted white), outline of the ink (green)"
    )


def _rectangle(box: np.ndarray, color: str, style: str) -> Rectangle:
    x1, y1, x2, y2 = box * CANVAS - 0.5
    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linestyle=style, linewidth=1.6)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
