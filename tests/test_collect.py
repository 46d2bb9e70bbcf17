"""From store rows to frames: every claim has a row, the last word on an attempt counts, and times are relative."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from tem_sim.collect import Delivery, Observed, collect
from tem_sim.frames import SCHEMAS
from tem_sim.pipeline import claims, lifecycle, outbox
from tem_sim.pipeline.backoff import Backoff, Exponential
from tem_sim.pipeline.lifecycle import Submission
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.settle import Outcome, settle
from tem_sim.pipeline.store import Store, open_store
from tem_sim.scenario.streams import Streams

SETTINGS = Settings(policy=Backoff(Exponential(10.0), max_retries=2), lease_s=30.0)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = open_store()
    yield opened
    opened.close()


def submit(store: Store, count: int, now: float = 1.0) -> None:
    submissions = [Submission(n, f"key-{n}", 100 + n, "normal", {}) for n in range(1, count + 1)]
    lifecycle.submit(store, submissions, now=now, actor="api")


def claim(store: Store, now: float, worker: str = "worker-1/0") -> list[ClaimedEvent]:
    return claims.claim(store, SETTINGS, now=now, worker=worker)


def end(
    store: Store, claims: Sequence[ClaimedEvent], at: float, error: str | None = None, worker: str = "worker-1/0"
) -> None:
    outcomes = [Outcome(claimed, at - 0.5, at, error) for claimed in claims]
    settle(store, SETTINGS, Streams(1), outcomes, now=at, worker=worker)


def frames_of(
    store: Store, observed: Observed | None = None, start_s: float = 0.0, end_s: float = 100.0
) -> dict[str, pd.DataFrame]:
    return collect(store, observed or Observed(), start_s=start_s, end_s=end_s)


def test_an_empty_store_gives_empty_frames_of_the_right_shape(store: Store) -> None:
    frames = frames_of(store)
    assert set(frames) == set(SCHEMAS)
    for name, frame in frames.items():
        assert list(frame.columns) == [column.name for column in SCHEMAS[name]]
        assert len(frame) == 0


def test_a_claim_without_an_end_is_an_unfinished_attempt(store: Store) -> None:
    submit(store, 2)
    first, _ = claim(store, 2.0)
    end(store, [first], 3.0)
    attempts = frames_of(store)["attempts"]
    assert attempts["outcome"].astype(str).tolist() == ["ok", "unfinished"]
    assert attempts["claimed_s"].tolist() == [2.0, 2.0]
    assert attempts["worker"].astype(str).tolist() == ["worker-1/0"] * 2
    assert attempts["finished_s"].isna().tolist() == [False, True]


def test_an_error_has_its_delay_and_its_event_the_time_of_the_next_retry(store: Store) -> None:
    submit(store, 1)
    end(store, claim(store, 2.0), 3.0, error="Refused: no")
    frames = frames_of(store)
    attempt, event = frames["attempts"].iloc[0], frames["events"].iloc[0]
    assert (attempt["outcome"], attempt["error"], attempt["delay_s"]) == ("error", "Refused: no", 10.0)
    assert (event["status"], event["retry_count"], event["next_retry_s"]) == ("FAILED", 1, 13.0)
    assert np.isnan(event["finished_s"])


def test_of_a_rescue_and_the_zombies_own_word_the_last_one_stands(store: Store) -> None:
    submit(store, 1)
    zombie = claim(store, 2.0, "zombie/0")
    lifecycle.rescue_expired(store, SETTINGS, now=40.0, actor="beat")
    heir = claim(store, 41.0, "heir/0")
    lost = frames_of(store)["attempts"]
    assert lost["outcome"].astype(str).tolist() == ["lost", "unfinished"]
    assert lost["finished_s"].iloc[0] == 40.0
    end(store, zombie, 42.0, worker="zombie/0")
    end(store, heir, 43.0, worker="heir/0")
    attempts = frames_of(store)["attempts"]
    assert attempts["outcome"].astype(str).tolist() == ["superseded", "ok"]
    assert attempts["worker"].astype(str).tolist() == ["zombie/0", "heir/0"]
    assert attempts["finished_s"].tolist() == [42.0, 43.0]
    assert frames_of(store)["events"]["crash_count"].item() == 1


def test_times_are_relative_to_the_start_and_delays_are_not(store: Store) -> None:
    submit(store, 1, now=1_000_001.0)
    end(store, claim(store, 1_000_002.0), 1_000_003.0, error="Refused: no")
    frames = frames_of(store, Observed(samples=[(1_000_001.5, "broker_ready", 4.0)]), start_s=1_000_000.0)
    assert frames["events"]["submitted_s"].item() == 1.0
    assert frames["events"]["next_retry_s"].item() == 13.0
    assert frames["attempts"][["claimed_s", "started_s", "finished_s", "delay_s"]].iloc[0].tolist() == [2, 2.5, 3, 10]
    assert frames["transitions"]["at_s"].tolist() == [1.0, 2.0, 3.0]
    assert frames["samples"].iloc[0].tolist() == [1.5, "broker_ready", 4.0]


def test_effects_are_laid_beside_their_attempts_and_end_with_the_run(store: Store) -> None:
    submit(store, 2)
    claims = claim(store, 2.0)
    end(store, claims[:1], 3.0, error="Overload: late")
    effects = {(1, 1): 4.5, (2, 1): 150.0}
    attempts = frames_of(store, Observed(effects=effects))["attempts"]
    assert attempts["outcome"].astype(str).tolist() == ["error", "unfinished"]
    assert attempts["effect_s"].iloc[0] == 4.5
    # It would have happened after the end.
    assert np.isnan(attempts["effect_s"].iloc[1])


def test_transitions_tell_the_whole_story_in_order(store: Store) -> None:
    submit(store, 1)
    end(store, claim(store, 2.0), 3.0, error="Refused: no")
    lifecycle.requeue_due(store, SETTINGS, now=14.0, actor="beat")
    end(store, claim(store, 15.0), 16.0)
    rows = frames_of(store)["transitions"]
    assert rows["seq"].tolist() == [1, 2, 3, 4, 5, 6]
    assert rows["before"].astype(str).tolist() == ["", "QUEUED", "PROCESSING", "FAILED", "QUEUED", "PROCESSING"]
    assert rows["cause"].astype(str).tolist() == ["submit", "claim", "error", "retry", "claim", "ok"]
    assert rows["actor"].astype(str).tolist() == ["api", "worker-1/0", "worker-1/0", "beat", "worker-1/0", "worker-1/0"]
    assert rows["retry_count"].tolist() == [0, 0, 1, 1, 1, 1]


def test_what_one_statement_wrote_is_in_the_order_of_events_and_what_came_later_stays_later(store: Store) -> None:
    submit(store, 3)
    claims = claim(store, 2.0)
    end(store, claims[::-1], 3.0)
    rows = frames_of(store)["transitions"]
    assert rows["event_id"].tolist() == [1, 2, 3] * 3
    assert rows["after"].astype(str).tolist() == ["QUEUED"] * 3 + ["PROCESSING"] * 3 + ["PROCESSED"] * 3


def test_a_notification_is_a_row_from_when_it_is_owed(store: Store) -> None:
    submit(store, 3)
    end(store, claim(store, 2.0), 3.0)
    outbox.mark_published(store, [1, 2], now=4.0)
    outbox.acknowledge(store, [1], now=5.0)
    seen = [Delivery(1, 101, "event-1-processed", 4.5, 1, 2)]
    notes = frames_of(store, Observed(deliveries=seen))["notifications"]
    assert notes["event_id"].tolist() == [1, 2, 3]
    assert notes["user_id"].tolist() == [101, 102, 103]
    assert notes["shown"].tolist() == [1, 0, 0]
    assert notes["received"].tolist() == [2, 0, 0]
    assert notes["published_s"].notna().tolist() == [True, True, False]
    assert notes["acked_s"].notna().tolist() == [True, False, False]
    assert notes["delivered_s"].iloc[0] == 4.5
    assert notes["dedupe_key"].tolist() == [f"event-{n}-processed" for n in (1, 2, 3)]


def test_without_an_outbox_there_is_what_was_seen(store: Store) -> None:
    submit(store, 2)
    seen = [Delivery(2, 102, "", 4.5, 2, 2)]
    notes = frames_of(store, Observed(deliveries=seen))["notifications"]
    assert notes[["event_id", "user_id", "shown", "received"]].iloc[0].tolist() == [2, 102, 2, 2]
    assert len(notes) == 1
    assert notes["created_s"].isna().all()


def test_categories_do_not_depend_on_the_order_of_rows(store: Store) -> None:
    submit(store, 4)
    claims = claim(store, 2.0)
    for claimed, error in zip(claims, ["Zebra: z", "Alpha: a", "Middle: m", None], strict=True):
        end(store, [claimed], 3.0, error=error)
    assert list(frames_of(store)["events"]["last_error"].cat.categories) == ["Alpha: a", "Middle: m", "Zebra: z"]


@dataclass
class Struck:
    fault_id: int
    kind: str
    target: str
    start_s: float
    end_s: float
    landed: int
    detail: str
    shade: str


def test_faults_are_taken_as_they_happened(store: Store) -> None:
    struck = [
        Struck(0, "outage", "handler", 10.0, 20.0, 7, "why", "red"),
        Struck(1, "outage", "handler", np.nan, np.nan, 0, "never reached", "red"),
    ]
    faults = frames_of(store, Observed(faults=struck), start_s=5.0)["faults"]
    assert faults["start_s"].iloc[0] == 5.0
    assert faults["end_s"].iloc[0] == 15.0
    assert faults["landed"].tolist() == [7, 0]
    assert np.isnan(faults["start_s"].iloc[1])


def test_a_row_that_an_operator_moved_is_in_the_log_too(store: Store) -> None:
    submit(store, 1)
    for attempt in range(3):
        end(store, claim(store, 2.0 + 100 * attempt), 3.0 + 100 * attempt, error="Refused: no")
        lifecycle.requeue_due(store, SETTINGS, now=90.0 + 100 * attempt, actor="beat")
    assert lifecycle.replay(store, 1, now=400.0, actor="operator")
    frames = frames_of(store, end_s=500.0)
    assert frames["events"][["status", "retry_count", "replay_count"]].iloc[0].tolist() == ["QUEUED", 0, 1]
    assert frames["transitions"]["cause"].astype(str).tolist()[-2:] == ["exhausted", "replay"]


def test_more_rows_than_are_fetched_at_a_time_come_out_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(store, 50)
    end(store, claim(store, 2.0), 3.0)
    whole = frames_of(store)
    monkeypatch.setattr("tem_sim.collect.CHUNK", 7)
    for name, frame in frames_of(store).items():
        pd.testing.assert_frame_equal(frame, whole[name], check_exact=True)
    with store.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM attempt")).scalar() == len(whole["attempts"])
