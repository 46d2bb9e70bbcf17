"""Each kind of fault does to real processes what it says, and to nobody else's anything."""

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from fault_kit import AtWork, Fault, NoClients, NoLoad, scenario_of
from live_systems import eventually, need_redis_server
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text
from test_children import lives

from tem_sim.live.celery_app import MAINTENANCE
from tem_sim.live.faults.run import Faults
from tem_sim.live.logs import lines
from tem_sim.live.schema import own_schema
from tem_sim.live.system import REDIS, System
from tem_sim.pipeline.lifecycle import Submission, submit
from tem_sim.pipeline.ports import QUEUE
from tem_sim.pipeline.store import Store, make_engine
from tem_sim.scenario.faults.log import Activation
from tem_sim.sim.world import simulate

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.xdist_group("live_system")]
SETTINGS = {
    "workers": {"count": 2, "concurrency": 2},
    "pipeline": {"batch_size": 1, "lease": "3s", "sweep_after": "1s"},
    "beat": {"rescue_every": "500ms"},
    "handler": {"service_time": "600ms"},
}


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Engine) -> Iterator[System]:
    """Another system on the same machine and the same database, which nothing may happen to."""
    yield from _systems(tmp_path_factory, postgresql_server)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Engine, beside: System) -> Iterator[System]:
    """The system that all tests of this file strike, and that each leaves as it was."""
    untouched = pids(beside)
    yield from _systems(tmp_path_factory, postgresql_server)
    assert pids(beside) == untouched
    assert {name: child.state for name, child in beside.children.items()} == dict.fromkeys(untouched, "up")
    assert [line for line in lines(beside.config.log_file("system")) if line["event"] == "died"] == []


def _systems(tmp_path_factory: pytest.TempPathFactory, server: Engine) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    need_redis_server(folder)
    with (
        own_schema(server.url.render_as_string(hide_password=False), folder) as url,
        System(scenario_of([], **SETTINGS), store_url=url, durable_redis=True) as system,
    ):
        yield system


def pids(system: System) -> dict[str, int | None]:
    return {name: child.pid for name, child in system.children.items()}


def group(system: System, name: str) -> dict[int, str]:
    """Return the processes of a node, and the state of each as the kernel has it: T for stopped."""
    pid = system.children[name].pid
    states = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _parent, of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(of) == pid and state != "Z":
                states[int(entry.name)] = state
    return states


def told(rows: list[Activation]) -> list[tuple[str, int]]:
    return [(row.target, row.landed) for row in rows]


def give_work(system: System, count: int) -> None:
    """Put events into the store; the sweep finds them."""
    store = Store(make_engine(system.config.store_url))
    first = time.time_ns() // 1000
    submit(
        store,
        [Submission(first + n, f"{first + n}", 1, "normal", {"number": n}) for n in range(count)],
        now=time.time(),
        actor="api",
    )
    store.close()


def window(kind: str, **settings: object) -> Fault:
    return {"kind": kind, "at": "200ms", "for": "2s", **settings}


def strike(kind: str, **settings: object) -> Fault:
    return {"kind": kind, "target": "worker-1", "at": "200ms", **settings}


# --- processes


def test_a_killed_worker_is_gone_with_its_pool_and_comes_back_when_it_is_time(system: System) -> None:
    before = group(system, "worker-1")
    assert len(before) == 3

    def what_is_left() -> object:
        return system.children["worker-1"].state, eventually(lambda: not any(map(lives, before)))

    at_work = AtWork(system, strike("worker_death", restart_after="1s"), looks={0.7: what_is_left})
    (row,) = at_work.finish()
    assert at_work.seen[0.7] == ("down", True)
    assert (row.target, row.landed) == ("worker-1", 1)
    assert row.start_s >= 0.2
    assert row.end_s - row.start_s >= 1.0
    assert not before.keys() & group(system, "worker-1").keys()


def test_a_node_is_away_for_its_whole_time_when_its_death_comes_late(system: System) -> None:
    # Longer than the fault takes: by then it would be over, had it come in time.
    at_work = AtWork(system, strike("worker_death", restart_after="1s"), looks={0.1: lambda: time.sleep(1.5)})
    (row,) = at_work.finish()
    assert row.start_s >= 1.6
    assert row.end_s - row.start_s >= 1.0


def test_random_deaths_come_when_they_come_in_the_simulator(system: System) -> None:
    fault = {"kind": "worker_death", "target": "workers", "rate": "1/s", "until": "3s", "restart_after": "50ms"}
    # Of two workers, each once: whoever is down still, on a machine that is late, would be spared.
    simulated = simulate(scenario_of([fault], workers={"count": 2, "concurrency": 2}), 26).faults
    (first, first_s), (second, second_s) = zip(simulated.target, simulated.start_s, strict=True)
    assert first != second
    before = pids(system)

    def struck() -> set[str]:
        return {name for name, pid in pids(system).items() if pid != before[name]}

    moments = [first_s - 0.05, (first_s + second_s) / 2, second_s + 0.01]
    at_work = AtWork(system, fault, seed=26, looks=dict.fromkeys(moments, struck))
    rows = at_work.finish()
    assert [at_work.seen[moment] for moment in moments] == [set(), {first}, {first, second}]
    assert told(rows) == [(first, 1), (second, 1)]
    assert rows[0].start_s > first_s - 0.001
    assert rows[1].start_s > second_s - 0.001


def is_frozen(system: System, name: str) -> bool:
    return eventually(lambda: set(group(system, name).values()) == {"T"})


def test_a_paused_worker_is_frozen_with_its_pool_and_goes_on(system: System) -> None:
    def frozen() -> object:
        return is_frozen(system, "worker-1"), "T" in group(system, "worker-2").values()

    at_work = AtWork(system, strike("worker_pause") | {"for": "3s"}, looks={1.0: frozen})
    (row,) = at_work.finish()
    assert at_work.seen[1.0] == (True, False)
    assert row.landed == 1
    assert row.end_s - row.start_s >= 3.0
    assert "T" not in group(system, "worker-1").values()


def test_the_last_of_two_pauses_decides_when_a_node_goes_on(system: System) -> None:
    pauses = strike("worker_pause") | {"for": "1s"}, strike("worker_pause", at="500ms") | {"for": "1500ms"}
    at_work = AtWork(system, *pauses, looks={1.5: lambda: is_frozen(system, "worker-1")})
    at_work.finish()
    assert at_work.seen[1.5] is True
    assert "T" not in group(system, "worker-1").values()


def test_a_stopped_worker_ends_by_itself_and_is_killed_when_it_is_late(system: System) -> None:
    before = pids(system)["worker-1"]
    # It ends in its own time, which is nobody's to say.
    at_work = AtWork(system, strike("worker_stop", grace="60s", restart_after="100ms"))
    rows = at_work.finish(over=lambda: pids(system)["worker-1"] not in (None, before))
    assert told(rows) == [("worker-1", 1)]
    assert rows[0].detail.startswith("ended by itself")
    frozen = pids(system)["worker-1"]
    assert frozen is not None
    # Nobody knows of it but the kernel, so that nobody wakes it to let it end.
    os.killpg(frozen, signal.SIGSTOP)
    rows = AtWork(system, strike("worker_stop", grace="0s", restart_after="100ms")).finish()
    assert rows[0].detail.startswith("killed after")
    assert pids(system)["worker-1"] != frozen


def in_hand(system: System, name: str) -> set[int]:
    """Return the processes of a worker's pool that are inside a task."""
    at_work: dict[str, int] = {}
    for line in lines(system.config.log_file(name)):
        if line["event"] == "message_started":
            at_work[line["message"]] = line["pid"]
        elif line["event"] == "message_done":
            at_work.pop(line["message"], None)
    return set(at_work.values()) & group(system, name).keys()


def test_a_pool_process_dies_alone_and_its_worker_replaces_it(system: System) -> None:
    main = pids(system)["worker-1"]
    before = group(system, "worker-1")
    # Nobody is answered: what is in hand stays there.
    system.pause("downstream")
    give_work(system, 20)
    assert eventually(lambda: len(in_hand(system, "worker-1")) == 2)
    at_work = AtWork(system, strike("child_death"), looks={0.3: lambda: system.resume("downstream")})
    (row,) = at_work.finish()
    assert row.landed == 1, row.detail
    killed = int(row.detail.split()[1])
    assert killed in before
    assert killed != main
    assert pids(system)["worker-1"] == main
    assert eventually(lambda: len(left := group(system, "worker-1")) == 3 and killed not in left)


def test_without_a_task_in_hand_no_pool_process_dies(system: System) -> None:
    assert eventually(lambda: is_idle(system), 60.0)
    rows = AtWork(system, strike("child_death")).finish()
    assert [(row.landed, row.detail) for row in rows] == [(0, "no task in hand")]


def is_idle(system: System) -> bool:
    """Whether no event waits, and no wake-up either: one that finds nothing to do is in hand for all that."""
    with client(system) as redis:
        waiting = redis.llen(f"{system.config.name}:{QUEUE}")
    return not open_rows(system) and not waiting and not in_hand(system, "worker-1")


def open_rows(system: System) -> int:
    store = Store(make_engine(system.config.store_url))
    with store.begin() as connection:
        query = "SELECT count(*) FROM processing_state WHERE status NOT IN ('PROCESSED', 'EXTINCT')"
        count = int(connection.exec_driver_sql(query).scalar_one())
    store.close()
    return count


def test_composites_strike_part_by_part_under_one_number(system: System) -> None:
    deploy = {"kind": "rolling_restart", "at": "100ms", "for": "1s", "grace": "5s", "restart_after": "100ms"}
    flap = {"kind": "flap", "target": "gateway", "at": "100ms", "for": "2s", "every": "1s", "down": 0.3}
    rows = AtWork(system, deploy, flap).finish()
    assert sorted((row.fault_id, row.kind, row.target) for row in rows) == [
        (0, "worker_stop", "worker-1"),
        (0, "worker_stop", "worker-2"),
        (1, "worker_pause", "gateway"),
        (1, "worker_pause", "gateway"),
    ]
    assert {row.landed for row in rows} == {1}


def test_a_swizzle_wakes_in_another_order_than_it_froze(system: System) -> None:
    rows: list[Activation] = []

    def in_time() -> bool:
        rows[:] = AtWork(system, {"kind": "swizzle", "fraction": 1, "at": "100ms", "for": "3s"}).finish()
        return rows[0].start_s < 0.4 and rows[1].start_s < 0.9

    # Who is frozen late is frozen for as long all the same: the order is that of a machine that was in time.
    assert eventually(in_time, 60.0)
    frozen = [row.target for row in sorted(rows, key=lambda row: row.start_s)]
    woken = [row.target for row in sorted(rows, key=lambda row: row.end_s)]
    assert sorted(frozen) == ["worker-1", "worker-2"]
    assert woken == frozen[::-1]


def test_what_a_dead_node_was_to_suffer_is_spared(system: System) -> None:
    deaths = strike("worker_death", restart_after="1s"), strike("worker_death", at="700ms", restart_after="1s")
    rows = AtWork(system, *deaths).finish()
    assert [(row.fault_id, row.landed, row.detail) for row in rows] == [(0, 1, ""), (1, 0, "never reached")]


# --- the broker


def client(system: System, patience_s: float = 30.0) -> "Redis":
    return Redis.from_url(system.config.redis_url, socket_timeout=patience_s, socket_connect_timeout=patience_s)


def answers(system: System) -> bool:
    try:
        with client(system, 0.5) as impatient:
            return bool(impatient.ping())
    except RedisError:
        return False


@pytest.mark.parametrize(("messages", "left"), [("kept", b"here"), ("lost", None)])
def test_redis_comes_back_with_what_it_had_or_empty(system: System, messages: str, left: bytes | None) -> None:
    client(system).set("probe", "here")
    restart = window("broker_restart", messages=messages) | {"for": "1s"}
    at_work = AtWork(system, restart, looks={0.7: lambda: answers(system)})
    (row,) = at_work.finish()
    assert at_work.seen[0.7] is False
    assert row.landed == 1
    assert row.end_s - row.start_s >= 1.0
    assert eventually(lambda: answers(system))
    assert client(system).get("probe") == left


def test_a_frozen_redis_answers_nobody_and_forgets_nothing(system: System) -> None:
    client(system).set("probe", "here")
    at_work = AtWork(system, window("broker_frozen"), looks={1.0: lambda: answers(system)})
    (row,) = at_work.finish()
    assert at_work.seen[1.0] is False
    assert row.landed == 1
    assert client(system).get("probe") == b"here"


def test_in_a_subscriber_gap_nobody_hears_and_no_publisher_is_told(system: System) -> None:
    def receivers() -> int:
        with client(system) as publisher:
            return int(publisher.publish(system.config.channel, "[0, 0, null, 0.0]"))

    assert eventually(lambda: receivers() == 1)
    # The gateway tries again and again meanwhile.
    at_work = AtWork(system, window("subscriber_gap"), looks={0.5: receivers, 2.1: receivers})
    (row,) = at_work.finish()
    assert at_work.seen == {0.5: 0, 2.1: 0}
    assert (row.landed, row.detail) == (1, "1 subscribers cut off, and nobody may subscribe")
    assert eventually(lambda: receivers() == 1)


# --- the scheduler


def ticks(system: System, since: float) -> Counter[str]:
    """Return how many ticks of each scheduler the maintenance worker has carried out."""
    done = (line for line in lines(system.config.log_file("maintenance")) if line["event"] == "task")
    return Counter(line["actor"] for line in done if line["t"] >= since)


def ticks_waiting(system: System) -> int:
    """Return how many ticks the maintenance worker has not been handed yet, or has not finished."""
    with client(system) as redis:
        waiting = int(redis.llen(f"{system.config.name}:{MAINTENANCE}"))
        held = redis.hvals(f"{system.config.name}:unacked")
    return waiting + sum(MAINTENANCE.encode() in message for message in held)


def test_a_stopped_scheduler_sends_no_ticks_until_it_is_back(system: System) -> None:
    since = math.inf

    def settled() -> object:
        """Wait until what was sent before has been carried out: what is carried out from now on was sent since."""
        nonlocal since
        done = eventually(lambda: not ticks_waiting(system) and not in_hand(system, "maintenance"))
        since = time.time()
        return system.children["beat"].state, done

    looks = {0.5: settled, 3.1: lambda: (ticks(system, since), ticks_waiting(system))}
    at_work = AtWork(system, window("beat_stopped") | {"for": "3s"}, looks=looks)
    assert told(at_work.finish()) == [("beat", 1)]
    assert at_work.seen == {0.5: ("down", True), 3.1: (Counter(), 0)}
    back = time.time()
    assert eventually(lambda: ticks(system, back)["beat"] > 0)


def test_a_doubled_scheduler_sends_ticks_under_its_own_name(system: System) -> None:
    since = time.time()

    def both_tick() -> bool:
        done = ticks(system, since)
        return system.children["beat-2"].state == "up" and done["beat-2"] > 1 and done["beat"] > 0

    # However long the second takes to come up, the fault's end waits for it.
    at_work = AtWork(system, window("beat_doubled"), looks={2.1: lambda: eventually(both_tick, 60.0)})
    rows = at_work.finish()
    assert at_work.seen[2.1] is True
    assert told(rows) == [("beat", 1)]
    assert system.children["beat-2"].state == "down"


def test_a_second_scheduler_that_does_not_come_up_in_time_has_not_landed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "beat-2" not in system.children:
        system.add_node("beat-2")
    monkeypatch.setattr(system.children["beat-2"], "is_ready", lambda _pid: False)
    at_work = AtWork(system, window("beat_doubled") | {"for": "10ms"})
    assert told(at_work.finish()) == [("beat", 0)]


# --- the gateway and the database


def test_the_gateway_is_away_for_its_time(system: System) -> None:
    before = pids(system)["gateway"]
    away = window("gateway_disconnect") | {"for": "1s"}
    at_work = AtWork(system, away, looks={0.7: lambda: system.children["gateway"].state})
    (row,) = at_work.finish()
    assert at_work.seen[0.7] == "down"
    assert (row.landed, row.detail) == (1, "the gateway is gone, 0 sockets with it")
    assert row.end_s - row.start_s >= 1.0
    assert pids(system)["gateway"] not in (None, before)


def connections(system: System, server: Engine, node: str = "%") -> set[int]:
    """Return the server's processes that serve a system, or one of its nodes."""
    query = text("SELECT pid FROM pg_stat_activity WHERE application_name LIKE :name")
    with server.connect() as connection:
        return set(connection.execute(query, {"name": f"{system.config.name}/{node}"}).scalars())


def test_only_the_systems_own_connections_are_cut(system: System, beside: System, postgresql_server: Engine) -> None:
    assert eventually(lambda: connections(beside, postgresql_server))
    give_work(system, 4)
    assert eventually(lambda: not open_rows(system), 60.0)
    before, others = connections(system, postgresql_server), connections(beside, postgresql_server)
    rows = AtWork(system, {"kind": "connections_dropped", "at": "200ms"}).finish()
    assert [row.target for row in rows] == ["worker-1", "worker-2", "beat", "api", "gateway"]
    assert sum(row.landed for row in rows) >= len(before) > 2
    # The server has told each of its processes to end; when it does is its own affair.
    assert eventually(lambda: not before & connections(system, postgresql_server))
    assert others <= connections(beside, postgresql_server)
    # Whoever was cut off goes on.
    give_work(system, 4)
    assert eventually(lambda: not open_rows(system), 60.0)


def test_a_worker_that_is_cut_off_at_an_edge_goes_on_beyond_it(tmp_path: Path, postgresql_server: Engine) -> None:
    fault = {"kind": "connections_dropped", "target": "workers", "edge": "before_settle", "nth": 3}
    # A settling that failed for want of a connection would be made up for when the lease is over, and not before.
    settings = {"batch_size": 1, "lease": "10m", "sweep_after": "1s"}
    scenario = scenario_of([fault], pipeline=settings, beat=SETTINGS["beat"])
    url = postgresql_server.url.render_as_string(hide_password=False)
    with own_schema(url, tmp_path) as store_url, System(scenario, store_url=store_url) as system:
        faults = Faults(system, 1, clients=NoClients(), load=NoLoad())
        faults.begin(time.time())
        give_work(system, 2)
        assert eventually(lambda: not open_rows(system), 60.0)
        before, third = connections(system, postgresql_server, "worker-1"), time.time()
        give_work(system, 1)
        assert eventually(lambda: not open_rows(system), 60.0)
        assert eventually(lambda: not before & connections(system, postgresql_server, "worker-1"))
        (row,) = faults.close(time.time())
    assert (row.kind, row.target, row.end_s) == ("connections_dropped", "worker-1", row.start_s)
    assert row.landed >= len(before) > 0
    assert row.detail == f"{row.landed} connections dropped"
    assert row.start_s > third


def test_nobody_writes_while_somebody_else_holds_the_lock(system: System) -> None:
    writing = Thread(target=give_work, args=(system, 1))
    looks: dict[float, Callable[[], object]] = {0.5: writing.start, 2.1: writing.is_alive}
    at_work = AtWork(system, window("database_locked"), looks=looks)
    assert told(at_work.finish()) == [("database", 1)]
    assert at_work.seen[2.1] is True
    writing.join(30.0)
    assert not writing.is_alive()


# --- in the end


def test_healing_ends_all_faults_and_brings_every_node_back(system: System) -> None:
    at_work = AtWork(
        system,
        strike("worker_death", restart_after="off"),
        strike("worker_pause", target="worker-2") | {"for": "60s"},
        window("beat_stopped") | {"for": "60s"},
        window("gateway_disconnect") | {"for": "60s"},
        window("broker_frozen") | {"for": "60s"},
        {"kind": "worker_death", "target": "workers", "rate": "0.5/s", "from": "1900ms", "restart_after": "1s"},
        heal_at="2s",
    )
    rows = at_work.finish()
    assert [(row.fault_id, row.landed) for row in rows] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 0)]
    # Before any of them would have been over by itself.
    assert max(row.end_s for row in rows[:5]) < 60.0
    assert rows[0].detail == "not restarted"


def test_healing_starts_a_worker_again_that_is_on_its_way_out(system: System) -> None:
    before = pids(system)["worker-1"]
    at_work = AtWork(system, strike("worker_stop", grace="60s", restart_after="off"), heal_at="300ms")
    assert eventually(lambda: system.children["worker-1"].pid not in (None, before))
    assert told(at_work.finish()) == [("worker-1", 1)]


def test_a_run_that_ends_early_leaves_nothing_frozen_or_down(system: System) -> None:
    at_work = AtWork(system, strike("worker_pause") | {"for": "60s"}, window("gateway_disconnect") | {"for": "60s"})
    assert is_frozen(system, "worker-1")
    assert eventually(lambda: system.children["gateway"].state == "down")
    at_work.close()
    assert "T" not in group(system, "worker-1").values()
    assert system.children["gateway"].state != "down"
    system.wait_for(["gateway"])


def test_a_fault_that_fails_is_told_and_never_landed(system: System) -> None:
    system.kill("downstream")
    rows = AtWork(system, window("outage") | {"for": "100ms"}).finish()
    assert [(row.landed, row.detail.partition(":")[0]) for row in rows] == [(0, "failed")]
    assert REDIS in pids(system)
