"""What stands on a page, in which order, and that it needs nothing but itself."""

import base64
import re
from itertools import pairwise

import pytest

from tem_sim.report.page.notebook import sections
from tem_sim.scenario.loader import loads

# One process makes the pages, once.
pytestmark = pytest.mark.xdist_group("report")

ORDER = ["provenance", "storm", "amplification", "latency", "worst-event", "checks", "assumptions", "glossary"]


@pytest.fixture(params=["storm_page", "odd_page"])
def page(request):
    return request.getfixturevalue(request.param)


def words(element):
    return " ".join(element.get_text(" ").split())


def test_the_verdict_in_words_comes_first(storm_page):
    first = [words(child) for child in storm_page.tree.main.header.find_all(recursive=False)[:2]]
    assert first[0] == "storm"
    assert first[1].startswith(("PASS ", "FAIL "))
    assert " of 10,000 events processed" in first[1]


def test_the_sections_stand_in_their_order(storm_page, odd_page):
    assert [head["id"] for head in storm_page.tree.find_all("h2", id=True)] == ORDER
    with_comparison = [head["id"] for head in odd_page.tree.find_all("h2", id=True)]
    assert with_comparison == [*ORDER[:4], "comparison", *ORDER[4:]] == [one.name for one in sections(several=True)]


def test_every_link_on_the_page_leads_somewhere_on_it(page):
    inside = [link["href"][1:] for link in page.tree.find_all("a") if link["href"].startswith("#")]
    assert len(inside) >= len(ORDER)
    assert [name for name in inside if not page.tree.find(id=name)] == []


def test_nothing_on_the_page_comes_from_elsewhere(page):
    addresses = [
        value
        for element in page.tree.find_all(True)
        for name, value in element.attrs.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
    ]
    styles = re.findall(r"url\(([^)]*)\)", page.text)
    assert [one for one in [*addresses, *styles] if not one.startswith(("#", "data:"))] == []
    assert "@import" not in page.text
    without_pictures = re.sub(r"base64,[\w+/=]+", "", page.text)
    assert re.findall(r"\bhttps?:|//[a-z]", without_pictures) == []


def test_there_is_no_script_and_the_policy_would_not_let_one_run(page):
    policy = page.tree.find("meta", attrs={"http-equiv": "Content-Security-Policy"})
    assert page.tree.find_all(["script", "iframe", "object", "embed", "base", "form"]) == []
    assert [link["rel"] for link in page.tree.find_all("link")] == [["icon"]]
    assert policy["content"].split("; ")[0] == "default-src 'none'"
    assert "script" not in policy["content"]
    assert page.text.index(policy["content"][:12]) < page.text.index("<style>")
    assert not [name for one in page.tree.find_all(True) for name in one.attrs if name.startswith("on")]


def test_every_figure_has_its_numbers_in_words(page):
    figures = page.tree.find_all("figure")
    assert len(figures) >= 4
    for figure in figures:
        (drawing,) = figure.find_all("svg", role="img")
        assert len(drawing["aria-label"]) > 60
        assert re.search(r"\d|[Nn]o ", words(figure.figcaption))
    assert page.tree.find_all("svg", role=False) == []


def test_text_in_figures_is_text(storm_page):
    drawing = storm_page.tree.find("svg")
    labels = [words(text) for text in drawing.find_all("text")]
    assert "attempts/s" in labels
    assert "first try" in labels


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(head.name[1]) for head in page.tree.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(after - before for before, after in pairwise(levels)) == 1


def test_every_table_says_what_it_shows_and_what_its_heads_head(page):
    tables = page.tree.find_all("table")
    assert tables
    for table in tables:
        assert words(table.caption)
        assert {head["scope"] for head in table.find_all("th")} <= {"col", "row"}
        assert all(row.find("th", scope="row") for row in table.tbody.find_all("tr"))
        assert table.parent["tabindex"] == "0"


def test_no_id_is_given_twice(page):
    ids = [element["id"] for element in page.tree.find_all(id=True)]
    assert sorted(ids) == sorted(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", page.text))
    assert {one or two for one, two in used} <= set(ids)


def test_a_page_about_ten_thousand_events_is_small(storm_page):
    assert 30_000 < storm_page.file.stat().st_size < 500_000


def test_the_scenario_that_the_page_hands_out_is_the_run_s(storm_page, storm_run):
    link = storm_page.tree.find("a", download="storm.yaml")
    text = base64.b64decode(link["href"].partition("base64,")[2]).decode()
    assert loads(text) == storm_run.scenario
    assert text.strip() == link.find_parent("details").find("code").get_text().strip()
    assert storm_page.tree.find(class_="command").get_text() == "tem-sim run storm.yaml --seed 1"
    assert storm_run.digest in storm_page.text


def test_the_worst_event_is_told_step_by_step(storm_page):
    heading = storm_page.tree.find(id="worst-event")
    steps = [words(cells[1]) for row in heading.find_next("table").tbody("tr") if (cells := row(["th", "td"]))]
    assert steps[0] == "submitted"
    assert {"claimed", "called", "answered", "failed", "due"} <= set(steps)


def test_thresholds_stand_in_the_head_with_what_they_came_to(odd_page, storm_page):
    table = odd_page.tree.header.find("table")
    rows = {words(cells[0]): words(cells[2]) for row in table.tbody("tr") if (cells := row(["th", "td"]))}
    assert rows == {"events": "? not met, only warns", "amplification": "✘ not met", "drain_s": "✔ met"}
    assert storm_page.tree.header.find("table") is None


def test_offending_rows_stand_open_where_nobody_expected_them(odd_page):
    shown = {words(one.summary).partition(":")[0]: one.has_attr("open") for one in odd_page.tree.find_all("details")}
    assert shown["notifications"]
    assert not shown["retry_count"]


def test_what_a_scenario_says_is_text_and_no_tag(odd_page):
    assert "<script" not in odd_page.text
    assert "<script>alert(1)</script> & co" in odd_page.tree.get_text()


def test_each_odd_run_has_its_verdict(odd_page):
    assert [one["verdict"] for one in odd_page.facts] == ["INTERRUPTED", "FAIL"]
    badges = [words(badge) for badge in odd_page.tree.header.find_all(class_="badge")]
    assert badges == ["INTERRUPTED", "FAIL"]
    letters = [words(letter) for letter in odd_page.tree.header.find_all(class_="letter")]
    assert letters == ["A", "B"]


def test_a_run_in_which_nothing_happened_says_so_in_every_figure(odd_page):
    captions = [words(one) for one in odd_page.tree.find_all("figcaption")]
    assert len(captions) >= 4
    assert [one for one in captions if not re.match(r"A: (No|None|no|at most 0) ", one)] == []


def test_the_page_can_be_read_by_programs(storm_page):
    found = storm_page.tree.find("meta", attrs={"name": "tem-sim-runs"})
    assert storm_page.facts[0]["digest"] in found["content"]
    assert storm_page.tree.html["lang"] == "en"
    assert storm_page.tree.title.get_text().endswith(" storm, seed 1")
