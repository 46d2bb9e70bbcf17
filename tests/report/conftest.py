"""Pages made once for all tests that look at them: of a storm of 10 000 events, and of two odd runs together."""

from pathlib import Path
from typing import NamedTuple

import pytest
from bs4 import BeautifulSoup
from frame_builder import story
from synthetic_storm import storm

from tem_sim.report.page.make import Wanted, make
from tem_sim.report.page.runs import Facts


class Page(NamedTuple):
    """A page as a file, as text and as a tree; and what its making returned."""

    file: Path
    text: str
    tree: BeautifulSoup
    facts: list[Facts]
    folders: tuple[Path, ...]


def made(wish: Wanted) -> Page:
    facts = make(wish)
    text = wish.page.read_text(encoding="utf-8")
    return Page(wish.page, text, BeautifulSoup(text, "html.parser"), facts, wish.folders)


HELD = {"amplification": "max<1.5", "events": {"threshold": "count>2", "strict": False}, "drain_s": "max<1s"}


def stale():
    """A run that breaks a check which it is meant to break, and one which it is not; its name is hostile."""
    told = story(
        scenario="<script>alert(1)</script> & co", expect={"violations": ["retry_count"]}, thresholds=HELD
    ).fault(1.0, 9.0)
    told.event(1).claim(2.0).error(2.1, 10.0).retry(12.5).claim(12.6).error(12.7, 20.0).retry(33.0).claim(33.1)
    told.events[0]["retry_count"] = 1
    told.event(2).claim(2.0).ok(2.2, shown=2)
    return told.run(end_s=200.0)


@pytest.fixture(scope="session")
def storm_run():
    return storm(events=10_000)


@pytest.fixture(scope="session")
def storm_page(storm_run, tmp_path_factory) -> Page:
    folder = tmp_path_factory.mktemp("storm")
    run = storm_run.save(folder / "run")
    return made(Wanted((run,), folder / "page.html", folder / "kept" / "page.ipynb"))


@pytest.fixture(scope="session")
def odd_page(tmp_path_factory) -> Page:
    """A run without events, cut short, and one with a hostile name that breaks its checks."""
    folder = tmp_path_factory.mktemp("odd")
    runs = (story().run(status="interrupted"), stale())
    folders = tuple(run.save(folder / f"run-{number}") for number, run in enumerate(runs))
    return made(Wanted(folders, folder / "page.html"))
