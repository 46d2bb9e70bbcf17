"""The user's own code, found by its import path, `my_pkg.backoff:policy`, and the place of what it does wrong."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType

# What stands in a scenario: a module, a colon, and a name in it.
IMPORT_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"

_OWN = str(Path(__file__).parent.parent)
_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class ForeignError(ValueError):
    """Code of the user's that cannot be used; `word` and `known` are a name that is not there, and those that are."""

    def __init__(self, message: str, word: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.word, self.known = word, tuple(known)


def imported(path: str) -> object:
    """Return what `module:name` names; ForeignError when there is no such thing, with the place where it fails.

    The working directory is searched first, as `python -m` does it, and then all that Python searches.
    """
    if not re.fullmatch(IMPORT_PATTERN, path):
        raise ForeignError("must be module:name, such as my_pkg.backoff:policy")
    module_name, _, names = path.partition(":")
    found: object = _module(module_name)
    for name in names.split("."):
        if not hasattr(found, name):
            holder = f"{module_name} ({_shown(getattr(found, '__file__', None) or '')})" if _is_module(found) else "it"
            raise ForeignError(f"{holder} has no {name}", name, (n for n in dir(found) if not n.startswith("_")))
        found = getattr(found, name)
    return found


def _module(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    search_here()
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            where = f"in {os.getcwd()} and on Python's path"
            raise ForeignError(
                f"there is no module {error.name} ({where}); run from the folder that holds it"
            ) from None
        raise ForeignError(f"{name} cannot be imported: {error} ({place_of(error)})") from error
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}"
        raise ForeignError(f"{name} cannot be imported: {told} ({place_of(error)})") from error


def _is_module(found: object) -> bool:
    return isinstance(found, ModuleType)


def search_here() -> None:
    """Put the working directory in front of Python's path, where `python -m` has it and an installed command not."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def place(thing: object) -> str:
    """Return the file and line where a function, or an object's class, is defined: `my_pkg/backoff.py:12`."""
    found = thing.func if isinstance(thing, partial) else thing
    found = inspect.unwrap(found) if callable(found) else found
    code = getattr(getattr(found, "__func__", found), "__code__", None)
    if code is not None:
        return f"{_shown(code.co_filename)}:{code.co_firstlineno}"
    kind = found if isinstance(found, type) else type(found)
    try:
        return f"{_shown(inspect.getsourcefile(kind) or '')}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return f"{kind.__module__}.{kind.__qualname__}"


def place_of(error: BaseException) -> str:
    """Return the file and line in the user's code that an exception came from, or else where it came from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    frames = _frames(error.__traceback__)
    theirs = [frame for frame in frames if not frame[0].startswith((_OWN, "<"))]
    own = [frame for frame in theirs if not frame[0].startswith(_INSTALLED)]
    last = (own or theirs or frames or [("", 0)])[-1]
    return f"{_shown(last[0])}:{last[1]}"


def _frames(trace: TracebackType | None) -> list[tuple[str, int]]:
    return [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(trace)]


def _shown(file: str) -> str:
    """Return a file relative to the working directory, if it lies in it."""
    try:
        return str(Path(file).relative_to(os.getcwd()))
    except ValueError:
        return file
