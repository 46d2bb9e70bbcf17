"""What only a process of its own can show: Ctrl-C, closed pipes, narrow encodings, a terminal."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_helpers import process

from tem_sim.frames import Run

PATIENCE_S = 300.0
LONG = """
scenario: long
horizon: 10h
stop: horizon
arrivals: {kind: constant, rate: 200/s, from: 0s, until: 2h}
"""


@pytest.fixture
def long(folder):
    Path("long.yaml").write_text(LONG)
    return "long.yaml"


def begun(child: subprocess.Popen[str], store: Path) -> None:
    """Wait until the simulated pipeline has written a megabyte to its store, far more than its tables take."""
    log = store.with_name(f"{store.name}-wal")
    while child.poll() is None and not (log.exists() and log.stat().st_size > 1_000_000):
        time.sleep(0.02)


def test_ctrl_c_saves_what_there_is_marked_as_interrupted(long):
    child = process("run", long, "--no-plots", "--out", "here", "--store", "sqlite:///rows.db")
    begun(child, Path("rows.db"))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (130, "")
    assert out.startswith("INTERRUPTED long: stopped after ")
    saved = Run.load("here")
    assert saved.status == "interrupted"
    assert 0 < saved.end_s < 7200


def test_a_reader_that_leaves_does_no_harm(storm):
    child = process("run", storm, "--no-plots", "--out", "here")
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    err = child.stderr.read()
    assert (child.wait(timeout=PATIENCE_S), err) == (0, "")
    assert Run.load("here").status == "complete"


@pytest.mark.parametrize("words", [("policies",), ("schema",), ("version",)])
def test_no_command_minds_a_closed_pipe(folder, words):
    child = process(*words)
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    err = child.stderr.read()
    assert (child.wait(timeout=PATIENCE_S), err) == (0, "")


def test_an_ascii_stream_gets_ascii(storm):
    child = process("run", storm, "--no-plots", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (0, "")
    assert "+  conservation" in out
    assert out.isascii()


def on_terminal(*words: str, columns: int, env: dict[str, str] | None = None) -> str:
    """Run a command whose output and errors are a terminal, and return all that it showed."""
    ours, theirs = pty.openpty()
    command = ["sh", "-c", f'stty cols {columns} rows 50; exec "$@"', "sh", sys.executable, "-m", "tem_sim", *words]
    given = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **(env or {})}
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=given)
    os.close(theirs)
    shown = b""
    while True:
        try:
            got = os.read(ours, 4096)
        except OSError:
            break
        if not got:
            break
        shown += got
    os.close(ours)
    assert child.wait(timeout=PATIENCE_S) == 0
    return shown.decode()


def test_a_terminal_shows_progress_and_colour_and_keeps_to_its_width(storm):
    shown = on_terminal("run", storm, "--no-plots", columns=80)
    assert "s simulated" in shown
    assert "\x1b[1;32mPASS" in shown
    report = shown[shown.index("metric") : shown.index("saved")]
    plain = [line for line in report.replace("\r", "").split("\n") if "\x1b" not in line]
    assert [line for line in plain if len(line) > 80] == []


def test_no_color_is_respected(storm):
    shown = on_terminal("run", storm, "--no-plots", "-q", columns=80, env={"NO_COLOR": "1"})
    assert "\x1b[" not in shown.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_quiet_shows_no_progress(storm):
    assert "simulated" not in on_terminal("run", storm, "--no-plots", "-q", columns=80)


def test_a_closed_stdout_is_no_error(storm):
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "tem_sim", "run", storm, "--no-plots"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_of_ours_exits_with_3_and_no_traceback(monkeypatch, capsys):
    from tem_sim.cli import main as cli

    def broken() -> None:
        raise KeyError("oops")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.delenv("TEM_SIM_TRACEBACK", raising=False)
    with pytest.raises(SystemExit, match="3"):
        cli.main()
    assert "tem-sim broke: KeyError: 'oops'" in capsys.readouterr().err
