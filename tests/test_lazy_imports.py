"""Nothing heavy is imported before it is needed: each claim is checked in an interpreter of its own."""

import os
import subprocess
import sys

import pytest

HEAVY = ("pandas", "numpy", "sqlalchemy", "matplotlib", "scipy", "simpy", "pydantic", "greenlet", "ruamel", "rich")


def loaded_after(code: str, watched: tuple[str, ...] = HEAVY) -> list[str]:
    """Run code in a fresh interpreter, and return which of the watched packages it imported."""
    program = f"import sys\n{code}\nprint([name for name in {watched!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: list[str] = eval(done.stderr.splitlines()[-1])
    return found


def test_help_imports_nothing_heavy():
    code = "import tem_sim.cli.main\ntry:\n    tem_sim.cli.main.app(['--help'])\nexcept SystemExit:\n    pass"
    assert loaded_after(code) == []


def test_importing_the_package_imports_nothing_heavy():
    assert loaded_after("import tem_sim") == []


def test_a_name_of_the_package_brings_only_its_own_room():
    assert loaded_after("import tem_sim; tem_sim.Backoff; tem_sim.PRESETS", ("pandas", "sqlalchemy", "simpy")) == []


@pytest.mark.parametrize("module", ["scenario.models", "scenario.loader"])
def test_scenarios_bring_no_engine(module):
    assert loaded_after(f"import tem_sim.{module}", ("simpy", "sqlalchemy", "pandas", "matplotlib")) == []


@pytest.mark.parametrize("module", ["checks.registry", "analysis.metrics", "plots.storm", "report.summary", "frames"])
def test_what_looks_at_frames_brings_no_engine(module):
    assert loaded_after(f"import tem_sim.{module}", ("simpy", "sqlalchemy", "greenlet", "celery")) == []


def test_help_answers_at_once():
    assert min(_seconds_for_help() for _ in range(5)) < 0.4


def _seconds_for_help() -> float:
    """Return the processor time it takes, which is what it takes on an idle machine whatever else runs on this one."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "tem_sim", "--help"], capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
