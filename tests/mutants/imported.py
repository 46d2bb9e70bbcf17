"""Running patched code: everything that rests on a patched module is imported anew, the rest stays as it is.

In a process of its own, forked from one that has all heavy libraries and tem_sim itself loaded. So a mutant costs
some ten milliseconds, and no module keeps a name of the code as it was.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType, ModuleType

_ROOM = "tem_sim"


class Patched(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the import system the patched code of some modules."""

    def __init__(self, code: Mapping[str, CodeType]) -> None:
        self._code = code

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the patched modules, and nothing else."""
        if fullname not in self._code:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self._code[fullname].co_filename)

    def exec_module(self, module: ModuleType) -> None:
        """Run the patched code as the module's."""
        code = self._code[module.__name__]
        module.__file__ = code.co_filename
        exec(code, module.__dict__)


def install(code: Mapping[str, CodeType]) -> list[str]:
    """Put patched code in the place of the modules', for this process; return the modules to be imported anew."""
    rests = resting_on(code, _loaded())
    # The package itself stays, but for what it keeps of its table of contents.
    for name in set(vars(sys.modules[_ROOM])) & set(getattr(sys.modules[_ROOM], "_HOMES", ())):
        delattr(sys.modules[_ROOM], name)
    for name in rests:
        sys.modules.pop(name, None)
        parent, _, child = name.rpartition(".")
        # `from tem_sim.pipeline import claims` would find the old one there.
        if child in vars(sys.modules.get(parent, ModuleType(""))):
            delattr(sys.modules[parent], child)
    sys.meta_path.insert(0, Patched(code))
    return rests


def _loaded() -> dict[str, set[str]]:
    """Return the modules of tem_sim that are loaded, and what each of them imports, functions included."""
    return {
        name: _imports(Path(module.__file__), name)
        for name, module in sorted(sys.modules.items())
        if name.startswith(f"{_ROOM}.") and module.__file__ is not None
    }


_known: dict[tuple[str, float], set[str]] = {}


def _imports(path: Path, module: str) -> set[str]:
    key = (module, path.stat().st_mtime)
    if key not in _known:
        _known[key] = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in _names(node)
            if name.startswith(f"{_ROOM}.")
        }
    return _known[key]


def _names(node: ast.Import | ast.ImportFrom) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]


def learn() -> None:
    """Read the imports of what is loaded, once, in the process that others are forked from."""
    _loaded()


def resting_on(changed: Iterable[str], imports: Mapping[str, set[str]]) -> list[str]:
    """Return the modules that import a changed one, through however many others, and the changed ones."""
    rests = {name for name in changed if name in imports}
    grew = True
    while grew:
        more = {name for name, theirs in imports.items() if name not in rests and theirs & rests}
        rests |= more
        grew = bool(more)
    return sorted(rests)
