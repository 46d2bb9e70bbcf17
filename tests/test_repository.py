"""What must hold of the files as committed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tem_sim.scenario.schema import json_schema

ROOT = Path(__file__).parent.parent
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=./scenario.schema.json"


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_the_committed_schema_is_what_the_models_say() -> None:
    committed = json.loads((ROOT / "scenarios" / "scenario.schema.json").read_text(encoding="utf-8"))
    assert committed == json_schema(), "run: make schema"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_shipped_scenario_tells_editors_its_schema_and_readers_what_to_look_at(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = "\n".join(line for line in lines if line.startswith("#"))
    assert lines[0] == MODELINE
    assert "Look at:" in comment


def test_no_file_names_a_path_of_one_machine_or_a_package_host() -> None:
    # Split, so that this file does not find itself.
    roots = "|".join(("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/tm" + "p/"))
    pattern = re.compile(rf"(?<![\w.~-])(?:{roots})|files\.python" + r"hosted|pypi\.org/simple")
    offenders = []
    for path in _tracked():
        if path.suffix in {".png", ".npz"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                offenders.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert offenders == []


def test_no_generated_file_is_tracked() -> None:
    names = [str(path.relative_to(ROOT)) for path in _tracked()]
    assert [name for name in names if re.search(r"\.egg-info|__pycache__|uv\.lock|^\.venv|\.npz$", name)] == []
