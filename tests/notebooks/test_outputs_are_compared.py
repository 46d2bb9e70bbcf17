"""CI's run of a notebook is held against the committed one: what is told apart, and what is let pass."""

import base64
import importlib.util
import io
from types import ModuleType

import numpy as np
import pytest
from nbformat import NotebookNode, v4
from notebook_pairs import FOLDER
from PIL import Image


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    """Load the file that nbmake's runs go through; pytest finds it by itself when it collects the notebooks."""
    spec = importlib.util.spec_from_file_location("notebooks_conftest", FOLDER / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(grey: int, size: int = 20) -> str:
    file = io.BytesIO()
    Image.fromarray(np.full((size, size), grey, dtype=np.uint8)).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def notebook(*outputs: NotebookNode) -> NotebookNode:
    return v4.new_notebook(cells=[v4.new_markdown_cell("# Head"), v4.new_code_cell("x", outputs=list(outputs))])


def result(**data: str) -> NotebookNode:
    return v4.new_output("execute_result", data={kind.replace("_", "/"): value for kind, value in data.items()})


def problems(compare: ModuleType, before: NotebookNode, after: NotebookNode) -> list[str]:
    return [error.summary for error in compare.differences(before, after)]


def test_the_same_outputs_pass(compare: ModuleType) -> None:
    same = notebook(result(text_plain="1"), v4.new_output("stream", text="said\n"))
    assert problems(compare, same, same) == []


@pytest.mark.parametrize(
    "now",
    [
        notebook(result(text_plain="2")),
        notebook(result(text_plain="1", text_html="<b>1</b>")),
        notebook(v4.new_output("display_data", data={"text/plain": "1"})),
        notebook(),
        notebook(result(text_plain="1"), v4.new_output("stream", text="a warning\n")),
    ],
    ids=["another text", "one more format", "another kind", "nothing", "something more"],
)
def test_anything_else_is_told_with_its_cell_and_what_to_do(compare: ModuleType, now: NotebookNode) -> None:
    (told,) = problems(compare, notebook(result(text_plain="1")), now)
    assert told.startswith("cell 2 shows something else")
    assert "make notebooks" in told


def test_a_picture_may_differ_by_rounding_and_by_no_more(compare: ModuleType) -> None:
    committed = notebook(result(image_png=picture(100)))
    assert problems(compare, committed, notebook(result(image_png=picture(102)))) == []
    assert len(problems(compare, committed, notebook(result(image_png=picture(110))))) == 1
    assert len(problems(compare, committed, notebook(result(image_png=picture(100, size=21))))) == 1


def live(*outputs: NotebookNode) -> NotebookNode:
    return v4.new_notebook(cells=[v4.new_code_cell("# Differs each time: live.\nrun()", outputs=list(outputs))])


def test_what_a_live_run_came_to_may_differ_and_what_it_is_may_not(compare: ModuleType) -> None:
    committed = live(result(text_plain="5 inside", text_html="<b>5</b>"))
    assert problems(compare, committed, live(result(text_plain="6 inside", text_html="<b>6</b>"))) == []
    assert len(problems(compare, committed, live(result(text_plain="6 inside")))) == 1
    assert len(problems(compare, committed, live())) == 1
