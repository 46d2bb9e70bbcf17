"""The blocks that a page is made of: a piece of HTML that a notebook shows, and tables that screen readers can walk.

What comes from a scenario or a run is text and is escaped here; nobody else writes tags around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tem_sim.report.numbers import plain

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class Html:
    """A piece of a page. `facts` are for the program that makes the page: plain values that it need not parse."""

    html: str
    facts: Mapping[str, object] | None = None

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, object]]:
        return {"text/html": self.html, "text/plain": repr(self)}, {"tem_sim": dict(self.facts)} if self.facts else {}

    def __repr__(self) -> str:
        return "<Html>"


def element(tag: str, text: object, **attributes: str) -> str:
    """Return an element around text, which is escaped; `class_` stands for `class`."""
    return wrap(tag, escape(str(text)), **attributes)


def wrap(tag: str, html: str, **attributes: str) -> str:
    """Return an element around HTML."""
    said = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{said}>{html}</{tag}>"


def paragraphs(sentences: Iterable[str]) -> str:
    """Return a paragraph per sentence."""
    return "".join(element("p", sentence) for sentence in sentences)


def folded(title: str, html: str, opened: bool = False, **attributes: str) -> str:
    """Return what opens on a click, and when the page is printed."""
    details = wrap("details", element("summary", title) + html, **attributes)
    return details.replace("<details", "<details open", 1) if opened else details


def facts_list(facts: Mapping[str, str]) -> str:
    """Return names with their values; the values are HTML."""
    return wrap("dl", "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in facts.items()))


# --- tables


def frame_table(frame: pd.DataFrame, caption: str) -> str:
    """Return a frame as a table; its first column heads the rows."""
    names = [str(name) for name in frame.columns]
    columns = [_texts(name, frame[name].tolist()) for name in frame.columns]
    numeric = {number for number, name in enumerate(frame.columns) if frame[name].dtype.kind in "if"}
    return table(names, list(zip(*columns, strict=True)), caption, numeric)


def _texts(name: object, values: list[object]) -> list[str]:
    # An id is a name: with separators nobody would find it again.
    named = str(name) in ("seq", "user_id", "event_id", "fault_id")
    return [str(value) if named else cell_text(value) for value in values]


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, numeric: Iterable[int] = (), html: bool = False
) -> str:
    """Return a table in a box of its own, in which it scrolls where the page is too narrow for it.

    `numeric` are the places of the columns that are set to the right. With `html` the cells are HTML already.
    """
    right = set(numeric)
    cells = [[cell if html else escape(cell) for cell in row] for row in rows]
    head = "".join(_cell("th", escape(name), place in right, ' scope="col"') for place, name in enumerate(heads))
    body = "".join(f"<tr>{_row(row, right)}</tr>" for row in cells)
    inner = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # A box that scrolls must be reachable by keyboard, and then it needs a name.
    return wrap("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _row(cells: Sequence[str], right: set[int]) -> str:
    first, *others = cells
    head = _cell("th", first, 0 in right, ' scope="row"')
    return head + "".join(_cell("td", cell, place in right, "") for place, cell in enumerate(others, start=1))


def _cell(tag: str, html: str, right: bool, more: str) -> str:
    return f"<{tag}" + (' class="n"' if right else "") + f"{more}>{html}</{tag}>"


def cell_text(value: object) -> str:
    """Return a value as a table shows it: floats to the microsecond, nothing for what did not happen."""
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        return plain(value) if value.is_integer() else f"{value:,.6f}".rstrip("0")
    return str(value) if not isinstance(value, int) or isinstance(value, bool) else f"{value:,}"
