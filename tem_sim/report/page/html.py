"""From an executed notebook to one HTML file that needs nothing else: nbconvert with our own child template."""

from __future__ import annotations

import json
import re
from functools import cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.report.page.conformed import of_both_modes
from tem_sim.report.page.notebook import PRIVATE, sections
from tem_sim.report.page.runs import Facts

if TYPE_CHECKING:
    from nbconvert.exporters import HTMLExporter
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).parent / "template"
# Nothing may be loaded or run. Figures and tables bring their own style attributes; rastered parts are data.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# By this a program knows a page of ours from any other file, and what it is about.
MARK = "tem-sim-runs"

_READ_AHEAD = 20_000
_MARKED = re.compile(rf'<meta name="{MARK}" content="([^"]*)">')


def facts(notebook: NotebookNode) -> list[Facts]:
    """Return what the executed notebook found of each run, as `facts_of` says it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found = output.get("metadata", {}).get("tem_sim", {})
            if "runs" in found:
                return list(found["runs"])
    raise ValueError("the notebook holds no verdict; execute it first")


def html(notebook: NotebookNode) -> str:
    """Return the page; the same notebook gives the same bytes."""
    found = facts(notebook)
    page: dict[str, object] = {
        "title": _title(found),
        "about": " · ".join(one["sentence"] for one in found),
        "runs": json.dumps(found, ensure_ascii=False, sort_keys=True),
        "sections": [(section.name, section.title) for section in sections(len(found) > 1, of_both_modes(found))],
        "private": PRIVATE,
    }
    text, _ = _exporter().from_notebook_node(notebook, resources=_resources(page))
    return _tidy(text)


def render(template: str, page: dict[str, object]) -> str:
    """Return a page that no notebook stands behind, with the same head and style."""
    return _tidy(_exporter().environment.get_template(template).render(resources=_resources(page)))


def _resources(page: dict[str, object]) -> dict[str, object]:
    return {"page": {"policy": POLICY, "mark": MARK, "runs": "[]", **page}}


def _tidy(text: str) -> str:
    return "".join(f"{line}\n" for line in map(str.rstrip, text.splitlines()) if line)


def _title(found: list[Facts]) -> str:
    if len(found) > 1:
        return f"{len(found)} runs compared: " + ", ".join(f"{one['verdict']} {one['scenario']}" for one in found)
    (one,) = found
    return f"{one['verdict']} {one['scenario']}, seed {one['seed']}"


def is_page(file: Path) -> bool:
    """Whether a file is a page of ours, and may be written anew."""
    return _mark(file) is not None


def page_facts(file: Path) -> list[Facts]:
    """Return what a page of ours says of its runs; nothing for any other file."""
    found = _mark(file)
    return list(json.loads(unescape(found))) if found else []


def _mark(file: Path) -> str | None:
    with file.open(encoding="utf-8", errors="replace") as stream:
        marked = _MARKED.search(stream.read(_READ_AHEAD))
    return marked[1] if marked else None


@cache
def _exporter() -> HTMLExporter:
    from nbconvert.exporters import HTMLExporter
    from nbconvert.exporters.templateexporter import TemplateExporter

    class PageExporter(HTMLExporter):
        """Leaves the finished text alone: HTMLExporter would parse and write it anew to add what ours has."""

        def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **more: Any) -> Any:
            return TemplateExporter.from_notebook_node(self, nb, resources, **more)

    exporter: Any = PageExporter
    made: HTMLExporter = exporter(template_name="tem_sim", extra_template_basedirs=[str(TEMPLATES)])
    return made
