"""Patches fit exactly, or say why not; and what they change is marked."""

import difflib

import pytest

from tem_sim.checks.registry import ALL_CHECKS
from tem_sim.races.judge import INVARIANTS

from . import page
from .known.all import ALL, MUTANTS
from .known.chaos import CHAOS
from .mutant import swap
from .patches import PatchError, Replace, from_diff, patched, source_of
from .reached import instrumented

OWN_CHECKS = {"policy_law", "jitter_spread", "outcomes", "published", "calm", "in_turn", "reference", "broken", "hangs"}
every_mutant = pytest.mark.parametrize("name", ALL)


def diff_of(mutant):
    """Return a mutant as a unified diff."""
    text = ""
    for module, new in patched(mutant.patches).items():
        path = f"tem_sim/pipeline/{module}.py"
        lines = difflib.unified_diff(
            source_of(module).splitlines(keepends=True), new.splitlines(keepends=True), f"a/{path}", f"b/{path}"
        )
        text += "".join(lines)
    return text


@every_mutant
def test_a_mutant_fits_and_its_diff_says_the_same(name):
    changed = patched(ALL[name].patches)
    assert patched(from_diff(diff_of(ALL[name]))) == changed


@every_mutant
def test_what_a_mutant_changes_is_marked(name):
    code, markers = instrumented(patched(ALL[name].patches))
    assert markers > 0
    assert {f"tem_sim.pipeline.{module}" for module in ALL[name].modules} <= set(code)


def test_the_list_is_whole():
    assert [mutant.chaos for mutant in CHAOS] == list(range(1, 31))
    assert len(MUTANTS) >= 45
    assert len(ALL) == len(MUTANTS) + sum(bool(mutant.equivalent) for mutant in ALL.values())
    assert [mutant.name for mutant in ALL.values() if mutant.rare] == ["canary"]


@every_mutant
def test_a_mutant_names_checks_that_there_are_or_a_reason(name):
    mutant = ALL[name]
    assert bool(mutant.named) is not bool(mutant.equivalent)
    assert set(mutant.named) <= set(ALL_CHECKS) | set(INVARIANTS) | OWN_CHECKS


def test_the_page_has_all_mutants_in_order():
    text = page.PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.part(text, page.TABLE).splitlines() if line.startswith("| ") and "`" in line]
    assert [line.startswith(page.described(mutant)) for line, mutant in zip(rows, MUTANTS, strict=True)] == [
        True
    ] * len(MUTANTS)
    assert page.part(text, page.EQUIVALENT) == page.equivalents()


@pytest.mark.parametrize(
    ("patches", "said"),
    [
        (
            swap("settle", "no such passage", ""),
            r"settle.py: the passage that begins with 'no such passage' is there 0",
        ),
        (swap("settle", "claimed", "held"), r"is there \d\d times, not once"),
        (swap("settle", "def decide(", "def decide("), "the patch changes nothing"),
        (swap("settle", "def decide(", "def decide(("), r"settle.py:\d+: not Python any more"),
        (swap("nowhere", "a", "b"), r"tem_sim/pipeline/nowhere.py: no such module"),
    ],
)
def test_a_patch_that_does_not_fit_says_why(patches, said):
    with pytest.raises(PatchError, match=said):
        patched(patches)


def test_a_passage_that_is_there_twice_is_told_by_its_line():
    source = source_of("outbox")
    line = [number for number, text in enumerate(source.splitlines(), 1) if "acked_at.is_(None)" in text][1]
    changed = patched([Replace("outbox", "_note.acked_at.is_(None)", "_note.acked_at.is_not(None)", line)])["outbox"]
    assert [a != b for a, b in zip(source.splitlines(), changed.splitlines(), strict=True)].index(True) == line - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "not a unified diff"),
        (
            "--- a/tem_sim/sim/api.py\n+++ b/tem_sim/sim/api.py\n@@ -1 +1 @@\n-a\n+b\n",
            "modules of tem_sim/pipeline only",
        ),
    ],
)
def test_a_diff_that_is_none_says_so(text, said):
    with pytest.raises(PatchError, match=said):
        from_diff(text)


def test_a_statement_in_sql_is_marked_where_it_is_used():
    old, new = 'status_is(State.FAILED), _row.next_retry_at <= bindparam("now")', "status_is(State.FAILED)"
    code, markers = instrumented(patched(swap("lifecycle", old, new)))
    assert (list(code), markers) == (["tem_sim.pipeline.lifecycle"], 1)


def test_what_all_rows_have_in_the_queue_is_marked_in_every_module_that_queues():
    code, _ = instrumented(patched(ALL["requeue-keeps-its-place"].patches))
    assert {"tem_sim.pipeline.lifecycle", "tem_sim.pipeline.unhandled"} <= set(code)
