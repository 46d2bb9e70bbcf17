"""`tem-sim report`: where files go, what is refused, and the list of all runs."""

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from frame_builder import story
from typer.testing import CliRunner

from tem_sim.cli.main import app
from tem_sim.frames import Run
from tem_sim.report.outcome import judge
from tem_sim.report.page.html import render
from tem_sim.report.page.make import default_page
from tem_sim.report.page.runs import facts_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(folder):
    """Two runs below reports/, and something that only looks like one."""
    good, lost = story(), story(scenario="lost & found")
    good.event(1).claim(1.0).ok(1.1)
    lost.event(1).claim(1.0).ok(1.1, shown=2)
    good.run().save("reports/a/seed-1")
    lost.run().save("reports/z/seed-1")
    Path("reports/z/seed-1/plots").mkdir()
    Path("reports/z/seed-1/plots/rows_by_state.png").write_bytes(b"")
    Path("reports/broken").mkdir()
    Path("reports/broken/run.json").write_text("{")
    return Path("reports")


def tem_sim(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "report: give a run, such as reports/retry_storm/seed-1, or --index; `tem-sim run` saves runs"),
        (("nowhere",), "nowhere: no run here (no run.json); give a folder that `tem-sim run` wrote"),
        (("a", "-o", "x.pdf"), "x.pdf: must end in .html"),
        (("a", "--notebook", "x.html"), "x.html: must end in .ipynb"),
        (
            ("a", "-o", "mine.html"),
            "mine.html: exists and was not made by tem-sim; choose another file or remove this one",
        ),
        (("a", "--notebook", "mine.ipynb"), "mine.ipynb: exists and was not made by tem-sim"),
        (("a", "./a"), "given twice; a run is not compared with itself"),
        (("a", "-o", "dir.html"), "dir.html: is a folder; give a file"),
        (("--index",), "reports: no such folder; `tem-sim run` saves runs below reports"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_before_any_work(folder, words, message):
    Path("mine.html").write_text("<p>My own notes.</p>")
    Path("mine.ipynb").write_text('{"cells": [], "metadata": {}}')
    Path("dir.html").mkdir()
    result = tem_sim("report", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert Path("mine.html").read_text() == "<p>My own notes.</p>"


def test_without_chromium_pdf_is_refused_with_the_package_s_name(runs, monkeypatch):
    monkeypatch.setenv("TEM_SIM_CHROMIUM", "no-such-browser")
    result = tem_sim("report", "reports/a/seed-1", "--pdf")
    assert result.exit_code == 2
    assert "install the package chromium" in result.stderr
    assert not Path("reports/a/seed-1.html").exists()


@pytest.mark.parametrize(
    ("folders", "page"),
    [
        (["reports/a/seed-1"], "reports/a/seed-1.html"),
        (["v1.2"], "v1.2.html"),
        (["a", "b"], "reports/comparison.html"),
    ],
)
def test_a_page_goes_beside_its_run_and_one_about_several_has_its_own_place(folders, page):
    assert default_page([Path(folder) for folder in folders]) == Path(page)


def test_a_run_named_by_a_dot_still_has_its_page_beside_it(folder, monkeypatch):
    Path("here").mkdir()
    monkeypatch.chdir("here")
    assert default_page([Path()]) == folder / "here.html"


def test_the_index_lists_every_run_with_its_verdict_and_links_its_report(runs):
    facts = facts_of(judge(Run.load("reports/z/seed-1")))
    about = {"title": "", "about": "", "body": ""}
    Path("reports/z.html").write_text(render("listing.html.j2", {**about, "runs": json.dumps([facts])}))
    Path("reports/both.html").write_text(render("listing.html.j2", {**about, "runs": json.dumps([facts, facts])}))
    result = tem_sim("report", "--index", "--json")
    assert json.loads(result.stdout) == {
        "schema_version": 1,
        "report": None,
        "pdf": None,
        "notebook": None,
        "index": "reports/index.html",
        "runs": [],
    }
    tree = BeautifulSoup(Path("reports/index.html").read_text(), "html.parser")
    rows = [[cell.get_text() for cell in row(["th", "td"])] for row in tree.tbody("tr")]
    assert [row[:3] for row in rows] == [
        ["a/seed-1", "PASS", "1"],
        ["broken", "UNREADABLE", ""],
        ["z/seed-1", "FAIL", "1"],
    ]
    assert "run.json is damaged" in rows[1][3]
    assert [link["href"] for link in tree("a")] == ["z.html", "z/seed-1/plots/rows_by_state.png", "both.html"]
    assert tree.ul.get_text() == "both.html: FAIL lost & found, seed 1; FAIL lost & found, seed 1"


def test_the_index_is_the_same_each_time_and_lists_no_page_of_somebody_else(runs):
    Path("reports/notes.html").write_text("<meta name='x'>")
    first = tem_sim("report", "--index")
    once = Path("reports/index.html").read_bytes()
    tem_sim("report", "--index")
    assert first.stdout == "index    reports/index.html\n"
    assert Path("reports/index.html").read_bytes() == once
    assert b"notes.html" not in once
