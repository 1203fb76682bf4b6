"""`python -m jaxlosses`: what the registry knows, printed; and the page that is made of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxlosses as jl
from jaxlosses.__main__ import as_reference, main, other_names


def test_list_has_every_loss_once(capsys):
    assert main(["list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(jl.names())
    assert main(["list", "boxes"]) == 0
    assert "dice_loss" not in capsys.readouterr().out


@pytest.mark.parametrize("name", jl.names())
def test_show_tells_the_facts(name, capsys):
    assert main(["show", name]) == 0
    out, row = capsys.readouterr().out, jl.get(name)
    assert out.startswith(f"{name}({row.inputs[0]}")
    for fact in (row.family, row.citation, *row.domain, *row.aliases, *row.options, "Example:"):
        assert fact in out


def test_an_alias_and_a_typo(capsys):
    assert main(["show", "mse"]) == 0
    assert capsys.readouterr().out.startswith("squared_error(")
    assert main(["show", "cuoi_loss"]) == 2
    assert capsys.readouterr().err == "no loss named 'cuoi_loss'; did you mean 'ciou_loss'?\n"
    assert main(["list", "box"]) == 2
    assert "did you mean 'boxes'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", other_names())
def test_show_knows_what_is_beside_the_losses(name, capsys):
    assert main(["show", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}(")
    assert len(out.splitlines()) > 3


@pytest.mark.parametrize("name", jl.combine.names())
def test_show_finds_combiners_by_their_names_in_an_objective(name, capsys):
    assert main(["show", name]) == 0
    assert "total = " in capsys.readouterr().out


def test_a_typo_in_a_helper(capsys):
    assert main(["show", "dice_coeficient"]) == 2
    assert (
        capsys.readouterr().err
        == "no loss, metric or combiner named 'dice_coeficient'; did you mean 'dice_coefficient'?\n"
    )


def test_everything_public_is_in_the_reference():
    page = as_reference()
    for name in (*jl.names(), *other_names()):
        assert f"`{name}`" in page, name
    assert {"Objective", "Term", "dice_coefficient", "ctc_greedy_decode", "inverse_frequency_weights"} < set(
        other_names()
    )


@pytest.mark.parametrize("words", ["cross-entropy", "focal", "intersection over union|iou", "triplet", "gan", "l1"])
def test_a_stranger_finds_a_loss_by_its_name(words, capsys):
    main(["list"])
    found = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.search(words, line, re.I)]
    expected = {
        "cross-entropy": {
            *("softmax_cross_entropy", "sigmoid_binary_cross_entropy", "binary_cross_entropy", "cross_entropy"),
            *("sequence_cross_entropy", "softmax_focal_loss", "sigmoid_focal_loss"),
        },
        "focal": {"softmax_focal_loss", "sigmoid_focal_loss", "focal_eiou_loss"},
        "intersection over union|iou": {"iou_loss", "giou_loss", "jaccard_loss"},
        "triplet": {"triplet_loss", "batch_all_triplet_loss", "batch_hard_triplet_loss", "semi_hard_triplet_loss"},
        "gan": {"discriminator_loss", "generator_loss", "cycle_consistency_loss"},
        "l1": {"absolute_error", "smooth_l1_loss", "l1_penalty"},
    }[words]
    assert expected <= set(found), expected - set(found)


TOML = """
[train.objective]
combine = "uncertainty"
[train.objective.terms.box]
loss = "giou_loss"
inputs = ["out.box", "batch.box"]
"""


def test_check_reads_an_objective_inside_a_file(tmp_path, capsys):
    file = tmp_path / "experiment.toml"
    file.write_text(TOML)
    assert main(["check", str(file), "--key", "train.objective"]) == 0
    assert "combine: uncertainty, learning ['box']" in capsys.readouterr().out
    assert main(["check", str(file), "--key", "train.objectiv"]) == 2
    assert capsys.readouterr().err == f"{file}: no 'train.objectiv'; did you mean 'objective'?\n"
    assert main(["check", str(file)]) == 2
    assert "unknown key 'train'" in capsys.readouterr().err
    (tmp_path / "experiment.json").write_text('{"terms": {"a": {"loss": "mse", "inputs": ["x", "y"]}}}')
    assert main(["check", str(tmp_path / "experiment.json")]) == 0


def test_as_a_command():
    out = subprocess.run(
        [sys.executable, "-m", "jaxlosses", "show", "ciou_loss"], capture_output=True, text=True, check=True
    ).stdout
    assert "where" in out
    assert "a prefix of the shape of boxes without the last axis" in out
    assert "arXiv:1911.08287" in out


def test_the_reference_page_is_up_to_date():
    """Written by `python -m jaxlosses reference > REFERENCE.md`."""
    page = Path(__file__).parent.parent / "REFERENCE.md"
    assert page.read_text() == as_reference() + "\n"
