"""Runs the commands that the pages show, each once, in one folder that looks like a fresh clone's."""

import re
from contextlib import chdir
from pathlib import Path

from doc_pages import ROOT, Command, blocks
from typer.testing import CliRunner

from tem_sim.cli.main import app

# A line of its own that stands for any number of lines of output.
ELISION = "…"


class Shell:
    """A folder with the shipped scenarios in it, and what was said by each command that was run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said: dict[str, tuple[str, int]] = {}
        (folder / "scenarios").symlink_to(ROOT / "scenarios")

    def put_files(self, page: Path) -> None:
        """Write the blocks of a page that are meant to be files."""
        for block in blocks(page, "yaml", "python"):
            if block.file:
                file = self.folder / block.file
                file.parent.mkdir(exist_ok=True)
                file.write_text(block.text, encoding="utf-8")

    def run(self, command: Command) -> tuple[str, int]:
        """Return what a command prints, stderr included, and its exit code; the same line is not run twice."""
        if command.line not in self._said:
            program, *arguments = command.words
            assert program == "tem-sim", f"{command.block}: a console block shows tem-sim commands, not {program}"
            with chdir(self.folder):
                result = CliRunner().invoke(app, arguments, prog_name="tem-sim")
            assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
            self._said[command.line] = result.output, result.exit_code
        return self._said[command.line]


def fits(shown: str, said: str) -> bool:
    """Whether the output is what a page shows, line by line, but for what it elides."""
    lines = (line + "\n" for line in shown.splitlines())
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == ELISION else re.escape(line) for line in lines)
    return re.fullmatch(pattern, said) is not None
