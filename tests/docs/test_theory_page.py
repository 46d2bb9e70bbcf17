"""The page on theory names every formula there is, and none that is not."""

import re

from doc_pages import ROOT, prose

from tem_sim.analysis import statistics, theory, warm_up

PAGE = ROOT / "docs/theory.md"
# Types that hold an answer are not formulas.
ANSWERS = {"Estimates", "Horizon"}


def named(part: str) -> set[str]:
    """Return the names in the first cells of a part's tables."""
    cells = re.findall(r"^\| (`[^|]+`) \|", part, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_formula_has_its_row() -> None:
    formulas, _, certainty = prose(PAGE).partition("## How sure a number is")
    assert named(formulas) == set(theory.__all__) - ANSWERS
    assert named(certainty) == {
        name
        for module in (statistics, warm_up)
        for name, found in vars(module).items()
        if callable(found) and getattr(found, "__module__", "") == module.__name__
        if name[0].islower()
    }
