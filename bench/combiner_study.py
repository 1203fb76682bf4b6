"""`python -m bench.combiner_study`: train the same network under every combiner, and write the scores."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

import jaxlosses as jl
from bench.combiner_study_task import BATCH, NOISE, PIXEL_SCALES, RATE, TERMS, Scores, Setting, starts, train
from bench.machine import describe

RESULTS = Path(__file__).with_name("COMBINER_STUDY.md")
STEPS, SEEDS = 2000, 5
CRITICAL_T = 2.78  # standard errors: 95 % of Student's t with four degrees of freedom

SUM = Setting(jl.Objective(TERMS))
COMBINERS = {
    "`uncertainty`": Setting(jl.Objective(TERMS, combine="uncertainty")),
    "`uncertainty` from `init(losses)`": Setting(jl.Objective(TERMS, combine="uncertainty"), start_at_optimum=True),
    "`revised_uncertainty`": Setting(jl.Objective(TERMS, combine="revised_uncertainty")),
    "`log`": Setting(jl.Objective(TERMS, combine="log")),
    "`geometric`": Setting(jl.Objective(TERMS, combine="geometric")),
    **{
        f"`soft_optimal` at T = {t:g}": Setting(jl.Objective(TERMS, combine={"name": "soft_optimal", "temperature": t}))
        for t in (1.0, 10.0)
    },
}
SINGLE_TASKS = {f"{name} alone": Setting(jl.Objective({name: term})) for name, term in TERMS.items()}
FIXED = (1.0, 4.0, 16.0, 64.0, 256.0)


def main(arguments: list[str] | None = None) -> str:
    """Train everything, and write the scores unless it was a quick run."""
    parser = argparse.ArgumentParser("python -m bench.combiner_study", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps of two seeds; write nothing")
    quick = parser.parse_args(arguments).quick
    steps, seeds = (10, 2) if quick else (STEPS, SEEDS)
    begin, start, runs = time.perf_counter(), starts(jnp.arange(seeds)), {}
    for label, setting in ({"`sum`": SUM} | COMBINERS | SINGLE_TASKS).items():
        runs[label] = train(setting, steps, start)
        print(f"{label}: {time.perf_counter() - begin:.0f} s", flush=True)
    fixed = train(SUM, steps, start, FIXED)
    text = _report(runs, fixed, steps, seeds, time.perf_counter() - begin)
    print(text)
    if not quick:
        RESULTS.write_text(text)
    return text


def _report(runs: dict[str, Scores], fixed: Scores, steps: int, seeds: int, seconds: float) -> str:
    head = _HEAD.format(steps=steps, batch=BATCH, rate=RATE, noise=NOISE, seeds=seeds, low=FIXED[0], high=FIXED[-1])
    where = f"{describe('jax', 'jaxlib', 'optax', 'jaxlosses')} All of it took {seconds:.0f} s."
    kinds = ["accuracy %", "unexplained %"]
    columns = ["", *(f"{kind}, {scale}" for scale in PIXEL_SCALES for kind in kinds)]
    ratios = [f"clean : class, {scale}" for scale in PIXEL_SCALES]
    scores = _table([*columns, *ratios], [_row(label, run) for label, run in runs.items()])
    differences = {
        label: [_differences(runs[label], i, runs["`sum`"], i) for i in range(len(PIXEL_SCALES))] for label in COMBINERS
    }
    paired = _table(
        columns,
        [(label, *(_format_difference(d) for pair in pairs for d in pair)) for label, pairs in differences.items()],
    )
    rows = [
        (f"{w:g}", _mean_and_deviation(fixed.accuracy[i]), _mean_and_deviation(fixed.unexplained[i]))
        for i, w in enumerate(FIXED)
    ]
    parts = (head, where, "", "## Scores", "", scores, "", "## Against the equal sum, seed by seed", "", paired, "")
    parts += (_verdict(differences), "", "## Fixed weights", "", _table(["weight of clean", *kinds], rows), "")
    return "\n".join((*parts, _frontier(runs, fixed), ""))


def _table(columns: Sequence[str], rows: Any) -> str:
    return tabulate(rows, columns, "github", disable_numparse=True)


def _row(label: str, run: Scores) -> list[str]:
    """A network that was trained for one task is not asked for the other."""
    cells = [label]
    for i in range(len(PIXEL_SCALES)):
        cells += [
            _mean_and_deviation(run.accuracy[i]) if "class" in run.weights else "",
            _mean_and_deviation(run.unexplained[i]) if "clean" in run.weights else "",
        ]
    if len(run.weights) < len(TERMS):
        return [*cells, *[""] * len(PIXEL_SCALES)]
    ratios = []
    with np.errstate(divide="ignore"):  # a softmax may leave exactly nothing to a term
        for i, scale in enumerate(PIXEL_SCALES.values()):
            log_ratio = np.log(run.weights["clean"][i] * scale**2) - np.log(run.weights["class"][i])
            ratios.append(f"{np.exp(log_ratio.mean()):.3g}")
    return [*cells, *ratios]


def _mean_and_deviation(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


class _Difference(NamedTuple):
    """Of a score from that of the sum, over seeds: which is better, unless it may be chance."""

    mean: float
    error: float
    better: int  # 1 or -1; 0 if it may be chance


def _differences(run: Scores, i: int, base: Scores, j: int) -> tuple[_Difference, _Difference]:
    """Of both scores, in row i of the one and row j of the other, from seed to seed."""
    return _difference(run.accuracy[i] - base.accuracy[j], 1), _difference(run.unexplained[i] - base.unexplained[j], -1)


def _difference(by_seed: np.ndarray, good: int) -> _Difference:
    mean, error = float(by_seed.mean()), float(by_seed.std(ddof=1) / np.sqrt(len(by_seed)))
    return _Difference(mean, error, int(good * np.sign(mean)) if abs(mean) > CRITICAL_T * error else 0)


def _format_difference(d: _Difference) -> str:
    text = f"{d.mean:+.1f} ± {d.error:.1f}"
    return {1: f"**{text}**", -1: f"_{text}_", 0: text}[d.better]


def _verdict(differences: dict[str, list[tuple[_Difference, _Difference]]]) -> str:
    """What the table says, in words."""
    lines = []
    for i, scale in enumerate(PIXEL_SCALES):
        kinds: dict[str, list[str]] = {}
        for label, pairs in differences.items():
            kinds.setdefault(_KINDS[pairs[i][0].better, pairs[i][1].better], []).append(label)
        lines += [
            f"With {scale}, beyond chance:\n",
            *(f"- {kind}: {', '.join(labels)}" for kind, labels in kinds.items()),
            "",
        ]
    return "\n".join(lines[:-1])


def _frontier(runs: dict[str, Scores], fixed: Scores) -> str:
    def beats(run: Scores, i: int, other: Scores, j: int) -> bool:
        better = {d.better for d in _differences(run, i, other, j)}
        return 1 in better and -1 not in better

    weights = range(len(FIXED))
    unbeaten = [label for label in COMBINERS if not any(beats(fixed, i, runs[label], 0) for i in weights)]
    unbeaten_weights = [
        f"{FIXED[i]:g}" for i in weights if not any(beats(runs[label], 0, fixed, i) for label in COMBINERS)
    ]
    return (
        "One beats the other if it is better at one task beyond chance, and not worse at the other.\n"
        f"Combiners that no fixed weight beats: {', '.join(unbeaten) or 'none'}.\n"
        f"Fixed weights that no combiner beats: {', '.join(unbeaten_weights) or 'none'}."
    )


_KINDS = {
    (1, 1): "better at both tasks",
    (1, 0): "better at the class, the cleaning within chance",
    (0, 1): "better at the cleaning, the class within chance",
    (1, -1): "better at the class for a price in the cleaning",
    (-1, 1): "better at the cleaning for a price in the class",
    (0, 0): "both tasks within chance",
    (-1, 0): "worse at the class, the cleaning within chance",
    (0, -1): "worse at the cleaning, the class within chance",
    (-1, -1): "worse at both",
}

_HEAD = """# What the combiners do

Written by `python -m bench.combiner_study`. One small network reads the 1,797 digits of scikit-learn through noise:
from the same twelve numbers it says which digit it is (`softmax_cross_entropy`) and draws it without the noise
(`squared_error`). The two tasks compete for the twelve numbers. Every combiner has the same budget: {steps} steps of
Adam on batches of {batch}, a learning rate from {rate} down to 0 by a cosine (log-variances: 0.01), noise of {noise} of
the range; nothing was tuned for any of them. A fifth of the digits is held out for the scores: accuracy in per cent
(more is better), and how many per cent of the clean pixels' variance is left unexplained (less is better). Both are
mean ± standard deviation over {seeds} seeds, each with its own network, noise, batches and held-out digits.

The same problem is posed at two scales, the pixels from 0 to 1 or from 0 to 16 as scikit-learn has them, which makes
the squared errors 256 times larger. That is what an equal sum cannot know. `clean : class` is the ratio of the two
weights in the last tenth of the steps, at the scale of 0 to 1, so that it compares with the fixed weights below
(earlier in the run it was another). `init(losses)` starts the log-variances at the optimum for the losses of one batch;
the others start them at 0. Networks that were trained for one task alone are the reference, with the whole budget for
that task.

In the second table a difference beyond chance (Student's t, 95 %, mean ± standard error) is **bold** where the combiner
is better than the sum, and _slanted_ where it is worse; of so many comparisons, one or two will be so by chance. The
last table has fixed weights from {low:g} to {high:g}, with pixels from 0 to 1: what a search by hand would find, at
its own cost.
"""


if __name__ == "__main__":
    main()
