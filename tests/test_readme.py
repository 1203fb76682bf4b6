"""The README: what it lists is what there is. (Its examples run as doctests, see `pyproject.toml`.)"""

import re
from pathlib import Path

import jaxlosses as jl

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_public_name_is_in_the_table_and_nothing_else():
    table = README[README.index("## What is in it") :]
    listed = {
        word.split(".")[0]
        for row in re.findall(r"^\| \w+ \|.*", table, re.M)
        for word in re.findall(r"`([\w.]+)`", row)
    }
    assert listed == set(jl.__all__)


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
