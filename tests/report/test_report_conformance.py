"""Simulated and live runs of one scenario on one page: the table of both, and both timelines overlaid."""

import json
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from frame_builder import story
from typer.testing import CliRunner

from tem_sim.analysis.conformance import COMPARED, compared, conformance, course_of, overlay
from tem_sim.cli.main import app
from tem_sim.report.document import records
from tem_sim.report.page.notebook import sections
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate

pytestmark = pytest.mark.xdist_group("report")

SMALL = Scenario(name="small", arrivals=[{"kind": "poisson", "rate": 20, "until": 3}], horizon=60)


def tem_sim(*words):
    return CliRunner().invoke(app, ["report", "-q", *map(str, words)], catch_exceptions=False)


def rows_of(tree):
    """Return the section's table by metric: the texts of each row."""
    head = tree.find(id="conformance")
    lines = head.find_next("table").tbody.find_all("tr")
    return {line.th.get_text(): [cell.get_text() for cell in line.find_all("td")] for line in lines}


@pytest.fixture(scope="module")
def runs():
    """Five simulated runs, and a later one that stands in for a live one: what a page shows of both is the same."""
    return [simulate(SMALL, seed) for seed in range(1, 6)], replace(simulate(SMALL, 91), mode="live")


@pytest.fixture(scope="module")
def tree(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-hand")
    simulated, live = runs
    folders = [run.save(folder / f"{run.mode}-{run.seed}") for run in (*simulated, live)]
    assert tem_sim(*folders, "-o", folder / "page.html").exit_code == 0
    return BeautifulSoup((folder / "page.html").read_text(encoding="utf-8"), "html.parser")


def test_runs_of_both_modes_have_a_section_of_their_own(tree, runs):
    found = rows_of(tree)
    assert list(found) == list(COMPARED)
    assert found["processed"][0] in ("inside", "outside")
    assert found["processed"][4] == str(len(runs[1].events))
    assert "5 simulated runs predict them" in tree.find(id="conformance").find_next("p").find_next("p").get_text()


def test_both_timelines_are_one_figure_with_its_numbers_in_words(tree):
    figure = tree.find(id="conformance").find_next("figure")
    assert "simulated, median" in figure.get_text()
    assert "live, seed 91" in figure.get_text()
    assert "At most" in figure.figcaption.get_text()


def test_runs_of_one_mode_and_of_two_scenarios_have_none():
    names = [section.name for section in sections(several=True)]
    assert "conformance" not in names
    assert "conformance" in [section.name for section in sections(several=True, both_modes=True)]


def test_of_a_conformance_folder_all_its_runs_are_shown_not_the_few_that_it_kept(runs, tmp_path):
    simulated, live = runs
    many = [course_of(simulate(SMALL, seed)) for seed in range(1, 46)]
    table = conformance([one.metrics for one in many], [compared(live)])
    folder = tmp_path / "conformance"
    kept = [run.save(folder / f"{run.mode}-{run.seed}").name for run in (simulated[0], live)]
    document = {
        "runs": kept,
        "table": records(table),
        "timelines": records(overlay(many, [course_of(live)])),
        "notes": ["Calibrated <b>elsewhere</b>."],
    }
    (folder / "conformance.json").write_text(json.dumps(document))
    said = tem_sim(folder, "--json")

    tree = BeautifulSoup((tmp_path / "conformance.html").read_text(encoding="utf-8"), "html.parser")
    assert [run["mode"] for run in json.loads(said.stdout)["runs"]] == ["sim", "live"]
    text = tree.find(id="conformance").find_parent().get_text()
    assert "45 simulated runs predict them" in text
    assert "Calibrated <b>elsewhere</b>." in text
    row = table.set_index("metric").loc["processed"]
    assert rows_of(tree)["processed"][1:4] == [
        f"{row[name]:g}" for name in ("predicted", "predicted_low", "predicted_high")
    ]


def test_a_damaged_conformance_file_is_no_conformance_folder(tmp_path):
    story().run().save(tmp_path / "run")
    (tmp_path / "conformance.json").write_text("[")
    assert tem_sim(tmp_path).exit_code == 2
