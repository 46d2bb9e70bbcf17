"""`tem-sim report`: saved runs as one HTML file, as PDF, as a notebook; and a page that lists all runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import USAGE, AsJson, complain, usage_errors, write, write_json

if TYPE_CHECKING:
    from tem_sim.report.document import Document
    from tem_sim.report.page.runs import Facts


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN",
            help="Folders that `tem-sim run` or `tem-sim live` wrote; several are compared.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The page. An earlier one there is replaced. "
            "[default: <RUN>.html; of several, reports/comparison.html; of the index, reports/index.html]",
        ),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it, too, with Chromium, beside the page.")] = False,
    notebook: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the notebook behind the page, executed.")
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="List every run and report below reports/; alone, -o names the list.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print where the files are, and no progress bar.")
    ] = False,
) -> None:
    """Make a report about saved runs: one HTML file that needs nothing else.

    They are measured and checked anew. The exit code is 0 whatever the verdict.
    """
    with usage_errors():
        shown = sys.stderr.isatty() and not quiet
        if not folders and not index:
            complain("report: give a run, such as reports/retry_storm/seed-1, or --index; `tem-sim run` saves runs")
            raise typer.Exit(USAGE)
        made: dict[str, str] = {}
        runs: list[Facts] = _page(folders, out, notebook, pdf, shown, made) if folders else []
        if index:
            _index(None if folders else out, shown, made)
        if as_json:
            write_json(_document(folders or [], runs, made))
            return
        if runs and not quiet:
            write("".join(f"{run['sentence']}\n" for run in runs) + "\n")
        write("".join(f"{what:<8} {file}\n" for what, file in made.items()))


def _page(
    folders: list[Path], out: Path | None, notebook: Path | None, pdf: bool, shown: bool, made: dict[str, str]
) -> list[Facts]:
    from tem_sim.report.page.make import make, wanted
    from tem_sim.report.progress import steps

    wish = wanted(folders, out, notebook, pdf)
    with steps("report", shown) as progress:
        runs = make(wish, progress)
    files = {"report": wish.page, "pdf": wish.pdf, "notebook": wish.notebook}
    made.update({what: str(file) for what, file in files.items() if file is not None})
    return runs


def _index(out: Path | None, shown: bool, made: dict[str, str]) -> None:
    from tem_sim.report.page.make import make_index
    from tem_sim.report.progress import steps

    with steps("index", shown) as progress:
        made["index"] = str(make_index(out, progress))


def _document(folders: list[Path], runs: list[Facts], made: dict[str, str]) -> Document:
    from tem_sim.report.document import SCHEMA_VERSION

    files: Document = {what: made.get(what) for what in ("report", "pdf", "notebook", "index")}
    found = [{**run, "run_dir": str(folder)} for folder, run in zip(_each_run(folders), runs, strict=True)]
    return {"schema_version": SCHEMA_VERSION, **files, "runs": [*found]}


def _each_run(folders: list[Path]) -> list[Path]:
    from tem_sim.report.page.conformed import run_folders

    return [run for folder in folders for run in run_folders(folder) or (folder,)]
