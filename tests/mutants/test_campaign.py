"""The machinery of a campaign, on real mutants and few trials: who is killed, who survives, and what is said of it."""

import subprocess
import sys

import pytest

from . import campaign as campaign_module
from . import imported
from .arena import Job, load, run_jobs
from .known.all import ALL
from .mutant import Mutant, swap
from .patches import ROOT
from .run import main
from .score import Control, Row, Score, problems
from .trials import BLOCK, RANDOM_SEEDS, trials

pytestmark = pytest.mark.xdist_group("mutants")


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    load()


def row_of(mutant, *tiers):
    """Run a campaign of some tiers against a mutant."""
    found = []
    run_jobs([Job(mutant, tiers)], 1, lambda job, outcome: found.append(Row(mutant, outcome)))
    return found[0]


def test_a_bug_is_killed_by_its_check_and_its_code_was_passed():
    row = row_of(ALL["no-cap"], "policies")
    assert (row.killed, row.alarm.check, row.alarm.tier, row.outcome.runs) == (True, "policy_law", "policies", 1)
    assert row.outcome.passed > 0


def test_a_bug_that_survives_counts_as_alive():
    row = row_of(ALL["no-sweep"], "policies")
    assert (row.killed, row.as_meant, row.verdict()) == (False, False, "SURVIVED 1 runs")
    assert not Score([row], Control()).good


def test_a_bug_that_another_check_sees_counts_as_alive():
    bug = ALL["no-cap"]
    row = row_of(Mutant(name="x", did="x", patches=bug.patches, named=("liveness",)), "policies")
    assert (row.as_meant, row.verdict()) == (False, "killed by policy_law instead of liveness")
    assert "x: killed by policy_law instead of liveness" in problems(Score([row], Control()))[0]


def test_an_equivalent_that_is_none_is_found_out():
    row = row_of(Mutant(name="x", did="x", patches=ALL["no-cap"].patches, equivalent="so I say"), "policies")
    assert (row.as_meant, row.verdict()) == (False, "NOT EQUIVALENT: policy_law fired")


def test_code_that_never_runs_proves_nothing():
    unused = swap("unhandled", "    if not events:\n", "    if not list(events):\n")
    row = row_of(Mutant(name="x", did="x", patches=unused, equivalent="the same"), "policies")
    assert (row.as_meant, row.verdict()) == (False, "equivalent, and its code was NEVER REACHED")


def test_code_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(campaign_module, "MOST_S", 0.5)
    endless = swap("backoff", "        spread = self._spreads.get(retry)\n", "        while retry:\n            pass\n")
    row = row_of(Mutant(name="x", did="x", patches=endless, named=("hangs",)), "policies")
    assert (row.killed, row.alarm.check) == (True, "hangs")


def test_a_process_that_dies_is_told_of():
    deadly = swap("backoff", "        spread = self._spreads.get(retry)\n", "        __import__('os')._exit(7)\n")
    row = row_of(Mutant(name="x", did="x", patches=deadly, named=("policy_law",)), "policies")
    assert (row.killed, row.verdict()) == (False, "NOT RUN: its process died (exit code 7)")


def test_code_that_cannot_be_imported_is_told_of():
    broken = swap("backoff", "_NO_JITTER = NoJitter()", "_NO_JITTER = NoSuchJitter()")
    row = row_of(Mutant(name="x", did="x", patches=broken, named=("policy_law",)), "policies")
    assert "cannot be imported: NameError" in row.verdict()


def test_an_alarm_without_a_bug_voids_the_score():
    control = Control()
    control.add(row_of(ALL["no-cap"], "policies").outcome)
    score = Score([], control)
    assert not score.good
    assert score.last_line() == "0 of 0 mutants killed in 0 s; control: 1 alarms in 1 runs"


def test_only_what_rests_on_a_patched_module_is_imported_anew():
    imports = {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"e"}, "e": set()}
    assert imported.resting_on(["b"], imports) == ["a", "b"]


def test_each_campaign_has_a_seed_at_which_the_canary_sings():
    for block in (0, 3):
        seeds = range(block * BLOCK + 1, block * BLOCK + 1 + RANDOM_SEEDS)
        assert sum(seed % 100 == 0 for seed in seeds) == 1
    assert {trial.seed for trial in trials() if trial.tier == "random"} == set(range(1, RANDOM_SEEDS + 1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nobody"], "no such mutant: nobody; there are "),
        (["--patch", "nowhere.diff"], "nowhere.diff: No such file or directory"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_the_command_kills_a_few_of_every_kind(tmp_path):
    """In a process of its own, as `make mutants` runs it; the fault-free tiers are enough for these."""
    diff = tmp_path / "mine.diff"
    diff.write_text(
        "--- a/tem_sim/pipeline/tasks.py\n+++ b/tem_sim/pipeline/tasks.py\n@@ -1,1 +1,1 @@\n"
        "-        pipe.broker.wake(-(-events // pipe.settings.batch_size))\n"
        "+        pipe.broker.wake(0 * -(-events // pipe.settings.batch_size))\n"
    )
    names = ("finish-unguarded", "retry-not-counted", "requeue-without-wake", "notify-before-commit", "no-cap")
    command = [sys.executable, "-m", "tests.mutants.run", "--jobs", "2", "--tier", "policies", "--tier", "calm"]
    command += [word for name in names for word in ("--only", name)]
    done = subprocess.run(
        [*command, "--patch", str(diff)], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("6 of 6 mutants killed in ")
    assert done.stdout.splitlines()[-1].endswith("control: 0 alarms in 20 runs")
