"""`python -m jaxlosses.demo.tune`: find weights by hand, one term after another; it takes some ten minutes.

Every weight is tried on networks of other seeds than those that the demo reports (from 100 on), which are scored on
digits that are held out of the training digits. The best mean of the three scores wins.
"""

import jax
import numpy as np

from jaxlosses.demo import scenes, training

GRID = {  # for class and ink 1 competes as well: it is what the best weights so far have
    ("box",): (0.1, 0.03, 0.01, 0.003, 0.001),
    ("focal",): (0.3, 3.0, 10.0),
    ("dice", "bce"): (0.3, 3.0, 10.0),
}
SEEDS = (100, 101)


def main() -> dict[str, float]:
    """Tune the box, then the class, then the ink, each with what was best for those before it."""
    data = {seed: scenes.load(jax.random.key(seed), tuning=True) for seed in SEEDS}
    best, chosen = -np.inf, {}
    for names, values in GRID.items():
        for weights in [{**chosen, **dict.fromkeys(names, value)} for value in values]:
            objective = training.make_objective(training.STEPS // 4, "sum", weights)
            runs = [training.train(objective, data[seed], training.STEPS, seed) for seed in SEEDS]
            scores = {name: np.mean([run.scores[name] for run in runs]) for name in runs[0].scores}
            print(weights, {name: f"{score:.3f}" for name, score in scores.items()}, flush=True)
            if (mean := np.mean(list(scores.values()))) > best:
                best, chosen = mean, weights
    print("chosen:", chosen)
    return chosen


if __name__ == "__main__":
    main()
