"""Child processes of a live system: killed with all that they started, frozen, found dead, cleaned up after a crash."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_systems import eventually

from tem_sim.live.child import Child
from tem_sim.live.warden import Warden, signal_group

# Starts a process of its own, writes both pids, and then counts in a file.
COUNTS = """
import os, subprocess, sys, time
mate = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".pids", "w").write(f"{os.getpid()} {mate.pid}")
n = 0
while True:
    n += 1
    open(sys.argv[1], "w").write(str(n))
    time.sleep(0.01)
"""


def condition(pid: int) -> str:
    """Return the letter by which the kernel says what a process is at; X for one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def lives(pid: int) -> bool:
    """Return whether a process runs; one that is dead and not yet buried does not."""
    return condition(pid) not in "ZX"


@pytest.fixture
def warden() -> Iterator[Warden]:
    warden = Warden()
    yield warden
    warden.close()


@pytest.fixture
def child(tmp_path: Path, warden: Warden) -> Iterator[Child]:
    count = tmp_path / "count"
    made = Child("one", [sys.executable, "-c", COUNTS, str(count)], tmp_path / "out", lambda _: count.exists(), warden)
    made.start()
    assert eventually(lambda: made.state == "up" and pids(tmp_path))
    yield made
    made.kill()


def pids(folder: Path) -> list[int]:
    """Return the pids that a counting child has written."""
    file = folder / "count.pids"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def counted(folder: Path) -> int:
    return int((folder / "count").read_text() or 0)


def test_what_a_child_has_started_dies_with_it(child: Child, tmp_path: Path) -> None:
    main, mate = pids(tmp_path)
    assert child.pid == main
    assert lives(mate)
    child.kill()
    assert (child.state, child.pid) == ("down", None)
    assert eventually(lambda: not lives(main) and not lives(mate))


def test_a_frozen_child_does_nothing_until_it_goes_on(child: Child, tmp_path: Path) -> None:
    child.pause()
    assert child.state == "paused"
    # It may be in the middle of a write, which it ends first.
    assert eventually(lambda: condition(pids(tmp_path)[0]) == "T")
    before = counted(tmp_path)
    time.sleep(0.3)
    assert counted(tmp_path) == before
    child.resume()
    assert child.state == "up"
    assert eventually(lambda: counted(tmp_path) > before)


def test_a_frozen_child_can_be_killed_and_asked_to_end(child: Child, tmp_path: Path) -> None:
    child.pause()
    child.terminate()
    assert child.ended(60.0)
    assert child.found_dead() == -signal.SIGTERM
    assert eventually(lambda: not lives(pids(tmp_path)[1]))


def test_a_child_that_dies_is_found_with_its_exit_code_and_can_start_again(child: Child, tmp_path: Path) -> None:
    assert child.found_dead() is None
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    assert eventually(lambda: child.found_dead() is not None)
    assert (child.exit_code, child.state) == (-signal.SIGKILL, "down")
    child.start()
    assert eventually(lambda: child.state == "up")
    assert child.starts == 2


def test_that_a_process_was_ready_says_nothing_of_the_next_one(tmp_path: Path, warden: Warden) -> None:
    asked: list[int] = []

    def is_ready(pid: int) -> bool:
        asked.append(pid)
        if len(asked) == 1:
            # As when another thread strikes it while this one asks.
            one.kill()
            one.start()
        return len(asked) == 1

    one = Child("one", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "out", is_ready, warden)
    try:
        one.start()
        assert [one.state for _ in range(2)][1] == "starting"
        assert len(set(asked)) == 2
    finally:
        one.kill()


def test_its_last_words_are_kept(tmp_path: Path, warden: Warden) -> None:
    command = [sys.executable, "-c", "print('first'); raise SystemExit('no such port')"]
    child = Child("one", command, tmp_path / "out", lambda _: False, warden)
    child.start()
    assert child.ended(30.0)
    assert child.found_dead() == 1
    assert child.last_words().splitlines() == ["first", "no such port"]


SUPERVISOR = """
    import os, subprocess, sys, time
    from pathlib import Path
    from tem_sim.live.warden import Warden

    gone, kept, marks = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    warden = Warden()
    for folder in (gone, kept):
        folder.mkdir()
        warden.tell("folder", folder)
    warden.tell("keep", kept)
    loop = "import time; time.sleep(600)"
    script = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {loop!r}]); {loop}"
    groups = [subprocess.Popen([sys.executable, "-c", script], start_new_session=True).pid for _ in range(2)]
    for group in groups:
        warden.tell("group", group)
    marks.write_text(" ".join(map(str, groups)))
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_supervisor_that_dies_leaves_neither_processes_nor_folders(tmp_path: Path, how: signal.Signals) -> None:
    gone, kept, marks = tmp_path / "gone", tmp_path / "kept", tmp_path / "marks"
    command = [sys.executable, "-c", textwrap.dedent(SUPERVISOR), str(gone), str(kept), str(marks)]
    with subprocess.Popen(command) as supervisor:
        assert eventually(lambda: marks.exists() and marks.read_text(), 30.0)
        groups = [int(group) for group in marks.read_text().split()]
        assert all(signal_group(group, 0) for group in groups)
        supervisor.send_signal(how)
    assert eventually(lambda: not any(map(lives, groups)))
    assert eventually(lambda: not gone.exists())
    assert eventually(lambda: not any(signal_group(group, 0) for group in groups))
    assert kept.exists()
