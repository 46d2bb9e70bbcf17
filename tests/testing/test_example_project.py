"""`examples/your_project` in a copy of it, as its CI would run it, by the commands of the workflow on docs/ci.md."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def page(name: str, language: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def workflow_commands() -> list[str]:
    """Return what the workflow runs, but for the installation."""
    (text,) = page("ci.md", "yml")
    steps = YAML(typ="safe").load(text)["jobs"]["scenarios"]["steps"]
    return [step["run"] for step in steps if "run" in step and "pip install" not in step["run"]]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "your_project"
    shutil.copytree(ROOT / "examples/your_project", folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return folder


def shell(command: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the page with this Python's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=told, capture_output=True, text=True, check=False)


def test_the_workflow_of_the_page_passes_in_the_example(project):
    validate, tests = workflow_commands()
    assert "ok (outage)" in shell(validate, project).stdout
    saved = shell("tem-sim baseline save scenarios/*.yaml --seeds 1 --jobs 1", project)
    assert saved.returncode == 0, saved.stderr
    # One process is enough here; what -n does is tested elsewhere.
    done = shell(tests.replace("-n auto --dist loadfile ", ""), project)
    assert done.returncode == 0, done.stdout
    assert (project / "test-results.xml").read_text().count('name="baseline"') == 2


@pytest.mark.slow
def test_a_worse_policy_does_not_pass(project):
    policy = project / "my_pkg/backoff.py"
    policy.write_text(policy.read_text().replace("return 1.0 + ", "return ").replace("CAP_S = 60.0", "CAP_S = 1.0"))
    summary = project / "page.md"
    done = shell(
        "python -m pytest -k 'outage and amplification' scenarios",
        project,
        GITHUB_ACTIONS="true",
        GITHUB_WORKSPACE=str(project),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 1
    assert re.search(
        r"^::error file=scenarios/outage\.yaml,line=\d+,title=.*FAIL outage: amplification: max", done.stdout, re.M
    )
    assert "| scenarios/outage.yaml | 0 | 1 |" in summary.read_text()


@pytest.mark.slow
def test_the_tests_that_the_page_on_pytest_shows_pass_in_the_example(project):
    (project / "tests/test_page.py").write_text("\n".join(page("pytest.md", "py")))
    done = shell("python -m pytest -q tests/test_page.py --tem-seeds 1", project)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_settings_that_the_page_shows_are_those_of_the_example():
    (toml,) = page("pytest.md", "toml")
    assert toml.splitlines()[1] in (ROOT / "examples/your_project/pyproject.toml").read_text().splitlines()
