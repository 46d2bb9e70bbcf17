"""The sweep and its command: what it finds, what it writes, how it goes on after it was killed."""

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console
from small_world import TEXT, small

from tem_sim.checks.sometimes import SOMETIMES
from tem_sim.faultsweep import sweep as sweeping
from tem_sim.faultsweep.account import account, sentence, table
from tem_sim.faultsweep.cases import cases_of
from tem_sim.faultsweep.journal import JournalError, Row, opened, read
from tem_sim.faultsweep.reduced import reduced
from tem_sim.faultsweep.sweep import FaultSweep, sweep_faults
from tem_sim.hunt.goal import BREAKS
from tem_sim.scenario.loader import load

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_helpers import tem_sim, written

FAULTS = ("killed after", "answer lost", "paused past the rescue")


@pytest.fixture(autouse=True, scope="module")
def few():
    """Let sweeps have a few faults at one place: all others are done alike, and tests are to be quick."""

    def some(variant, base, found=None):
        every = list(cases_of(variant, base, found))
        if found is not None:
            return every
        at = next(one.boundary for one in every if one.boundary.place.endswith("settle.settle: commit"))
        return [one for one in every if one.boundary == at and one.fault in FAULTS]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "cases_of", some)
        patch.setattr(sweeping, "variants", lambda scenario: {"recovers": reduced(scenario, "recovers")})
        yield


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written("small.yaml", TEXT)


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    """A sweep with two pairs, and its journal."""
    journal = tmp_path_factory.mktemp("sweep") / "journal.jsonl"
    return sweep_faults(small(), pairs=2, jobs=1, journal=journal), journal


def test_defaults_survive_and_pairs_are_said_to_be_incomplete(whole):
    made, _ = whole
    assert (made.word, made.exit_code) == ("PASS", 0)
    assert sorted(row.faults[0] for row in made.singles) == sorted(FAULTS)
    assert all(row.landed and not row.broken for row in made.singles)
    assert made.possible_pairs > 50
    assert "2 pairs of about" in sentence(made)
    assert "so incomplete" in sentence(made)
    assert table(made)["places"][0] == ""


def test_what_should_happen_sometimes_is_counted_by_runs_and_kept(whole):
    made, journal = whole
    hit = {name for row in made.rows for name in row.seen}
    # An answer was lost after its commit; nothing crashes here.
    assert {"retried", "answer_lost_committed"} <= hit
    assert made.seen["retried"] == len(made.rows)
    assert made.seen["crash_budget_spent"] == 0
    with io.StringIO() as text:
        Console(file=text, width=1000).print(*account(made), sep="\n")
        line = next(line for line in text.getvalue().splitlines() if line.startswith("seen in runs: "))
    seen, never = line.split("; never: ")
    assert f"retried {len(made.rows)}" in seen
    assert set(never.strip().split(", ")) == SOMETIMES.keys() - hit
    assert {row.key: row.seen for row in made.rows} == {key: row.seen for key, row in read(journal).items()}


def test_a_second_fault_strikes_after_the_first(whole):
    made, _ = whole
    assert len(made.pairs) == 2
    row = next(one for one in made.pairs if one.landed)
    run = sweeping.attempt(made.scenario_of(row)).run
    assert run.digest == row.digest
    first, second = (run.faults[run.faults["fault_id"] == number]["start_s"].min() for number in (0, 1))
    assert second >= first


def test_an_unguarded_write_is_found_and_the_file_of_it_replays(tmp_path):
    result = tem_sim(
        *("sweep-faults", "small.yaml", "--set", "pipeline.write_guard=refresh", "--jobs", "1", "--json"),
        *("--out", "found/journal.jsonl"),
    )
    said = json.loads(result.stdout)
    assert (result.exit_code, said["verdict"]) == (1, "FAIL")
    failing = next(one for one in said["failing"] if one["file"])
    file = tmp_path / failing["file"]
    replayed = tem_sim("run", str(file), "--json", "--no-plots")
    run = json.loads(replayed.stdout)
    assert replayed.exit_code == 1
    assert run["digest"] == failing["digest"]
    assert {one["name"] for one in run["checks"] if one["verdict"] == "false"} == set(failing["broken"])
    assert len(load(file).faults) == 1
    again = "tem-sim sweep-faults small.yaml --set pipeline.write_guard=refresh --out found/journal.jsonl --force"
    assert f"Found by `{again}`" in file.read_text()
    # One that is to go on with what is there has nothing left to do, and says the same.
    told = tem_sim(*shlex.split(again)[1:-1], "--resume", "--jobs", "1").stdout.splitlines()
    assert f"repeat  {again}" in told
    files = [one["file"] for one in said["failing"] if one["file"]]
    at = told.index(f"wrote   {files[0]}")
    assert told[at : at + len(files)] == [f"{'wrote' if not n else '':<8}{one}" for n, one in enumerate(files)]


def test_what_the_scenario_is_meant_to_break_does_not_fail_it():
    row = Row(key="k", variant="recovers", places=("here",), faults=("killed after",), broken={"retry_count": "2"})
    meant = FaultSweep(scenario=small("expect.violations=[retry_count]"), asked=0, seed=1, singles=[row])
    assert (meant.word, FaultSweep(scenario=small(), asked=0, seed=1, singles=[row]).word) == ("PASS", "FAIL")


def test_the_account_says_where_what_was_broken_how_often():
    rows = [
        Row(
            key="a",
            variant="recovers",
            places=("worker here",),
            faults=("killed after",),
            broken={"retry_count": "2 of 3"},
        ),
        Row(key="b", variant="recovers", places=("worker here",), faults=("killed before",)),
        Row(key="c", variant="exhausts", places=("beat there",), faults=("paused past its lease",), landed=False),
    ]
    made = FaultSweep(scenario=small(), asked=0, seed=1, at=("here", "there"), singles=rows)
    with io.StringIO() as text:
        Console(file=text, width=160).print(*account(made), sep="\n")
        lines = [line.split() for line in text.getvalue().splitlines()]
    assert ["worker", "here", "1", "of", "2", "✘", "·", "retry_count", "×", "1"] in lines
    assert ["beat", "there", "·", "0"] in lines
    assert (
        "FAIL small: 3 runs with one fault at 2 places, 2 landed (only here, there); broken: retry_count in 1 run"
        in sentence(made)
    )
    assert ["broken:", "recovers,", "killed", "after", "at", "worker", "here:", "retry_count:", "2", "of", "3"] in lines
    assert ["never", "landed:", "exhausts,", "paused", "past", "its", "lease", "at", "beat", "there"] in lines


@pytest.mark.parametrize(
    ("change", "word", "code"),
    [
        ({"landed": False}, "INCONCLUSIVE", 4),
        ({"unknown": {"liveness": "still in flight"}}, "INCONCLUSIVE", 4),
        ({"broken": {BREAKS: "KeyError"}}, "BROKEN", 3),
        ({"broken": {BREAKS: "KeyError", "liveness": "stuck"}}, "FAIL", 1),
    ],
)
def test_the_word_is_the_gravest_of_the_runs(change, word, code):
    row = Row(key="k", variant="recovers", places=("here",), faults=("killed after",), **change)
    made = FaultSweep(scenario=small(), asked=0, seed=1, singles=[row])
    assert (made.word, made.exit_code) == (word, code)


def test_what_breaks_without_a_fault_is_told_and_nothing_is_inflicted_on_it():
    made = sweep_faults(small("pipeline.write_guard=stale"), jobs=1)
    assert made.word == "FAIL"
    assert made.failing[0].faults == ()
    assert not made.singles


def test_a_sweep_goes_on_with_what_is_not_in_its_journal(whole, monkeypatch, tmp_path):
    made, journal = whole
    lines = journal.read_text().splitlines(keepends=True)
    # Killed in the middle of a line, and then begun again with the same and with other settings.
    left = tmp_path / "left.jsonl"
    left.write_text("".join(lines[:3]) + lines[3][:40])
    runs = []
    real = sweeping.attempt
    monkeypatch.setattr(sweeping, "attempt", lambda scenario: runs.append(scenario) or real(scenario))
    again = sweep_faults(small(), pairs=2, jobs=1, journal=left, resume=True)
    assert [row.digest for row in again.rows] == [row.digest for row in made.rows]
    assert again.resumed == 2
    # The first fault of a pair is run once more, to know what follows it.
    assert len(runs) == len(made.rows) - 2 + len({row.places[0] + row.faults[0] for row in made.pairs})
    assert sweep_faults(small(), pairs=2, jobs=1, journal=left, resume=True).resumed == len(made.rows)
    assert sweep_faults(small("pipeline.write_guard=stale"), jobs=1, journal=left, resume=True).resumed == 0


def test_a_journal_is_not_overwritten_and_another_file_is_refused(tmp_path):
    journal = tmp_path / "journal.jsonl"
    with opened(journal) as kept:
        kept.add(Row(key="k", variant="recovers", places=("here",), broken={"liveness": "stuck"}))
    assert read(journal)["k"].broken == {"liveness": "stuck"}
    with pytest.raises(JournalError, match="--resume goes on"), opened(journal):
        pass
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(JournalError, match="not a journal"), opened(tmp_path / "notes.txt", resume=True):
        pass
    assert (tmp_path / "notes.txt").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing.yaml",), "nothing.yaml"),
        (("small.yaml", "--resume", "--force"), "choose one"),
        (("small.yaml", "--set", "pipeline.lease=never"), "pipeline.lease"),
        (
            ("small.yaml", "--at", "settle.settle", "--at", "nope"),
            "sweep-faults: --at: nope: in no place's name; there are ",
        ),
    ],
)
def test_mistakes_are_told_in_one_line_with_exit_code_2(words, said):
    result = tem_sim("sweep-faults", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    # What is there is not begun anew for a mistake.
    assert not Path("reports").exists()
