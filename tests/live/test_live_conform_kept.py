"""What `tem-sim live conform` keeps of runs that take minutes, however it ends; and whose mistake an error is.

The live runs here are simulated ones: what becomes of them is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tem_sim.cli.main import app
from tem_sim.conformance import conform as conformance
from tem_sim.conformance.conform import as_live
from tem_sim.conformance.prediction import simulated
from tem_sim.frames import Run
from tem_sim.live import calibrate
from tem_sim.live.run import LiveError
from tem_sim.scenario.models import Scenario

SMALL = """
scenario: small
horizon: 60s
arrivals: {kind: poisson, rate: 5/s, until: 4s}
pipeline: {backoff: {base: 500ms, jitter: full}}
workers: {count: 1, concurrency: 2}
handler: {service_time: 20ms}
users: {count: 3}
"""
KEPT = Path("made/conformance.unfinished")
FINISHED = {"conformance.json", "timelines.png", "live-seed-5", "live-seed-6", "sim-seed-5", "sim-seed-6"}

# What becomes of the live run of this number, from 1.
End = Callable[[int, Run], Run]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return tmp_path


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[[End], None]:
    """Let live runs end in a way."""
    # What is suspected is not what this is about, and takes most of the time.
    monkeypatch.setattr(conformance, "TRIED_SEEDS", 1)

    def end(how: End) -> None:
        number = 0

        def run_live(scenario: Scenario, seed: int, **_: Any) -> Run:
            nonlocal number
            number += 1
            return how(number, replace(simulated(as_live(scenario), seed), mode="live", digest=""))

        monkeypatch.setattr(conformance, "run_live", run_live)

    return end


def well(_number: int, run: Run) -> Run:
    return run


def broken(number: int, run: Run) -> Run:
    if number == 2:
        raise LiveError("redis ends with code 1\nlogs      somewhere")
    return run


def cut_off(number: int, run: Run) -> Run:
    return replace(run, status="interrupted") if number == 2 else run


def cut_off_before_it_began(number: int, run: Run) -> Run:
    if number == 2:
        raise KeyboardInterrupt
    return run


def conform(*words: str) -> Result:
    """Compare with two live runs, of the seeds 5 and 6."""
    usual = ("--runs", "2", "--seeds", "4", "-j", "1", "--at-least", "0", "-o", "made")
    return CliRunner().invoke(app, ["live", "conform", "small.yaml", *usual, *words])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def content(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and KEPT not in file.parents}


# --- what is kept


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (broken, 3, f"BROKEN redis ends with code 1\nlogs      somewhere\nkept      {KEPT}/live-seed-5\n"),
        (cut_off, 130, f"interrupted\nkept      {KEPT}/live-seed-5\nkept      {KEPT}/live-seed-6 (interrupted)\n"),
        (cut_off_before_it_began, 130, f"interrupted\nkept      {KEPT}/live-seed-5\n"),
    ],
)
def test_what_has_ended_before_it_breaks_is_kept_and_told(
    here: Path, live: Callable[[End], None], end: End, code: int, said: str
) -> None:
    live(end)
    found = conform()
    assert (found.exit_code, found.stderr, found.stdout) == (code, said, "")
    assert names(Path("made")) == {KEPT.name}
    run = Run.load(KEPT / "live-seed-5")
    assert (run.mode, run.status, len(run.events) > 0) == ("live", "complete", True)


def test_a_report_of_what_was_not_finished_says_so_and_of_a_run_that_was_kept_can_be_made(
    here: Path, live: Callable[[End], None]
) -> None:
    live(broken)
    conform()
    found = CliRunner().invoke(app, ["report", "made"])
    assert found.exit_code == 2
    assert found.stderr == (
        f"made: `tem-sim live conform` did not finish here; what it kept is in {KEPT}: live-seed-5; compare again, or "
        "give one of these\n"
    )
    assert CliRunner().invoke(app, ["show", str(KEPT / "live-seed-5")]).exit_code == 0


def test_live_runs_are_kept_also_when_the_simulation_breaks_after_them(
    here: Path, live: Callable[[End], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    live(well)
    monkeypatch.setattr(conformance, "held_against", _mistaken)
    found = conform()
    assert found.stderr == f"kept      {KEPT}/live-seed-5\nkept      {KEPT}/live-seed-6\n"
    assert names(KEPT) == {"live-seed-5", "live-seed-6"}


def test_the_next_attempt_leaves_nothing_of_one_that_broke(here: Path, live: Callable[[End], None]) -> None:
    live(broken)
    conform("--seeds", "7")
    assert names(KEPT) == {"live-seed-8"}
    live(well)
    found = conform()
    assert (found.exit_code, found.stderr) == (0, "")
    assert names(Path("made")) == FINISHED


def test_an_earlier_answer_stays_whole_until_there_is_a_new_one(here: Path, live: Callable[[End], None]) -> None:
    live(well)
    conform()
    before = content(Path("made"))
    live(broken)
    assert conform("--set", "workers.count=2").exit_code == 3
    assert content(Path("made")) == before
    assert Run.load(KEPT / "live-seed-5").scenario.workers.count == 2
    live(well)
    conform("--set", "workers.count=2")
    assert names(Path("made")) == FINISHED
    assert Run.load("made/live-seed-5").scenario.workers.count == 2


def test_what_somebody_has_put_beside_kept_runs_stays(here: Path, live: Callable[[End], None]) -> None:
    live(broken)
    conform()
    (KEPT / "live-seed-5.html").write_text("a page")
    live(well)
    conform()
    assert (names(Path("made")), names(KEPT)) == ({*FINISHED, KEPT.name}, {"live-seed-5.html"})


def test_of_many_live_runs_the_first_five_stay_whole(here: Path, live: Callable[[End], None]) -> None:
    at_hand: list[int] = []

    def counted(_number: int, run: Run) -> Run:
        at_hand.append(len(list(KEPT.glob("*/run.json"))))
        return run

    live(counted)
    assert conform("--runs", "7").exit_code == 0
    assert at_hand == [0, 1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in Path("made").glob("live-*")) == [f"live-seed-{seed}" for seed in range(5, 10)]
    assert not KEPT.exists()


# --- whose mistake it is


def _mistaken(*_: Any, **__: Any) -> Any:
    raise ValueError("operands could not be broadcast together")


def test_a_mistake_of_ours_is_not_told_as_one_of_the_user(
    here: Path, live: Callable[[End], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    live(well)
    monkeypatch.setattr(conformance, "held_against", _mistaken)
    monkeypatch.setattr(calibrate, "calibrate", _mistaken)
    for found in (conform(), CliRunner().invoke(app, ["live", "calibrate", "small.yaml"])):
        assert isinstance(found.exception, ValueError)
        assert "broadcast" not in found.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--calibration", "latin.yaml"), "latin.yaml:1:6: byte 0xe9 is not UTF-8"),
        (("--time-scale", "1e300"), "must be at most ten years"),
        (("--store", "mysql://nowhere"), "store: give sqlite://"),
        (("--store", "postgresql://host:port/name"), "store: its port is no number"),
    ],
)
def test_what_a_live_run_could_not_be_made_of_is_the_users(
    here: Path, live: Callable[[End], None], words: tuple[str, ...], said: str
) -> None:
    Path("latin.yaml").write_bytes("# caf\N{LATIN SMALL LETTER E WITH ACUTE}\n".encode("latin-1"))
    live(_mistaken)
    found = conform(*words)
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr
    assert not Path("made").exists()
