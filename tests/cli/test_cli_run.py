"""`tem-sim run`: what it prints, what it saves, and how it exits."""

import json
from pathlib import Path

import pytest
from cli_helpers import STALE, document, tem_sim, written

from tem_sim.analysis.metrics import METRICS
from tem_sim.checks.registry import CHECKS
from tem_sim.frames import Run

PROMISED_KEYS = {"schema_version", "scenario", "seed", "mode", "digest", "versions", "metrics", "checks", "run_dir"}


def test_the_first_line_is_the_verdict_in_words(storm):
    result = tem_sim("run", storm, "--no-plots")
    first = result.stdout.splitlines()[0]
    assert (result.exit_code, result.stderr) == (0, "")
    assert first.startswith("PASS small_storm: 40 of 40 events processed, ")
    assert first.endswith(f"all {len(CHECKS)} checks hold")


def test_every_metric_and_every_check_has_its_line(storm):
    lines = tem_sim("run", storm, "--no-plots").stdout.splitlines()
    words = [line.split() for line in lines]
    assert [name for name in METRICS if not any(line[:1] == [name] for line in words)] == []
    assert [name for name in CHECKS if not any(line[:2] == ["✔", name] for line in words)] == []


def test_a_pipe_gets_one_row_a_line_without_trailing_blanks(storm):
    out = tem_sim("run", storm, "--no-plots").stdout
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert "\x1b" not in out


def test_the_run_and_its_plots_are_saved_under_reports(storm):
    result = tem_sim("run", storm, "--seed", "7")
    folder = Path("reports/small_storm/seed-7")
    assert Run.load(folder).seed == 7
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "attempts_per_second.png",
        "rows_by_state.png",
        "latency_ecdf.png",
    }
    assert f"saved   {folder}\nplots   {folder}/plots (3 files)\n" in result.stdout


def test_the_repeat_command_repeats_the_run(storm):
    first = tem_sim("run", storm, "--no-plots", "--set", "workers.count=3", "--set", "faults[0].for=5s", "--seed", "3")
    facts = dict(line.split(maxsplit=1) for line in first.stdout.splitlines()[-3:])
    words = facts["repeat"].replace("'", "").split()
    again = tem_sim(*words[1:], "--no-plots")
    assert words[0] == "tem-sim"
    assert f"digest  {facts['digest']}" in again.stdout


def test_a_setting_changes_the_run(storm):
    assert document("run", storm, "--no-plots", "--set", "arrivals.events=12")["metrics"]["events"] == 12


def test_plots_of_an_earlier_run_do_not_lie_beside_a_later_one(storm):
    tem_sim("run", storm, "--out", "here")
    tem_sim("run", storm, "--out", "here", "--no-plots", "--seed", "2")
    assert list(Path("here/plots").iterdir()) == []


def test_json_is_one_document_with_the_promised_keys(storm):
    found = document("run", storm, "--no-plots")
    assert set(found) >= PROMISED_KEYS
    assert (found["scenario"], found["seed"], found["mode"], found["verdict"]) == ("small_storm", 1, "sim", "PASS")
    assert list(found["metrics"]) == list(METRICS)
    assert [check["name"] for check in found["checks"]] == list(CHECKS)
    assert Run.load(found["run_dir"]).digest == found["digest"]


def test_json_has_null_where_there_is_no_number(storm):
    found = document("run", storm, "--no-plots", "--set", "faults=[]")
    assert (found["metrics"]["drain_s"], found["metrics"]["events"]) == (None, 40)


def test_json_of_several_files_is_still_one_document(storm, stale):
    found = document("run", storm, stale, "--no-plots", "--out", "all")
    assert [one["run_dir"] for one in found["runs"]] == ["all/small_storm/seed-1", "all/stale/seed-1"]


def test_a_false_check_exits_with_1_and_shows_its_first_rows(stale):
    result = tem_sim("run", stale, "--no-plots")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL stale: ")
    assert "✘  retry_count" in result.stdout
    assert "retry_count: the rows that offend\n  event_id  status  retry_count  failed_attempts\n" in result.stdout


def test_offending_rows_are_in_the_document(stale):
    (check,) = [one for one in document("run", stale, "--no-plots")["checks"] if one["name"] == "retry_count"]
    assert (check["verdict"], check["n_rows"], check["rows"][0]["retry_count"]) == ("false", 5, 0)


def test_violations_that_are_expected_pass(folder):
    meant = written("meant.yaml", STALE + "expect: {violations: [attempts_bounded, retry_count, backoff_support]}\n")
    result = tem_sim("run", meant, "--no-plots")
    assert result.exit_code == 0
    assert "attempts_bounded, retry_count, backoff_support broken, as it is meant to be" in result.stdout
    assert "✔  retry_count       broken as expected: " in result.stdout


def test_an_expected_violation_that_is_not_seen_fails(storm):
    meant = written("fine.yaml", Path(storm).read_text() + "expect: {violations: [single_lease]}\n")
    result = tem_sim("run", meant, "--no-plots")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL small_storm: ")
    assert "single_lease meant to be broken and not seen to be" in result.stdout.splitlines()[0]


def test_an_expected_violation_must_name_a_check(storm):
    meant = written("typo.yaml", Path(storm).read_text() + "expect: {violations: [single_leese]}\n")
    result = tem_sim("run", meant)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean single_lease?" in result.stderr


def test_a_check_that_cannot_tell_is_named_and_fails_only_under_strict(storm):
    cut = ["run", storm, "--no-plots", "--set", "horizon=8s", "--set", "faults[0].for=7s", "--set", "stop=horizon"]
    lax, strict = tem_sim(*cut), tem_sim(*cut, "--strict")
    assert (lax.exit_code, strict.exit_code) == (0, 4)
    assert "cannot be judged (liveness)" in lax.stdout.splitlines()[0]
    assert strict.stdout.startswith("INCONCLUSIVE")


def test_a_run_without_events_proves_nothing(storm):
    result = tem_sim("run", storm, "--no-plots", "--set", "arrivals={kind: poisson, rate: 0.0001/s, until: 1s}")
    assert result.exit_code == 4
    assert result.stdout.startswith("INCONCLUSIVE small_storm: 0 of 0 events processed; ")


def test_a_fault_that_never_landed_is_warned_of(storm):
    found = tem_sim(
        "run", storm, "--no-plots", "--set", "faults[0].at=110s", "--set", "faults[0].for=5s", "--set", "stop=horizon"
    )
    assert "warning: Fault 0 (outage on handler) never landed" in found.stdout


def test_quiet_prints_the_verdict_and_what_is_wrong(storm, stale):
    assert len(tem_sim("run", storm, "--no-plots", "-q").stdout.splitlines()) == 1
    quiet = tem_sim("run", stale, "--no-plots", "-q").stdout
    assert "✘  retry_count" in quiet
    assert "✔" not in quiet


def test_every_mistake_of_every_file_is_told_and_nothing_runs(storm):
    one, two = written("one.yaml", "scenario: a\nhorizon: -1\n"), written("two.yaml", "scenario: b\nworkres: {}\n")
    result = tem_sim("run", storm, one, two)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "one.yaml:2:10: horizon" in result.stderr
    assert "two.yaml:2:1: workres" in result.stderr
    assert not Path("reports").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--store", "mysql://somewhere"], "store: give sqlite://, sqlite:///file.db or postgresql+psycopg://"),
        (
            ["--store", "postgresql+psycopg://me:secret@127.0.0.1:1/x"],
            "store: cannot use postgresql+psycopg://me:***@127.0.0.1:1/x",
        ),
        (["--seed", "-1"], "--seed"),
        (["--bogus"], "--bogus"),
        (["--out", "foreign"], "foreign: exists and holds no run"),
        (["--out", "storm.yaml/run"], "storm.yaml"),
    ],
)
def test_what_the_user_can_mend_exits_with_2_and_says_what(storm, words, message):
    Path("foreign").mkdir()
    Path("foreign/letter.txt").write_text("mine")
    result = tem_sim("run", storm, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr
    assert [path.name for path in Path("foreign").iterdir()] == ["letter.txt"]


def test_two_runs_for_one_folder_are_refused_before_anything_runs(storm):
    result = tem_sim("run", storm, storm)
    assert result.exit_code == 2
    assert "two of these runs would be saved here" in result.stderr


def test_a_name_is_no_path(storm):
    found = document("run", storm, "--no-plots", "--set", "scenario=../../a b")
    assert found["run_dir"] == "reports/a-b/seed-1"


@pytest.fixture
def breaking(monkeypatch):
    from tem_sim.sim.kernel import SimulationError

    def simulate(*_, **__):
        try:
            raise ZeroDivisionError("division by zero")
        except ZeroDivisionError as error:
            raise SimulationError("worker-1/task broke at 3.000000 s: ZeroDivisionError: division by zero") from error

    monkeypatch.setattr("tem_sim.sim.world.simulate", simulate)


def test_a_broken_simulation_exits_with_3_and_keeps_the_traceback_in_a_file(storm, breaking):
    result = tem_sim("run", storm)
    kept = Path("reports/small_storm/seed-1.traceback.txt")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "worker-1/task broke at 3.000000 s: ZeroDivisionError" in result.stderr
    assert str(kept) in result.stderr
    assert "Traceback" not in result.stderr
    assert "ZeroDivisionError: division by zero" in kept.read_text()


def test_the_traceback_is_shown_on_request(storm, breaking):
    assert "Traceback" in tem_sim("run", storm, "--traceback").stderr
    assert "Traceback" in tem_sim("run", storm, env={"TEM_SIM_TRACEBACK": "1"}).stderr


def test_a_broken_run_is_accounted_for_in_json(storm, breaking):
    result = tem_sim("run", storm, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 3
    assert set(found) >= PROMISED_KEYS
    assert (found["status"], found["verdict"], found["run_dir"]) == ("broken", "BROKEN", None)


def test_a_later_success_removes_the_old_traceback(storm):
    kept = Path("reports/small_storm/seed-1.traceback.txt")
    kept.parent.mkdir(parents=True)
    kept.write_text("old")
    tem_sim("run", storm, "--no-plots")
    assert not kept.exists()
