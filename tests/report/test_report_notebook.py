"""The notebook behind a page can be kept, opened elsewhere, and made again to the last byte."""

import json
import os
import subprocess
import sys

import matplotlib
import nbformat
import pytest

from tem_sim.frames import Run, RunError
from tem_sim.report.page.execute import ReportError, execute
from tem_sim.report.page.notebook import notebook

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture
def kept(storm_page):
    return storm_page.file.parent / "kept" / "page.ipynb"


def test_the_notebook_that_is_kept_is_a_valid_one_without_dates_and_mutterings(kept):
    found = nbformat.read(kept, as_version=4)
    nbformat.validate(found)
    assert {key for cell in found.cells for key in cell.metadata} <= {"tags"}
    outputs = [output for cell in found.cells if cell.cell_type == "code" for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result"}
    assert [cell.execution_count for cell in found.cells if cell.cell_type == "code"] == list(
        range(1, 1 + sum(cell.cell_type == "code" for cell in found.cells))
    )


def test_it_looks_for_the_runs_from_where_it_is_kept(kept, storm_page):
    (loads,) = [cell.source for cell in nbformat.read(kept, as_version=4).cells if cell.id == "runs"]
    assert "'../run'" in loads
    assert Run.load(kept.parent / "../run").digest == storm_page.facts[0]["digest"]


def test_every_cell_is_short(kept):
    sources = [cell.source for cell in nbformat.read(kept, as_version=4).cells if cell.cell_type == "code"]
    assert len(sources) > 10
    assert max(len(source.splitlines()) for source in sources[1:]) <= 4


def test_the_same_run_makes_the_same_bytes_elsewhere_and_without_a_home(storm_page, storm_run, tmp_path):
    """Another folder, another process, a home that cannot be written, and no kernel that anybody registered."""
    storm_run.save(tmp_path / "elsewhere" / "copy")
    # Without a home matplotlib would look for fonts anew, which takes some seconds and is not ours to test.
    fonts = {"MPLCONFIGDIR": matplotlib.get_cachedir()}
    nowhere = {"HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull, "XDG_CACHE_HOME": os.devnull, "JUPYTER_PATH": ""}
    command = [sys.executable, "-m", "tem_sim", "report", "elsewhere/copy", "-o", "again.html", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **nowhere, **fonts}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["report"], found["pdf"], found["notebook"], found["index"]) == ("again.html", None, None, None)
    assert found["runs"] == [{**storm_page.facts[0], "run_dir": "elsewhere/copy"}]
    assert (tmp_path / "again.html").read_bytes() == storm_page.file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.html", "elsewhere"]


def only(source):
    """Return a notebook of one cell."""
    made = notebook([])
    made.cells = [{**made.cells[0], "id": "mine", "source": source}]
    return nbformat.from_dict(made)


def test_a_run_that_cannot_be_loaded_is_the_user_s_to_mend():
    with pytest.raises(RunError, match="the message as it is"):
        execute(only("class RunError(Exception): pass\n\nraise RunError('the message as it is')"))


def test_a_cell_that_fails_is_told_with_its_name_and_its_traceback():
    with pytest.raises(ReportError, match=r"cell mine of the report failed: ZeroDivisionError") as caught:
        execute(only("1 / 0"))
    assert "\x1b" not in str(caught.value)
