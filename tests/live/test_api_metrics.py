"""GET /metrics against what the store holds, counted there row by row."""

import time
from collections import Counter

import pytest
from api_process import bearer, explained, post, reads_whole_table
from pipeline_ledger import NO_RETRIES, SETTINGS, claim, ended, finish, rows
from prometheus_client.parser import text_string_to_metric_families

from tem_sim.live.api import standing
from tem_sim.live.api.standing import Standings
from tem_sim.pipeline import lifecycle, outbox
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.states import Cause, State
from tem_sim.pipeline.store import Store, make_engine, open_store
from tem_sim.pipeline.tables import transition

pytestmark = pytest.mark.server


def scrape(client):
    """Return each sample by its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def counted(store):
    """Count what the metrics must say from the rows themselves."""
    states = Counter({(state,): 0 for state in State})
    states.update((one["status"],) for one in rows(store))
    causes = Counter({(cause,): 0 for cause in Cause})
    causes.update((one["cause"],) for one in rows(store, transition))
    return states, causes


def test_the_numbers_are_those_of_the_store(api, api_store):
    now = time.time()
    ids = [post(api, f"k-{n}").json()["event_id"] for n in range(10)]
    claimed = {one.event_id: one for one in claim(api_store, now=now - 100)}
    finish(api_store, [ended(claimed[one], at=now) for one in ids[:3]], now=now)
    finish(api_store, [ended(claimed[one], "boom", at=now - 50) for one in ids[3:5]], now=now - 50)
    finish(api_store, [ended(claimed[ids[5]], "boom", at=now)], now=now, settings=NO_RETRIES)
    lifecycle.requeue_due(api_store, SETTINGS, now=now, actor="beat", at_most=1)
    lifecycle.replay(api_store, ids[5], now=now - 30, actor="operator")
    outbox.mark_published(api_store, ids[:2], now=now)
    outbox.acknowledge(api_store, ids[:1], now=now)
    began = time.time()
    told = scrape(api)
    took_s = time.time() - began
    states, causes = counted(api_store)
    assert {key[1:]: value for key, value in told.items() if key[0] == "tem_events"} == states
    assert {key[1:]: value for key, value in told.items() if key[0] == "tem_transitions_total"} == causes
    assert (told["tem_retries_total",], told["tem_leases_expired_total",]) == (1, 0)
    # Due since 40 s; queued since 30 s; four leases of 60 s that ended 40 s ago.
    for name, age_s in (("tem_oldest_due_age_seconds", 40), ("tem_oldest_queued_age_seconds", 30)):
        least_s = began - now + age_s
        assert least_s - 0.001 <= told[name,] <= least_s + took_s + 0.001
    assert told["tem_leases_overdue",] == 4
    assert (told["tem_outbox_unpublished",], told["tem_outbox_unacknowledged",]) == (1, 2)
    lifecycle.rescue_expired(api_store, SETTINGS, now=now, actor="beat")
    told = scrape(api)
    assert (told["tem_leases_overdue",], told["tem_leases_expired_total",]) == (0, 4)
    assert (told["tem_store_up",], told["tem_redis_up",]) == (1, 1)


def test_where_nothing_waits_ages_are_zero(api):
    names = ("tem_oldest", "tem_outbox", "tem_events")
    assert {value for key, value in scrape(api).items() if key[0].startswith(names)} == {0}


def test_requests_are_counted_by_route_and_code_and_strange_ones_together(api):
    for key in "aab":
        post(api, key)
    for number in range(3):
        api.get(f"/no/such/{number}")
        api.get(f"/events/{number + 1}", headers=bearer())
    api.request("BREW", "/events")
    told = scrape(api)
    assert told["tem_api_requests_total", "201", "POST", "/events"] == 2
    assert told["tem_api_requests_total", "200", "POST", "/events"] == 1
    assert told["tem_api_requests_total", "404", "GET", "/events/{event_id}"] == 3
    assert told["tem_api_requests_total", "404", "GET", "unmatched"] == 3
    assert told["tem_api_requests_total", "405", "other", "/events"] == 1
    assert told["tem_api_request_duration_seconds_count", "/events"] == 4
    assert told["tem_api_requests_in_progress",] == 1


def test_who_is_sent_elsewhere_for_a_slash_too_many_makes_no_series(api):
    for number in range(1, 4):
        assert api.get(f"/events/{number}/").status_code == 307
    told = scrape(api)
    assert told["tem_api_requests_total", "307", "GET", "unmatched"] == 3
    assert {key[-1] for key in told if key[0] == "tem_api_request_duration_seconds_count"} <= {"unmatched", "/metrics"}


def test_wake_ups_that_wait_are_counted(api):
    before = scrape(api)["tem_queue_length", "processing_queue"]
    for key in "abc":
        post(api, key)
    told = scrape(api)
    assert (before, told["tem_queue_length", "processing_queue"]) == (0, 3)
    assert told["tem_queue_length", "maintenance"] == 0


# --- what of the log is counted once


@pytest.fixture
def reader(shared_url):
    open_store(shared_url).close()
    opened = Store(make_engine(shared_url, isolation=IsolationLevel.SNAPSHOT))
    yield opened
    opened.close()


class Clock:
    t = 1000.0

    def __call__(self):
        return self.t


def submit_at(store, now, *ids):
    lifecycle.submit(store, [lifecycle.Submission(n, f"key-{n}", 1, "k", {}) for n in ids], now=now, actor="api")


def test_each_move_is_counted_once_and_old_ones_are_not_read_again(reader):
    clock = Clock()
    ask = Standings(reader, clock)
    for round_no in range(1, 5):
        submit_at(reader, clock.t, 2 * round_no, 2 * round_no + 1)
        assert ask().causes[Cause.SUBMIT] == 2 * round_no
        assert ask().states[State.QUEUED] == 2 * round_no
        clock.t += standing.SETTLED_AFTER_S / 2
    assert ask._cut >= 4


def test_a_move_that_was_logged_late_under_an_early_number_is_counted(reader):
    """A transaction that is slow to commit has drawn its number before others that commit first."""
    clock = Clock()
    ask = Standings(reader, clock)
    submit_at(reader, clock.t, 1, 2, 3)
    with reader.begin() as connection:
        connection.execute(transition.delete().where(transition.c.event_id == 2))
    assert ask().causes[Cause.SUBMIT] == 2
    with reader.begin() as connection:
        row = {"seq": 2, "event_id": 2, "at": clock.t, "after": "QUEUED", "cause": "submit", "actor": "api"}
        connection.execute(transition.insert().values(**row, attempt_no=0, retry_count=0))
    assert ask().causes[Cause.SUBMIT] == 3
    clock.t += 10 * standing.SETTLED_AFTER_S
    assert [ask().causes[Cause.SUBMIT] for _ in range(3)] == [3, 3, 3]


def test_in_the_end_all_is_counted_again(reader):
    clock = Clock()
    ask = Standings(reader, clock)
    submit_at(reader, clock.t, 1, 2, 3)
    clock.t += standing.SETTLED_AFTER_S + 1
    assert ask().causes[Cause.SUBMIT] == 3
    with reader.begin() as connection:
        connection.execute(transition.delete().where(transition.c.event_id == 2))
    assert ask().causes[Cause.SUBMIT] == 3
    clock.t += standing.ALL_AGAIN_AFTER_S
    assert ask().causes[Cause.SUBMIT] == 2


def test_a_scrape_of_a_long_log_reads_no_whole_table(shared_url):
    clock = Clock()
    open_store(shared_url).close()
    reader, plans = explained(shared_url)
    submit_at(reader, clock.t, *range(1, 2000))
    ask = Standings(reader, clock)
    clock.t += standing.SETTLED_AFTER_S + 1
    for _ in range(2):
        assert ask().states[State.QUEUED] == 1999
    reader.close()
    assert len(plans) == 6
    assert [plan for plan in plans if reads_whole_table(plan)] == []
