"""`python -m jaxlosses`: what the registry knows, printed; and the page that is made of it."""

import subprocess
import sys
from pathlib import Path

import pytest

import jaxlosses as jl
from jaxlosses.__main__ import as_reference, main


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


def test_as_a_command():
    out = subprocess.run(
        [sys.executable, "-m", "jaxlosses", "show", "ciou_loss"], capture_output=True, text=True, check=True
    ).stdout
    assert "where" in out
    assert "a prefix of boxes's shape without its last axis" in out
    assert "arXiv:1911.08287" in out


def test_the_reference_page_is_up_to_date():
    """Written by `python -m jaxlosses reference > REFERENCE.md`."""
    page = Path(__file__).parent.parent / "REFERENCE.md"
    assert page.read_text() == as_reference() + "\n"
