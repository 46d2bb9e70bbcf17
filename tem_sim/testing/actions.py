"""The plugin in a step of a GitHub workflow: failures beside their lines, and a table of all scenario files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tem_sim.report import github

# Another plugin that annotates every failure; one annotation for each is enough.
_ANOTHER = "pytest_github_actions_annotate_failures"
# The first line of a problem: `file:line:col: path: message`.
_PROBLEM = re.compile(r"(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?P<col>\d+): (?P<message>.+)")


class Actions:
    """Gathers reports where all of them arrive, workers' included, and tells GitHub at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._root = config.rootpath
        self._silent = config.pluginmanager.hasplugin(_ANOTHER)
        self._annotations: dict[str, None] = {}
        self._files: dict[str, Counter[str]] = {}
        self._findings: list[tuple[str, str]] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Annotate mistakes in scenario files; every worker of xdist collects them, and they are told once."""
        if not report.failed or not report.nodeid.endswith((".yaml", ".yml")):
            return
        self._count(report.nodeid, "error")
        for problem in _problems(report.longreprtext):
            self._annotate(problem)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the tests of scenario files, and annotate those that fail."""
        if "tem" not in report.keywords or not _is_of_file(report):
            return
        if report.when != "call" and report.passed:
            return
        file = report.nodeid.partition("::")[0]
        self._count(file, report.outcome)
        if report.failed:
            path, line, title = report.location
            told = dict(report.user_properties)
            found, repeat = (str(told.get(name, "")) for name in ("tem_finding", "tem_repeat"))
            self._findings.append((file, found))
            message = f"{found or report.longreprtext}\nrepeat: {repeat}"
            place = str(self._root / path)
            self._annotate(
                github.Annotation(level="error", title=title, message=message, file=place, line=(line or 0) + 1)
            )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the annotations, each on a line of its own, and append the table to the step's page."""
        for annotation in self._annotations if not self._silent else ():
            terminalreporter.write_line(annotation)
        if self._files:
            github.append_summary(self._page())

    def _annotate(self, annotation: github.Annotation) -> None:
        self._annotations[str(annotation)] = None

    def _count(self, file: str, what: str) -> None:
        counted = self._files.setdefault(file, Counter())
        # A file with mistakes is reported by each worker.
        counted[what] = 1 if what == "error" else counted[what] + 1

    def _page(self) -> str:
        columns = ("passed", "failed", "skipped", "error")
        rows = [(Path(file).as_posix(), *(str(n[column]) for column in columns)) for file, n in self._files.items()]
        page = github.table(("scenario file", "passed", "failed", "not judged", "not a scenario"), rows)
        if self._findings:
            page += "\n" + github.table(("scenario file", "finding"), self._findings)
        return page


def _is_of_file(report: pytest.TestReport) -> bool:
    """Tell tests made of scenario files from tests that are marked tem."""
    return any(mark in report.keywords for mark in ("tem_check", "tem_threshold", "tem_baseline"))


def _problems(text: str) -> Iterator[github.Annotation]:
    for match in _PROBLEM.finditer(text):
        yield github.Annotation(
            level="error",
            title="tem-sim: not a scenario",
            message=match["message"],
            file=match["file"],
            line=int(match["line"]),
            col=int(match["col"]),
        )
