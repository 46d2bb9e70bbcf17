"""Writes anew what the pages quote: the generated tables, and the output shown below each command.

Run it with `make gallery`, or as a script with the pages to renew, and look at the difference before you commit it.
Where a page elides lines, each line that it shows is replaced by the new line that begins with the same words.
"""

import re
import sys
import tempfile
from pathlib import Path

import doc_reference
from doc_pages import PAGES, Command, blocks, commands, generated, with_generated
from doc_shell import ELISION, Shell


def main() -> None:
    """Rewrite the pages in place; say which changed."""
    parts = doc_reference.parts()
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(Path(folder))
        for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
            before = page.read_text(encoding="utf-8")
            after = with_generated(before, {**generated(before), **parts})
            after = with_outputs(after, page, shell)
            if after != before:
                page.write_text(after, encoding="utf-8")
                sys.stdout.write(f"wrote {page}\n")


def with_outputs(text: str, page: Path, shell: Shell) -> str:
    """Return a page's text with the shown output of each command as it is now."""
    shell.put_files(page)
    for block in blocks(page, "console"):
        renewed = block.text
        for command in commands(block):
            said = shell.run(command)[0]
            old, new = f"$ {command.line}\n{command.shown}", f"$ {command.line}\n{excerpt(command, said)}"
            renewed = renewed.replace(old, new)
        text = text.replace(block.text, renewed)
    return text


def excerpt(command: Command, said: str) -> str:
    """Return the output, of which the lines that the page elides stay elided."""
    shown = command.shown.splitlines(keepends=True)
    if not any(line.strip() == ELISION for line in shown):
        return said
    lines = said.splitlines(keepends=True)
    return "".join(line if line.strip() in ("", ELISION) else _renewed(command, line, lines) for line in shown)


def _renewed(command: Command, line: str, lines: list[str]) -> str:
    """Return the new line that begins as the old one does: by its first word, or sign and word."""
    match = re.match(r"\W*\S+", line)
    head = match.group() if match else line
    found = [new for new in lines if new.startswith(head)]
    if not found:
        raise SystemExit(f"{command.block}: no line of `{command.line}` begins with {head!r} any more; mend it by hand")
    return line if line in found else found[0]


if __name__ == "__main__":
    main()
