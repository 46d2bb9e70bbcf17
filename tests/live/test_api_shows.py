"""What the API shows of events: timelines, pages, and their new life."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from api_process import EVENT, OPERATOR, bearer, explained, post, problem
from pipeline_ledger import NO_RETRIES, SETTINGS, claim, ended, finish, rows, statuses

from tem_sim.live.api import reading
from tem_sim.live.api.models import Phase
from tem_sim.live.logs import lines
from tem_sim.live.tokens import Holder
from tem_sim.pipeline import lifecycle, outbox
from tem_sim.pipeline.states import State

pytestmark = pytest.mark.server


def show(client, event_id, who=None):
    answer = client.get(f"/events/{event_id}", headers=who or bearer())
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(client, *keys, who=None):
    return [post(client, key, headers=who or bearer()).json()["event_id"] for key in keys]


def fail(store, settings=SETTINGS):
    now = time.time()
    claimed = claim(store, now=now, settings=settings)
    finish(store, [ended(one, "boom", at=now) for one in claimed], now=now, settings=settings)


def test_an_events_timeline_tells_all_that_happened_to_it(api, api_store):
    (event_id,) = send(api, "k")
    fail(api_store)
    assert (show(api, event_id)["status"], show(api, event_id)["last_error"]) == ("FAILED", "boom")
    due = show(api, event_id)["next_retry_at"]
    lifecycle.requeue_due(api_store, SETTINGS, now=due, actor="beat")
    assert show(api, event_id)["status"] == "RETRY"
    (claimed,) = claim(api_store, worker="bob", now=due + 1)
    assert show(api, event_id)["status"] == "PROCESSING"
    finish(api_store, [ended(claimed, at=due + 2)], worker="bob", now=due + 2)
    outbox.mark_published(api_store, [event_id], now=due + 3)
    told = show(api, event_id)
    assert (told["status"], told["retry_count"], told["attempt_no"]) == ("PROCESSED", 1, 2)
    assert told["finished_at"] == pytest.approx(due + 2, abs=1e-3)
    assert told["payload"] == EVENT["payload"]
    moves = [(one["cause"], one["after"], one["actor"]) for one in told["transitions"]]
    assert moves == [
        ("submit", "QUEUED", "api"),
        ("claim", "PROCESSING", "ann"),
        ("error", "FAILED", "ann"),
        ("retry", "QUEUED", "beat"),
        ("claim", "PROCESSING", "bob"),
        ("ok", "PROCESSED", "bob"),
    ]
    assert [(one["attempt_no"], one["outcome"], one["worker"]) for one in told["attempts"]] == [
        (1, "error", "ann"),
        (2, "ok", "bob"),
    ]
    assert told["notification"]["published_at"] == pytest.approx(due + 3, abs=1e-3)
    assert told["notification"]["acked_at"] is None


def test_phases_are_the_states_and_retry():
    assert {phase.value for phase in Phase} == {state.value for state in State} | {"RETRY"}
    assert Phase.of("QUEUED", 0) is Phase.QUEUED
    assert Phase.of("QUEUED", 1) is Phase.RETRY
    assert Phase.of("PROCESSED", 1) is Phase.PROCESSED


def test_pages_by_phase_show_each_event_in_one_phase_alone(api, api_store):
    settings = replace(SETTINGS, batch_size=1)
    ids = send(api, *"abcdef")
    now = time.time()
    by_phase = dict(zip(["PROCESSED", "RETRY", "FAILED", "EXTINCT", "PROCESSING", "QUEUED"], ids, strict=True))
    for phase in ("PROCESSED", "RETRY", "FAILED", "EXTINCT", "PROCESSING"):
        (claimed,) = claim(api_store, now=now, settings=settings)
        assert claimed.event_id == by_phase[phase]
        if phase != "PROCESSING":
            error = None if phase == "PROCESSED" else "boom"
            finish(api_store, [ended(claimed, error)], settings=NO_RETRIES if phase == "EXTINCT" else SETTINGS, now=now)
        if phase == "RETRY":
            # Due before the next one fails.
            assert lifecycle.requeue_due(api_store, SETTINGS, now=now + 20, actor="beat") == 1
    seen = {
        phase.value: [one["event_id"] for one in api.get(f"/events?status={phase}", headers=bearer()).json()["events"]]
        for phase in Phase
    }
    assert seen == {phase: [event_id] for phase, event_id in by_phase.items()}


def test_pages_show_all_events_once_while_others_come(api):
    ids = send(api, *(f"k-{n}" for n in range(7)))
    seen, after = [], 0
    while after is not None:
        answer = api.get("/events", params={"limit": 3, "after": after}, headers=bearer()).json()
        seen += [one["event_id"] for one in answer["events"]]
        after = answer["next"]
        if len(seen) == 3:
            ids += send(api, "late")
            send(api, "of-another-user", who=bearer(8))
    assert seen == ids


def test_an_operators_pages_show_everybodys(api):
    ids = send(api, "a") + send(api, "a", who=bearer(8))
    answer = api.get("/events", params={"limit": 2}, headers=OPERATOR).json()
    assert ([one["event_id"] for one in answer["events"]], answer["next"]) == (ids, None)
    assert [one["user_id"] for one in answer["events"]] == [7, 8]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/events?status=GONE", "query.status"),
        ("/events?status=", "query.status"),
        ("/events?limit=0", "query.limit"),
        ("/events?limit=501", "query.limit"),
        ("/events?limit=x", "query.limit"),
        ("/events?after=-1", "query.after"),
        ("/events?after=9007199254740992", "query.after"),
        ("/events/0", "path.event_id"),
        ("/events/x", "path.event_id"),
        ("/events/1.5", "path.event_id"),
        ("/events/99999999999999999999999999", "path.event_id"),
        ("/events/%00", "path.event_id"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(file_api, path, where):
    answer = file_api.get(path, headers=bearer())
    assert (answer.status_code, problem(answer)["where"]) == (422, where)


# --- replay


def test_an_extinct_event_gets_a_new_life_and_a_worker_is_woken(api, api_store, api_process):
    (event_id,) = send(api, "k")
    fail(api_store, NO_RETRIES)
    assert show(api, event_id)["status"] == "EXTINCT"
    answer = api.post(f"/events/{event_id}/replay", headers=bearer())
    assert (answer.status_code, answer.json()["status"], answer.json()["replay_count"]) == (200, "QUEUED", 1)
    assert show(api, event_id)["transitions"][-1]["cause"] == "replay"
    wakes = [line for line in lines(api_process.config.log_file("api")) if line["event"] == "wake"]
    assert [(wake["first_id"], wake["count"]) for wake in wakes] == [(event_id, 1)] * 2
    assert api_process.redis.llen(f"{api_process.config.name}:processing_queue") == 2


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING, State.PROCESSED, State.FAILED])
def test_an_event_that_is_not_extinct_is_not_replayed(api, api_store, state):
    (event_id,) = send(api, "k")
    now = time.time()
    if state is not State.QUEUED:
        (claimed,) = claim(api_store, now=now)
    if state in (State.PROCESSED, State.FAILED):
        finish(api_store, [ended(claimed, "boom" if state is State.FAILED else None, at=now)], now=now)
    answer = api.post(f"/events/{event_id}/replay", headers=bearer())
    assert (answer.status_code, problem(answer)["value"]) == (409, f'"{state}"')
    (kept,) = rows(api_store)
    assert (kept["status"], kept["replay_count"]) == (state, 0)


def test_of_many_replays_at_once_one_is_done(api, api_store):
    (event_id,) = send(api, "k")
    fail(api_store, NO_RETRIES)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post(f"/events/{event_id}/replay", headers=bearer()), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert rows(api_store)[0]["replay_count"] == 1


# --- what it costs


def test_nothing_that_is_shown_reads_a_whole_table(api, api_process):
    """Asked of a store with two thousand events of many users, a few of which are EXTINCT."""
    store = api_process.store
    lifecycle.submit(
        store,
        [lifecycle.Submission(n, f"key-{n}", n % 100, "normal", {}) for n in range(1, 2001)],
        now=1.0,
        actor="api",
    )
    for one in range(3):
        fail(store, replace(NO_RETRIES, batch_size=1))
        assert statuses(store).count("EXTINCT") == one + 1
    with store.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    reader, plans = explained(api_process.config.store_url)
    assert reading.timeline(reader, Holder(1), 1) is not None
    assert len(reading.page(reader, Holder(1), None, after=0, limit=5).events) == 5
    assert len(reading.page(reader, Holder(None, operator=True), Phase.EXTINCT, after=0, limit=5).events) == 3
    reader.close()
    assert len(plans) == 6
    assert [plan for plan in plans if "Seq Scan" in plan or ("SCAN " in plan and "USING" not in plan)] == []
