"""Proof that what a patch changed was really executed: calls of a marker, put into the patched source.

A changed statement of a function gets the marker before it. What is changed at the level of a module, such as a
statement in SQL, is executed once at import, which proves nothing: there the marker goes to whoever uses it, through
all names that were made of it, in all modules of the pipeline.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from types import CodeType

from .patches import PIPELINE, path_of

MARKER = "__mutant_reached__"
_PACKAGE = "tem_sim.pipeline"


class Counter:
    """Counts how often the changed code was passed since `begin`; imports before that do not count."""

    def __init__(self) -> None:
        self.passed = 0
        setattr(builtins, MARKER, self._pass)

    def begin(self) -> None:
        """Forget what the imports passed."""
        self.passed = 0

    def _pass(self) -> None:
        self.passed += 1


@dataclass(frozen=True, slots=True)
class _Top:
    """A statement of a module: the names it gives a value, all names it loads, and whether it is a function."""

    stores: frozenset[str]
    loads: frozenset[str]
    is_function: bool


class _Shape:
    """What is read off a module's source once: its tree, and who uses which name."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.statements = list(_statements(self.tree))
        self.imports = list(_imports(self.tree))
        self.top = [
            _Top(frozenset(_stored(stmt)), _loaded([stmt]), isinstance(stmt, ast.FunctionDef))
            for stmt in self.tree.body
            if not isinstance(stmt, (ast.Import, ast.ImportFrom, ast.ClassDef))
        ]
        self.uses = [(stmt, _loaded(_own_parts(stmt))) for stmt, inside in self.statements if inside]


_shape = lru_cache(maxsize=None)(_Shape)


@dataclass
class _Module:
    """One module: its shape, and what of it is marked, tainted and changed.

    `changed` are functions that do something else than before; what they return at import is tainted.
    """

    name: str
    shape: _Shape
    marked: set[ast.stmt] = field(default_factory=set)
    tainted: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)


def warm_up() -> None:
    """Read all modules, in the process that others are forked from."""
    for path in PIPELINE.glob("*.py"):
        _shape(path.read_text(encoding="utf-8"))


def instrumented(changed: Mapping[str, str]) -> tuple[dict[str, CodeType], int]:
    """Return the code of every module that got a marker or was changed, and the number of markers."""
    sources = {path.stem: path.read_text(encoding="utf-8") for path in sorted(PIPELINE.glob("*.py"))}
    modules = {name: _Module(name, _shape(changed.get(name, source))) for name, source in sources.items()}
    for name, new in changed.items():
        for lines in _regions(sources[name], new):
            _mark_region(modules[name], lines)
    _spread(modules)
    code, markers = {}, 0
    for name, module in modules.items():
        if module.tainted:
            module.marked |= {stmt for stmt, loads in module.shape.uses if loads & module.tainted}
        if name in changed or module.marked:
            tree, put = _with_markers(module)
            code[f"{_PACKAGE}.{name}"] = compile(tree, str(path_of(name)), "exec")
            markers += put
    return code, markers


# --- what was changed


def _regions(old: str, new: str) -> Iterator[range]:
    """Yield the lines of the new source that differ; an empty range where lines were only taken out."""
    before, after = old.splitlines(), new.splitlines()
    for tag, _, _, start, stop in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield range(start + 1, stop + 1)


def _mark_region(module: _Module, lines: range) -> None:
    statements = module.shape.statements
    hit = [(stmt, inside) for stmt, inside in statements if _overlap(_own_lines(stmt), lines)]
    if not hit:
        # Only taken out, or a comment: the statement that comes next, or else the one before, stands for the place.
        after = [one for one in statements if _own_lines(one[0]).start >= lines.start]
        before = [one for one in statements if _own_lines(one[0]).stop <= lines.start]
        hit = after[:1] + before[-1:]
    for stmt, inside in hit:
        if isinstance(stmt, (ast.FunctionDef, ast.AsyncFunctionDef)):
            module.marked.add(_first(stmt))
            module.changed.add(stmt.name)
        elif inside:
            module.marked.add(stmt)
            module.changed |= _functions_around(module.shape.tree, stmt)
        else:
            module.tainted |= _stored(stmt)


def _first(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt:
    """Return the first statement of a function after its docstring."""
    body = function.body
    is_doc = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[1] if is_doc and len(body) > 1 else body[0]


def _own_lines(stmt: ast.stmt) -> range:
    """Return the lines of a statement without those of the statements inside it."""
    decorators = getattr(stmt, "decorator_list", [])
    start = min([stmt.lineno, *(one.lineno for one in decorators)])
    inner = [child.lineno for child in ast.iter_child_nodes(stmt) if isinstance(child, (ast.stmt, ast.ExceptHandler))]
    end = min(inner) if inner else (stmt.end_lineno or stmt.lineno) + 1
    return range(start, max(end, start + 1))


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield every statement with whether it is inside a function, in the order of the source."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[ast.stmt, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield child, inside
            yield from walk(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    return walk(tree, False)


def _functions_around(tree: ast.Module, stmt: ast.stmt) -> set[str]:
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(part is stmt for part in ast.walk(node))
    }


def _stored(stmt: ast.stmt) -> set[str]:
    """Return the names that a statement of a module gives a value."""
    if isinstance(stmt, (ast.ClassDef, ast.FunctionDef)):
        return {stmt.name}
    return {node.id for node in ast.walk(stmt) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


# --- what is made of it


def _spread(modules: Mapping[str, _Module]) -> None:
    """Follow what is tainted through assignments, functions called at import, and imports, until nothing is new."""
    before = -1
    while before != (now := sum(len(m.tainted) + len(m.changed) for m in modules.values())):
        before = now
        for module in modules.values():
            for theirs, name, ours in module.shape.imports:
                if theirs in modules and name in modules[theirs].tainted:
                    module.tainted.add(ours)
                if theirs in modules and name in modules[theirs].changed:
                    module.changed.add(ours)
            for top in module.shape.top:
                if top.loads & (module.tainted | module.changed):
                    (module.changed if top.is_function else module.tainted).update(top.stores)


def _imports(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name there, name here) of what comes from the pipeline's modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{_PACKAGE}."):
            for alias in node.names:
                yield (node.module or "").rpartition(".")[2], alias.name, alias.asname or alias.name


def _own_parts(stmt: ast.stmt) -> list[ast.AST]:
    """Return the parts of a statement that are no statements themselves."""
    if isinstance(stmt, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return []
    return [part for part in ast.iter_child_nodes(stmt) if not isinstance(part, (ast.stmt, ast.ExceptHandler))]


def _loaded(parts: Iterable[ast.AST]) -> frozenset[str]:
    """Return the names that parts of the tree load, attributes of names included: `shared_state.X`."""
    found = set()
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.add(node.attr)
    return frozenset(found)


# --- the markers


def _with_markers(module: _Module) -> tuple[ast.Module, int]:
    """Return a copy of the module's tree with a call of the marker before each marked statement, and their number."""
    tree, marked = copy.deepcopy((module.shape.tree, module.marked))
    put = 0
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and any(stmt in marked for stmt in body):
                made: list[ast.stmt] = []
                for stmt in body:
                    if stmt in marked:
                        made.append(ast.copy_location(_marker(), stmt))
                        put += 1
                    made.append(stmt)
                setattr(node, name, made)
    return ast.fix_missing_locations(tree), put


def _marker() -> ast.Expr:
    return ast.Expr(ast.Call(ast.Name(MARKER, ast.Load()), [], []))
