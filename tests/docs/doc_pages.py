"""The pages, and what stands in them: fenced blocks, links, headings, and the parts that are generated."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "reports/README.md",
    ROOT / "reports/gallery/README.md",
]

_FENCE = re.compile(r"^```(?P<language>\w+)?(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
_GENERATED = re.compile(r"(<!-- generated: ([\w -]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block; `info` is what follows the language, such as `file=storm.yaml`."""

    page: str
    line: int
    language: str
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name under which the page's commands find this block, if it is meant to be a file."""
        return self.info.removeprefix("file=") if self.info.startswith("file=") else None


@dataclass(frozen=True)
class Command:
    """One command of a console block, and the lines that the page shows as its output."""

    block: Block
    line: str
    shown: str

    @property
    def words(self) -> list[str]:
        """The command as an argument list; quotes are all that the pages use of a shell."""
        import shlex

        return shlex.split(self.line, comments=True)


def name_of(page: Path) -> str:
    """Return a page's path as people write it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return a page's blocks in these languages, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        language = match["language"] or ""
        if language in languages:
            found.append(Block(name_of(page), line, language, match["info"].strip(), match["text"]))
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block: a line that begins with `$ `, and the output below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield Command(block, line, shown)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return [link or picture for link, picture in _LINK.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in plain}


def generated(text: str) -> dict[str, str]:
    """Return the generated parts of a page's text by name."""
    return {name: body for _, name, body, _ in _GENERATED.findall(text)}


def with_generated(text: str, parts: dict[str, str]) -> str:
    """Return a page's text with its generated parts replaced."""
    return _GENERATED.sub(lambda match: f"{match[1]}{parts[match[2]]}{match[4]}", text)
