"""What commands say in a step of a GitHub workflow: annotations at the lines of the files, rows on the run's page."""

from pathlib import Path

import pytest
from cli_helpers import STALE, STORM, document, tem_sim, written

from tem_sim.report.github import Annotation, append_summary, table


@pytest.fixture
def page(folder, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "page.md"))
    return folder / "page.md"


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("::")]


def test_mistakes_are_annotated_where_they_are(page, folder):
    bad = written(
        "bad.yaml", "scenario: bad\narrivals: {kind: burst, events: -1}\nexpect: {violations: [conservatoin]}\n"
    )
    typo = written("typo.yaml", STORM + "expect: {violations: [conservatoin]}\n")
    result = tem_sim("validate", bad, typo)
    first, second = commands(result.stderr)
    assert first.startswith(
        f"::error file={folder.name}/bad.yaml,line=2,col=33,title=tem-sim%3A not a scenario::arrivals."
    )
    assert second.startswith(f"::error file={folder.name}/typo.yaml,line=8,col=23,")
    assert second.endswith("%0Adid you mean conservation?")


def test_a_mistake_on_the_command_line_has_no_file(page, storm):
    (told,) = commands(tem_sim("validate", storm, "--set", "horizon=0s").stderr)
    assert told.startswith("::error title=tem-sim%3A not a scenario::--set horizon=0s: horizon: must be > 0")


def test_a_failure_is_annotated_at_the_line_that_asks(page, folder):
    written(
        "storm.yaml",
        STORM + "thresholds:\n  retries: [max<1, max<1000]\n  attempts: {threshold: max<1, strict: false}\n",
    )
    result = tem_sim("run", "storm.yaml", "--no-plots")
    warning, error = commands(result.stderr)
    assert error.startswith(
        f"::error file={folder.name}/storm.yaml,line=9,col=13,title=FAIL small_storm%2C seed 1::retries: max "
    )
    assert warning.startswith(f"::warning file={folder.name}/storm.yaml,line=10,")


def test_a_violation_is_annotated_and_every_run_has_its_row(page, folder):
    written("stale.yaml", STALE)
    written("storm.yaml", STORM)
    result = tem_sim("run", "stale.yaml", "storm.yaml", "--no-plots", "-q")
    assert [line.split("::")[2].partition(":")[0] for line in commands(result.stderr)] == [
        "attempts_bounded",
        "retry_count",
        "backoff_support",
    ]
    rows = page.read_text().splitlines()
    assert rows[0] == "| verdict | scenario | seed | finding |"
    assert rows[2].startswith("| **FAIL** | stale | 1 | 0 of 5 events processed")
    assert rows[3].startswith("| **PASS** | small_storm | 1 | ")


def test_a_simulation_that_breaks_is_annotated(page, folder):
    written("late.py", "def policy(retry):\n    return 0.1 if retry < 30 else 1 / 0\n")
    text = "scenario: late\nhorizon: 60s\narrivals: {kind: burst, events: 1}\nhandler: {failure_rate: 1}\n"
    written("late.yaml", text + "pipeline: {backoff: {import: late:policy, max_retries: 99}}\n")
    (told,) = commands(tem_sim("run", "late.yaml", "--no-plots", "-q").stderr)
    assert told.startswith(f"::error file={folder.name}/late.yaml,line=1,col=1,title=BROKEN late%2C seed 1::")
    assert "late.py:2" in told
    assert "**BROKEN**" in page.read_text()


def test_stdout_stays_one_document_and_nothing_is_said_elsewhere(page, stale, monkeypatch):
    assert document("run", stale, "--no-plots")["verdict"] == "FAIL"
    monkeypatch.delenv("GITHUB_ACTIONS")
    page.unlink()
    assert commands(tem_sim("run", stale, "--no-plots", "-q").stderr) == []
    assert not page.exists()


def test_what_would_end_a_command_or_a_property_is_escaped():
    told = Annotation(level="error", title="50%: a,b", message="one\ntwo: 100%\r", file="a:b.yaml", line=3)
    assert str(told) == "::error file=a%3Ab.yaml,line=3,title=50%25%3A a%2Cb::one%0Atwo: 100%25%0D"


def test_cells_of_the_page_hold_what_they_are_given(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    append_summary(table(("a", "b"), [("x|y", "p(95)<9\n<script>")]))
    append_summary("more")
    assert Path(tmp_path / "page.md").read_text() == (
        "| a | b |\n| --- | --- |\n| x\\|y | p(95)&lt;9 &lt;script> |\n\nmore\n\n"
    )
