"""When faults strike in a live run: the timeline that all of them share, and the edges at which processes ask."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_kit import scenario_of
from live_systems import eventually

from tem_sim.live.config import HOST, LiveConfig, Ports
from tem_sim.live.failpoints import failpoints, port_file
from tem_sim.live.faults.edges import Edges
from tem_sim.live.faults.stage import Struck
from tem_sim.live.faults.timeline import Timeline
from tem_sim.live.ports import SENDER
from tem_sim.pipeline.ports import NoFailpoints

PATIENCE_S = 30.0


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
def timeline(failures: list[Exception]) -> Iterator[Timeline]:
    timeline = Timeline(failures.append)
    yield timeline
    timeline.close()


def begin(timeline: Timeline, ago_s: float = 0.0) -> None:
    timeline.begin(time.time() - ago_s)


def finished(timeline: Timeline, at_s: float) -> None:
    """Wait until the timeline has come that far."""
    done = threading.Event()
    timeline.call_at(at_s, done.set)
    assert done.wait(PATIENCE_S)


def test_what_is_asked_for_is_done_in_the_order_of_its_times(timeline: Timeline) -> None:
    done: list[str] = []
    timeline.call_at(0.06, lambda: done.append("second"))
    timeline.call_at(0.03, lambda: done.append("first"))
    timeline.call_at(0.06, lambda: done.append("third"))
    time.sleep(0.1)
    assert done == []
    begin(timeline)
    finished(timeline, 0.07)
    assert done == ["first", "second", "third"]


def test_times_count_from_the_runs_beginning(timeline: Timeline) -> None:
    at: list[float] = []
    timeline.call_at(1000.05, lambda: at.append(timeline.now))
    begin(timeline, ago_s=1000.0)
    # Nobody would wait for so long, had the run begun only now.
    finished(timeline, 1000.1)
    assert len(at) == 1
    assert at[0] >= 1000.05


def test_an_action_that_fails_is_told_and_holds_nothing_up(timeline: Timeline, failures: list[Exception]) -> None:
    timeline.call_at(0.0, lambda: 1 / 0)
    begin(timeline)
    finished(timeline, 0.01)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


def test_what_takes_its_time_is_done_aside_and_its_end_on_the_timeline(timeline: Timeline) -> None:
    ends: list[tuple[str, str]] = []
    done = threading.Event()

    def end(what: str) -> None:
        ends.append((what, threading.current_thread().name))
        done.set()

    begin(timeline)
    free = threading.Event()
    timeline.aside(lambda: "waited" if free.wait(PATIENCE_S) else "in vain", end)
    finished(timeline, 0.02)
    assert ends == []
    free.set()
    assert done.wait(PATIENCE_S)
    assert ends == [("waited", "faults")]


def test_a_question_is_answered_on_the_timeline_until_it_is_over(timeline: Timeline) -> None:
    def who() -> str:
        return threading.current_thread().name

    assert timeline.ask(who, otherwise="nobody") == "nobody"
    begin(timeline)
    assert timeline.ask(who, otherwise="nobody") == "faults"
    timeline.close()
    assert timeline.ask(who, otherwise="nobody") == "nobody"


def test_what_was_to_come_never_comes_once_it_is_over(timeline: Timeline) -> None:
    done: list[float] = []
    begin(timeline)
    timeline.call_at(0.05, lambda: done.append(timeline.now))
    timeline.close()
    over = timeline.now
    time.sleep(0.1)
    # Its time may have come before the end did.
    assert [at for at in done if at > over] == []


def test_it_is_behind_while_something_is_due_or_being_done(timeline: Timeline) -> None:
    free, at_it = threading.Event(), threading.Event()

    def act() -> None:
        at_it.set()
        free.wait(PATIENCE_S)

    begin(timeline)
    timeline.call_at(0.0, act)
    assert at_it.wait(PATIENCE_S)
    assert timeline.is_behind
    free.set()
    finished(timeline, 0.01)
    assert eventually(lambda: not timeline.is_behind)


# --- edges


DEATH = {"kind": "worker_death", "target": "workers", "edge": "before_settle"}


@pytest.fixture
def config(tmp_path: Path) -> LiveConfig:
    return LiveConfig(
        name="tem-live-edges",
        folder=tmp_path,
        scenario_dict=scenario_of([DEATH], workers={"count": 2}).resolved(),
        luck_seed=1,
        store_url="sqlite://",
        redis_url="redis://nowhere",
        secret="s" * 32,
        ports=Ports(api=1, gateway=2, downstream=3),
    )


@pytest.fixture
def edges(config: LiveConfig, timeline: Timeline) -> Iterator[Edges]:
    edges = Edges(config, timeline)
    yield edges
    edges.close()


def pass_by(config: LiveConfig, actor: str, edge: str, times: int = 1) -> None:
    """Pass an edge as a process of that node does."""
    SENDER.set((actor, "batch", 0))
    points = failpoints(config)
    for _ in range(times):
        points.reach(edge)


def test_a_fault_strikes_at_the_nth_passing_over_all_nodes(
    config: LiveConfig, timeline: Timeline, edges: Edges
) -> None:
    struck: list[Struck] = []
    edges.arm("before_settle", frozenset({"worker-1", "worker-2"}), 3, struck.append)
    begin(timeline)
    edges.open()
    pass_by(config, "worker-1/0", "before_settle")
    pass_by(config, "worker-2/1", "before_settle")
    pass_by(config, "beat", "before_settle", times=5)
    pass_by(config, "worker-1/0", "before_claim", times=5)
    assert struck == []
    pass_by(config, "worker-2/0", "before_settle", times=5)
    assert [one.node for one in struck] == ["worker-2"]


def test_a_process_waits_at_an_edge_while_it_is_struck(config: LiveConfig, timeline: Timeline, edges: Edges) -> None:
    edges.arm("before_settle", frozenset({"worker-1"}), 1, lambda _: time.sleep(0.2))
    begin(timeline)
    edges.open()
    began = time.monotonic()
    pass_by(config, "worker-1/0", "before_settle", times=100)
    assert time.monotonic() - began >= 0.2


def test_processes_pass_freely_where_no_run_has_begun_or_it_is_over(
    config: LiveConfig, timeline: Timeline, edges: Edges
) -> None:
    struck: list[Struck] = []
    pass_by(config, "worker-1/0", "before_settle")
    edges.arm("before_settle", frozenset({"worker-1"}), 1, struck.append)
    begin(timeline)
    edges.open()
    edges.close()
    pass_by(config, "worker-1/0", "before_settle")
    assert struck == []


def test_strangers_strike_nobody(config: LiveConfig, timeline: Timeline, edges: Edges) -> None:
    struck: list[Struck] = []
    edges.arm("before_settle", frozenset({"worker-1"}), 1, struck.append)
    begin(timeline)
    edges.open()
    for said in (b'{"key": "guessed", "edge": "before_settle", "node": "worker-1", "pid": 1}\n', b"nonsense\n", b"\n"):
        with socket.create_connection((HOST, int(port_file(config).read_text())), timeout=PATIENCE_S) as stranger:
            stranger.sendall(said)
            assert stranger.recv(100) == b""
    assert struck == []


def test_a_system_without_faults_at_edges_has_no_failpoints(config: LiveConfig) -> None:
    harmless = config.model_copy(update={"scenario_dict": scenario_of([]).resolved()})
    assert isinstance(failpoints(harmless), NoFailpoints)
