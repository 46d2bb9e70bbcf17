"""What the pages show works: commands print what is shown below them, code runs, scenarios load."""

import doctest
import os
import shlex
from pathlib import Path

import doc_gallery
import pytest
from doc_pages import PAGES, ROOT, Command, blocks, commands, links, name_of
from doc_shell import Shell, fits

from tem_sim.scenario.loader import load, loads

# One process runs them all, so that each command is run once.
pytestmark = pytest.mark.xdist_group("docs")

# They run until they are told to stop, or for minutes; tests of their own run them in small.
TOO_LONG = ("tem-sim live up", "tem-sim live calibrate", "tem-sim live conform", "tem-sim report reports/live_")
# What a block of settings needs besides to be a scenario.
LEAST = "scenario: fragment\n"
LEAST_ARRIVALS = "arrivals: {kind: burst, events: 1}\n"

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Open the folder in which all commands run."""
    return Shell(tmp_path_factory.mktemp("clone"))


@every_page
def test_each_command_prints_what_the_page_shows_below_it(page: Path, shell: Shell) -> None:
    shell.put_files(page)
    wrong = []
    for command in (command for block in blocks(page, "console") for command in commands(block)):
        said, _ = shell.run(command)
        if not fits(command.shown, said):
            wrong.append(f"{command.block}: `{command.line}` prints\n{said}")
    assert not wrong, "\n".join([*wrong, "make gallery writes the pages anew"])


@every_page
def test_each_plain_command_succeeds(page: Path, shell: Shell) -> None:
    shell.put_files(page)
    for block in blocks(page, "sh"):
        for line in block.text.splitlines():
            if line.startswith("tem-sim ") and not line.startswith(TOO_LONG):
                said, code = shell.run(Command(block, line, ""))
                assert code == 0, f"{block}: `{line}` ends with {code}:\n{said}"


@every_page
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    monkeypatch.chdir(shell.folder)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block.text, str(block), "exec"), names)
    plt.close("all")


@every_page
def test_each_interactive_session_prints_what_the_page_shows(
    page: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.folder)
    runner = doctest.DocTestRunner(verbose=False)
    for block in blocks(page, "pycon"):
        runner.run(doctest.DocTestParser().get_doctest(block.text, {}, str(block), str(page), block.line))
    assert runner.summarize(verbose=False).failed == 0


@every_page
def test_each_block_of_yaml_is_a_scenario_or_settings_of_one(page: Path) -> None:
    for block in blocks(page, "yaml"):
        if block.file:
            continue
        text = block.text
        if "arrivals:" not in text:
            text = LEAST_ARRIVALS + text
        if "scenario:" not in text:
            text = LEAST + text
        loads(text, file=str(block))


def test_a_shipped_scenario_that_a_page_shows_is_the_one_that_is_shipped() -> None:
    shown = 0
    for block in (block for page in PAGES for block in blocks(page, "yaml") if "scenario:" in block.text):
        name = shlex.split(block.text.partition("scenario:")[2], comments=True)[0]
        file = ROOT / "scenarios" / f"{name}.yaml"
        if file.exists():
            shown += 1
            assert loads(block.text) == load(file), f"{block} differs from {file.name}"
    assert shown


def test_the_gallery_is_small_enough_to_be_cloned() -> None:
    pictures = list(doc_gallery.FOLDER.glob("*.png"))
    assert len(pictures) == 6
    assert sum(os.path.getsize(picture) for picture in pictures) < 400_000


def test_every_picture_of_the_gallery_is_on_its_page_and_the_other_way_round() -> None:
    assert sorted(links(doc_gallery.PAGE)) == sorted(picture.name for picture in doc_gallery.FOLDER.glob("*.png"))


def test_the_numbers_below_the_pictures_are_what_the_studies_say() -> None:
    page = doc_gallery.PAGE.read_text(encoding="utf-8")
    assert doc_gallery.jitters_caption(doc_gallery.together()) in page, "make gallery writes it anew"
    assert doc_gallery.outlived_caption(doc_gallery.outlived()) in page, "make gallery writes it anew"
