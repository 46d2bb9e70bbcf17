"""From YAML 1.2 text to a tree with places, and all that can be wrong with the text itself.

ruamel.yaml scans and parses; what a scalar means is decided here, by the core schema of YAML 1.2: `off` is text, `010`
is ten, and there are no dates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from tem_sim.scenario.errors import Problem, ScenarioError, Spot, shortened
from tem_sim.scenario.tree import Entry, Items, Leaf, Step, Table, Tree, written

MAX_DEPTH = 50
# Counts what aliases repeat, since a few of them inside each other can stand for billions of values.
MAX_NODES = 3_000_000

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{sign + text: math.inf for sign in ("", "+") for text in (".inf", ".Inf", ".INF")},
    **{"-" + text: -math.inf for text in (".inf", ".Inf", ".INF")},
}


def read_tree(text: str, file: str, problems: list[Problem]) -> Tree | None:
    """Return the text's one document, None for an empty one; what is wrong within it is added to `problems`.

    Raises ScenarioError where nothing can be made of the rest: bad syntax, tags, endless nesting.
    """
    return _Builder(text, file, problems).document()


def scalar(text: str) -> str | int | float | bool | None:
    """Return what an unquoted scalar means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        # Python refuses to read thousands of digits; no setting is that large.
        return int(text) if len(text) < 1000 else math.inf
    if _BASED.fullmatch(text) and len(text) < 1000:
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Builder:
    """Builds the tree of one text from the parser's events."""

    def __init__(self, text: str, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.lines = _BREAK.split(text)
        self.problems = problems
        self._events = self._parse(text)
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self._nodes = 0

    # --- the document

    def document(self) -> Tree | None:
        self._next("StreamStartEvent")
        start = next(self._events)
        if type(start).__name__ == "StreamEndEvent":
            return None
        tree = self._tree(next(self._events), ())
        self._next("DocumentEndEvent")
        more = next(self._events)
        if type(more).__name__ != "StreamEndEvent":
            raise self._stop(self._spot(more), "there is a second document; a file holds one scenario")
        return None if isinstance(tree, Leaf) and tree.value is None else tree

    def _next(self, kind: str) -> None:
        event = next(self._events)
        assert type(event).__name__ == kind, f"the parser sent {type(event).__name__} for {kind}"

    def _parse(self, text: str) -> Iterator[Any]:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError
        from ruamel.yaml.reader import ReaderError

        last = Spot(self.file, 1, 1, 1, self.lines[0])
        try:
            for event in YAML(typ="rt", pure=True).parse(text):
                last = self._spot(event)
                yield event
        except MarkedYAMLError as error:
            spot = self._marked(error) or last
            raise self._stop(spot, _syntax(error, spot.source_line)) from None
        except ReaderError as error:
            before = _BREAK.split(text[: error.position])
            spot = Spot(self.file, len(before), len(before[-1]) + 1, 1, "")
            raise self._stop(spot, f"character U+{int(error.character):04X} is not allowed in YAML") from None
        except ScenarioError:
            raise
        except Exception as error:
            # The scanner lets a few of its own stumbles through, such as the ValueError of an escape past Unicode.
            raise self._stop(last, f"is not YAML that can be read ({shortened(str(error))})") from None

    # --- nodes

    def _tree(self, event: Any, path: tuple[Step, ...]) -> Tree:
        kind = type(event).__name__
        spot = self._spot(event)
        self._count(1, spot, path)
        if kind == "AliasEvent":
            return self._alias(event, spot, path)
        if event.tag is not None:
            raise self._stop(spot, "tags such as !!str are not used in scenarios; write the plain value", path)
        before = self._nodes
        if kind == "ScalarEvent":
            text = _sound(event.value)
            tree: Tree = Leaf(scalar(text) if event.implicit[0] else text, text, spot)
        elif kind == "SequenceStartEvent":
            tree = self._items(spot, path)
        else:
            tree = self._table(spot, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = tree, self._nodes - before + 1
        return tree

    def _count(self, more: int, spot: Spot, path: tuple[Step, ...]) -> None:
        self._nodes += more
        if len(path) > MAX_DEPTH:
            raise self._stop(spot, f"is nested more than {MAX_DEPTH} deep", path[:3])
        if self._nodes > MAX_NODES:
            raise self._stop(spot, f"there are more than {MAX_NODES} values, aliases written out", path[:3])

    def _alias(self, event: Any, spot: Spot, path: tuple[Step, ...]) -> Tree:
        if event.anchor not in self._anchors:
            raise self._stop(spot, f"there is no anchor &{event.anchor} above this", path)
        tree, size = self._anchors[event.anchor]
        self._count(size, spot, path)
        # A value is at fault where it is used; the parts of a larger one where they are written.
        return Leaf(tree.value, tree.text, spot) if isinstance(tree, Leaf) else tree

    def _items(self, spot: Spot, path: tuple[Step, ...]) -> Items:
        items: list[Tree] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            here = (*path, len(items))
            tree = self._tree(event, here)
            items.append(self._filled(tree, here, tree.spot))
        return Items(tuple(items), spot)

    def _table(self, spot: Spot, path: tuple[Step, ...]) -> Table:
        entries: dict[str, Entry] = {}
        inherited: list[Tree] = []
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key = self._key(event, path)
            key_spot = self._spot(event)
            tree = self._tree(next(self._events), (*path, key))
            if key == "<<" and event.implicit[0]:
                inherited.append(tree)
            elif key in entries:
                self._complain(key_spot, (*path, key), f"is given twice, first in line {entries[key].key.line}")
            else:
                entries[key] = Entry(key_spot, self._filled(tree, (*path, key), key_spot))
        for tree in inherited:
            entries = {**self._inherited(tree, path), **entries}
        return Table(entries, spot)

    def _key(self, event: Any, path: tuple[Step, ...]) -> str:
        if type(event).__name__ != "ScalarEvent":
            raise self._stop(self._spot(event), "a key must be a word", path)
        return _sound(event.value)

    def _inherited(self, tree: Tree, path: tuple[Step, ...]) -> dict[str, Entry]:
        """Return what a merge key (`<<: *base`) brings in; of several mappings the first one that has a key counts."""
        tables = tree.items if isinstance(tree, Items) else (tree,)
        entries: dict[str, Entry] = {}
        for table in reversed(tables):
            if not isinstance(table, Table):
                raise self._stop(tree.spot, "must be a mapping, or a list of them", (*path, "<<"))
            entries = {**entries, **table.entries}
        return entries

    def _filled(self, tree: Tree, path: tuple[Step, ...], holder: Spot) -> Tree:
        if isinstance(tree, Leaf) and tree.value is None:
            # The parser finds the missing value only where the next thing begins, which may be lines further on.
            self._complain(
                tree.spot if tree.text else holder,
                path,
                "is empty; give it a value, or take the key out for the default",
            )
        return tree

    # --- places

    def _spot(self, event: Any) -> Spot:
        start, end = event.start_mark, event.end_mark
        line = self.lines[start.line] if start.line < len(self.lines) else ""
        width = end.column - start.column if end.line == start.line else len(line) - start.column
        one_char = type(event).__name__ in ("MappingStartEvent", "SequenceStartEvent")
        return Spot(self.file, start.line + 1, start.column + 1, 1 if one_char else max(1, width), line)

    def _marked(self, error: Any) -> Spot | None:
        mark = error.problem_mark or error.context_mark
        if mark is None:
            return None
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return Spot(self.file, mark.line + 1, mark.column + 1, 1, line)

    def _complain(self, spot: Spot, path: tuple[Step, ...], message: str) -> None:
        self.problems.append(Problem(spot, written(path), message))

    def _stop(self, spot: Spot, message: str, path: tuple[Step, ...] = ()) -> ScenarioError:
        return ScenarioError([*self.problems, Problem(spot, written(path), message)])


def _sound(text: str) -> str:
    """Join the halves of characters that JSON escapes in two; a half without its other is shown as its escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return joined.encode("utf-8", "backslashreplace").decode()
    return text


def _syntax(error: Any, line: str) -> str:
    """Say what the parser says, and what to do where people often stumble."""
    problem = str(error.problem or error.context or "bad syntax")
    if "'\\t'" in problem:
        return "not YAML: a tab where only spaces may stand; indent with spaces"
    if problem.startswith("mapping values are not allowed"):
        return "not YAML: a second `: ` in one line; quote the text, or check the indentation"
    if "${" in line:
        return f'not YAML: {problem}; put quotes around a variable that stands inside braces or brackets: "${{name}}"'
    context = f", {error.context}" if error.context and error.problem else ""
    return f"not YAML: {problem}{context}"
