"""A sweep that was killed with SIGKILL goes on where it was: what is in its journal is not run again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_world import TEXT

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")

WORDS = ("sweep-faults", "small.yaml", "--at", "settle.settle: INSERT notification", "--jobs", "1")


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tem_sim", *WORDS, "--out", "journal.jsonl", "--json", *more],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_what_was_done_before_the_kill_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    journal = tmp_path / "journal.jsonl"
    killed = started(tmp_path)
    # A head, three runs without faults, and the first with one.
    while killed.poll() is None and (not journal.exists() or journal.read_text().count("\n") < 5):
        time.sleep(0.02)
    # Unless it is over already.
    killed.kill()
    killed.communicate()
    before = journal.read_text()
    said = json.loads(started(tmp_path, "--resume").communicate(timeout=600)[0])
    after = journal.read_text()
    whole = before[: before.rindex("\n") + 1]
    assert after.startswith(whole)
    assert said["verdict"] == "PASS"
    assert said["resumed"] == whole.count("\n") - 1
    keys = [row["key"] for line in after.splitlines()[1:] if "key" in (row := loaded(line))]
    assert len(keys) == len(set(keys)) == len(said["runs"])


def loaded(line: str) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads(line)
    except ValueError:
        return {}
    return found
