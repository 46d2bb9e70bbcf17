"""From saved runs to files: the page, the notebook behind it, and the same page as PDF."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tem_sim.frames import Run, RunError
from tem_sim.report.jobs import RUNS_FOLDER
from tem_sim.report.page.conformed import run_folders
from tem_sim.report.page.html import facts, html, is_page
from tem_sim.report.page.notebook import MARK, moved, notebook
from tem_sim.report.page.runs import Facts

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made of which runs, and where."""

    folders: tuple[Path, ...]
    page: Path
    notebook: Path | None = None
    pdf: Path | None = None


def wanted(folders: Sequence[Path], page: Path | None, notebook: Path | None, pdf: bool) -> Wanted:
    """Return what the options ask for. Raises `RunError`, before any work, where it could not be written."""
    page = default_page(folders) if page is None else page
    folders = [run for folder in folders for run in run_folders(folder) or (folder,)]
    doubled = {folder for folder in folders if [one.resolve() for one in folders].count(folder.resolve()) > 1}
    if doubled:
        raise RunError(f"{min(doubled)}: given twice; a run is not compared with itself")
    refuse_stranger(page, ".html", is_page)
    if notebook is not None:
        refuse_stranger(notebook, ".ipynb", _is_notebook)
    for folder in folders:
        if not (folder / "run.json").is_file():
            # What it says of a folder without a run is the right thing to say, and a kernel takes a second to start.
            Run.load(folder)
    return Wanted(tuple(folders), page, notebook, page.with_suffix(".pdf") if pdf else None)


def default_page(folders: Sequence[Path]) -> Path:
    """Return where a page goes unless told: beside its run; one about several has a place of its own."""
    if len(folders) > 1:
        return RUNS_FOLDER / "comparison.html"
    folder = folders[0].resolve() if folders[0].name in ("", "..") else folders[0]
    return folder.with_name(f"{folder.name}.html")


def make(wish: Wanted, progress: Progress | None = None) -> list[Facts]:
    """Write the files and return what was found of each run. Raises `RunError`, and `ReportError` for a bug of ours."""
    from tem_sim.report.page.execute import execute
    from tem_sim.report.page.pdf import chromium, print_pdf

    if wish.pdf is not None:
        # Asked first: it would be a pity to find out after all the work.
        chromium()
    done = execute(notebook(wish.folders), progress)
    _write(wish.page, html(done))
    if wish.notebook is not None:
        _write(wish.notebook, _text(moved(done, wish.folders, wish.notebook.parent)))
    if wish.pdf is not None:
        print_pdf(wish.page, wish.pdf)
    return facts(done)


def make_index(file: Path | None, progress: Progress | None = None) -> Path:
    """Write the page that lists what lies below its folder, and return the file. Raises `RunError`."""
    from tem_sim.report.page.index import entries, index

    file = RUNS_FOLDER / "index.html" if file is None else file
    if not file.parent.is_dir():
        raise RunError(f"{file.parent}: no such folder; `tem-sim run` saves runs below {RUNS_FOLDER}")
    refuse_stranger(file, ".html", is_page)
    _write(file, index(file.parent, entries(file.parent, progress)))
    return file


def refuse_stranger(file: Path, suffix: str, ours: Callable[[Path], bool]) -> None:
    """Raise `RunError` where a file of another kind, or of somebody else, would be overwritten."""
    if file.suffix != suffix:
        raise RunError(f"{file}: must end in {suffix}")
    if file.is_dir():
        raise RunError(f"{file}: is a folder; give a file")
    if file.exists() and not ours(file):
        raise RunError(f"{file}: exists and was not made by tem-sim; choose another file or remove this one")


def _is_notebook(file: Path) -> bool:
    try:
        return MARK in json.loads(file.read_text(encoding="utf-8"))["metadata"]
    except (ValueError, KeyError, TypeError):
        return False


def _text(made: object) -> str:
    return json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
