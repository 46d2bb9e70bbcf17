"""What the store holds, as the pipeline's tests read it, and the account that must balance at the end of each story."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import select

from tem_sim.pipeline import claims, lifecycle
from tem_sim.pipeline.backoff import Backoff, Fixed
from tem_sim.pipeline.lifecycle import Submission
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.settle import Outcome, Settled, settle
from tem_sim.pipeline.states import LEGAL_EDGES, State
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, notification, processing_state, transition

# Two retries, each ten seconds after its failure.
SETTINGS = Settings(policy=Backoff(Fixed(10.0), max_retries=2))
NO_RETRIES = replace(SETTINGS, policy=Backoff(Fixed(10.0), max_retries=0))


class Luck:
    """Streams that all begin alike."""

    def stream(self, *name):
        return random.Random(1)


class Move(NamedTuple):
    """One row of the transition log, without its times."""

    before: str | None
    after: str
    cause: str
    actor: str


def submission(number: int, **changes: object) -> Submission:
    return replace(Submission(number, f"key-{number}", 7, "normal", {"n": number}), **changes)


def submit(store: Store, *numbers: int, now: float = 0.0) -> None:
    lifecycle.submit(store, [submission(number) for number in numbers], now=now, actor="api")


def claim(store: Store, worker: str = "ann", now: float = 1.0, settings: Settings = SETTINGS) -> list[ClaimedEvent]:
    return claims.claim(store, settings, now=now, worker=worker)


def ended(claimed: ClaimedEvent, error: str | None = None, at: float = 2.0) -> Outcome:
    return Outcome(claimed, at, at, error)


def finish(
    store: Store, outcomes: Sequence[Outcome], worker: str = "ann", now: float = 2.0, settings: Settings = SETTINGS
) -> Settled:
    return settle(store, settings, Luck(), outcomes, now=now, worker=worker)


def rows(store: Store, table=processing_state) -> list[dict[str, object]]:
    with store.begin() as connection:
        key = table.c.seq if "seq" in table.c else table.c.event_id
        return [dict(row._mapping) for row in connection.execute(select(table).order_by(key))]


def row(store: Store, event_id: int = 1) -> dict[str, object]:
    return next(row for row in rows(store) if row["event_id"] == event_id)


def statuses(store: Store) -> list[str]:
    return [str(row["status"]) for row in rows(store)]


def moves(store: Store, event_id: int = 1) -> list[Move]:
    logged = [row for row in rows(store, transition) if row["event_id"] == event_id]
    return [Move(row["before"], row["after"], row["cause"], row["actor"]) for row in logged]


def causes(store: Store, event_id: int = 1) -> list[str]:
    return [move.cause for move in moves(store, event_id)]


def attempts(store: Store, event_id: int = 1) -> list[tuple[int, str, str]]:
    """Return each row of an event's attempt log: number, worker, outcome."""
    logged = [row for row in rows(store, attempt) if row["event_id"] == event_id]
    return [(row["attempt_no"], row["worker"], row["outcome"]) for row in logged]


def owed(store: Store) -> list[int]:
    return [int(row["event_id"]) for row in rows(store, notification)]


def bring_to(store: Store, state: State) -> ClaimedEvent | None:
    """Take event 1 to a state along legal edges; return its claim, if it has been claimed."""
    submit(store, 1)
    if state is State.QUEUED:
        return None
    (claimed,) = claim(store)
    if state is State.PROCESSED:
        finish(store, [ended(claimed)])
    elif state is not State.PROCESSING:
        finish(store, [ended(claimed, "boom")], settings=SETTINGS if state is State.FAILED else NO_RETRIES)
    assert row(store)["status"] == state
    return claimed


_ENDS = {
    "ok": "ok",
    "error": "error",
    "exhausted": "error",
    "rescue": "lost",
    "crashed": "lost",
    "expired": "expired",
} | {"release": "released"}


def assert_balanced(store: Store, settings: Settings) -> None:
    """Check that rows, transition log, attempt log and outbox tell the same story of every event."""
    logged, tried = rows(store, transition), rows(store, attempt)
    for now in rows(store):
        event_id = now["event_id"]
        history = [entry for entry in logged if entry["event_id"] == event_id]
        _assert_chain(history, now)
        _assert_counts(history, now, settings)
        ends = [(e["attempt_no"], _ENDS[e["cause"]]) for e in history if e["before"] == "PROCESSING"]
        recorded = [(a["attempt_no"], a["outcome"]) for a in tried if a["event_id"] == event_id]
        assert [end for end in recorded if end[1] != "superseded"] == ends
    processed = [row["event_id"] for row in rows(store) if row["status"] == "PROCESSED"]
    assert owed(store) == (processed if settings.outbox else [])


def _assert_chain(history: list[dict[str, object]], now: dict[str, object]) -> None:
    assert history[0]["before"] is None
    assert all((entry["before"], entry["after"]) in LEGAL_EDGES for entry in history)
    assert [entry["after"] for entry in history] == [*[entry["before"] for entry in history[1:]], now["status"]]
    claims = [entry["attempt_no"] for entry in history if entry["cause"] == "claim"]
    assert claims == list(range(1, int(now["attempt_no"]) + 1))


def _assert_counts(history: list[dict[str, object]], now: dict[str, object], settings: Settings) -> None:
    replays = [place for place, entry in enumerate(history) if entry["cause"] == "replay"]
    life = history[replays[-1] :] if replays else history
    failures = sum(entry["cause"] in ("error", "exhausted") for entry in life)
    losses = sum(entry["cause"] in ("rescue", "crashed") for entry in life)
    assert now["retry_count"] == failures
    assert now["crash_count"] <= losses
    assert now["replay_count"] == len(replays)
    if now["status"] == "EXTINCT" and life[-1]["cause"] == "exhausted":
        assert failures == settings.policy.max_retries + 1
    elif now["status"] == "EXTINCT" and life[-1]["cause"] == "expired":
        assert now["finished_at"] - now["life_began_at"] >= settings.deadline_s
    elif now["status"] == "EXTINCT":
        assert now["crash_count"] == settings.crash_budget + 1
    else:
        assert failures <= settings.policy.max_retries
