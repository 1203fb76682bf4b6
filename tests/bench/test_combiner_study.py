"""The combiner study: every combiner is in its tables, and the words say what the numbers do."""

import jax
import numpy as np

import jaxlosses as jl
from bench import combiner_study
from bench.combiner_study_task import Scores, starts


def test_a_quick_run_has_every_combiner(capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        text = combiner_study.main(["--quick"])
    assert text in capsys.readouterr().out
    scores = text[text.index("## Scores") : text.index("## Against")]
    for combiner in jl.combine.names():
        assert f"| `{combiner}`" in scores
    assert "10 steps" in text
    assert "over 2 seeds" in text


def test_no_digit_is_both_seen_and_unseen():
    start = starts(np.arange(2))
    seen, unseen = start.seen[0], start.unseen[0]
    assert seen.shape == (2, 1437, 64)
    assert unseen.shape == (2, 360, 64)
    for one, other in zip(np.asarray(seen), np.asarray(unseen), strict=True):
        assert not {image.tobytes() for image in one} & {image.tobytes() for image in other}
    assert (start.net["first"][0][0] != start.net["first"][0][1]).any()


def scores(accuracy, unexplained):
    jitter = np.array([0.0, 0.1, -0.1, 0.05, -0.05])
    return Scores(accuracy + jitter[None], unexplained - jitter[None], {})


def test_the_words_say_what_the_numbers_do():
    base, better, trade = scores(90.0, 30.0), scores(93.0, 28.0), scores(92.0, 33.0)
    noisy = Scores(np.array([[80.0, 100.0, 95.0, 85.0, 91.0]]), base.unexplained, {})
    wobble = Scores(np.array([[0.0, 0.1, 0.0, 0.0, 0.0]]), np.zeros((1, 5)), {})
    differences = {}
    for name, run in {"better": better, "trade": trade, "noisy": noisy}.items():
        run = Scores(run.accuracy + wobble.accuracy, run.unexplained, {})
        differences[name] = [combiner_study._differences(run, 0, base, 0)] * 2
    assert combiner_study._format_difference(differences["better"][0][0]) == "**+3.0 ± 0.0**"
    assert combiner_study._format_difference(differences["trade"][0][1]) == "_+3.0 ± 0.0_"
    assert combiner_study._format_difference(differences["noisy"][0][0]).startswith("+0.2 ± ")
    lines = combiner_study._verdict(differences).splitlines()
    assert lines[2:5] == [
        "- better at both tasks: better",
        "- better at the class for a price in the cleaning: trade",
        "- both tasks within chance: noisy",
    ]
