"""What a notebook's cell may end with shows itself: as well-formed HTML, and as text that says something."""

import re
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest

from tem_sim.analysis.metrics import METRICS, metrics
from tem_sim.analysis.result import Result
from tem_sim.checks.registry import CHECKS, run_checks
from tem_sim.frames import Run
from tem_sim.report.outcome import judge
from tem_sim.scenario.loader import loads
from tem_sim.sim.world import simulate
from tem_sim.studies.replications import replicate

BROKEN = """
scenario: <b>stale</b> & retried
horizon: 20s
stop: horizon
arrivals: {kind: burst, at: 1s, events: 3}
pipeline: {backoff: {growth: fixed, base: 1s, max_retries: 2}, write_guard: stale}
handler: {failure_rate: 1.0}
"""
VOID = {"br", "img", "hr"}


class Tags(HTMLParser):
    """Keeps the tags that are open, and refuses one that closes another than the last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run() -> Run:
    """Run events that fail for ever under the historic bug, with a name that HTML must not take at its word."""
    return simulate(loads(BROKEN))


@pytest.fixture(scope="module")
def shown(run: Run) -> dict[str, object]:
    """Return one of each thing that a cell may end with."""
    checks = run_checks(run)
    false = next(check for check in checks if check.verdict == "false")
    result = Result(title="a < b", verdict="It is.", table=pd.DataFrame({"x_s": [1.0]}), notes=("a & b",))
    studied = replicate(loads(BROKEN), [1, 2], jobs=1, measure=lambda run: {"attempts": len(run.attempts)})
    return {
        "scenario": run.scenario,
        "run": run,
        "checks": checks,
        "check": false,
        "metrics": metrics(run),
        "outcome": judge(run),
        "result": result,
        "replications": studied,
    }


NAMES = ("run", "checks", "check", "metrics", "outcome", "result", "replications")


@pytest.mark.parametrize("name", ["scenario", *NAMES])
def test_its_html_is_well_formed_and_escaped(name: str, shown: dict[str, object]) -> None:
    html = shown[name]._repr_html_()  # type: ignore[attr-defined]
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert "<b>stale</b>" not in html
    assert re.sub(r"<[^>]*>", "", html).strip()


@pytest.mark.parametrize("name", NAMES)
def test_its_text_is_short_and_names_no_address_in_memory(name: str, shown: dict[str, object]) -> None:
    text = repr(shown[name])
    assert 0 < len(text) < 4000
    assert not re.search(r"0x[0-9a-f]{6}", text)


def test_checks_are_a_row_each_with_a_sign_and_a_word(run: Run) -> None:
    html = run_checks(run)._repr_html_()
    assert html.count("<tr>") == len(CHECKS)
    assert "<td>✘</td><td>false</td>" in html
    assert "<td>✔</td><td>true</td>" in html


def test_a_broken_check_shows_its_offending_rows(shown: dict[str, object]) -> None:
    assert "event_id" in shown["check"]._repr_html_()  # type: ignore[attr-defined]


def test_metrics_show_their_unit_and_definition_and_are_a_dict_all_the_same(run: Run) -> None:
    found = metrics(run)
    lines = repr(found).splitlines()
    assert [line.split()[0] for line in lines] == list(METRICS)
    assert re.search(r"^retry_peak_per_s +3/s +most retries", repr(found), re.MULTILINE)
    assert re.search(r"^drain_s +n/a +last fault", repr(found), re.MULTILINE)
    assert found == dict(found)


def test_a_scenario_shows_all_its_settings_as_a_file_that_loads_again(run: Run) -> None:
    html = run.scenario._repr_html_()
    assert loads(unescape(html.partition("<pre>")[2].partition("</pre>")[0])) == run.scenario
