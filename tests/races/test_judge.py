"""Each invariant of the races can fire: real rounds, doctored in what they committed or what threads were told."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.lifecycle import Submitted
from tem_sim.pipeline.settings import Settings
from tem_sim.races.arena import Arena, Played, Stage
from tem_sim.races.judge import INVARIANTS, judge
from tem_sim.races.pairs import RACES
from tem_sim.sim.schedules import Default

# Where things stand in a row of the frame `changes`.
THREAD, TABLE, BEFORE, AFTER = 7, 9, 12, 13

Doctor = Callable[[Played], Played]


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    made = Arena("sqlite://", IsolationLevel.READ_COMMITTED)
    yield made
    made.close()


def without(table: str) -> Doctor:
    """Leave out the changes of a table."""
    return lambda played: replace(played, changes=[row for row in played.changes if row[TABLE] != table])


def doubled(table: str) -> Doctor:
    """Let each change of a table come twice."""
    return lambda played: replace(
        played, changes=[row for row in played.changes for _ in range(1 + (row[TABLE] == table))]
    )


def with_image(table: str, image: int, number: int = 0, **values: object) -> Doctor:
    """Put other values into an image of the change of that number of a table."""

    def doctor(played: Played) -> Played:
        at = [n for n, row in enumerate(played.changes) if row[TABLE] == table][number]
        row: list[Any] = list(played.changes[at])
        row[image] = json.dumps({**json.loads(row[image]), **values})
        return replace(played, changes=[*played.changes[:at], tuple(row), *played.changes[at + 1 :]])

    return doctor


def copied(table: str, **values: object) -> Doctor:
    """Let the last change of a table come once more, with other values."""

    def doctor(played: Played) -> Played:
        row = list([row for row in played.changes if row[TABLE] == table][-1])
        row[AFTER] = json.dumps({**json.loads(row[AFTER]), **values})
        return replace(played, changes=[*played.changes, tuple(row)])

    return doctor


def by(thread: str) -> Doctor:
    """Let another thread have made all of it."""
    return lambda played: replace(
        played, changes=[(*row[:THREAD], thread, *row[THREAD + 1 :]) for row in played.changes]
    )


def told(thread: str, answer: object) -> Doctor:
    return lambda played: replace(played, returned={**played.returned, thread: answer})


STATE = "processing_state"
CASES: list[tuple[str, str, Doctor]] = [
    ("illegal_edge", "settle-settle", with_image(STATE, BEFORE, status="PROCESSED")),
    ("foreign_write", "settle-settle", by("worker-1/0")),
    ("foreign_write", "settle-settle", with_image(STATE, BEFORE, attempt_no=1)),
    ("foreign_write", "settle-settle", with_image(STATE, BEFORE, lease_owner="worker-9/0")),
    ("early_rescue", "claim-rescue", with_image(STATE, BEFORE, 1, lease_expires_at=1000.5)),
    ("lost_increment", "settle-settle", with_image(STATE, AFTER, retry_count=0)),
    ("extra_increment", "settle-settle", with_image(STATE, AFTER, retry_count=2)),
    ("wrong_extinct", "settle-settle", with_image(STATE, AFTER, status="EXTINCT", cause="exhausted")),
    ("double_claim", "claim-claim", with_image(STATE, AFTER, attempt_no=2)),
    ("double_claim", "claim-claim", told("worker-2/0", [(1, 1)])),
    ("attempt_missing", "settle-settle", without("attempt")),
    ("attempt_twice", "settle-settle", doubled("attempt")),
    ("false_record", "settle-settle", copied("attempt", outcome="lost")),
    ("notification_missing", "finish-rescue", without("notification")),
    ("notification_unearned", "finish-rescue", without(STATE)),
    ("unpublished", "relay-relay", without("notification")),
    ("unpublished", "relay-relay", lambda played: replace(played, published=[])),
    ("event_twice", "submit-submit", told("api/request-2", [Submitted(2, True, True)])),
    ("event_twice", "submit-submit", told("api/request-2", [Submitted(1, True, True)])),
    ("event_twice", "submit-submit", without("event")),
]


def staged(arena: Arena, pair: str) -> tuple[Stage, Played]:
    stage = arena.stage(RACES[pair], Settings())
    return stage, stage.play(Default())


@pytest.mark.parametrize(("invariant", "pair", "doctor"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_an_invariant_fires_where_it_is_broken(invariant: str, pair: str, doctor: Doctor, arena: Arena) -> None:
    stage, played = staged(arena, pair)
    sound = judge(stage, played)
    assert sound.broken == frozenset()
    doctored = judge(stage, doctor(played))
    assert invariant in doctored.broken
    assert doctored.digest != sound.digest


def test_every_invariant_has_a_case() -> None:
    assert {invariant for invariant, _, _ in CASES} == set(INVARIANTS)


def test_a_task_that_failed_is_told_apart_from_what_broke(arena: Arena) -> None:
    stage, played = staged(arena, "claim-claim")
    judged = judge(stage, replace(played, raised={"worker-2/0": ValueError("no")}))
    assert (dict(judged.failed), judged.broken) == ({"worker-2/0": "ValueError"}, frozenset())
