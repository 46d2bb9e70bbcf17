"""Safety and liveness are reported apart: on the screen, on the page and in JSON."""

from io import StringIO

from frame_builder import story
from rich.console import Console

from tem_sim.report.document import document
from tem_sim.report.outcome import judge
from tem_sim.report.summary import summary


def outcome():
    return judge(story().event(1).claim(1.0).ok(1.1).story.run())


def test_the_screen_has_a_table_for_each_kind_of_check():
    console = Console(width=200, record=True, file=StringIO())
    for part in summary(outcome()):
        console.print(part)
    lines = [line.split() for line in console.export_text().splitlines()]
    titles = [" ".join(words[:-1]) for words in lines if words[-1:] == ["finding"]]
    assert titles == ["safety check", "liveness check", "check of the run"]
    at = {words[1]: number for number, words in enumerate(lines) if words[:1] == ["✔"]}
    heads = [number for number, words in enumerate(lines) if words[-1:] == ["finding"]]
    assert heads[0] < at["single_lease"] < heads[1] < at["liveness"] < heads[2] < at["littles_law"]


def test_programs_are_told_the_kind_of_each_check():
    checks = document(outcome(), None)["checks"]
    kinds = {check["name"]: check["kind"] for check in checks}
    assert (kinds["single_lease"], kinds["liveness"], kinds["littles_law"]) == ("safety", "liveness", "meta")
