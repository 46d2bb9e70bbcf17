"""`tem-sim live calibrate` and `live conform` as a user starts them: what is refused, printed, kept, exited with."""

import json
from pathlib import Path

import pytest
from live_systems import need_redis_server
from typer.testing import CliRunner

from tem_sim.cli import live_conform
from tem_sim.cli.main import app
from tem_sim.frames import Run
from tem_sim.scenario.loader import load, overlaid

SMALL = """
scenario: small
horizon: 60s
arrivals: {kind: poisson, rate: 20/s, until: 4s}
pipeline: {backoff: {base: 500ms, jitter: full}, batch_size: 5}
workers: {count: 1, concurrency: 2}
handler: {service_time: 20ms, fail_time: 10ms}
users: {count: 5}
faults: [{kind: outage, at: 1s, for: 2s}]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return tmp_path


def tem_sim(*words):
    result = CliRunner().invoke(app, ["live", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("conform", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("conform", "small.yaml", "--calibration", "nowhere.yaml"), "nowhere.yaml"),
        (("conform", "small.yaml", "--calibration", "half.yaml"), "was measured at a time scale of 0.5, and this is 1"),
        (("conform", "small.yaml", "--calibration", "wrong.yaml"), "wrong.yaml:1:11: workers.start"),
        (("conform", "small.yaml", "--time-scale", "0"), "time scale: must be a finite number > 0"),
        (("conform", "small.yaml", "-o", "mine"), "mine: exists and holds no conformance"),
        (("conform", "skewed.yaml"), "clock_skew"),
        (("calibrate", "small.yaml", "--time-scale", "-1"), "time scale: must be a finite number > 0"),
        (("calibrate", "small.yaml", "--set", "handler.nope=1"), "handler.nope"),
    ],
)
def test_what_the_user_can_mend_is_told_before_anything_starts(here, words, said):
    Path("half.yaml").write_text("# time scale 0.5, on a day\nworkers: {startup: 2s}\n")
    Path("wrong.yaml").write_text("workers: {start: 2s}\n")
    skew = "{kind: clock_skew, at: 1s, for: 1s, target: api, skew: 1s}"
    Path("skewed.yaml").write_text(SMALL.replace("{kind: outage, at: 1s, for: 2s}", skew))
    Path("mine").mkdir()
    Path("mine/file").touch()
    result = tem_sim(*words)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_every_verdict_has_an_exit_code_of_its_own():
    assert live_conform.EXIT_CODES == {"CONFORMS": 0, "DEVIATES": 1, "INCONCLUSIVE": 4}


@pytest.mark.long
@pytest.mark.server
@pytest.mark.xdist_group("live_system")
def test_a_small_storm_is_calibrated_predicted_run_and_reported(here):
    """What it comes to is the machine's; that it is told in one voice everywhere is not."""
    need_redis_server(here / "trial")
    calibrated = tem_sim("calibrate", "small.yaml", "--time-scale", "0.5", "--starts", "1", "--json")
    assert calibrated.exit_code == 0, calibrated.stderr
    told = json.loads(calibrated.stdout)
    fragment = Path(told["file"])
    assert fragment == Path("reports/small/calibration.yaml")
    assert {one["name"] for one in told["samples"] if one["n"]} >= {"transaction", "send", "startup", "socket"}
    small = overlaid(load("small.yaml"), fragment)
    assert 0.1 < small.workers.startup_s < 60
    assert small.faults == load("small.yaml").faults

    conform = ("conform", "small.yaml", "--time-scale", "0.5", "--runs", "1", "--seeds", "10", "-j", "1")
    found = tem_sim(*conform, "--calibration", fragment, "--at-least", "1", "-o", "kept")
    assert found.exit_code == 0, found.stdout + found.stderr
    assert found.stdout.startswith("CONFORMS ")
    assert "every check of safety holds in all runs" in found.stdout
    document = json.loads(Path("kept/conformance.json").read_text())
    assert (document["live_seeds"], document["seeds"][-1], document["time_scale"]) == ([11], 10, 0.5)
    assert (Path("kept/timelines.png").stat().st_size > 10_000, len(document["table"])) == (True, 12)
    live = Run.load("kept/live-seed-11")
    twin = Run.load("kept/sim-seed-11")
    assert (live.mode, len(live.events)) == ("live", len(twin.events))

    page = CliRunner().invoke(app, ["report", "kept", "-q"])
    assert page.exit_code == 0
    assert "Simulated against live" in Path("kept.html").read_text(encoding="utf-8")
