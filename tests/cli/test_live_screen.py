"""The status of a live system: a table for people who watch, a line for each change for those who read a log."""

from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from tem_sim.cli.live_screen import Changes, holdings, screen
from tem_sim.live.api.standing import Standing
from tem_sim.live.child import NodeState
from tem_sim.live.status import Sockets, Status
from tem_sim.pipeline.states import Cause, State

STANDING = Standing(
    states=Counter({State.QUEUED: 5, State.PROCESSED: 1200}),
    retrying=2,
    causes=Counter({Cause.RESCUE: 3, Cause.CRASHED: 1}),
    due_age_s=0.0,
    queued_age_s=75.24,
    overdue_leases=1,
    unpublished=0,
    unacknowledged=12,
)
UP = NodeState("worker-1", "up", 4711, 0, 65.4)
STATUS = Status([UP], STANDING, {"processing_queue": 7, "maintenance": 0}, Sockets(connected=3, users=2))
AWAY = Status([UP], None, None, None)


def shown(status):
    console = Console(width=100)
    with console.capture() as captured:
        console.print(screen(status))
    return [line.split() for line in captured.get().splitlines() if line.strip()]


def test_the_table_has_every_node_and_what_the_system_holds():
    lines = shown(replace(STATUS, nodes=[UP, NodeState("beat", "down", None, 2, 3.9)]))
    assert lines[-3:] == [
        ["node", "state", "pid", "restarts", "for"],
        ["worker-1", "up", "4711", "0", "65", "s"],
        ["beat", "down", "2", "3", "s"],
    ]
    assert [line[0] for line in lines[:-3]] == ["events", "waiting", "outbox", "queues", "users"]


def test_what_it_holds_is_told_in_words():
    assert holdings(STATUS) == {
        "events": "QUEUED 3, RETRY 2, PROCESSING 0, FAILED 0, PROCESSED 1,200, EXTINCT 0",
        "waiting": "oldest queued 75.2 s, oldest due 0 s, leases overdue 1, expired 4",
        "outbox": "unpublished 0, unacknowledged 12",
        "queues": "processing_queue 7, maintenance 0",
        "users": "connected 2, sockets 3",
    }


def test_what_is_away_says_so_and_the_rest_goes_on():
    assert set(holdings(AWAY).values()) == {"does not answer"}
    assert holdings(replace(AWAY, sockets=Sockets(0, 0)))["users"] == "connected 0, sockets 0"


@pytest.fixture
def changes():
    return Changes(counts_every_s=5.0)


def test_what_stays_as_it_is_makes_no_line(changes):
    first = list(changes.since(STATUS, 100.0))
    assert first[0] == "worker-1 up (pid 4711)"
    assert first[1].startswith("events: QUEUED 3, RETRY 2")
    older = replace(STATUS, nodes=[UP._replace(for_s=99.0)])
    assert list(changes.since(older, 200.0)) == []


def test_a_node_is_told_at_once_and_counts_only_every_so_often(changes):
    list(changes.since(STATUS, 100.0))
    gone = replace(STATUS, nodes=[NodeState("worker-1", "down", None, 0, 0.0)], sockets=Sockets(1, 1))
    assert list(changes.since(gone, 101.0)) == ["worker-1 down"]
    back = replace(gone, nodes=[NodeState("worker-1", "up", 4712, 1, 0.1)])
    assert list(changes.since(back, 104.9)) == ["worker-1 up (pid 4712, restart 1)"]
    assert list(changes.since(back, 105.0)) == ["users: connected 1, sockets 1"]
    assert list(changes.since(back, 110.0)) == []


def test_a_process_that_was_replaced_between_two_looks_is_told(changes):
    list(changes.since(STATUS, 100.0))
    replaced = replace(STATUS, nodes=[UP._replace(pid=9, restarts=1)])
    assert list(changes.since(replaced, 101.0)) == ["worker-1 up (pid 9, restart 1)"]


def test_what_goes_away_and_comes_back_is_told(changes):
    list(changes.since(STATUS, 100.0))
    without = replace(STATUS, queues=None)
    assert list(changes.since(without, 106.0)) == ["queues: does not answer"]
    assert list(changes.since(STATUS, 112.0)) == ["queues: processing_queue 7, maintenance 0"]
