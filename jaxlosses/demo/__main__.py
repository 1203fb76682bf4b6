"""`python -m jaxlosses.demo`: train twice, with learned and with equal weights, print a table and save a picture."""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
from tqdm import tqdm

from jaxlosses.demo import picture, scenes, training


def main(arguments: list[str] | None = None) -> dict[str, training.Run]:
    """Run the demo; the scores are in the result as well as on the screen."""
    options = _options(arguments)
    mpl.use("agg")
    start = time.perf_counter()
    data = scenes.load(jax.random.key(options.seed), options.scenes)
    runs = {combine: _train(combine, data, options) for combine in ("uncertainty", "sum")}
    print(_table(runs))
    picture.draw(runs, data[1], options.out)
    print(f"\n{options.out} has the picture; all of it took {time.perf_counter() - start:.0f} s.")
    return runs


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m jaxlosses.demo", description="Find, outline and read handwritten digits."
    )
    parser.add_argument("--steps", type=int, default=3000, help="steps of training for each run (default: 3000)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and the networks (default: 0)")
    parser.add_argument(
        "--scenes", type=int, default=40_000, help="how many training scenes to compose (default: 40000)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo.png"), help="where to save the picture (default: demo.png)"
    )
    options = parser.parse_args(arguments)
    if options.steps < 4:
        parser.error("--steps must be at least 4, so that both stages have one")
    return options


def _train(combine: str, data: tuple[scenes.Scenes, scenes.Scenes], options: argparse.Namespace) -> training.Run:
    objective = training.make_objective(boundary=options.steps // 4, combine=combine)
    with tqdm(total=options.steps, desc=LABELS[combine], unit="step", dynamic_ncols=True, mininterval=0.5) as bar:

        def watch(aux: dict[str, Any]) -> None:
            bar.update()
            if bar.n % 100 == 0 or bar.n == options.steps:
                active = [name for name in aux["loss"] if aux["active"][name]]
                bar.set_postfix({name: f"{aux['loss'][name]:.3f}" for name in active})

        return training.train(objective, data, options.steps, options.seed, watch)


LABELS = {"uncertainty": "learned weights", "sum": "equal weights"}


def _table(runs: dict[str, training.Run]) -> str:
    names = list(runs["sum"].scores)
    lines = [f"\n{'on unseen digits':<18}" + "".join(f"{name:>11}" for name in names)]
    lines += [
        f"{LABELS[key]:<18}" + "".join(f"{run.scores[name]:>11.3f}" for name in names) for key, run in runs.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
