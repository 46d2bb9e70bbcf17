"""Each .ipynb is its .py with outputs, small, and free of what only the day or the machine says."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from notebook_pairs import FOLDER, SOURCES, executed, notebook_of, source_of, text_of, unrun

MOST_BYTES = 300_000
NAMES = [
    "01_first_storm",
    "02_jitter",
    "03_stale_reads",
    "04_worker_and_broker_failures",
    "05_sizing_a_policy",
    "06_metastability",
    "07_bring_your_own_policy",
    "08_sim_against_live",
]

each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def committed(source: Path) -> dict[str, object]:
    return json.loads(notebook_of(source).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def outputs(source: Path) -> list[dict[str, object]]:
    cells = committed(source)["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]  # type: ignore[attr-defined]


def test_the_notebooks_are_the_eight_each_with_its_source() -> None:
    assert [source.stem for source in SOURCES] == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@each
def test_the_notebook_says_what_its_source_says(source: Path) -> None:
    cells = [(cell["id"], cell["cell_type"], "".join(cell["source"])) for cell in committed(source)["cells"]]  # type: ignore[attr-defined]
    wanted = [(cell.id, cell.cell_type, cell.source) for cell in unrun(source).cells]
    assert cells == wanted, "make notebooks writes it anew"


def with_even_gaps(text: str) -> str:
    """Return a source with one blank line between cells: jupytext and ruff put two at different places."""
    return re.sub(r"\n{2,}(?=# %%)", "\n\n", text)


@each
def test_a_source_comes_back_from_its_notebook_as_it_was(source: Path) -> None:
    assert with_even_gaps(source_of(unrun(source))) == with_even_gaps(source.read_text(encoding="utf-8"))


@each
def test_the_notebook_names_no_time_and_no_interpreter(source: Path) -> None:
    found = committed(source)
    assert found["metadata"] == unrun(source).metadata
    assert all(cell["metadata"] == {} for cell in found["cells"])  # type: ignore[attr-defined]


@each
def test_every_code_cell_ran_in_order_and_without_a_warning(source: Path) -> None:
    cells = [cell for cell in committed(source)["cells"] if cell["cell_type"] == "code"]  # type: ignore[attr-defined]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {(output["output_type"], output.get("name")) for output in outputs(source)}
    assert kinds <= {("display_data", None), ("execute_result", None), ("stream", "stdout")}


@each
def test_what_is_shown_names_no_address_in_memory_and_no_widget(source: Path) -> None:
    for output in outputs(source):
        data = output.get("data", {})
        assert not [kind for kind in data if "widget" in kind]  # type: ignore[attr-defined]
        texts = [data.get("text/plain", ""), data.get("text/html", ""), output.get("text", "")]  # type: ignore[attr-defined]
        assert not re.search(r"0x[0-9a-f]{6}|id=\"T_", "".join("".join(text) for text in texts))


@each
def test_the_notebook_is_small_and_has_pictures(source: Path) -> None:
    assert notebook_of(source).stat().st_size < MOST_BYTES
    pictures = [output["data"]["image/png"] for output in outputs(source) if "image/png" in output.get("data", {})]  # type: ignore[index,operator]
    assert pictures
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


@each
def test_the_first_picture_comes_within_five_lines_of_code(source: Path) -> None:
    lines = 0
    for cell in committed(source)["cells"]:  # type: ignore[attr-defined]
        if cell["cell_type"] != "code":
            continue
        lines += sum(bool(line.strip()) and not line.startswith("#") for line in cell["source"])
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            break
    assert lines <= 5


def without_what_differs(notebook: NotebookNode) -> str:
    """Return a notebook's text less the outputs of cells that say that they show something else each time."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("# Differs each time"):
            cell.outputs = []
    return text_of(notebook)


@pytest.mark.slow
@each
def test_running_it_again_gives_the_same_bytes(source: Path) -> None:
    committed = nbformat.read(notebook_of(source), as_version=4)
    assert without_what_differs(executed(source)) == without_what_differs(committed)


@pytest.mark.slow
@each
def test_it_runs_from_the_root_of_the_clone_as_well(source: Path) -> None:
    done = subprocess.run(
        [sys.executable, source.relative_to(FOLDER.parent)],
        cwd=FOLDER.parent,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
