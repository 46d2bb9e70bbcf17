"""A page that lists what lies in a folder: every run with its verdict, and the reports about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from tem_sim.frames import Run, RunError
from tem_sim.report.outcome import judge
from tem_sim.report.page.blocks import element, table, wrap
from tem_sim.report.page.html import page_facts, render
from tem_sim.report.page.runs import Facts, facts_of

SHOWN_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """A run folder: what it came to, or why it cannot be read."""

    folder: Path
    facts: Facts | None
    problem: str = ""


def entries(root: Path, progress: Callable[[int, int], None] | None = None) -> list[Entry]:
    """Judge every run below the folder, in the order of their paths."""
    folders = sorted(file.parent for file in root.rglob("run.json") if not _hidden(file, root))
    found = []
    for number, folder in enumerate(folders, start=1):
        found.append(_entry(folder))
        if progress is not None:
            progress(number, len(folders))
    return found


def _entry(folder: Path) -> Entry:
    try:
        return Entry(folder, facts_of(judge(Run.load(folder))))
    except RunError as error:
        return Entry(folder, None, str(error))


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def index(root: Path, found: list[Entry]) -> str:
    """Return the page about a folder; the same runs and reports give the same bytes."""
    reports = {file: facts for file in sorted(root.rglob("*.html")) if file.is_file() and (facts := page_facts(file))}
    alone = {_key(facts[0]): file for file, facts in reports.items() if len(facts) == 1}
    body = element("h1", "Runs and reports") + _counts(found) + _runs(root, found, alone)
    several = [(file, facts) for file, facts in reports.items() if len(facts) > 1]
    if several:
        body += element("h2", "Comparisons") + wrap("ul", "".join(_comparison(root, *one) for one in several))
    return render("listing.html.j2", {"title": "Runs and reports", "about": _said(found), "body": body})


def _key(facts: Facts) -> tuple[object, ...]:
    # A live run has no digest; its sentence is as good as none other's.
    return facts["scenario"], facts["seed"], facts["digest"] or facts["sentence"]


def _said(found: list[Entry]) -> str:
    words = [str(entry.facts["verdict"]) if entry.facts else "UNREADABLE" for entry in found]
    told = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    return f"{len(found)} run{'' if len(found) == 1 else 's'}" + (f": {told}" if told else "")


def _counts(found: list[Entry]) -> str:
    return element("p", f"{_said(found)}.", class_="sentence")


def _runs(root: Path, found: list[Entry], reports: dict[tuple[object, ...], Path]) -> str:
    if not found:
        return element("p", "No run is saved here yet; tem-sim run saves them.")
    rows = [_row(root, entry, reports.get(_key(entry.facts)) if entry.facts else None) for entry in found]
    return table(
        ["run", "verdict", "seed", "what it came to", "digest", "plots"], rows, "Every run here", [2], html=True
    )


def _row(root: Path, entry: Entry, report: Path | None) -> list[str]:
    name = entry.folder.relative_to(root).as_posix()
    if entry.facts is None:
        return [escape(name), _badge("UNREADABLE"), "", escape(entry.problem), "", ""]
    facts = entry.facts
    head = _link(root, report, name) if report else escape(name)
    whole = str(facts["digest"])
    digest = element("code", whole[:SHOWN_DIGEST], title=whole) if whole else "live"
    rest = str(facts["sentence"]).partition(": ")[2]
    return [head, _badge(str(facts["verdict"])), str(facts["seed"]), escape(rest), digest, _plots(root, entry.folder)]


def _badge(word: str) -> str:
    return element("strong", word, class_=f"badge {word.lower()}")


def _plots(root: Path, folder: Path) -> str:
    return " ".join(_link(root, file, file.stem.replace("_", " ")) for file in sorted(folder.glob("plots/*.png")))


def _comparison(root: Path, file: Path, facts: list[Facts]) -> str:
    told = "; ".join(f"{one['verdict']} {one['scenario']}, seed {one['seed']}" for one in facts)
    return wrap("li", f"{_link(root, file, file.relative_to(root).as_posix())}: {escape(told)}")


def _link(root: Path, file: Path, text: str) -> str:
    return element("a", text, href=quote(file.relative_to(root).as_posix()))
