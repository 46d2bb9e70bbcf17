"""What the pages say agrees with the code: generated tables, names, files, links."""

import re
from pathlib import Path

import doc_reference
import pytest
from doc_pages import PAGES, ROOT, anchors, generated, links, name_of, prose

from tem_sim.analysis.metrics import METRICS
from tem_sim.checks.registry import ALL_CHECKS
from tem_sim.checks.sometimes import SOMETIMES
from tem_sim.plots.files import MORE_PLOTS, PLOTS
from tem_sim.scenario.faults.base import ALL_EDGES

DOCS = ROOT / "docs"

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def headings(page: Path, level: int) -> list[str]:
    """Return a page's headings of one level."""
    return re.findall(rf"^{'#' * level} (.+)$", prose(page), re.MULTILINE)


def first_cells(text: str) -> list[tuple[str, str]]:
    """Return the first two cells of each row whose first one is a name in code."""
    return re.findall(r"^\| `([^`]+)` \| ([^|]*?) \|", text, re.MULTILINE)


@every_page
def test_the_generated_parts_are_what_the_code_says(page: Path) -> None:
    made = doc_reference.parts()
    for name, text in generated(page.read_text(encoding="utf-8")).items():
        assert text == made[name], f"{name_of(page)}: {name} is out of date; make gallery writes it anew"


def test_every_key_and_every_fault_has_its_table_once() -> None:
    shown = [name for page in PAGES for name in generated(page.read_text(encoding="utf-8"))]
    assert sorted(shown) == sorted(doc_reference.parts())


def test_every_check_has_its_section_in_display_order() -> None:
    assert headings(DOCS / "checks_and_metrics.md", 3) == list(ALL_CHECKS)


def test_everything_that_a_campaign_should_see_has_its_row_in_order() -> None:
    table = (
        prose(DOCS / "checks_and_metrics.md")
        .partition("## Did a campaign test anything")[2]
        .partition("## The fence")[0]
    )
    told = [
        (name, about.removesuffix(".").removesuffix(" (watched runs)").lower()) for name, about in first_cells(table)
    ]
    assert told == [(name, one.about.lower()) for name, one in SOMETIMES.items()]


def test_every_metric_has_its_row_with_its_unit_in_display_order() -> None:
    table = prose(DOCS / "checks_and_metrics.md").partition("## Metrics")[2]
    assert first_cells(table) == [(name, metric.unit) for name, metric in METRICS.items()]


def test_every_plot_of_a_run_has_its_row_in_display_order() -> None:
    table = prose(DOCS / "analyses.md").partition("## Plots")[2]
    assert [name for name, _ in first_cells(table)] == [*PLOTS, *MORE_PLOTS]


def test_every_fault_has_its_section_on_the_page_of_its_family_once() -> None:
    kinds = {doc_reference.kind_of(model): doc_reference.fault_page(model) for model in doc_reference.fault_models()}
    told = [(kind, page.name) for page in DOCS.glob("faults*.md") for kind in headings(page, 2) if kind in kinds]
    assert sorted(told) == sorted(kinds.items())


def test_every_edge_has_its_row_in_order() -> None:
    table = prose(DOCS / "faults.md").partition("### The edges")[2].partition("### Targets")[0]
    assert tuple(name for name, _ in first_cells(table)) == ALL_EDGES


def test_every_file_is_listed_once_and_every_listed_file_exists() -> None:
    # An empty __init__.py makes a folder a package and says nothing.
    code = [path for path in (ROOT / "tem_sim").rglob("*.py") if path.stat().st_size]
    there = sorted(name_of(path) for path in [*code, *(ROOT / "scenarios").glob("*.yaml")])
    listed = [link.removeprefix("../") for link in links(DOCS / "whats_here.md")]
    assert sorted(link for link in listed if link.startswith(("tem_sim/", "scenarios/"))) == there


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        known = path.startswith(("http://", "https://")) or target.exists()
        if not known or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert not dead
