"""The catalogue on the page of faults: no kind is left out, and what it names is there and does what its row says."""

import re

from doc_pages import ROOT, anchors

from tem_sim import load
from tem_sim.scenario.faults.kinds import KINDS

DOCS = ROOT / "docs"
SECTION = (DOCS / "faults.md").read_text(encoding="utf-8").partition("\n## The catalogue\n")[2].partition("\n## ")[0]
LINK = re.compile(r"\[([^\]]+)\]\(([^)#]+\.md)#([^)]+)\)")
FILE = re.compile(r"`(\w+\.yaml)`")
ROWS = [line for line in SECTION.splitlines() if line.startswith("| ")]


def kinds_in(text: str) -> set[str]:
    """Return the kinds of fault that a text links to."""
    return {anchor for _, _, anchor in LINK.findall(text)} & set(KINDS)


def kinds_of(scenario: str) -> set[str]:
    """Return the kinds of fault that a shipped file has."""
    return {fault.kind for fault in load(ROOT / "scenarios" / scenario).faults}


def test_every_kind_of_fault_is_in_the_catalogue() -> None:
    assert set().union(*map(kinds_in, ROWS)) == set(KINDS)


def test_every_id_of_the_list_is_in_the_catalogue() -> None:
    listed = {"B": 15, "W": 7, "S": 7, "C": 8, "D": 18, "N": 10, "L": 10}
    told: set[str] = set()
    for row in ROWS:
        ids = re.findall(r"([A-Z])(\d+)", row.split("|")[1])
        told |= {f"{family}{number}" for family, number in ids}
        if "–" in row.split("|")[1]:
            (family, first), (_, last) = ids
            told |= {f"{family}{number}" for number in range(int(first), int(last) + 1)}
    assert told == {f"{family}{number}" for family, last in listed.items() for number in range(1, last + 1)}


def test_every_link_of_the_catalogue_leads_to_a_heading() -> None:
    found = LINK.findall(SECTION)
    assert found
    assert [link for link in found if link[2] not in anchors(DOCS / link[1])] == []
    assert [text for text, page, anchor in found if anchor in KINDS and text != anchor] == []


def test_every_scenario_that_is_named_is_shipped_and_has_a_fault_of_its_row() -> None:
    rows = [(row, name) for row in ROWS for name in FILE.findall(row)]
    assert rows
    for row, name in rows:
        assert not kinds_in(row) or kinds_in(row) & kinds_of(name), row


def test_a_kind_that_is_shipped_has_a_row_that_says_where() -> None:
    used = set().union(*(kinds_of(path.name) for path in (ROOT / "scenarios").glob("*.yaml")))
    named = set().union(*(kinds_in(row) for row in ROWS if FILE.search(row)))
    assert used == named
