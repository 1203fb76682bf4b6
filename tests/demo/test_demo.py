"""The demo, in small: it runs, compiles each step once, trains what it says when it says, and draws its picture."""

import re

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from flax import nnx

import jaxlosses as jl
from jaxlosses.demo import __main__ as demo
from jaxlosses.demo import scenes, training, tune


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Flax and optax mix dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def data():
    return scenes.load(jax.random.key(1), train=200, test=40)


def test_scenes_are_what_they_say(data):
    for batch in data:
        assert batch.image.shape[1:] == (32, 32, 1)
        assert 0 <= batch.image.min() <= batch.image.max() <= 1
        assert set(np.unique(batch.ink)) == {0, 1}
        assert set(np.unique(batch.label)) <= set(range(10))
        for ink, box in zip(np.asarray(batch.ink), np.asarray(batch.box) * scenes.CANVAS, strict=True):
            x1, y1, x2, y2 = box.astype(int)
            assert ink[y1:y2, x1:x2].sum() == ink.sum()
            assert min(ink[y1].sum(), ink[y2 - 1].sum(), ink[:, x1].sum(), ink[:, x2 - 1].sum()) > 0


def test_no_test_digit_was_seen_in_training(monkeypatch):
    given = []
    compose = scenes.compose
    monkeypatch.setattr(
        scenes, "compose", lambda key, scans, *rest: (given.append(scans), compose(key, scans, *rest))[1]
    )
    scenes.load(jax.random.key(0), train=4, test=4)
    seen, unseen = ({scan.tobytes() for scan in np.asarray(scans)} for scans in given)
    assert len(given[0]) + len(given[1]) == 1797
    assert not seen & unseen


class Counting(jl.Objective):
    """An objective that counts how often it is traced in a training step, which alone has a step number."""

    traces = 0

    def __call__(self, *args, **kwargs):
        Counting.traces += "step" in kwargs
        return super().__call__(*args, **kwargs)


def test_one_step_is_compiled_once_for_both_stages(data):
    recipe = training.make_objective(boundary=3, combine="uncertainty")
    objective = Counting(recipe.terms, boundaries=recipe.boundaries, combine=recipe.combine)
    run = training.train(objective, data, steps=8, seed=0)
    assert Counting.traces == 1
    np.testing.assert_array_equal(run.history["active"]["class"], [1, 1, 1, 0, 0, 0, 0, 0])
    for late in ("focal", "box", "dice", "bce"):
        np.testing.assert_array_equal(run.history["active"][late], [0, 0, 0, 1, 1, 1, 1, 1])
        assert (run.history["loss"][late][3:] > 0).all()
    weights = run.history["weight"]["class"]
    assert (weights[:3] > 0).all()
    assert weights[2] != weights[0]


def first_task(objective, data):
    return training.Task(objective, jax.tree.map(lambda array: array[:16], data[0]), nnx.Rngs(0))


def test_boxes_are_in_pixels_of_the_photograph_and_nothing_else_is(data):
    net = first_task(training.make_objective(1, "sum"), data).net
    read, raw = training.predict(net, data[1]), net(data[1].image)
    assert float(read["batch"].box.max()) > scenes.CANVAS
    np.testing.assert_allclose(read["batch"].box, 640 * data[1].box)
    np.testing.assert_allclose(read["out"]["box"], 640 * raw["box"])
    for name in ("logits", "ink"):
        np.testing.assert_array_equal(read["out"][name], raw[name])


def test_log_variances_start_where_every_term_weighs_the_same(data):
    objective = training.make_objective(boundary=100, combine="uncertainty")
    task = first_task(objective, data)
    read = training.predict(task.net, jax.tree.map(lambda array: array[:16], data[0]))
    log_var = {name: value[...] for name, value in task.log_var.items()}
    for stage, names in ((0, ["class"]), (1, ["focal", "box", "dice", "bce"])):
        _, aux = objective(read, stage=stage, params=log_var)
        rest = [float(aux["weight"][name] * aux["loss"][name]) for name in names]
        assert rest == pytest.approx([1.0 if name == "box" else 0.5 for name in names], rel=1e-4)  # r of its likelihood


def test_log_variances_have_a_learning_rate_of_their_own_and_rest_until_their_stage(data):
    objective = training.make_objective(boundary=100, combine="uncertainty")
    task = first_task(objective, data)
    before = {name: float(value[...]) for name, value in task.log_var.items()}
    optimizer = training.make_optimizer(task, steps=100)
    training.make_step(objective)(task, optimizer, data[0], jax.random.key(0))
    moved = {name: float(value[...]) - before[name] for name, value in task.log_var.items()}
    assert abs(moved["class"]) == pytest.approx(1e-2, rel=1e-3)
    assert [moved[name] for name in ("focal", "box", "dice", "bce")] == [0, 0, 0, 0]


def test_the_three_weightings_differ_in_nothing_but_weights():
    objectives = {label: training.make_objective(5, *way) for label, way in training.WEIGHTINGS.items()}
    equal, tuned, learned = (objectives[f"{label} weights"] for label in ("equal", "tuned", "learned"))
    assert {term.weight for term in equal.terms.values()} == {1.0}
    assert learned.terms == equal.terms
    assert (equal.combine, tuned.combine, learned.combine) == ("sum", "sum", "uncertainty")
    assert {name: term.weight for name, term in tuned.terms.items() if term.weight != 1} == training.TUNED
    with pytest.raises(KeyError, match="bocks"):
        training.make_objective(5, "sum", {"bocks": 2.0})


def test_the_command_prints_a_table_and_draws_a_picture(tmp_path, capsys):
    out = tmp_path / "new" / "demo.png"
    runs = demo.main(["--steps", "12", "--scenes", "200", "--seed", "3", "--out", str(out)])
    rows = [line for line in capsys.readouterr().out.splitlines() if "weights " in line]
    assert [row[:15].strip() for row in rows] == ["equal weights", "tuned weights", "learned weights"] == [*runs]
    for row, (run,) in zip(rows, runs.values(), strict=True):
        assert [float(word) for word in row.split()[2:]] == pytest.approx(list(run.scores.values()), abs=6e-4)
    assert runs["equal weights"][0].scores != runs["tuned weights"][0].scores
    assert matplotlib.image.imread(out).shape[:2] == (924, 1320)


def test_several_seeds_are_a_mean_and_a_standard_deviation():
    of_seeds = {"equal weights": [{"accuracy": 0.5, "Dice": 0.1}, {"accuracy": 0.7, "Dice": 0.1}]}
    assert re.split(r" {2,}", demo.table(of_seeds).splitlines()[1]) == [
        "equal weights",
        "0.600 ± 0.141",
        "0.100 ± 0.000",
    ]
    assert demo.table({"equal weights": of_seeds["equal weights"][:1]}).split()[-2:] == ["0.500", "0.100"]


def test_each_seed_has_scenes_and_a_network_of_its_own(tmp_path, monkeypatch):
    used = []

    def train(objective, data, steps, seed, watch):
        used.append((seed, float(data[0].box.sum())))
        return training.Run(objective, {}, {"accuracy": float(seed)}, {})

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(demo.picture, "draw", lambda *_: None)
    runs = demo.main(["--steps", "4", "--scenes", "50", "--seed", "7", "--seeds", "2"])
    assert [seed for seed, _ in used] == [7, 7, 7, 8, 8, 8]
    assert len({boxes for _, boxes in used}) == 2
    assert [run.scores["accuracy"] for run in runs["learned weights"]] == [7, 8]


def test_weights_are_tuned_without_a_look_at_the_test_digits(monkeypatch):
    given = []
    compose = scenes.compose
    monkeypatch.setattr(
        scenes, "compose", lambda key, scans, *rest: (given.append(scans), compose(key, scans, *rest))[1]
    )
    for tuning in (True, False):
        scenes.load(jax.random.key(0), train=4, test=4, tuning=tuning)
    train, validation, seen, test = ({scan.tobytes() for scan in np.asarray(scans)} for scans in given)
    assert train | validation == seen
    assert not train & validation
    assert not validation & test


def test_tuning_goes_term_by_term_and_keeps_the_best(monkeypatch, capsys):
    tried = []

    def train(objective, data, steps, seed):
        weights = {name: float(term.weight) for name, term in objective.terms.items() if term.weight != 1}
        tried.append((seed, weights))
        good = weights.get("box") == 0.03, weights.get("focal", 1) == 1, weights.get("bce") == weights.get("dice") == 3
        return training.Run(objective, {}, {"accuracy": sum(good) / 3, "Dice": 0.5}, {})

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(scenes, "load", lambda key, tuning: tuning)
    assert tune.main() == {"box": 0.03, "dice": 3.0, "bce": 3.0}
    assert {seed for seed, _ in tried} == {100, 101}
    assert len(tried) == 22
    assert "chosen: {'box': 0.03, 'dice': 3.0, 'bce': 3.0}" in capsys.readouterr().out


def test_scores_of_a_perfect_network(data):
    _, truth = data
    outputs = {"logits": jax.nn.one_hot(truth.label, 10), "box": truth.box, "ink": 2 * truth.ink - 1}
    assert training.score(outputs, truth) == pytest.approx({"accuracy": 1, "mean IoU": 1, "Dice": 1})
    outputs["ink"] = jnp.full_like(truth.ink, -1.0)
    assert training.score(outputs, truth)["Dice"] == 0
