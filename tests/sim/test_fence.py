"""Watched code that asks the real machine for time, chance, a thread or a socket raises where it asks."""

import datetime
import random
import socket
import threading
import time
import uuid
from types import ModuleType

import pytest
from sim_worlds import burst, scenario

from tem_sim.pipeline import claims, settle
from tem_sim.sim.fence import EscapeError
from tem_sim.sim.kernel import SimulationError
from tem_sim.sim.world import simulate

WATCHED = {"watch": True}
REAL = {name: getattr(time, name) for name in ("sleep", "time", "monotonic")}


def escaping(source, monkeypatch, **sections):
    """Run a world whose pipeline asks the machine while it claims, as the source says."""
    module = ModuleType("tem_sim.pipeline.claims")
    exec(f"def ask():\n    {source}\n", module.__dict__)
    real = claims.claim

    def claim(*args, **more):
        module.ask()
        return real(*args, **more)

    monkeypatch.setattr(claims, "claim", claim)
    return simulate(scenario(arrivals=burst(), store=sections.get("store", WATCHED)))


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("import time; time.time()", "time.time"),
        ("import time; time.sleep(0.001)", "time.sleep"),
        ("import time; time.perf_counter()", "time.perf_counter"),
        ("from time import monotonic; monotonic()", "time.monotonic"),
        ("import random; random.random()", "random.random"),
        ("import random; random.shuffle([1, 2])", "random.shuffle"),
        ("import random; random.Random()", "random.Random without a seed"),
        ("import uuid; uuid.uuid4()", "uuid.uuid4"),
        ("import os; os.urandom(4)", "os.urandom"),
        ("import secrets; secrets.token_hex()", "secrets.token_hex"),
        ("import socket; socket.socket().connect(('127.0.0.1', 9))", "socket.connect"),
        ("import threading; threading.Thread(target=print).start()", "Thread.start"),
    ],
)
def test_what_asks_the_machine_raises_at_its_call(source, asked, monkeypatch):
    with pytest.raises(SimulationError) as broken:
        escaping(source, monkeypatch)
    error = broken.value.__cause__
    assert isinstance(error, EscapeError)
    assert str(error).startswith(f"{asked} called by tem_sim.pipeline.claims in worker-")


def test_a_clock_that_a_module_of_the_pipeline_has_imported_raises_too(monkeypatch):
    monkeypatch.setattr(settle, "datetime", datetime.datetime, raising=False)
    real = settle.settle

    def late(*args, **more):
        made = eval("datetime.now()", vars(settle))
        return real(*args, **{**more, "now": made.timestamp()})

    monkeypatch.setattr("tem_sim.pipeline.tasks.settle", late)
    with pytest.raises(SimulationError) as broken:
        simulate(scenario(arrivals=burst(), store=WATCHED))
    assert str(broken.value.__cause__).startswith("datetime.now called by tem_sim.pipeline.settle")


def test_chance_that_has_a_seed_is_fine(monkeypatch):
    assert escaping("import random; random.Random(7).random()", monkeypatch).status == "complete"


def test_nobody_fences_a_run_that_nobody_watches(monkeypatch):
    assert escaping("import time; time.time()", monkeypatch, store={}).status == "complete"


def test_after_the_run_everything_is_what_it_was():
    before = random.Random, threading.Thread.start, uuid.uuid4
    simulate(scenario(arrivals=burst(), store=WATCHED))
    assert (random.Random, threading.Thread.start, uuid.uuid4) == before
    assert {name: getattr(time, name) for name in REAL} == REAL
    assert "connect" not in vars(socket.socket)


def test_other_threads_of_the_process_are_left_alone():
    seen = []
    stop = threading.Event()

    def look():
        while not stop.is_set():
            seen.append(time.time() + random.random())
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    simulate(scenario(arrivals=burst(50), store=WATCHED))
    stop.set()
    thread.join()
    assert seen


def test_a_watched_run_is_the_same_run():
    assert simulate(scenario(arrivals=burst(20), store=WATCHED)).digest == simulate(scenario(arrivals=burst(20))).digest
