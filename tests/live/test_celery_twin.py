"""The benchmark that holds the pipeline against Celery's own retry: a comparison in small, and nothing left of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from live_systems import eventually, need_redis_server

from benchmarks.celery_twin import ours, twin
from benchmarks.celery_twin.outcome import Outcome, Seen, judged
from benchmarks.celery_twin.schedule import Faults, scenario
from tem_sim.scenario.loader import overridden

ROOT = Path(__file__).parents[2]
# The same comparison in less time: waits of 1 or 2 s, and a sweep soon after. However long Redis takes to be back, no
# client gives up.
SHORT = (
    "pipeline.backoff.args.retry_backoff_max=2",
    "pipeline.backoff.args.retry_jitter=false",
    "pipeline.sweep_after=2s",
    "beat.rescue_every=1s",
    "workers.count=2",
    "api.retries=60",
)


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_redis_server(tmp_path)
    monkeypatch.setattr(twin, "BACK_WITHIN_S", 5.0)


def both(events: int, faults: Faults) -> tuple[Outcome, Outcome]:
    """Run both designs at the same time; return what became of the events of the twin, and of ours."""
    play = overridden(scenario(events, 1, durable=False, faults=faults), SHORT)
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(twin.run, play, None)
        own = judged(ours.run(play), play, variant="ours", wall_s=0)
        return judged(theirs.result(), play, variant="twin", wall_s=0), own


@pytest.mark.slow
def test_without_faults_neither_loses_or_doubles_anything() -> None:
    for one in both(10, Faults.NONE):
        assert one.accepted == 10
        assert (one.lost, one.in_flight, one.doubled, one.untold, one.told_twice) == (0, 0, 0, 0, 0), one


def test_a_redis_that_forgets_loses_events_of_the_twin_and_none_of_ours() -> None:
    theirs, own = both(50, Faults.RESTART)
    assert own.accepted == theirs.accepted == 50
    assert theirs.lost > 0, theirs
    assert (own.lost, own.in_flight, own.untold, own.told_twice) == (0, 0, 0, 0), own


def test_each_event_is_counted_by_what_became_of_it() -> None:
    seen = Seen(
        accepted=frozenset(range(1, 10)),
        given_up=frozenset({3}),
        called=frozenset(range(1, 9)),
        # 4 was done three times, and 5 will be done again; 10 was done though its client was told that it was refused.
        effects={1: 1, 2: 1, 4: 3, 5: 1, 10: 1},
        told={1: 1, 4: 2, 5: 1},
        left={5: 1, 6: 1, 7: 2},
        last_at_s=21.0,
    )
    one = judged(seen, scenario(10, 1, durable=False, faults=Faults.NONE), variant="any", wall_s=30)
    assert (one.offered, one.accepted, one.given_up) == (10, 9, 1)
    assert (one.lost, one.lost_untried, one.in_flight) == (2, 1, 2)
    assert (one.doubled, one.extra_effects, one.doubles_to_come) == (1, 2, 1)
    assert (one.untold, one.told_twice) == (2, 1)
    assert one.settled_after_s == pytest.approx(20.1)


# --- nothing left


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the benchmark, and yield it once its processes are there."""
    command = [sys.executable, "-m", "benchmarks.celery_twin", "--only", "celery-memory", "--json"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: any("redis-server" in one for one in left(tmp_path)), within_s=60)
        yield process
    finally:
        process.kill()
        process.wait()


def left(folder: Path) -> list[str]:
    """Return the command lines of the processes that have this folder in their environment, or work in it."""
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit() and int(one.name) != os.getpid():
            try:
                # Redis writes its title over its environment.
                said = (one / "environ").read_bytes() + os.readlink(one / "cwd").encode()
                if str(folder).encode() in said:
                    found.append((one / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_or_killed_it_leaves_no_process_and_no_file(
    running: subprocess.Popen[bytes], number: signal.Signals, tmp_path: Path
) -> None:
    running.send_signal(number)
    running.wait(30)
    assert eventually(lambda: not left(tmp_path), within_s=30), left(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tem-sim")] == []
