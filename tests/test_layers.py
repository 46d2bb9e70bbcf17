"""The rooms of the package and who may import whom, read off the source with `ast`: imports inside functions count."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import tem_sim

PACKAGE = Path(tem_sim.__file__).parent

# Rooms may import the rooms they name here, and themselves. What is a type only (TYPE_CHECKING) counts as well.
ALLOWED: dict[str, set[str]] = {
    "pipeline": set(),
    "foreign": {"pipeline"},
    "scenario": {"foreign", "pipeline"},
    "versions": set(),
    "frames": {"scenario", "pipeline"},
    "collect": {"frames", "scenario", "pipeline"},
    "sim": {"collect", "frames", "scenario", "foreign", "pipeline", "versions"},
    "live": {"collect", "frames", "scenario", "foreign", "pipeline", "versions"},
    "analysis": {"frames", "scenario", "pipeline"},
    "checks": {"analysis", "frames", "scenario", "pipeline"},
    "plots": {"analysis", "checks", "frames", "scenario", "pipeline"},
    "report": {"plots", "analysis", "checks", "frames", "scenario", "pipeline", "versions"},
    "studies": {"plots", "analysis", "checks", "frames", "sim", "scenario", "pipeline", "versions"},
    # Runs kept in a file, and what came of them in the words that reports have for it.
    "sweeps": {
        *("studies", "report", "plots", "analysis", "checks", "frames"),
        *("sim", "scenario", "pipeline", "versions"),
    },
    "baseline": {
        *("sweeps", "report", "studies", "plots", "analysis", "checks", "frames"),
        *("sim", "scenario", "pipeline", "versions"),
    },
    "hunt": {
        *("report", "studies", "analysis", "checks", "frames", "sim", "scenario", "pipeline", "versions"),
    },
    "faultsweep": {
        *("hunt", "report", "studies", "analysis", "checks", "frames", "sim", "scenario", "pipeline", "versions"),
    },
    # Simulated and live runs of one scenario, held against each other.
    "conformance": {
        *("report", "studies", "plots", "analysis", "checks", "frames"),
        *("live", "sim", "scenario", "pipeline", "versions"),
    },
    # Schedules of the pipeline's own functions on real connections.
    "races": {"report", "sim", "frames", "scenario", "pipeline", "versions"},
    "cli": {
        *("races", "baseline", "hunt", "faultsweep", "conformance"),
        *("sweeps", "report", "studies", "plots", "analysis", "checks", "frames"),
        *("sim", "live", "scenario", "pipeline", "versions"),
    },
    "testing": {"baseline", "report", "checks", "analysis", "frames", "sim", "scenario", "pipeline"},
    # The table of contents names everything that is public.
    "__init__": {
        "sweeps",
        "report",
        "studies",
        "plots",
        "analysis",
        "checks",
        "frames",
        "sim",
        "live",
        "scenario",
        "pipeline",
    },
    "__main__": {"cli"},
}
# Modules that are part of another room.
ROOM_OF = {"archive": "frames", "strategies": "testing"}

# Third-party and standard modules that a room must do without.
BANNED: dict[str, set[str]] = {
    "pipeline": {"simpy", "pandas", "celery", "greenlet", "time", "random", "pydantic", "matplotlib"},
    # Chance as the user's own code expects it is made there, of uniforms that come in as arguments.
    "foreign": {"simpy", "pandas", "celery", "greenlet", "sqlalchemy", "time", "pydantic", "matplotlib"},
    "scenario": {"simpy", "pandas", "celery", "greenlet", "sqlalchemy", "time", "random", "matplotlib"},
    "frames": {"simpy", "celery", "greenlet", "sqlalchemy", "matplotlib"},
    "collect": {"simpy", "celery", "greenlet", "matplotlib"},
    "sim": {"celery", "redis", "fastapi", "pandas", "matplotlib", "rich", "typer"},
    "live": {"simpy", "greenlet"},
    # The results file is a database of its own, and not the pipeline's.
    "sweeps": {"simpy", "celery", "greenlet", "redis", "typer"},
    **{
        room: {"simpy", "celery", "greenlet", "sqlalchemy", "redis"}
        for room in (
            *("analysis", "checks", "plots", "report", "studies"),
            *("baseline", "hunt", "faultsweep", "conformance"),
        )
    },
}
# The part of the pipeline that has a session or a connection; those who look at frames never see one.
STORE_MODULES = {
    "claims",
    "lifecycle",
    "rows",
    "shared_state",
    "outbox",
    "settle",
    "store",
    "tables",
    "tasks",
    "unhandled",
}
LOOKERS = {"frames", "analysis", "checks", "plots", "report", "studies", "sweeps", "hunt", "faultsweep", "conformance"}
# Decisions take time as an argument: a clock that is asked here cannot be simulated.
CLOCK_CALLS = {"now", "utcnow", "today"}


class Import(NamedTuple):
    """One imported module or name, in dotted form, and the line it is on."""

    line: int
    name: str


def imports(source: str, package: str) -> Iterator[Import]:
    """Yield all that a module imports, wherever in it; `package` is what its relative imports are relative to."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (Import(node.lineno, f"{module}.{alias.name}") for alias in node.names)


def room(parts: tuple[str, ...]) -> str:
    """Return the room of a module, given its path inside the package without suffix."""
    return ROOM_OF.get(parts[0], parts[0])


def offences(source: str, path: str) -> list[str]:
    """Return every arrow that the module at `path` (such as `sim/world.py`) reverses."""
    parts = Path(path).with_suffix("").parts
    here = room(parts)
    package = ".".join(["tem_sim", *parts[:-1]])
    found = [
        f"{path}:{line}: {here} must not import {name}"
        for line, name in imports(source, package)
        if not _allowed(here, tuple(name.split(".")))
    ]
    return found + (_clock_offences(source, path) if here == "pipeline" else [])


def _allowed(here: str, name: tuple[str, ...]) -> bool:
    if name[0] != "tem_sim":
        return name[0] not in BANNED.get(here, set())
    if len(name) == 1:
        return False
    there = room(name[1:])
    if here in LOOKERS and there == "pipeline" and len(name) > 2 and name[2] in STORE_MODULES:
        return False
    return there == here or there in ALLOWED[here]


def _clock_offences(source: str, path: str) -> list[str]:
    return [
        f"{path}:{node.lineno}: asks the machine's clock ({ast.unparse(node)})"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCK_CALLS
        and ast.unparse(node.value) in ("datetime", "datetime.datetime", "date", "datetime.date")
    ]


def modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules())
def test_no_arrow_is_reversed(path):
    assert offences((PACKAGE / path).read_text(encoding="utf-8"), path) == []


def test_every_module_is_in_a_known_room():
    assert {room(Path(path).with_suffix("").parts) for path in modules()} <= set(ALLOWED)


def test_inner_init_files_are_empty():
    inner = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert [str(path) for path in inner if path.read_text().strip()] == []


def test_the_arrows_have_no_circle():
    order: list[str] = []
    while len(order) < len(ALLOWED):
        ready = [name for name in ALLOWED if name not in order and ALLOWED[name] <= set(order)]
        assert ready, f"a circle among {set(ALLOWED) - set(order)}"
        order += ready


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pipeline/lifecycle.py", "from tem_sim.scenario.models import Scenario"),
        ("pipeline/tasks.py", "def wait():\n    import time\n    time.sleep(1)"),
        ("pipeline/backoff.py", "import random"),
        ("pipeline/tasks.py", "from datetime import datetime\nnow = datetime.now()"),
        ("pipeline/tasks.py", "import datetime\nnow = datetime.datetime.now(datetime.UTC)"),
        ("pipeline/tasks.py", "from ..sim import kernel"),
        ("pipeline/tasks.py", "from .. import sim"),
        ("scenario/models.py", "def run():\n    from tem_sim.sim.world import simulate"),
        ("scenario/models.py", "import simpy.events"),
        ("sim/world.py", "from tem_sim.live import workers"),
        ("live/world.py", "import tem_sim.sim.world"),
        ("analysis/storm.py", "if True:\n    from sqlalchemy import select"),
        ("checks/flow.py", "from tem_sim.pipeline.store import Store"),
        ("checks/flow.py", "from tem_sim.pipeline import tables"),
        ("analysis/storm.py", "from tem_sim.checks.verdict import Verdict"),
        ("analysis/storm.py", "from tem_sim.plots import storm"),
        ("plots/storm.py", "from tem_sim.report import outcome"),
        ("report/outcome.py", "from tem_sim.sim.world import simulate"),
        ("report/outcome.py", "from tem_sim import simulate"),
        ("frames.py", "from tem_sim.analysis.metrics import metrics"),
        ("archive.py", "from tem_sim.collect import collect"),
        ("collect.py", "from tem_sim.sim.kernel import Kernel"),
    ],
)
def test_a_planted_import_is_found(path, source):
    assert len(offences(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("sim/world.py", "from tem_sim.pipeline.tasks import Pipeline"),
        ("checks/flow.py", "from tem_sim.pipeline.states import State"),
        ("pipeline/tasks.py", "from .store import Store"),
        ("cli.py", "def run():\n    from tem_sim.sim.world import simulate"),
        ("frames.py", "from tem_sim.archive import save"),
    ],
)
def test_a_rightful_import_is_not(path, source):
    assert offences(source, path) == []
