"""The page on validation shows the grid that the code runs, as measured, and nothing in it contradicts its verdict."""

import re

from doc_pages import ROOT, prose

from tem_sim.studies.steady_state import MEASURES, form_of
from tem_sim.studies.validation import FULL, MAX_Z, Point, scenario_at

PAGE = ROOT / "docs/validation.md"


def rows() -> list[list[str]]:
    """Return the cells of each row of the large table."""
    lines = prose(PAGE).partition("### Every number")[2].splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_the_page_explains_every_measure() -> None:
    explained = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", prose(PAGE).partition("## What was measured")[0], re.MULTILINE)
    assert explained == list(MEASURES)


def test_every_point_and_measure_is_in_the_table_once() -> None:
    shown = [(Point(int(c), float(load), jitter), measure) for c, load, jitter, measure, *_ in rows()]
    assert shown == [(point, measure) for point in FULL.points for measure in MEASURES]


def test_what_the_page_predicts_is_what_the_code_predicts() -> None:
    forms = {point: form_of(scenario_at(point, FULL.events)) for point in FULL.points}
    for c, load, jitter, measure, predicted, *_ in rows():
        form = forms[Point(int(c), float(load), jitter)]
        assert predicted == f"{MEASURES[measure].predicted(form):.4g}"


def test_the_verdict_says_what_the_table_shows() -> None:
    good = [abs(float(row[8])) < MAX_Z and abs(float(row[7].rstrip("%"))) < 100 * FULL.max_error for row in rows()]
    says_so = "> The simulator agrees with theory: of 243 numbers at 27 points" in PAGE.read_text(encoding="utf-8")
    assert says_so == all(good)
