"""The notebooks run from top to bottom, and what they print is what they store."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parent.glob("*.ipynb"))


def printed(notebook):
    """What each cell printed, joined: a kernel that is slow for a moment sends it in several pieces."""
    return ["".join(map(text_of, cell.get("outputs", []))) for cell in notebook.cells]


def text_of(output):
    return output.text if output.output_type == "stream" and output.name == "stdout" else ""


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.filterwarnings("default")  # of the kernel's own machinery
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_still_says_what_it_says(path):
    stored = nbformat.read(path, as_version=4)
    fresh = NotebookClient(nbformat.read(path, as_version=4), timeout=300, kernel_name="python3").execute()
    assert printed(fresh) == printed(stored)
    assert pictures(fresh) == pictures(stored) > 0


def test_output_in_pieces_is_the_same_output():
    cut, whole = nbformat.v4.new_code_cell(), nbformat.v4.new_code_cell()
    cut.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    whole.outputs = [nbformat.v4.new_output("stream", name="stdout", text="a\nb\n")]
    notebooks = [nbformat.v4.new_notebook(cells=[cell]) for cell in (cut, whole)]
    assert printed(notebooks[0]) == printed(notebooks[1]) == ["a\nb\n"]
