"""A handler of the user's own: its sleeps, its clock, its chance and its failures are the simulation's."""

import datetime
import os
import random
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest

from tem_sim.frames import Run
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario
from tem_sim.sim.kernel import SimulationError
from tem_sim.sim.world import simulate

BURST = """
scenario: own
horizon: 3m
arrivals: {kind: burst, at: 1s, events: 12}
pipeline: {backoff: {growth: fixed, base: 2s, max_retries: 4}, batch_size: 3}
workers: {count: 2, concurrency: 2}
"""


def scenario(more: str = "", handler: str = "{call: own_pkg.handlers:handle}") -> Scenario:
    return loads(f"{BURST}handler: {handler}\n{more}", file="own.yaml")


def run(more: str = "", handler: str = "{call: own_pkg.handlers:handle}") -> Run:
    return simulate(scenario(more, handler))


def log() -> list:
    """Return what the handler under test has put down, and forget it."""
    told = list(sys.modules["own_pkg.handlers"].LOG)
    sys.modules["own_pkg.handlers"].LOG.clear()
    return told


def spent_s(made: Run) -> list[float]:
    return (made.attempts["finished_s"] - made.attempts["started_s"]).round(6).tolist()


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("import time", "time.sleep(0.7)"),
        ("from time import sleep", "sleep(0.7)"),
        ("from time import sleep as nap", "nap(0.7)"),
        ("import time as clock", "clock.sleep(0.7)"),
        ("", "from time import sleep; sleep(0.7)"),
        ("import tenacity", "tenacity.nap.sleep(0.7)"),
    ],
)
def test_a_sleep_takes_simulated_time_and_no_other(own, source, call):
    own("handlers", f"{source}\ndef handle(event):\n    {call}\n")
    began = time.perf_counter()
    made = run()
    assert spent_s(made) == [0.7] * 12
    assert time.perf_counter() - began < 12 * 0.7


def test_without_sleeps_it_takes_no_time_and_a_service_time_given_beside_it_comes_on_top(own):
    own("handlers", "import time\ndef handle(event): time.sleep(0.5)\n")
    assert spent_s(run(handler="{call: own_pkg.handlers:handle, service_time: 100ms}")) == [0.6] * 12
    own("quick", "def handle(event): pass\n")
    assert spent_s(run(handler="{call: own_pkg.quick:handle}")) == [0.0] * 12


def test_what_it_raises_fails_the_attempt_and_is_retried(own):
    own(
        "handlers",
        """
        def handle(event):
            if event.attempt_no < 3:
                raise LookupError(f"no card for {event.user_id}")
        """,
    )
    made = run()
    assert made.attempts.groupby("event_id").size().tolist() == [3] * 12
    assert made.attempts["error"].dropna().str.startswith("LookupError: no card for ").all()
    assert (made.events["status"] == "PROCESSED").all()


def test_an_outage_refuses_before_it_is_called(own):
    own("handlers", "LOG = []\ndef handle(event): LOG.append(event.attempt_no)\n")
    made = run("faults: [{kind: outage, at: 0s, for: 5s}]\n")
    refused = made.attempts["error"].dropna()
    assert set(refused) == {"Outage: connection refused"}
    assert len(log()) == 12 == len(made.attempts) - len(refused)


def test_kinds_luck_and_capacity_of_the_scenario_still_hold(own):
    own("handlers", "LOG = []\ndef handle(event): LOG.append(event.kind)\n")
    made = run(
        "events: {kinds: {good: 1, bad: 1}}\n",
        "{call: own_pkg.handlers:handle, service_time: 1s, kinds: {bad: {effect: fail}}, "
        "capacity: {servers: 1, queue: 0}}",
    )
    assert set(log()) == {"good"}
    assert any("Overload" in error for error in made.attempts["error"].dropna())
    assert set(made.events.loc[made.events["kind"] == "bad", "status"]) == {"EXTINCT"}


def test_the_side_effect_is_dated_by_its_return_and_missing_where_the_worker_died_before(own):
    own("handlers", "import time\ndef handle(event): time.sleep(4)\n")
    made = run("faults: [{kind: worker_death, target: worker-1, at: 4s, restart_after: 1s}]\n")
    done = made.attempts[made.attempts["outcome"] == "ok"]
    assert np.allclose(done["effect_s"], done["finished_s"], atol=1e-6)
    lost = made.attempts[made.attempts["outcome"] == "lost"]
    assert len(lost) > 0
    assert lost["effect_s"].isna().all()


def test_dying_in_the_middle_unwinds_its_code_without_waiting(own):
    own(
        "handlers",
        """
        import time
        LOG = []
        def handle(event):
            try:
                time.sleep(500)
            finally:
                LOG.append("unwound")
                time.sleep(500)
        """,
    )
    began = time.perf_counter()
    made = run("faults: [{kind: worker_death, target: worker-1, at: 4s, restart_after: off}]\n")
    assert made.end_s == 180
    assert log()
    assert time.perf_counter() - began < 60


# --- the clock


CLOCKS = """
import datetime as dt
import time
import uuid
from datetime import UTC, date, datetime
LOG = []
def handle(event):
    LOG.append({
        "id": event.event_id,
        "age": time.time() - event.created_at,
        "ns": time.time_ns() / 1e9 - time.time(),
        "steady": time.monotonic() - time.perf_counter(),
        "now": datetime.now(UTC).timestamp() - time.time(),
        "naive": datetime.now().replace(tzinfo=UTC).timestamp() - time.time(),
        "utcnow": dt.datetime.utcnow() - datetime.now(),
        "day": str(date.today()) + str(dt.date.today()) + str(datetime.today().date()),
        "real": isinstance(datetime.now(), datetime) and isinstance(dt.datetime(2024, 1, 2), datetime),
        "made": str(datetime.fromisoformat("2024-01-02T03:04:05")) + str(datetime.strptime("2024", "%Y")),
        "is_date": isinstance(date(2024, 1, 2), date) and issubclass(datetime, date),
        "uuid": str(uuid.uuid4()),
        "at": time.monotonic(),
        "wall": time.time(),
    })
"""


def test_every_clock_agrees_with_the_simulated_one(own):
    own("handlers", CLOCKS)
    made = run()
    for told in log():
        assert 0 <= told["age"] < 10
        assert abs(told["ns"]) < 1e-6
        assert told["steady"] == 0
        assert abs(told["now"]) < 1e-5
        assert abs(told["naive"]) < 1e-5
        assert told["utcnow"] == datetime.timedelta(0)
        assert told["day"] == "1970-01-01" * 3
        assert told["real"]
        assert told["is_date"]
        assert told["made"] == "2024-01-02 03:04:05" + "2024-01-01 00:00:00"
        assert round(told["at"], 6) in made.attempts["started_s"].tolist()


def test_the_wall_clock_is_the_nodes_own_and_the_steady_one_nobodys(own):
    own("handlers", CLOCKS)
    run("faults: [{kind: clock_skew, target: workers, at: 0s, for: 3m, skew: -30s}]\n")
    assert {round(told["wall"] - told["at"], 3) for told in log()} == {-30.0}


def test_afterwards_all_is_as_it_was(own):
    own("handlers", f"from time import sleep, monotonic\n{CLOCKS}")
    before = {name: getattr(time, name) for name in dir(time)}
    random.seed(11)
    np.random.seed(11)
    expected = random.Random(11).random(), np.random.RandomState(11).random()
    run()
    module = sys.modules["own_pkg.handlers"]
    assert {name: getattr(time, name) for name in dir(time)} == before
    assert (module.sleep, module.datetime, module.dt) == (time.sleep, datetime.datetime, datetime)
    assert uuid.uuid4() != uuid.uuid4()
    assert (random.random(), np.random.random()) == expected
    assert time.time() > 1.7e9


def test_a_run_that_breaks_leaves_all_as_it_was_too(own):
    own("handlers", "import sys\ndef handle(event): sys.exit(3)\n")
    real = time.sleep
    with pytest.raises(SimulationError, match="SystemExit: 3"):
        run()
    assert time.sleep is real


def test_other_threads_of_the_process_keep_the_real_clock(own):
    own("handlers", "import time\ndef handle(event):\n    WAIT()\n    time.sleep(1)\n")
    seen, go, done = [], threading.Event(), threading.Event()

    def elsewhere() -> None:
        go.wait()
        seen.append(time.time())
        time.sleep(0.001)
        done.set()

    storm = scenario()
    sys.modules["own_pkg.handlers"].WAIT = lambda: (go.set(), done.wait(10))
    thread = threading.Thread(target=elsewhere)
    thread.start()
    simulate(storm)
    thread.join()
    assert seen[0] > 1.7e9


# --- chance


LUCK = """
import random
import time
import uuid
import numpy as np
from random import random as luck
LOG = []
def handle(event):
    drawn = [random.random(), luck(), random.gauss(0, 1), float(np.random.random()), str(uuid.uuid4())]
    time.sleep(random.uniform(0.1, 0.5))
    LOG.append((event.event_id, event.attempt_no, *drawn, random.random()))
    if random.random() < 0.4:
        raise RuntimeError("unlucky")
"""


def test_two_runs_of_a_seed_are_the_same_run(own):
    own("handlers", LUCK)
    first, told = run().digest, log()
    random.seed(99)
    assert (run().digest, log()) == (first, told)
    assert simulate(scenario(), seed=2).digest != first


def test_the_digest_is_the_same_in_another_process_with_another_hash_seed(own):
    own("handlers", LUCK)
    code = f"""
from tem_sim.scenario.loader import loads
from tem_sim.sim.world import simulate
print(simulate(loads({BURST!r} + "handler: {{call: own_pkg.handlers:handle}}")).digest)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "5", "TZ": "Asia/Tokyo"},
    )
    assert done.stdout.strip() == run().digest


def test_the_luck_of_an_attempt_is_its_own_whatever_runs_beside_it(own):
    own("handlers", LUCK)
    lucks = []
    for more in ("workers: {count: 1}", "workers: {count: 5, concurrency: 1}"):
        simulate(
            loads(
                BURST.replace("workers: {count: 2, concurrency: 2}", more) + "handler: {call: own_pkg.handlers:handle}"
            )
        )
        lucks.append({told[:2]: told[2:] for told in log()})
    shared = set(lucks[0]) & set(lucks[1])
    assert len(shared) >= 12
    assert all(lucks[0][key] == lucks[1][key] for key in shared)
    assert len({told[0] for told in lucks[0].values()}) == len(lucks[0])


# --- what is refused


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def handle(): pass", "must take one event: too many positional arguments (own_pkg/handlers.py:1)"),
        ("def handle(event, more): pass", "must take one event: missing a required argument: 'more'"),
        ("async def handle(event): pass", "must be a plain function, not async or a generator"),
        ("def handle(event): yield 1", "must be a plain function, not async or a generator"),
        (
            "class handle:\n    def __init__(self, event): pass",
            "must be a function of the event, and is the class handle",
        ),
        ("handle = 3", "must be a function of the event, and is of the type int"),
        ("hande = 3", "has no handle"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found' (own_pkg/handlers.py:1)"),
    ],
)
def test_what_cannot_be_called_with_an_event_is_told_in_its_place(own, source, rule):
    own("handlers", source)
    with pytest.raises(ScenarioError) as caught:
        scenario()
    (problem,) = caught.value.problems
    assert rule in problem.message
    assert (problem.path, problem.line, problem.col) == ("handler.call", 7, 17)


@pytest.mark.parametrize(
    "source",
    [
        "class Handle:\n    def __call__(self, event): pass\nhandle = Handle()",
        "class Own:\n    def handle(self, event): pass\nhandle = Own().handle",
        "import functools\ndef do(event, more): pass\nhandle = functools.partial(do, more=3)",
        "handle = print",
    ],
)
def test_whatever_takes_one_event_will_do(own, source, capsys):
    own("handlers", source)
    assert (run().events["status"] == "PROCESSED").all()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import time\ndef handle(event): time.sleep(-1)", "ValueError: sleep length must be non-negative"),
        ("import time\ndef handle(event): time.sleep(float('nan'))", "ValueError: Invalid value NaN (not a number)"),
        ("async def later(): pass\ndef handle(event): return later()", "OwnCodeError: the handler returned coroutine"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_what_it_does_wrong_is_the_attempts_error(own, source, error):
    own("handlers", source)
    made = run()
    assert all(told.startswith(error) for told in made.attempts["error"])


def test_a_policy_must_not_sleep(own):
    own("backoff", "import time\ndef policy(retry):\n    time.sleep(0.0)\n    return 1\n")
    text = BURST.replace("{growth: fixed, base: 2s, max_retries: 4}", "own_pkg.backoff:policy")
    with pytest.raises(
        SimulationError, match=r"own_pkg/backoff.py:3: .*time.sleep outside a handler: a policy decides"
    ):
        simulate(loads(f"{text}faults: [{{kind: outage, at: 0s, for: 5s}}]\n"))


def test_it_is_saved_with_its_path_and_loads_again(own):
    own("handlers", "def handle(event): pass\n")
    saved = scenario().resolved()
    assert saved["handler"]["call"] == "own_pkg.handlers:handle"
    assert saved["handler"]["service_time"] == {"kind": "constant", "value": 0.0}
    assert Scenario.model_validate(saved) == scenario()
    assert "call" not in scenario(handler="{call: off}").resolved()["handler"]
    assert scenario(handler="{call: off}") == scenario(handler="{}")
