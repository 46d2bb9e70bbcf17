"""`tem-sim races`: what it prints, refuses and exits with."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tem_sim.races import races as report
from tem_sim.races.races import Cell

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_helpers import tem_sim

AT = ("--isolation", "read_committed")


def test_it_says_what_broke_under_which_guard() -> None:
    result = tem_sim("races", "--pair", "settle-settle", *AT)
    assert result.exit_code == 0
    assert result.stdout.startswith("FINE  write_guard fenced, the default, stands all of 4 schedules\n")
    assert "settle-settle  refresh                32 of 32" in result.stdout
    assert "lost_increment: a failure was recorded that retry_count does not have" in result.stdout


def test_other_guards_alone_are_not_asked_about_the_default() -> None:
    result = tem_sim("races", "--pair", "settle-settle", "--guard", "row_lock", *AT)
    assert result.exit_code == 0
    assert result.stdout.startswith("NOT ASKED")


def test_it_exits_with_4_where_the_search_of_the_default_was_cut_short() -> None:
    result = tem_sim("races", "--pair", "settle-rescue-claim", "--guard", "fenced", "--schedules", "2", *AT)
    assert result.exit_code == 4
    assert result.stdout.startswith("INCONCLUSIVE  too many schedules of settle-rescue-claim; give more")
    assert "0 of 22 ?" in result.stdout


def test_a_certificate_for_few_deviations_is_shown_as_such() -> None:
    result = tem_sim("races", "--pair", "settle-rescue-claim", "--guard", "fenced", "--schedules", "30", *AT)
    assert result.exit_code == 0
    assert "(≤ 2)" in result.stdout
    assert "of settle-rescue-claim all with at most 2 deviations, and not all there are" in result.stdout
    assert "among them all with at most 2 deviations" in result.stdout


def test_it_exits_with_1_where_the_default_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    real = report._cell

    def broken(*given: object) -> Cell:
        from dataclasses import replace

        return replace(real(*given), broken=1, broke={"early_rescue": 1})  # type: ignore[arg-type]

    monkeypatch.setattr(report, "_cell", broken)
    result = tem_sim("races", "--pair", "renew-rescue", *AT)
    assert result.exit_code == 1
    assert result.stdout.startswith("BROKEN  write_guard fenced, the default, does not stand renew-rescue\n")


def test_a_specimen_says_nothing_about_the_default() -> None:
    result = tem_sim("races", "--pair", "stale-claim", *AT)
    assert result.exit_code == 0
    assert "double_claim 2" in result.stdout


def test_a_broken_schedule_is_shown_in_a_column_per_thread() -> None:
    words = ("--pair", "stale-claim", *AT, "--show", "double_claim")
    said = tem_sim("races", *words).stdout
    assert "each thread as long as it can go on, but at step 2 worker-2/0 instead" in said
    lines = said[said.index("  #  worker-1/0") :].splitlines()
    assert lines[2].split() == ["1", "SELECT", "processing_state"]
    assert said.count("sees event_id=1 attempt_no=0") == 2


def test_json_has_each_cell_and_schedules_to_replay() -> None:
    said = json.loads(tem_sim("races", "--pair", "stale-claim", *AT, "--json").stdout)
    assert said["verdict"] == "NOT ASKED"
    (cell,) = said["cells"]
    assert (cell["broken"], cell["complete"], cell["broke"]) == (2, True, {"double_claim": 2})
    assert cell["shortest"] == {"double_claim": {"2": "worker-2/0"}}


def test_yields_are_the_same_each_time() -> None:
    words = ("races", "--yields", "--pair", "stale-claim", "--schedules", "15", "--json")
    once, again = (json.loads(tem_sim(*words).stdout)["yields"] for _ in range(2))
    assert once == again
    assert {one["strategy"] for one in once} >= {"random", "walk", "pct, 2 changes", "exhaustive"}
    exhaustive = next(one for one in once if one["strategy"] == "exhaustive")
    assert (exhaustive["all"], exhaustive["schedules"], exhaustive["broken"]) == (True, 4, 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--pair", "claim"), "races: --pair: claim: not one of claim-rescue, "),
        (("--guard", "mutex"), "races: --guard: mutex: not one of stale, refresh, row_lock, version, fenced"),
        (("--isolation", "chaos"), "races: --isolation: chaos: not one of read_committed, snapshot, serializable"),
        (("--pair", "stale-claim", *AT, "--show", "harm"), "races: --show: harm: not one of illegal_edge, "),
        (("--store", "mysql://x"), "store: give sqlite://"),
        (("--yields", "--pair", "claim-claim"), "races: --pair: claim-claim: not one of stale-claim, "),
        (("--yields", "--guard", "fenced", *AT), "races: --yields has no use for --guard, --isolation\n"),
        (("--yields", "--unreduced", "--show", "any"), "races: --yields has no use for --show, --unreduced\n"),
        (
            ("--yields", "--store", "sqlite://", "--store", "sqlite://"),
            "races: --yields has no use for a second --store",
        ),
        (("--replay", "", "--show", "any"), "races: --replay has no use for --show\n"),
        (
            ("--replay", "", "--schedules", "3", "--unreduced"),
            "races: --replay has no use for --unreduced, --schedules\n",
        ),
    ],
)
def test_what_there_is_not_is_refused(words: Sequence[str], told: str) -> None:
    result = tem_sim("races", *words)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_schedule_is_replayed_to_the_same_digest() -> None:
    words = ("races", "--pair", "stale-claim", "--replay", "2:worker-2/0")
    once = tem_sim(*words).stdout
    assert once == tem_sim(*words).stdout
    assert once.startswith("breaks double_claim: stale-claim, write_guard fenced, sqlite read_committed\n")
    assert tem_sim("races", "--pair", "stale-claim", "--replay", "").stdout.startswith("breaks nothing: ")
    # One that is not ready there does not go on there.
    assert "really: without exception" in tem_sim("races", "--pair", "claim-claim", "--replay", "5:worker-1/0").stdout


def test_deviations_after_the_end_are_named() -> None:
    said = tem_sim("races", "--pair", "stale-claim", "--replay", "2:worker-2/0,99:worker-2/0").stdout
    assert "really: but at step 2 worker-2/0 instead\nnever reached: 99:worker-2/0; there were " in said
    # Reached, but not followed.
    words = ("races", "--pair", "claim-claim", "--replay", "5:worker-1/0")
    assert "never reached" not in tem_sim(*words).stdout


def test_a_replayed_schedule_is_one_json_document() -> None:
    words = ("races", "--pair", "stale-claim", "--replay", "2:worker-2/0,99:worker-2/0")
    said = json.loads(tem_sim(*words, "--json").stdout)
    assert (said["race"], said["guard"], said["isolation"], said["store"]) == (
        "stale-claim",
        "fenced",
        "read_committed",
        "sqlite",
    )
    assert said["deviations"] == {"2": "worker-2/0", "99": "worker-2/0"}
    assert (said["followed"], said["never_reached"]) == ({"2": "worker-2/0"}, {"99": "worker-2/0"})
    assert said["broken"] == ["double_claim"]
    assert f"digest {said['digest']}\n" in tem_sim(*words).stdout
    assert {one["thread"] for one in said["steps"]} == {"worker-1/0", "worker-2/0"}
    assert said["steps"][0]["does"] == "SELECT processing_state"


@pytest.mark.parametrize("steps", ["2", "x:worker-1/0", "2:worker-7/0", "0:worker-1/0"])
def test_a_schedule_that_is_none_is_refused(steps: str) -> None:
    result = tem_sim("races", "--pair", "stale-claim", "--replay", steps)
    assert result.exit_code == 2
    assert "give STEP:THREAD,… with the threads worker-1/0, worker-2/0" in result.stderr
    assert tem_sim("races", "--replay", "2:worker-1/0").exit_code == 2
