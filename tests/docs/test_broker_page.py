"""The page on the broker's faults quotes what was measured beside the defaults that the code really has."""

import re

import doc_reference
from doc_pages import ROOT, prose

from tem_sim.scenario.broker import BEHAVIOURS, Behaviour, Broker

PAGE = ROOT / "docs/faults_broker.md"


def rows(columns: int) -> list[list[str]]:
    """Return the cells of each row that begins with a setting in code and has so many columns."""
    lines = [line for line in prose(PAGE).partition("## broker_restart")[0].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == columns]


def said(name: str, value: object) -> str:
    """Return a value as the page writes it."""
    is_time = isinstance(value, float) and name.endswith("_s")
    return f"`{doc_reference.duration_text(value) if is_time else doc_reference.flow(value)}`"


def test_what_each_broker_does_is_what_the_page_says() -> None:
    shown = {name.strip("`"): (ideal, celery) for name, ideal, celery, _ in rows(4)}
    assert shown == {
        name.removesuffix("_s"): tuple(said(name, getattr(BEHAVIOURS[kind], name)) for kind in ("ideal", "celery-5.7"))
        for name in Behaviour._fields
    }


def test_of_the_older_version_only_the_reconnecting_differs() -> None:
    assert BEHAVIOURS["celery-5.5"] == BEHAVIOURS["celery-5.7"]._replace(on_connection_loss="reconnect")
    assert "On 5.5 it reconnects" in PAGE.read_text(encoding="utf-8")


def test_the_other_defaults_are_what_the_page_says() -> None:
    fields = {field.alias or name: (name, field.default) for name, field in Broker.model_fields.items()}
    shown = {name.strip("`"): default for name, default, _ in rows(3)}
    assert len(shown) == 5
    for key, default in shown.items():
        name, value = fields[key]
        assert default == ("`off`" if value is None else said(name, value)), key


def test_each_number_measured_stands_beside_a_default_near_it() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    gives_up_s = BEHAVIOURS["celery-5.7"].publish_gives_up_after_s
    low, high = map(float, re.search(r"raises after ([\d.]+) to ([\d.]+) s \(5 runs\);", text).groups())
    assert low <= gives_up_s <= high
    noticed = map(float, re.search(r"acknowledged after ([\d.]+) s and lost; .*? after ([\d.]+) s", text).groups())
    assert all(abs(seconds - Broker().child_lost_after_s) < 0.2 for seconds in noticed)
    swept = float(re.search(r"redelivered after ([\d.]+) s", text)[1])
    assert abs(swept - Broker().sweep_every_s) < 1.0
