"""From an executed notebook to one HTML file that needs nothing else: nbconvert with our own child template."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.report.page.notebook import PRIVATE, sections

if TYPE_CHECKING:
    from nbconvert.exporters import HTMLExporter
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).parent / "template"
# Nothing may be loaded or run. Figures and tables bring their own style attributes; rastered parts are data.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# By this a program knows a page of ours from any other file, and what it is about.
MARK = "tem-sim-runs"

Facts = dict[str, Any]


def facts(notebook: NotebookNode) -> list[Facts]:
    """Return what the executed notebook found of each run: scenario, seed, status, verdict, sentence, digest."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found = output.get("metadata", {}).get("tem_sim", {})
            if "runs" in found:
                return list(found["runs"])
    raise ValueError("the notebook holds no verdict; execute it first")


def html(notebook: NotebookNode) -> str:
    """Return the page; the same notebook gives the same bytes."""
    found = facts(notebook)
    page = {
        "title": _title(found),
        "about": " · ".join(one["sentence"] for one in found),
        "policy": POLICY,
        "mark": MARK,
        "runs": json.dumps(found, ensure_ascii=False, sort_keys=True),
        "sections": [(section.name, section.title) for section in sections(len(found) > 1)],
        "private": PRIVATE,
    }
    text, _ = _exporter().from_notebook_node(notebook, resources={"page": page})
    return str(text).strip() + "\n"


def _title(found: list[Facts]) -> str:
    if len(found) > 1:
        return f"{len(found)} runs compared: " + ", ".join(f"{one['verdict']} {one['scenario']}" for one in found)
    (one,) = found
    return f"{one['verdict']} {one['scenario']}, seed {one['seed']}"


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
