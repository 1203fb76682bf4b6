"""The demo, in small: it runs, compiles each step once, trains what it says when it says, and draws its picture."""

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from flax import nnx

import jaxlosses as jl
from jaxlosses.demo import __main__ as demo
from jaxlosses.demo import scenes, training


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
    """An objective that counts how often it is traced."""

    traces = 0

    def __call__(self, *args, **kwargs):
        Counting.traces += 1
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
    assert run.history["weight"]["class"][0] == 1
    assert run.history["weight"]["class"][2] != 1


def test_log_variances_have_a_learning_rate_of_their_own_and_rest_until_their_stage(data):
    objective = training.make_objective(boundary=100, combine="uncertainty")
    task = training.Task(objective, nnx.Rngs(0))
    optimizer = training.make_optimizer(task, steps=100)
    training.make_step(objective)(task, optimizer, data[0], jax.random.key(0))
    moved = {name: float(value[...]) for name, value in task.log_var.items()}
    assert abs(moved["class"]) == pytest.approx(1e-2, rel=1e-3)
    assert [moved[name] for name in ("focal", "box", "dice", "bce")] == [0, 0, 0, 0]


def test_the_command_prints_a_table_and_draws_a_picture(tmp_path, capsys):
    out = tmp_path / "new" / "demo.png"
    runs = demo.main(["--steps", "12", "--scenes", "200", "--seed", "3", "--out", str(out)])
    printed = capsys.readouterr().out
    for run, label in ((runs["uncertainty"], "learned weights"), (runs["sum"], "equal weights")):
        line = next(line for line in printed.splitlines() if line.startswith(label))
        assert [float(word) for word in line.split()[-3:]] == pytest.approx(list(run.scores.values()), abs=6e-4)
    assert matplotlib.image.imread(out).shape[:2] == (924, 1320)


def test_scores_of_a_perfect_network(data):
    _, truth = data
    outputs = {"logits": jax.nn.one_hot(truth.label, 10), "box": truth.box, "ink": 2 * truth.ink - 1}
    assert training.score(outputs, truth) == pytest.approx({"accuracy": 1, "mean IoU": 1, "Dice": 1})
    outputs["ink"] = jnp.full_like(truth.ink, -1.0)
    assert training.score(outputs, truth)["Dice"] == 0
