"""`python -m jaxlosses.demo`: train with equal, tuned and learned weights, print a table and save a picture."""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
from tqdm import tqdm

from jaxlosses.demo import picture, scenes, training


def main(arguments: list[str] | None = None) -> dict[str, list[training.Run]]:
    """Run the demo; the result has a run for every weighting and seed."""
    options = _options(arguments)
    mpl.use("agg")
    start = time.perf_counter()
    runs: dict[str, list[training.Run]] = {label: [] for label in training.WEIGHTINGS}
    for seed in range(options.seed, options.seed + options.seeds):
        data = scenes.load(jax.random.key(seed), options.scenes)
        for label in runs:
            runs[label].append(_train(label, data, seed, options))
        if seed == options.seed:
            picture.draw(runs["learned weights"][0], data[1], options.out)
    print(f"\n{table({label: [run.scores for run in of_seeds] for label, of_seeds in runs.items()})}")
    print(f"\n{options.out} has the picture; all of it took {time.perf_counter() - start:.0f} s.")
    return runs


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m jaxlosses.demo", description="Find, outline and read handwritten digits."
    )
    add = parser.add_argument
    steps = training.STEPS
    add("--steps", type=int, default=steps, help="steps of training for each run (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the first scenes and networks (default: %(default)s)")
    add("--seeds", type=int, default=1, help="how many seeds, to show mean and spread (default: %(default)s)")
    add("--scenes", type=int, default=40_000, help="how many training scenes to compose (default: %(default)s)")
    add("--out", type=Path, default=Path("demo.png"), help="where to save the picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.steps < 4:
        parser.error("--steps must be at least 4, so that both stages have one")
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    return options


def _train(
    label: str, data: tuple[scenes.Scenes, scenes.Scenes], seed: int, options: argparse.Namespace
) -> training.Run:
    objective = training.make_objective(options.steps // 4, *training.WEIGHTINGS[label])
    with tqdm(
        total=options.steps, desc=f"seed {seed}, {label}", unit="step", dynamic_ncols=True, mininterval=0.5
    ) as bar:

        def watch(aux: dict[str, Any]) -> None:
            bar.update()
            if bar.n % 100 == 0 or bar.n == options.steps:
                active = [name for name in aux["loss"] if aux["active"][name]]
                bar.set_postfix({name: f"{aux['loss'][name]:.3f}" for name in active})

        return training.train(objective, data, options.steps, seed, watch)


def table(scores: dict[str, list[dict[str, float]]]) -> str:
    """A row for every weighting: the mean over seeds and, where there are several, their standard deviation."""
    names = list(next(iter(scores.values()))[0])
    lines = [f"{'on unseen digits':<18}" + "".join(f"{name:>16}" for name in names)]
    for label, of_seeds in scores.items():
        columns = [[score[name] for score in of_seeds] for name in names]
        lines.append(f"{label:<18}" + "".join(f"{_mean_and_spread(column):>16}" for column in columns))
    return "\n".join(lines)


def _mean_and_spread(values: list[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    main()
