"""`tem-sim live run` as a user starts it: folders, exit codes, Ctrl-C, what does not come up, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live_systems import eventually, need_redis_server
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from tem_sim.checks.registry import run_checks
from tem_sim.cli.main import app
from tem_sim.frames import Run
from tem_sim.live.config import LiveConfig

# Two whole systems at the same time would be in each other's way.
pytestmark = pytest.mark.xdist_group("live_system")

ARRIVALS = """
horizon: 60s
arrivals: {kind: burst, at: 100ms, events: 10}
"""
SMALL = f"""
scenario: small
{ARRIVALS}
handler: {{service_time: 5ms}}
workers: {{count: 1, concurrency: 2}}
users: {{count: 5}}
"""
# Nothing of it is over before somebody ends it.
LONG = SMALL.replace(ARRIVALS, "horizon: 10m\narrivals: {kind: constant, rate: 20/s}")
SKEWED = f"{SMALL}faults: [{{kind: clock_skew, at: 1s, for: 1s, target: api, skew: 1s}}]"


def place(folder: Path) -> Path:
    """Make a folder to run in, temporary files included: what is left of a run is known by it."""
    need_redis_server(folder / "trial")
    (folder / "temporary").mkdir()
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return place(tmp_path)


def started(here: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tem_sim", "live", "run", *words]
    given = {**os.environ, "TMPDIR": str(here / "temporary"), "PYTHONIOENCODING": "utf-8", **env}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=given, cwd=here)


def ended(here: Path, *words: str, **env: str) -> tuple[int, str, str]:
    process = started(here, *words, **env)
    try:
        out, error = process.communicate(timeout=180)
    finally:
        process.kill()
    return process.returncode, out, error


def left(here: Path) -> list[str]:
    """Return the command lines of the processes that have this folder in their environment or their command."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                said, words = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if str(here / "temporary").encode() in said + words:
                found.append(words.decode().replace("\0", " "))
    return found


def temporary(here: Path) -> list[str]:
    return sorted(path.name for path in (here / "temporary").iterdir())


def written(here: Path, text: str) -> str:
    (here / "small.yaml").write_text(text, encoding="utf-8")
    return "small.yaml"


class Made(NamedTuple):
    """A run that somebody has made with the command, and what it has said."""

    here: Path
    code: int
    out: str
    error: str

    @property
    def folder(self) -> Path:
        return self.here / "reports/small/live-seed-1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = place(tmp_path_factory.mktemp("made"))
    return Made(folder, *ended(folder, written(folder, SMALL), "--keep-logs"))


def test_a_run_is_judged_and_told(made: Made) -> None:
    assert (made.code, made.error) == (0, "")
    assert made.out.startswith("PASS small: 10 of 10 events processed; all 11 checks hold")
    assert "digest" not in made.out
    assert "repeat  tem-sim live run small.yaml --seed 1\n" in made.out


def test_it_is_saved_with_its_plots_and_its_logs_beside_it_and_nothing_else_is_left(made: Made) -> None:
    run = Run.load(made.folder)
    assert (run.mode, len(run.events)) == ("live", 10)
    assert {check.verdict for check in run_checks(run)} == {"true"}
    assert list(made.folder.rglob("*.png"))
    assert (made.folder.with_name("live-seed-1.logs") / "api.jsonl").exists()
    assert (left(made.here), temporary(made.here)) == ([], [])


def test_a_report_is_made_of_it_and_says_that_it_was_real(made: Made, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tem_sim", "report", str(made.folder), "--out", str(tmp_path / "page.html")]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The pipeline ran for real" in page
    assert "time is simulated" not in page
    assert "tem-sim live run small.yaml --seed 1" in page


def test_its_document_is_that_of_any_run_without_a_digest(here: Path) -> None:
    words = ("--json", "--no-plots", "--time-scale", "0.5", "--set", "users.count=3", "--pool", "threads")
    code, out, _ = ended(here, written(here, SMALL), *words, "--out", "made")
    told: dict[str, Any] = json.loads(out)
    assert (code, told["mode"], told["verdict"], told["digest"]) == (0, "live", "PASS", None)
    assert Run.load("made").scenario_dict["horizon"] == 30
    assert len(set(Run.load("made").events["user_id"])) <= 3


def test_ctrl_c_ends_it_early_and_keeps_what_happened(here: Path) -> None:
    process = started(here, written(here, LONG), "--out", "made", "--no-plots", "--keep-logs")
    try:
        assert eventually(lambda: _has_been_asked(here / "made.logs/downstream.jsonl"), 90.0)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out.startswith("INTERRUPTED small: stopped after")
    assert "of at most 600 s of real time" in out
    run = Run.load("made")
    assert run.status == "interrupted"
    assert len(run.events) > 0
    assert [check.name for check in run_checks(run) if check.verdict == "false"] == []
    assert (left(here), temporary(here)) == ([], [])


def _has_been_asked(log: Path) -> bool:
    return log.exists() and '"event": "effect"' in log.read_text(encoding="utf-8")


def test_killed_itself_it_leaves_nothing_either(here: Path) -> None:
    process = started(here, written(here, LONG), "--out", "made", "--keep-logs")
    try:
        assert eventually(lambda: _has_been_asked(here / "made.logs/downstream.jsonl"), 90.0)
    finally:
        process.kill()
        process.communicate()
    assert eventually(lambda: not left(here), 60.0)
    assert eventually(lambda: not temporary(here), 60.0)


@pytest.mark.server
def test_killed_itself_it_leaves_no_schema_in_the_database(here: Path, postgresql_server: Engine) -> None:
    store = postgresql_server.url.render_as_string(hide_password=False)
    process = started(here, written(here, LONG), "--out", "made", "--keep-logs", "--store", store)
    try:
        assert eventually(lambda: _has_been_asked(here / "made.logs/downstream.jsonl"), 90.0)
        (file,) = (here / "temporary").glob("*/live.json")
        schema = re.search(r"tem_sim_[0-9a-f]{16}", LiveConfig.load(file).store_url)
        assert schema is not None
        assert _has_schema(postgresql_server, schema.group())
    finally:
        process.kill()
        process.communicate()
    assert eventually(lambda: not _has_schema(postgresql_server, schema.group()), 60.0)
    assert eventually(lambda: not left(here), 60.0)
    assert eventually(lambda: not temporary(here), 60.0)


def _has_schema(server: Engine, schema: str) -> bool:
    with server.connect() as connection:
        asked = text("SELECT count(*) FROM pg_namespace WHERE nspname = :schema")
        return bool(connection.execute(asked, {"schema": schema}).scalar_one())


def test_a_part_that_does_not_come_up_breaks_the_run_and_its_last_words_are_told(here: Path) -> None:
    broken = here / "bin/redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no memory today\nexit 1\n")
    broken.chmod(0o755)
    code, out, error = ended(here, written(here, SMALL), "--out", "made", PATH=f"{broken.parent}:{os.environ['PATH']}")
    assert (code, out) == (3, "")
    assert error.startswith("BROKEN small: redis ends with code 1\nno memory today")
    logs = Path(next(line for line in error.splitlines() if line.startswith("logs")).split()[-1])
    assert "no memory today" in (logs / "redis.out").read_text()
    assert (left(here), temporary(here)) == ([], [logs.name])
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("scenario", "words", "told"),
    [
        pytest.param(SKEWED, [], "cannot be inflicted live", id="fault"),
        pytest.param(SMALL, ["--time-scale", "0"], "time scale: must be a finite number > 0", id="time-scale"),
        pytest.param(SMALL, ["--store", "mysql://here"], "give sqlite://", id="store"),
        pytest.param(SMALL, ["--redis", "redis://127.0.0.1:1/0"], "cannot use redis://127.0.0.1:1/0", id="redis"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    here: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, words: list[str], told: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", _never)
    result = CliRunner().invoke(app, ["live", "run", written(here, scenario), *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_folder_that_is_no_runs_logs_is_not_emptied_for_them(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", _never)
    dear = here / "made.logs/dear.txt"
    dear.parent.mkdir()
    dear.write_text("kept")
    result = CliRunner().invoke(app, ["live", "run", written(here, SMALL), "--out", "made", "--keep-logs"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "made.logs exists and holds no run's logs" in result.stderr
    assert dear.read_text() == "kept"


def test_without_a_redis_to_start_it_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here))
    result = CliRunner().invoke(app, ["live", "run", written(here, SMALL)])
    assert result.exit_code == 2
    assert "apt install redis-server" in result.stderr


def _never(*_: Any, **__: Any) -> None:
    raise AssertionError("a process was started")
