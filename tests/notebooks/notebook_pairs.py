"""A notebook is a pair: the .py that people edit, and the .ipynb made of it, with what its cells showed when they ran.

What depends on the machine or the day is left out of the .ipynb, so that running a notebook again gives the same bytes.
"""

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted(path for path in FOLDER.glob("*.py") if path.name[:2].isdecimal())

_FORMAT = "py:percent"
# Neither Python's version nor the kernel's own name: the notebook runs in whatever environment it is opened in.
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_TIMEOUT_S = 600


def notebook_of(source: Path) -> Path:
    """Return the path of the .ipynb that belongs to a source."""
    return source.with_suffix(".ipynb")


def unrun(source: Path) -> NotebookNode:
    """Return the notebook that a source says, before it is run; cells are named by their place."""
    parsed = jupytext.read(source, fmt=_FORMAT)
    cells = []
    for number, cell in enumerate(parsed.cells, start=1):
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        cells.append(make(cell.source, id=f"cell-{number:02}"))
    return nbformat.v4.new_notebook(cells=cells, metadata=_METADATA)


def executed(source: Path) -> NotebookNode:
    """Return the notebook with its outputs, run in its own folder by this interpreter's kernel."""
    notebook = unrun(source)
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, record_timing=False, kernel_name="python3")
    client.execute(cwd=str(source.parent))
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def text_of(notebook: NotebookNode) -> str:
    """Return the bytes that are committed, as text."""
    return str(nbformat.writes(notebook)) + "\n"


def source_of(notebook: NotebookNode) -> str:
    """Return the source that a notebook says."""
    bare = nbformat.v4.new_notebook(cells=notebook.cells)
    filters = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"}
    bare.metadata["jupytext"] = filters
    return str(jupytext.writes(bare, fmt=_FORMAT))
