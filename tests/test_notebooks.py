"""The notebooks run from top to bottom, and what they print is what they store."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def printed(notebook):
    return [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    ]


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.filterwarnings("default")  # of the kernel's own machinery
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_still_says_what_it_says(path):
    stored = nbformat.read(path, as_version=4)
    fresh = NotebookClient(nbformat.read(path, as_version=4), timeout=300, kernel_name="python3").execute()
    assert printed(fresh) == printed(stored)
    assert pictures(fresh) == pictures(stored) > 0
