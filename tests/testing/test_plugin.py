"""The pytest plugin, as a user's own test suite meets it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy.fft
import pytest
import scipy.stats

# Imported here, since what is first imported inside an inner pytest is forgotten with it, and numpy cannot be twice.
import tem_sim.sim.world
import tem_sim.testing.actions
import tem_sim.testing.baselines
import tem_sim.testing.collection
import tem_sim.testing.marks
from tem_sim.checks.registry import CHECKS

pytest_plugins = ["pytester"]
ALSO_IMPORTED = (numpy.fft, scipy.stats)

STORM = """\
scenario: storm
horizon: 30s
arrivals: {kind: burst, at: 1s, events: 6}
pipeline: {backoff: {growth: fixed, base: 2s, jitter: full}}
faults: [{kind: outage, at: 0s, for: 4s}]
thresholds:
  amplification:
    - max<50
    - value>1
  lost_events: count==0
"""
# The historic bug: failures are not counted, so events are tried for ever.
STALE = """\
scenario: stale
horizon: 20s
stop: horizon
arrivals: {kind: burst, at: 1s, events: 3}
pipeline: {write_guard: stale, backoff: {growth: exponential, base: 1s, jitter: none, max_retries: 2}}
faults: [{kind: outage, at: 0s, for: 20s}]
expect:
  violations:
    - attempts_bounded
    - retry_count
"""
INI = "[pytest]\ntem_sim_scenarios = scenarios\naddopts = --strict-markers -p no:cacheprovider\n"


@pytest.fixture
def suite(pytester, monkeypatch):
    """A project with two scenarios; returns a function that runs its pytest in this process."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makefile(".ini", pytest=INI)
    pytester.mkdir("scenarios")
    Path("scenarios/storm.yaml").write_text(STORM)
    return lambda *words: pytester.runpytest_inprocess(*words)


def test_each_threshold_and_each_check_is_a_test_at_its_line(suite):
    result = suite("-v", "-rA")
    result.assert_outcomes(passed=3 + len(CHECKS))
    result.stdout.fnmatch_lines(["*storm.yaml::amplification?max<50? PASSED*", "*storm.yaml::conservation PASSED*"])


def test_items_stand_where_the_yaml_asks(suite, pytester):
    Path("scenarios/storm.yaml").write_text(STORM + "expect: {violations: [liveness]}\n")
    items, _ = pytester.inline_genitems()
    lines = {item.name: item.location[:2] for item in items}
    file = "scenarios/storm.yaml"
    assert lines["amplification[max<50]"] == (file, 7)
    assert lines["amplification[value>1]"] == (file, 8)
    assert lines["lost_events[count==0]"] == (file, 9)
    assert lines["liveness"] == (file, 10)
    assert lines["conservation"] == (file, 0)


def test_a_failure_shows_the_sentence_the_rows_and_the_command_that_repeats_it(suite):
    Path("scenarios/stale.yaml").write_text(STALE.replace("    - retry_count\n", ""))
    result = suite("scenarios/stale.yaml", "-k", "retry_count or attempts_bounded")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL stale: retry_count: 3 events say another number than the attempts that failed, *",
            "scenarios/stale.yaml:1:1: scenario: stale",
            "retry_count: the rows that offend",
            "*event_id*retry_count*failed_attempts*",
            "repeat: tem-sim run scenarios/stale.yaml --seed 1",
        ]
    )
    assert "collection.py" not in result.stdout.str()


def test_an_expected_violation_passes_and_one_that_is_not_seen_fails(suite):
    Path("scenarios/stale.yaml").write_text(STALE + "    - single_lease\n")
    result = suite("scenarios/stale.yaml", "-m", "tem_check", "-k", "retry_count or attempts_bounded or single_lease")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAIL stale: single_lease: meant to be broken and not seen to be: *", "*yaml:11:7: *"])


def test_a_threshold_that_is_broken_fails_at_its_line_and_one_that_only_warns_warns(suite):
    broken = STORM.replace("max<50", "max<1").replace("- value>1", "- {threshold: value<1, strict: false}")
    Path("scenarios/storm.yaml").write_text(broken)
    result = suite("-m", "amplification")
    result.assert_outcomes(failed=1, passed=1, warnings=1)
    result.stdout.re_match_lines(
        [r"FAIL storm: amplification: max [\d.]+ >= 1, asked is max<1", r".*yaml:8:7: - max<1"]
    )
    result.stdout.fnmatch_lines(["*TemSimWarning: scenarios/storm.yaml:9:7: amplification: value *; it only warns"])


def test_what_cannot_be_judged_is_skipped_with_its_reason_and_fails_under_strict(suite):
    Path("scenarios/storm.yaml").write_text(
        STORM.replace("30s", "6s").replace("base: 2s", "base: 20s") + "stop: horizon\n"
    )
    lax = suite("-k", "liveness", "-rs")
    lax.assert_outcomes(skipped=1)
    lax.stdout.fnmatch_lines(["SKIPPED * scenarios/storm.yaml:1: cannot be judged: liveness: *"])
    strict = suite("-k", "liveness", "--tem-strict")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines(["INCONCLUSIVE storm: liveness: *"])


def test_a_threshold_that_cannot_be_judged_is_no_pass(suite):
    Path("scenarios/storm.yaml").write_text(STORM.replace("30s", "3s") + "  drain_s: max<9s\n")
    result = suite("-m", "drain_s")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE storm: drain_s: *"])


def test_a_file_with_mistakes_is_one_error_with_their_places_and_no_traceback(suite):
    Path("scenarios/bad.yaml").write_text(
        "scenario: bad\narrivals: {kind: burst}\nhorizont: 3s\nexpect: {violations: [x]}\n"
    )
    Path("scenarios/typo.yaml").write_text(STORM + "expect: {violations: [conservatoin]}\n")
    result = suite()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "scenarios/bad.yaml:2:11: arrivals*events: is required*",
            "scenarios/bad.yaml:3:1: horizont: unknown key",
            "scenarios/typo.yaml:11:23: expect.violations?0?: must be a check: *(got conservatoin)",
            "*did you mean conservation?",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_yaml_that_is_no_scenario_is_left_alone_wherever_it_is(suite, pytester):
    Path("scenarios/compose.yaml").write_text("services: {web: {image: x}}\n")
    Path("scenarios/notes.yaml").write_text("scenario: a word that others use, too\nsteps: [1, 2]\n")
    pytester.mkdir("elsewhere")
    Path("elsewhere/storm.yaml").write_text(STORM)
    items, _ = pytester.inline_genitems()
    assert {item.path.name for item in items} == {"storm.yaml"}
    assert {item.path.parent.name for item in items} == {"scenarios"}


def test_a_modeline_or_a_single_section_is_enough_to_be_ours(suite):
    Path("scenarios/a.yaml").write_text("# yaml-language-server: $schema=./scenario.schema.json\nscenrio: a\n")
    Path("scenarios/b.yaml").write_text("scenario: b\narivals: {kind: burst, events: 1}\nhorizon: 5s\n")
    suite().assert_outcomes(errors=2)


def test_testpaths_do_not_hide_scenarios(suite, pytester):
    pytester.makefile(".ini", pytest=INI + "testpaths = tests\n")
    pytester.mkdir("tests")
    Path("tests/test_nothing.py").write_text("def test_nothing(): pass\n")
    suite("-m", "not tem_check").assert_outcomes(passed=4)
    suite("tests").assert_outcomes(passed=1)


def test_a_folder_that_is_not_there_is_warned_of(suite, pytester):
    pytester.makefile(".ini", pytest=INI.replace("= scenarios", "= scenarois"))
    suite().stdout.fnmatch_lines(["*tem_sim_scenarios: there is nothing at scenarois in *"])


def test_a_scenario_is_run_once_for_all_its_tests_and_under_as_many_seeds_as_are_asked_for(suite, monkeypatch):
    runs = []
    simulate = tem_sim.sim.world.simulate
    monkeypatch.setattr(tem_sim.sim.world, "simulate", lambda *a, **k: runs.append(a[1]) or simulate(*a, **k))
    suite()
    assert runs == [1]
    suite("--tem-seeds", "3")
    assert runs[1:] == [1, 2, 3]
    Path("scenarios/storm.yaml").write_text(STORM + "seeds: [7, 9]\n")
    suite("-k", "lost_events")
    assert runs[4:] == [7, 9]


def test_a_simulation_that_breaks_fails_with_what_broke_it(suite):
    Path("late.py").write_text("def policy(retry):\n    return 0.1 if retry < 20 else 1 / 0\n")
    failing = "{import: late:policy, max_retries: 99}}\nhandler: {failure_rate: 1"
    Path("scenarios/storm.yaml").write_text(
        STORM.replace("30s", "90s").replace("{growth: fixed, base: 2s, jitter: full}", failing)
    )
    result = suite("-k", "conservation")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["BROKEN storm: *late.py:2*", "repeat: tem-sim run scenarios/storm.yaml --seed 1 --traceback"]
    )


def test_junit_has_each_test_with_its_finding(suite):
    suite("-m", "lost_events or conservation", "--junitxml=out.xml", "-o", "junit_family=xunit1")
    xml = Path("out.xml").read_text()
    assert 'tests="2"' in xml
    assert re.search(r'<testcase[^>]*name="conservation"[^>]*file="scenarios/storm.yaml" line="0"', xml)
    assert '<property name="tem_repeat" value="tem-sim run scenarios/storm.yaml --seed 1"' in xml


@pytest.mark.slow
def test_under_xdist_a_file_stays_on_one_worker(suite, pytester):
    pytest.importorskip("xdist")
    Path("scenarios/other.yaml").write_text(STORM.replace("storm", "other", 1))
    result = pytester.runpytest_subprocess(
        "-n2", "--dist=loadfile", "-v", "-k", "conservation or lost_events or liveness"
    )
    result.assert_outcomes(passed=6)
    found = re.findall(r"\[(gw\d)\].* PASSED (scenarios/\w+)", result.stdout.str())
    assert len(set(found)) == 2
    items, _ = pytester.inline_genitems()
    groups = {item.path.name: item.get_closest_marker("xdist_group").kwargs["name"] for item in items}
    assert groups == {"other.yaml": "scenarios/other.yaml", "storm.yaml": "scenarios/storm.yaml"}


# --- the fixture and the marker

TESTS = """
import pytest
from tem_sim import load

@pytest.mark.tem("scenarios/storm.yaml", seeds=2, set=["horizon=20s"])
def test_marked(tem_run, tem_seed):
    run = tem_run()
    assert run.seed == tem_seed and run.scenario.horizon_s == 20
    assert tem_run() is run
    assert tem_run(set=["workers.count=2"]).scenario.workers.count == 2

@pytest.mark.tem("scenarios/storm.yaml")
def test_of_the_scenarios_own_seed(tem_run, tem_seed):
    assert (tem_run().seed, tem_seed) == (1, None)

def test_plain(tem_run):
    scenario = load("scenarios/storm.yaml")
    assert tem_run(scenario, seed=3) is tem_run("scenarios/storm.yaml", seed=3)

@pytest.mark.tem
def test_a_bare_marker_is_a_label():
    pass
"""


def test_the_marker_gives_a_run_per_seed_and_the_fixture_any_run(suite):
    Path("test_own.py").write_text(TESTS)
    result = suite("test_own.py", "-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*test_marked?seed-1? PASSED*", "*test_marked?seed-2? PASSED*"])
    suite("test_own.py", "--tem-seeds", "1", "-k", "marked").assert_outcomes(passed=1, deselected=3)


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("@pytest.mark.tem('x.yaml')\ndef test(): pass", "asks for no tem_run"),
        ("@pytest.mark.tem('x.yaml', seed=1)\ndef test(tem_run): pass", "the marker is tem("),
        ("@pytest.mark.tem('x.yaml', seeds=0)\ndef test(tem_run): pass", "seeds must be a number of seeds"),
        ("@pytest.mark.tem('x.yaml')\ndef test(tem_run): tem_run()", "x.yaml: cannot be read"),
        ("def test(tem_run): tem_run()", "tem_run() needs a scenario"),
    ],
)
def test_misuse_of_the_marker_is_told_in_a_sentence(suite, test, told):
    Path("test_own.py").write_text(f"import pytest\n{test}\n")
    result = suite("test_own.py")
    assert result.ret != 0
    assert told in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


# --- baselines


def test_a_baseline_is_written_held_against_and_found_worse(suite):
    update = ("--tem-baseline", "b.json", "--tem-seeds", "3", "--tem-update-baseline")
    suite(*update).stdout.fnmatch_lines(["tem-sim: wrote b.json (1 scenarios)"])
    suite("--tem-baseline", "b.json", "-m", "tem_baseline").assert_outcomes(passed=1, deselected=14)
    Path("scenarios/storm.yaml").write_text(STORM.replace("base: 2s", "base: 200ms"))
    worse = suite("--tem-baseline", "b.json", "-m", "tem_baseline")
    worse.assert_outcomes(failed=1, deselected=14)
    worse.stdout.fnmatch_lines(
        [
            "REGRESSION storm: *",
            "*the scenario changed: pipeline.backoff.base 2 → 0.2",
            "repeat: tem-sim check scenarios/storm.yaml --baseline b.json --seeds 3",
        ]
    )


def test_baseline_options_that_cannot_work_are_refused(suite, pytester):
    suite("--tem-baseline", "none.json").stderr.fnmatch_lines(["*none.json: cannot be read*--tem-update-baseline"])
    suite("--tem-update-baseline").stderr.fnmatch_lines(["*name the file, too*"])
    suite("--tem-update-baseline", "--tem-baseline", "b.json", "-n2").stderr.fnmatch_lines(["*leave out -n"])
    pytester.makefile(".ini", pytest="[pytest]\n")
    suite("--tem-baseline", "b.json").stderr.fnmatch_lines(["*no scenario files are collected*"])


# --- GitHub


def test_in_a_workflow_failures_are_annotated_and_summed_up(suite, pytester, monkeypatch):
    Path("scenarios/storm.yaml").write_text(STORM.replace("max<50", "max<1"))
    Path("scenarios/bad.yaml").write_text("scenario: bad\narrivals: {kind: burst, events: 5}\nhorizont: 3s\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "page.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    result = suite("-m", "tem_threshold", "--continue-on-collection-errors")
    file = f"{pytester.path.name}/scenarios"
    result.stdout.fnmatch_lines(
        [
            f"::error file={file}/bad.yaml,line=3,col=1,title=tem-sim%3A not a scenario::horizont: unknown key",
            f"::error file={file}/storm.yaml,line=8,title=scenarios/storm.yaml%3A ampl*::FAIL storm: *%0Arepeat: *",
        ]
    )
    page = Path("page.md").read_text()
    assert "| scenarios/storm.yaml | 2 | 1 | 0 | 0 |" in page
    assert "| scenarios/bad.yaml | 0 | 0 | 0 | 1 |" in page
    assert "&lt;1" in page


# --- what every other test run pays


def test_the_plugin_imports_nothing_that_pytest_has_not():
    program = (
        "import sys, pytest, argparse, pathlib, collections.abc, importlib\nbefore = set(sys.modules)\n"
        "import tem_sim.testing.plugin\nprint(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["tem_sim", "tem_sim.testing", "tem_sim.testing.plugin"])


def test_a_suite_without_scenarios_never_loads_us(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_lean():
            assert "tem_sim.testing.plugin" in sys.modules
            assert not {"pydantic", "numpy", "sqlalchemy", "tem_sim.testing.collection"} & set(sys.modules)
        """
    )
    Path("storm.yaml").write_text(STORM)
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:nbmake")
    result.assert_outcomes(passed=1)
