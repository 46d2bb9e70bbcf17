"""The pytest plugin, as far as every test run pays for it: options, markers, fixtures, and a look at file names.

What collects and runs scenarios is imported when there is one. Nothing here may import more than pytest has already.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tem_sim.testing.baselines import Baselines
    from tem_sim.testing.runs import Runs, TemRun

MARKERS = (
    "tem(scenario, *, seeds=None, set=()): the test looks at runs of this scenario, one test per seed; see tem_run",
    "tem_check: a check of a scenario file, made by tem-sim",
    "tem_threshold: a threshold of a scenario file, made by tem-sim",
    "tem_baseline: a scenario file held against its baseline, made by tem-sim",
)
SUFFIXES = (".yaml", ".yml")

_folders = pytest.StashKey[tuple[Path, ...]]()
_runs = pytest.StashKey["Runs"]()
baseline_key = pytest.StashKey["Baselines | None"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the ini key."""
    group = parser.getgroup("tem-sim", "tem-sim: scenario files as tests")
    group.addoption(
        "--tem-seeds",
        type=_seeds,
        metavar="N",
        help="Run each scenario under the seeds 1 to N, whatever files and markers say of seeds.",
    )
    group.addoption(
        "--tem-strict", action="store_true", help="A check that cannot be judged fails instead of being skipped."
    )
    group.addoption(
        "--tem-baseline", metavar="FILE", help="Also hold each scenario file against this baseline, in pairs by seed."
    )
    group.addoption(
        "--tem-update-baseline", action="store_true", help="Write the baseline anew instead of holding against it."
    )
    parser.addini(
        "tem_sim_scenarios",
        "Files, folders and globs, relative to the rootdir, in which scenario files are tests.",
        type="args",
        default=[],
    )


def _seeds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a number of seeds, 1 or more, got {text}")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; see to it that the scenario folders are visited, and that GitHub is told."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    folders = config.stash[_folders] = tuple(_named(config, config.getini("tem_sim_scenarios")))
    if not folders:
        _refuse_idle_options(config)
        return
    config.pluginmanager.register(_Skips(), "tem-sim-skips")
    config.stash[baseline_key] = _baseline(config)
    if config.args_source is config.ArgsSource.TESTPATHS:
        config.args += _not_visited(config, folders)
    if os.environ.get("GITHUB_ACTIONS") == "true" and not hasattr(config, "workerinput"):
        from tem_sim.testing.actions import Actions

        config.pluginmanager.register(Actions(config), "tem-sim-github")


def _named(config: pytest.Config, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the files and folders that the ini key names; one that names nothing is warned of."""
    for pattern in patterns:
        plain = (config.rootpath / pattern).resolve()
        found = [plain] if plain.exists() else []
        if not found and not os.path.isabs(pattern):
            found = [path.resolve() for path in config.rootpath.glob(pattern)]
        if not found:
            told = f"tem_sim_scenarios: there is nothing at {pattern} in {config.rootpath}"
            config.issue_config_time_warning(pytest.PytestConfigWarning(told), stacklevel=2)
        yield from found


def _baseline(config: pytest.Config) -> Baselines | None:
    """Return the session's baseline, read before anything runs."""
    file, update = config.getoption("--tem-baseline"), bool(config.getoption("--tem-update-baseline"))
    if not file:
        if update:
            raise pytest.UsageError("--tem-update-baseline: name the file, too: --tem-baseline FILE.json")
        return None
    if update and (hasattr(config, "workerinput") or config.getoption("numprocesses", None)):
        raise pytest.UsageError("--tem-update-baseline: one process writes a baseline; leave out -n")
    from tem_sim.testing.baselines import Baselines

    baselines = Baselines(Path(file), update)
    config.pluginmanager.register(baselines, "tem-sim-baseline")
    return baselines


def _refuse_idle_options(config: pytest.Config) -> None:
    """Refuse options that would do nothing: a check that never took place looks like one that passed."""
    for option in ("--tem-baseline", "--tem-update-baseline"):
        if config.getoption(option):
            raise pytest.UsageError(f"{option}: no scenario files are collected; set tem_sim_scenarios = scenarios")


def _not_visited(config: pytest.Config, folders: Sequence[Path]) -> list[str]:
    """Return what `testpaths` leaves out: a scenario that was asked for and never visited would go unseen."""
    start = config.invocation_params.dir
    visited = [(start / arg).resolve() for arg in config.args]
    return [
        os.path.relpath(folder, start) for folder in folders if not any(folder.is_relative_to(path) for path in visited)
    ]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a scenario file that the ini key names; all other files are left alone."""
    if file_path.suffix not in SUFFIXES:
        return None
    folders = parent.config.stash[_folders]
    if not folders or not any(file_path.resolve().is_relative_to(folder) for folder in folders):
        return None
    from tem_sim.testing.collection import scenario_file

    return scenario_file(file_path, parent, runs_of(parent.config))


class _Skips:
    """Shows a check that cannot be judged at its line of the scenario; pytest would show ours."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.skipped and call.excinfo is not None and item.path.suffix in SUFFIXES:
            file, line, _ = item.reportinfo()
            report.longrepr = (os.fspath(file), (line or 0) + 1, f"Skipped: {call.excinfo.value}")
        return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per seed of a test that is marked with a scenario."""
    mark = metafunc.definition.get_closest_marker("tem")
    if mark is not None and (mark.args or mark.kwargs):
        from tem_sim.testing.marks import parametrise

        parametrise(metafunc, mark)


def runs_of(config: pytest.Config) -> Runs:
    """Return the runs of this session, kept so that none is done twice."""
    if _runs not in config.stash:
        from tem_sim.testing.runs import Runs

        config.stash[_runs] = Runs(config.rootpath)
    return config.stash[_runs]


@pytest.fixture
def tem_seed() -> int | None:
    """The seed of this test: set by the marker `tem`, else None."""
    return None


@pytest.fixture
def tem_run(request: pytest.FixtureRequest, tem_seed: int | None) -> TemRun:
    """Runs scenarios: `tem_run("scenarios/storm.yaml", seed=3, set=["horizon=1m"])` returns the `Run`.

    In a test that is marked `tem`, `tem_run()` is the run of the marker's scenario under this test's seed. The same run
    is done once per session.
    """
    from tem_sim.testing.marks import asked_by
    from tem_sim.testing.runs import TemRun

    return TemRun(runs_of(request.config), asked_by(request.node), tem_seed)
