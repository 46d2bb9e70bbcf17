"""Patches of the pipeline's source as data: an exact replacement, or a unified diff from outside.

A patch must fit exactly once. Code that has moved since is no reason to skip a mutant, but to write it anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tem_sim

# Of the package that will run, wherever it is.
ROOT = Path(tem_sim.__file__).resolve().parents[1]
PIPELINE = ROOT / "tem_sim" / "pipeline"
# module name → the module's source
Sources = Mapping[str, str]


class PatchError(ValueError):
    """A patch that does not fit the source as it is."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Take one passage of a module of `tem_sim.pipeline` for another; `line` says which, where there are several."""

    module: str
    old: str
    new: str
    line: int | None = None


def path_of(module: str) -> Path:
    """Return the file of a module of the pipeline."""
    return PIPELINE / f"{module}.py"


def source_of(module: str) -> str:
    """Return the source of a module of the pipeline; `PatchError` where there is none."""
    path = path_of(module)
    if not path.is_file():
        raise PatchError(f"{path.relative_to(ROOT)}: no such module")
    return path.read_text(encoding="utf-8")


def patched(patches: Sequence[Replace]) -> dict[str, str]:
    """Return the new source of each module that the patches change; `PatchError` where one does not fit."""
    found: dict[str, str] = {}
    for patch in patches:
        source = found.get(patch.module) or source_of(patch.module)
        found[patch.module] = _applied(source, patch)
    return found


def _applied(source: str, patch: Replace) -> str:
    where = f"tem_sim/pipeline/{patch.module}.py"
    places = [match.start() for match in re.finditer(re.escape(patch.old), source)] if patch.old else []
    if patch.line is not None:
        places = [at for at in places if source.count("\n", 0, at) + 1 == patch.line] or places
    if len(places) != 1:
        shown = next(iter(patch.old.strip().splitlines()), "")
        raise PatchError(f"{where}: the passage that begins with {shown!r} is there {len(places)} times, not once")
    changed = source[: places[0]] + patch.new + source[places[0] + len(patch.old) :]
    if changed == source:
        raise PatchError(f"{where}: the patch changes nothing")
    try:
        compile(changed, where, "exec")
    except SyntaxError as error:
        raise PatchError(f"{where}:{error.lineno}: not Python any more: {error.msg}") from None
    return changed


_FILE = re.compile(r"^\+\+\+ (?:b/)?(?:\./)?(?P<path>\S+)")
_HUNK = re.compile(r"^@@ -(?P<line>\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


def from_diff(text: str) -> tuple[Replace, ...]:
    """Return the replacements of a unified diff; `PatchError` where it is none, or leaves `tem_sim/pipeline`."""
    hunks: list[Replace] = []
    module, lines = "", iter([*text.splitlines(), ""])
    kept: list[str] = []
    line = 0
    for text_line in lines:
        if match := _FILE.match(text_line):
            hunks += _hunk(module, line, kept)
            module, kept = _module(match["path"]), []
        elif match := _HUNK.match(text_line):
            hunks += _hunk(module, line, kept)
            line, kept = int(match["line"]), []
        elif text_line.startswith(("diff ", "index ", "--- ")):
            continue
        elif module and line:
            kept.append(text_line)
    hunks += _hunk(module, line, kept)
    if not hunks:
        raise PatchError("not a unified diff: no hunk in it")
    return tuple(hunks)


def _module(path: str) -> str:
    found = Path(path)
    if found.parts[:2] != ("tem_sim", "pipeline") or found.suffix != ".py":
        raise PatchError(f"{path}: a mutant changes modules of tem_sim/pipeline only")
    return found.stem


def _hunk(module: str, line: int, body: Iterable[str]) -> list[Replace]:
    kept = [text for text in body if text[:1] in (" ", "-", "+")]
    if not kept:
        return []
    old = "".join(text[1:] + "\n" for text in kept if text[0] != "+")
    new = "".join(text[1:] + "\n" for text in kept if text[0] != "-")
    return [Replace(module, old, new, line)]
