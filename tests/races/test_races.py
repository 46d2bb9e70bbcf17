"""The named races on real connections: what their schedules break, under which guard, level and store."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.rows import status_is
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.pipeline.states import State
from tem_sim.pipeline.tables import processing_state
from tem_sim.races.arena import Arena
from tem_sim.races.explore import bounded, exhaustive
from tem_sim.races.game import RaceGame, Round
from tem_sim.races.judge import judge
from tem_sim.races.pairs import RACES
from tem_sim.races.races import Cell, cells, divergences, report
from tem_sim.races.timeline import timeline
from tem_sim.scenario.streams import Streams
from tem_sim.sim.schedules import Deviating, Walk

READ_COMMITTED = IsolationLevel.READ_COMMITTED
NOT_BROKEN = [name for name, race in RACES.items() if not race.specimen]


@pytest.fixture(params=IsolationLevel)
def level(request: pytest.FixtureRequest) -> IsolationLevel:
    found: IsolationLevel = request.param
    return found


@pytest.fixture
def arena() -> Iterator[Arena]:
    """Open SQLite at read committed."""
    made = Arena("sqlite://", READ_COMMITTED)
    yield made
    made.close()


def one(pair: str, guard: WriteGuard, level: IsolationLevel = READ_COMMITTED, store: str = "sqlite://") -> Cell:
    (cell,) = cells([pair], [guard], [level], [store])
    return cell


def searched(arena: Arena, pair: str, guard: WriteGuard, *, reduce: bool) -> tuple[set[str], set[str], bool]:
    """Return all ends of a race's schedules, all that they broke, and whether there are no others."""
    game = RaceGame(arena.stage(RACES[pair], Settings(write_guard=guard)))
    ends: set[str] = set()
    broken: set[str] = set()

    def see(round_: Round) -> None:
        ends.add(round_.judged.outcome)
        broken.update(round_.judged.broken)

    try:
        return ends, broken, exhaustive(game, see, budget=2000, reduce=reduce).complete
    finally:
        game.close()


# --- the pipeline as it is


def test_the_default_stands_every_schedule_of_every_race_on_sqlite() -> None:
    found = cells(NOT_BROKEN, [WriteGuard.FENCED])
    assert len(found) == len(NOT_BROKEN) * len(IsolationLevel)
    assert all(cell.complete for cell in found)
    assert [(cell.pair, cell.isolation, cell.broke) for cell in found if cell.broken] == []
    # No search of one schedule, and races that really have more than one end.
    assert min(cell.schedules for cell in found) >= 2
    assert min(cell.outcomes for cell in found) >= 2
    assert not any(cell.failed for cell in found)


def test_refresh_does_not_suffice(level: IsolationLevel) -> None:
    cell = one("settle-settle", WriteGuard.REFRESH, level)
    assert cell.complete
    assert cell.broken == cell.schedules
    assert 0 < cell.broke["wrong_extinct"] < cell.schedules
    # The increment itself is lost only where the row may change between the reading and the writing of it.
    assert bool(cell.broke.get("lost_increment")) is (level is READ_COMMITTED)


def test_a_guard_without_a_token_lets_a_late_worker_overwrite_another() -> None:
    found = cells(["settle-settle"], isolations=[READ_COMMITTED])
    assert {cell.guard for cell in found if cell.broken} == {"stale", "refresh", "row_lock"}


def test_the_stale_claim_breaks_at_read_committed_and_not_in_a_snapshot() -> None:
    found = {cell.isolation: cell for cell in cells(["stale-claim"])}
    assert found["read_committed"].broke == {"double_claim": 2}
    assert found["snapshot"].broken == found["serializable"].broken == 0
    assert all(cell.complete for cell in found.values())


def test_a_rescue_that_trusts_what_it_read_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pipeline did before: the lease, read before, was not asked for again when the row was written."""
    row = processing_state.c
    trusting = processing_state.update().where(row.event_id == lifecycle._PUT_BACK.whereclause.clauses[0].right)
    back = trusting.where(status_is(State.PROCESSING)).values(
        {**lifecycle.REQUEUED, row.crash_count: lifecycle.bindparam("crashes"), **lifecycle.moved("rescue")}
    )
    monkeypatch.setattr(lifecycle, "_PUT_BACK", back)
    assert one("renew-rescue", WriteGuard.FENCED).broke == {"early_rescue": 1}


# --- the searches


@pytest.mark.parametrize("guard", [WriteGuard.FENCED, WriteGuard.ROW_LOCK, WriteGuard.STALE])
@pytest.mark.parametrize("pair", ["settle-settle", "finish-settle", "finish-rescue", "claim-rescue", "stale-claim"])
def test_the_reduction_loses_no_end_of_a_real_race(pair: str, guard: WriteGuard, arena: Arena) -> None:
    some, all_ = (searched(arena, pair, guard, reduce=reduce) for reduce in (True, False))
    assert some == all_
    assert all_[2]


@pytest.mark.server
@pytest.mark.parametrize("level", [READ_COMMITTED, IsolationLevel.SNAPSHOT])
def test_the_reduction_loses_no_end_on_postgresql(level: IsolationLevel, postgresql_url: str) -> None:
    arena = Arena(postgresql_url, level)
    try:
        for pair in ("claim-claim", "claim-rescue", "stale-claim"):
            some, all_ = (searched(arena, pair, WriteGuard.FENCED, reduce=reduce) for reduce in (True, False))
            assert some == all_
            assert all_[2]
    finally:
        arena.close()


def test_what_is_not_complete_is_certified_for_few_deviations_or_not_at_all() -> None:
    (cell,) = cells(["settle-rescue"], [WriteGuard.REFRESH], [READ_COMMITTED], schedules=20)
    assert (cell.complete, cell.bound, cell.certified) == (False, 2, True)
    (cell,) = cells(["settle-rescue"], [WriteGuard.REFRESH], [READ_COMMITTED], schedules=2)
    assert (cell.complete, cell.bound, cell.certified) == (False, None, False)


def test_the_shortest_schedule_has_the_fewest_deviations_and_can_be_replayed(arena: Arena) -> None:
    cell = one("settle-settle", WriteGuard.REFRESH)
    shortest = cell.shortest["lost_increment"]
    stage = arena.stage(RACES["settle-settle"], Settings(write_guard=WriteGuard.REFRESH))
    assert "lost_increment" in judge(stage, stage.play(Deviating(shortest))).broken
    game, broken = RaceGame(stage), set[str]()
    bounded(game, lambda round_: broken.update(round_.judged.broken), deviations=len(shortest) - 1, budget=1000)
    game.close()
    assert "lost_increment" not in broken


# --- the same again


def digests(url: str, level: IsolationLevel, pair: str, guard: WriteGuard, seeds: range) -> list[str]:
    arena = Arena(url, level)
    try:
        stage = arena.stage(RACES[pair], Settings(write_guard=guard))
        return [judge(stage, stage.play(Walk(Streams(seed).stream("s")))).digest for seed in seeds]
    finally:
        arena.close()


@pytest.mark.parametrize("pair", ["settle-rescue-claim", "submit-submit", "relay-relay"])
def test_the_same_schedule_has_the_same_digest(pair: str, level: IsolationLevel) -> None:
    seeds = range(8)
    once = digests("sqlite://", level, pair, WriteGuard.REFRESH, seeds)
    assert once == digests("sqlite://", level, pair, WriteGuard.REFRESH, seeds)
    assert len(set(once)) > 1


@pytest.mark.server
def test_the_same_schedule_has_the_same_digest_on_postgresql(level: IsolationLevel, postgresql_url: str) -> None:
    seeds = range(6)
    once = digests(postgresql_url, level, "settle-rescue-claim", WriteGuard.REFRESH, seeds)
    assert once == digests(postgresql_url, level, "settle-rescue-claim", WriteGuard.REFRESH, seeds)
    assert len(set(once)) > 1


def test_a_race_begins_each_time_from_the_same_rows(arena: Arena) -> None:
    stage = arena.stage(RACES["claim-claim"], Settings())
    ends = {judge(stage, stage.play(Deviating({}))).digest for _ in range(5)}
    assert len(ends) == 1
    # Another race on the same arena leaves nothing behind.
    arena.stage(RACES["submit-submit"], Settings()).play(Deviating({}))
    assert judge(stage, stage.play(Deviating({}))).digest in ends


# --- what is shown


def test_the_timeline_says_who_sent_what_and_what_it_saw(arena: Arena) -> None:
    stage = arena.stage(RACES["stale-claim"], Settings())
    round_, entries = timeline(stage, {2: "worker-2/0"})
    assert round_.judged.broken == {"double_claim"}
    said = [(entry.thread, entry.head, entry.details) for entry in entries]
    sees = ["sees event_id=1 attempt_no=0 version=1", "sees event_id=2 attempt_no=0 version=1"]
    assert said[:2] == [(name, "SELECT processing_state", sees) for name in ("worker-1/0", "worker-2/0")]
    assert said[2][1] == "UPDATE processing_state"
    assert "status QUEUED → PROCESSING" in " ".join(said[2][2])


def test_waits_are_shown(arena: Arena) -> None:
    stage = arena.stage(RACES["claim-claim"], Settings())
    _, entries = timeline(stage, {2: "worker-2/0"})
    assert ("worker-2/0", "waits for a lock") in [(entry.thread, entry.head) for entry in entries]


def test_the_report_is_a_frame_with_a_column_for_each_invariant() -> None:
    made = report(cells(["stale-claim", "claim-claim"], isolations=[READ_COMMITTED]))
    assert list(made["pair"]) == ["claim-claim", "stale-claim"]
    assert list(made["double_claim"]) == [0, 2]
    assert list(made["complete"]) == [True, True]
    assert report([]).empty


def test_where_the_stores_differ_is_said() -> None:
    cell = one("stale-claim", WriteGuard.FENCED)
    other = replace(cell, store="postgresql", broke={"double_claim": 6, "attempt_missing": 1})
    apart = divergences([other, cell])
    assert [(one_.store, other_.store, only) for one_, other_, only in apart] == [
        ("postgresql", "sqlite", {"attempt_missing": "postgresql"})
    ]
    assert divergences([cell, replace(cell, store="postgresql")]) == []


@pytest.mark.server
def test_postgresql_locks_the_rows_that_sqlite_reads_outside_of_its_transaction(postgresql_url: str) -> None:
    stores = ["sqlite://", postgresql_url]
    found = cells(["settle-settle", "stale-claim"], [WriteGuard.ROW_LOCK], [READ_COMMITTED], stores)
    apart = {one_.pair: only for one_, _, only in divergences(found)}
    assert apart == {"settle-settle": {"lost_increment": "sqlite"}}


@pytest.mark.server
def test_the_default_stands_the_races_on_postgresql(postgresql_url: str) -> None:
    pairs = ["claim-rescue", "settle-rescue", "renew-rescue", "claim-claim", "requeue-requeue", "submit-submit"]
    found = cells(pairs, [WriteGuard.FENCED], [READ_COMMITTED], [postgresql_url])
    assert [(cell.pair, cell.broken, cell.complete) for cell in found] == [(pair, 0, True) for pair in pairs]
