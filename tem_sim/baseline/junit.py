"""A check as JUnit XML, as CI servers read it: a suite per scenario, a case per metric, threshold and check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

from tem_sim.baseline.judged import FAILING
from tem_sim.baseline.words import FINDINGS, change, sentence, settling

if TYPE_CHECKING:
    from tem_sim.baseline.check import Checked, CheckedCase
    from tem_sim.checks.thresholds import OverSeeds
    from tem_sim.scenario.errors import Spot
    from tem_sim.scenario.places import Places

# What JUnit knows: "failure" for what was found, "error" for what broke, "skipped" for what could not be told.
Kind = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One test case: what came of it in a word of JUnit's, and why."""

    name: str
    kind: Kind
    message: str
    spot: Spot | None = None


def junit(checked: Checked, places: Mapping[str, Places] | None = None, repeat: Mapping[str, str] | None = None) -> str:
    """Return the document; `places` says where scenarios are, and `repeat` the command for each, by their names."""
    root = ElementTree.Element("testsuites", name="tem-sim check")
    total = []
    for case in checked.cases:
        entries = list(_entries(case, (places or {}).get(case.name)))
        total += entries
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(case.name), **_counts(entries)})
        for entry in entries:
            _add(suite, case.name, entry, (repeat or {}).get(case.name, ""))
        ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(_account(case)))
    for key, value in _counts(total).items():
        root.set(key, value)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(entries: list[Entry]) -> dict[str, str]:
    kinds = [entry.kind for entry in entries]
    return {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
    }


def _add(suite: ElementTree.Element, name: str, entry: Entry, repeat: str) -> None:
    where = {} if entry.spot is None else {"file": entry.spot.file, "line": str(entry.spot.line or 1)}
    named = {"classname": _clean(name), "name": _clean(entry.name)}
    made = ElementTree.SubElement(suite, "testcase", {**named, **where})
    known = {"tem_finding": entry.message, "tem_repeat": repeat}
    properties = ElementTree.SubElement(made, "properties") if any(known.values()) else made
    for key, value in known.items():
        if value:
            ElementTree.SubElement(properties, "property", {"name": key, "value": _clean(value)})
    if entry.kind != "passed":
        found = ElementTree.SubElement(made, entry.kind, message=_clean(entry.message))
        found.text = _clean(entry.message)


def _entries(case: CheckedCase, places: Places | None) -> Iterator[Entry]:
    here = None if places is None else places.name
    for run in case.case.broken:
        yield Entry(f"seed {run.seed}", "error", run.error, here)
    if case.drift is None:
        yield Entry("baseline", "failure", sentence(case), here)
    elif not case.metrics:
        alike = case.drift.identical
        yield Entry("baseline", "passed" if alike else "failure", "" if alike else sentence(case), here)
    yield from _metrics(case, here)
    yield from _thresholds(case, places)
    for name, seeds in case.checks.items():
        what = f"false under the seeds {', '.join(map(str, seeds))}" if seeds else "meant to be broken, and is not"
        yield Entry(f"check {name}", "failure", what, None if places is None else places.violation(name))


def _metrics(case: CheckedCase, here: Spot | None) -> Iterator[Entry]:
    unsettled = case.unsettled
    for one in case.metrics:
        if one.finding == "absent":
            continue
        kind: Kind = "failure" if one.finding in FAILING or one in unsettled else "passed"
        message = f"{FINDINGS[one.finding]}: {change(one)}"
        if one.finding == "unsure":
            kind = kind if kind == "failure" else "skipped"
            message += f"; {settling(one)}"
        yield Entry(one.metric, kind, message, here)


def _thresholds(case: CheckedCase, places: Places | None) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    for held in case.thresholds:
        metric = held.pooled.threshold.metric
        index = seen[metric] = seen.get(metric, -1) + 1
        spot = None if places is None else places.threshold(metric, index)
        yield Entry(f"threshold {metric} {held.pooled.threshold}", _kind_of(held), held.pooled.detail, spot)


def _kind_of(held: OverSeeds) -> Kind:
    if held.pooled.verdict == "true":
        return "passed"
    return "failure" if held.pooled.threshold.strict else "skipped"


def _account(case: CheckedCase) -> list[str]:
    return [sentence(case), *(case.drift.sentences() if case.drift else [])]


def _clean(text: str) -> str:
    """Leave out what XML cannot hold; errors of the user's code may hold anything."""
    return "".join(sign for sign in text if sign in "\t\n\r" or (sign >= " " and sign not in "\ufffe\uffff"))
