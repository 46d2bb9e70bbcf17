"""Each kind of fault does to real processes what it says, and to nobody else's anything."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_kit import AtWork, Fault, scenario_of
from live_systems import eventually, need_redis_server
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text
from test_children import lives

from tem_sim.live.logs import lines
from tem_sim.live.schema import own_schema
from tem_sim.live.system import REDIS, System
from tem_sim.pipeline.lifecycle import Submission, submit
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
    at_work = AtWork(system, strike("worker_death", restart_after="1s"))
    assert eventually(lambda: system.children["worker-1"].state == "down", 1.0)
    assert not any(map(lives, before))
    (row,) = at_work.finish()
    assert (row.target, row.landed) == ("worker-1", 1)
    assert 0.2 <= row.start_s < 3.0
    assert 1.0 <= row.end_s - row.start_s < 5.0
    assert not before.keys() & group(system, "worker-1").keys()


def test_random_deaths_come_when_they_come_in_the_simulator(system: System) -> None:
    fault = {"kind": "worker_death", "target": "workers", "rate": "2/s", "until": "2s", "restart_after": "50ms"}
    at_work = AtWork(system, fault, seed=7)
    struck = [(row.target, row.start_s) for row in at_work.finish()]
    simulated = simulate(at_work.scenario, 7).faults
    assert len(struck) > 1
    assert [target for target, _ in struck] == simulated.target.tolist()
    assert [at for _, at in struck] == pytest.approx(simulated.start_s.tolist(), abs=1.0)


def test_a_paused_worker_is_frozen_with_its_pool_and_goes_on(system: System) -> None:
    at_work = AtWork(system, strike("worker_pause") | {"for": "3s"})
    assert eventually(lambda: set(group(system, "worker-1").values()) == {"T"}, 3.0)
    assert set(group(system, "worker-2").values()) == {"S"}
    (row,) = at_work.finish()
    assert row.landed == 1
    assert 3.0 <= row.end_s - row.start_s < 7.0
    assert "T" not in group(system, "worker-1").values()


def test_the_last_of_two_pauses_decides_when_a_node_goes_on(system: System) -> None:
    pauses = strike("worker_pause") | {"for": "1s"}, strike("worker_pause", at="500ms") | {"for": "1500ms"}
    at_work = AtWork(system, *pauses)
    time.sleep(max(0.0, at_work.started_at + 1.5 - time.time()))
    assert set(group(system, "worker-1").values()) == {"T"}
    at_work.finish()
    assert "T" not in group(system, "worker-1").values()


def test_a_stopped_worker_ends_by_itself_and_is_killed_when_it_is_late(system: System) -> None:
    before = pids(system)
    rows = AtWork(system, strike("worker_stop", grace="5s", restart_after="100ms")).finish()
    assert told(rows) == [("worker-1", 1)]
    assert rows[0].detail.startswith("ended by itself")
    assert pids(system)["worker-1"] != before["worker-1"]
    rows = AtWork(system, strike("worker_stop", grace="0s", restart_after="100ms")).finish()
    assert rows[0].detail.startswith("killed after")


def test_a_pool_process_dies_alone_and_its_worker_replaces_it(system: System) -> None:
    main = pids(system)["worker-1"]
    before = group(system, "worker-1")
    give_work(system, 20)
    # The sweep looks for what has waited for a second.
    at_work = AtWork(system, strike("child_death", at="2500ms"))
    (row,) = at_work.finish()
    assert row.landed == 1, row.detail
    killed = int(row.detail.split()[1])
    assert killed in before
    assert killed != main
    assert pids(system)["worker-1"] == main
    assert eventually(lambda: len(left := group(system, "worker-1")) == 3 and killed not in left)


def test_without_a_task_in_hand_no_pool_process_dies(system: System) -> None:
    assert eventually(lambda: not open_rows(system), 30.0)
    rows = AtWork(system, strike("child_death")).finish()
    assert [(row.landed, row.detail) for row in rows] == [(0, "no task in hand")]


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
    rows = AtWork(system, {"kind": "swizzle", "fraction": 1, "at": "100ms", "for": "3s"}).finish()
    frozen = [row.target for row in sorted(rows, key=lambda row: row.start_s)]
    woken = [row.target for row in sorted(rows, key=lambda row: row.end_s)]
    assert sorted(frozen) == ["worker-1", "worker-2"]
    assert woken == frozen[::-1]


def test_what_a_dead_node_was_to_suffer_is_spared(system: System) -> None:
    deaths = strike("worker_death", restart_after="1s"), strike("worker_death", at="700ms", restart_after="1s")
    rows = AtWork(system, *deaths).finish()
    assert [(row.fault_id, row.landed, row.detail) for row in rows] == [(0, 1, ""), (1, 0, "never reached")]


# --- the broker


def client(system: System) -> "Redis":
    return Redis.from_url(system.config.redis_url, socket_timeout=0.5, socket_connect_timeout=0.5)


def answers(system: System) -> bool:
    try:
        return bool(client(system).ping())
    except RedisError:
        return False


@pytest.mark.parametrize(("messages", "left"), [("kept", b"here"), ("lost", None)])
def test_redis_comes_back_with_what_it_had_or_empty(system: System, messages: str, left: bytes | None) -> None:
    client(system).set("probe", "here")
    at_work = AtWork(system, window("broker_restart", messages=messages) | {"for": "1s"})
    assert eventually(lambda: not answers(system), 1.0)
    (row,) = at_work.finish()
    assert row.landed == 1
    assert 1.0 <= row.end_s - row.start_s < 5.0
    assert eventually(lambda: answers(system))
    assert client(system).get("probe") == left


def test_a_frozen_redis_answers_nobody_and_forgets_nothing(system: System) -> None:
    client(system).set("probe", "here")
    at_work = AtWork(system, window("broker_frozen"))
    assert eventually(lambda: not answers(system), 2.0)
    (row,) = at_work.finish()
    assert row.landed == 1
    assert client(system).get("probe") == b"here"


def test_in_a_subscriber_gap_nobody_hears_and_no_publisher_is_told(system: System) -> None:
    def receivers() -> int:
        return int(client(system).publish(system.config.channel, "[0, 0, null, 0.0]"))

    assert eventually(lambda: receivers() == 1)
    at_work = AtWork(system, window("subscriber_gap"))
    assert eventually(lambda: receivers() == 0, 1.0)
    # The gateway tries again and again meanwhile.
    time.sleep(1.0)
    assert receivers() == 0
    (row,) = at_work.finish()
    assert (row.landed, row.detail) == (1, "1 subscribers cut off, and nobody may subscribe")
    assert eventually(lambda: receivers() == 1)


# --- the scheduler


def ticks(system: System, since: float) -> Counter[str]:
    """Return how many ticks of each scheduler the maintenance worker has carried out."""
    done = (line for line in lines(system.config.log_file("maintenance")) if line["event"] == "task")
    return Counter(line["actor"] for line in done if line["t"] >= since)


def test_a_stopped_scheduler_sends_no_ticks_until_it_is_back(system: System) -> None:
    at_work = AtWork(system, window("beat_stopped") | {"for": "3s"})
    assert eventually(lambda: system.children["beat"].state == "down", 1.0)
    time.sleep(1.0)
    since = time.time()
    time.sleep(1.0)
    assert ticks(system, since) == {}
    assert told(at_work.finish()) == [("beat", 1)]
    back = time.time()
    assert eventually(lambda: ticks(system, back)["beat"] > 0)


def test_a_doubled_scheduler_sends_ticks_under_its_own_name(system: System) -> None:
    at_work = AtWork(system, window("beat_doubled") | {"for": "6s"})
    assert eventually(lambda: ticks(system, at_work.started_at)["beat-2"] > 1)
    assert ticks(system, at_work.started_at)["beat"] > 0
    assert told(at_work.finish()) == [("beat", 1)]
    assert system.children["beat-2"].state == "down"


def test_a_second_scheduler_that_does_not_come_up_in_time_has_not_landed(system: System) -> None:
    at_work = AtWork(system, window("beat_doubled") | {"for": "10ms"})
    assert told(at_work.finish()) == [("beat", 0)]


# --- the gateway and the database


def test_the_gateway_is_away_for_its_time(system: System) -> None:
    before = pids(system)["gateway"]
    at_work = AtWork(system, window("gateway_disconnect") | {"for": "1s"})
    assert eventually(lambda: system.children["gateway"].state == "down", 1.0)
    (row,) = at_work.finish()
    assert (row.landed, row.detail) == (1, "the gateway is gone, 0 sockets with it")
    assert pids(system)["gateway"] not in (None, before)


def connections(system: System, server: Engine) -> set[int]:
    """Return the server's processes that serve a system."""
    query = text("SELECT pid FROM pg_stat_activity WHERE application_name LIKE :name")
    with server.connect() as connection:
        return set(connection.execute(query, {"name": f"{system.config.name}/%"}).scalars())


def test_only_the_systems_own_connections_are_cut(system: System, beside: System, postgresql_server: Engine) -> None:
    assert eventually(lambda: connections(beside, postgresql_server))
    give_work(system, 4)
    assert eventually(lambda: not open_rows(system), 30.0)
    before, others = connections(system, postgresql_server), connections(beside, postgresql_server)
    rows = AtWork(system, {"kind": "connections_dropped", "at": "200ms"}).finish()
    assert [row.target for row in rows] == ["worker-1", "worker-2", "beat", "api", "gateway"]
    assert sum(row.landed for row in rows) >= len(before) > 2
    assert not before & connections(system, postgresql_server)
    assert others <= connections(beside, postgresql_server)
    # Whoever was cut off goes on.
    give_work(system, 4)
    assert eventually(lambda: not open_rows(system), 30.0)


def test_nobody_writes_while_somebody_else_holds_the_lock(system: System) -> None:
    at_work = AtWork(system, window("database_locked"))
    time.sleep(0.6)
    began = time.monotonic()
    give_work(system, 1)
    assert time.monotonic() - began > 1.0
    assert told(at_work.finish()) == [("database", 1)]


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
    assert max(row.end_s for row in rows[:5]) < 10.0
    assert rows[0].detail == "not restarted"


def test_healing_starts_a_worker_again_that_is_on_its_way_out(system: System) -> None:
    before = pids(system)["worker-1"]
    at_work = AtWork(system, strike("worker_stop", grace="60s", restart_after="off"), heal_at="300ms")
    assert eventually(lambda: system.children["worker-1"].pid not in (None, before))
    assert told(at_work.finish()) == [("worker-1", 1)]


def test_a_run_that_ends_early_leaves_nothing_frozen_or_down(system: System) -> None:
    at_work = AtWork(system, strike("worker_pause") | {"for": "60s"}, window("gateway_disconnect") | {"for": "60s"})
    assert eventually(lambda: set(group(system, "worker-1").values()) == {"T"}, 2.0)
    assert eventually(lambda: system.children["gateway"].state == "down", 2.0)
    at_work.close()
    assert "T" not in group(system, "worker-1").values()
    assert system.children["gateway"].state != "down"
    system.wait_for(["gateway"])


def test_a_fault_that_fails_is_told_and_never_landed(system: System) -> None:
    system.kill("downstream")
    rows = AtWork(system, window("outage") | {"for": "100ms"}).finish()
    assert [(row.landed, row.detail.partition(":")[0]) for row in rows] == [(0, "failed")]
    assert REDIS in pids(system)
