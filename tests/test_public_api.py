"""The package's table of contents, and the page that documents it."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tem_sim

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
ROW = re.compile(r"^\| `(?P<name>\w+)` \| `(?P<home>[\w.]+)` \| (?P<about>.+) \|$", re.MULTILINE)


def rows() -> dict[str, re.Match[str]]:
    return {row["name"]: row for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def test_the_page_lists_the_public_names_and_no_others():
    assert sorted(rows()) == sorted(tem_sim.__all__)


@pytest.mark.parametrize("name", tem_sim.__all__)
def test_the_page_says_where_a_name_lives_and_what_its_docstring_says(name):
    row, found = rows()[name], getattr(tem_sim, name)
    assert row["home"] == ("tem_sim" if name == "__version__" else tem_sim._HOMES[name])
    if inspect.isclass(found) or inspect.isfunction(found):
        doc = " ".join((inspect.getdoc(found) or "").split("\n\n")[0].split())
        assert doc.startswith(row["about"]), f"docs/api.md says otherwise of {name} than its docstring: {doc}"


def test_each_name_is_its_homes_own():
    for name, home in tem_sim._HOMES.items():
        assert getattr(tem_sim, name) is getattr(sys.modules[home], name)


def test_the_type_checker_sees_the_same_names():
    source = Path(tem_sim.__file__).read_text(encoding="utf-8")
    block = source[source.index("if TYPE_CHECKING:") : source.index("__all__")]
    seen = {
        name.strip(): home for home, names in re.findall(r"from (\S+) import (.+)", block) for name in names.split(",")
    }
    assert seen == tem_sim._HOMES


def test_dir_knows_all_names_before_they_are_used():
    program = "import tem_sim; print(sorted(set(tem_sim.__all__) - set(dir(tem_sim))))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'simulat'"):
        tem_sim.simulat  # noqa: B018


def test_the_pages_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    scenario = PAGE.parent.parent / "scenarios" / "recovery_flow.yaml"
    located = block.replace('load("scenarios/recovery_flow.yaml")', f"load({str(scenario)!r})")
    assert located != block
    exec(compile(located, "docs/api.md", "exec"), {})
    assert tem_sim.Run.load("reports/my_recovery").name == "recovery_flow"
