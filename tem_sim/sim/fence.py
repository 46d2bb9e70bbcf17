"""A fence around code under simulation: what would ask the real machine for time, chance, a thread or a socket raises.

It stands for the length of a watched run, and only in its sim threads. What counts is whose code calls: libraries may
look at a clock of their own, the pipeline may not, and neither may anything that is put in its place. The user's own
code is not fenced but redirected, see `own_code`.
"""

from __future__ import annotations

import datetime
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tem_sim.sim.own_code import Like, exchanging

if TYPE_CHECKING:
    from tem_sim.sim.kernel import Kernel

_here = threading.local()

# Who may ask the machine: the standard library, those through whom the store is reached, the simulator, and test tools.
_LIBRARIES = frozenset(
    {
        *sys.stdlib_module_names,
        *("sqlalchemy", "psycopg", "psycopg_binary", "psycopg_pool", "greenlet", "simpy", "numpy", "scipy", "pandas"),
        *("pydantic", "pydantic_core", "pytest", "_pytest", "coverage", "hypothesis", "tem_sim"),
    }
)
_FENCED = ("tem_sim.pipeline", "tem_sim.foreign")


class EscapeError(RuntimeError):
    """Code under simulation asked the real machine for time, chance, a thread or a socket; raised where it asked."""


class _Guard(NamedTuple):
    """The run in whose sim threads the fence stands, and the packages whose code is redirected instead."""

    kernel: Kernel
    roots: frozenset[str]


def _is_outside(module: str, guard: _Guard) -> bool:
    """Whether code of this module must not ask the machine."""
    if module.startswith(_FENCED):
        return True
    root = module.partition(".")[0]
    return root not in _LIBRARIES and root not in guard.roots


def _refuse(what: str, caller: str) -> None:
    """Raise if the caller is fenced code in a sim thread."""
    guard: _Guard | None = getattr(_here, "guard", None)
    if guard is None or guard.kernel.current is None or not _is_outside(caller, guard):
        return
    thread = guard.kernel.current
    raise EscapeError(
        f"{what} called by {caller} in {thread.name}: code under simulation takes time and chance as arguments"
    )


def _caller() -> str:
    return str(sys._getframe(2).f_globals.get("__name__", ""))


def _fence(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*args: Any, **more: Any) -> Any:
        _refuse(what, _caller())
        return real(*args, **more)

    ask.__name__ = ask.__qualname__ = getattr(real, "__name__", what)
    return ask


class _FencedDatetime(datetime.datetime, metaclass=Like):
    def __new__(cls, *args: Any, **more: Any) -> Any:
        return datetime.datetime(*args, **more)  # noqa: DTZ001  As aware as the caller makes it.

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        _refuse("datetime.now", _caller())
        return datetime.datetime.now(tz)

    @classmethod
    def utcnow(cls) -> Any:
        _refuse("datetime.utcnow", _caller())
        return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        _refuse("datetime.today", _caller())
        return datetime.datetime.now()  # noqa: DTZ005  What it means without a fence.


_RealRandom = random.Random


class _FencedRandom(_RealRandom, metaclass=Like):
    def __new__(cls, *args: Any, **more: Any) -> Any:
        if not args and not more:
            _refuse("random.Random without a seed", _caller())
        return _RealRandom(*args, **more)


_CLOCKS = ("sleep", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_DRAWS = tuple(name for name in random.__all__ if name not in ("Random", "SystemRandom", "setstate", "getstate"))
_NAMES: dict[Any, tuple[str, ...]] = {
    time: _CLOCKS,
    random: _DRAWS,
    uuid: ("uuid1", "uuid4"),
    os: ("urandom",),
    secrets: ("token_bytes", "token_hex", "token_urlsafe", "randbelow", "choice", "randbits"),
    socket: ("create_connection",),
    socket.socket: ("connect",),
    threading.Thread: ("start",),
}


@contextmanager
def fenced(kernel: Kernel | None, roots: frozenset[str] = frozenset()) -> Iterator[None]:
    """Let the fence stand around the sim threads of a kernel; None for no fence. `roots` are packages let through."""
    if kernel is None:
        yield
        return
    with exchanging():
        before, undo = getattr(_here, "guard", None), list[Callable[[], None]]()
        _here.guard = _Guard(kernel, roots)
        try:
            for owner, name, fake in _fakes():
                undo.append(_put(owner, name, fake))
            yield
        finally:
            for back in reversed(undo):
                back()
            _here.guard = before


def _fakes() -> Iterator[tuple[Any, str, object]]:
    """Yield what is put in the place of what; names that fenced modules have imported by themselves included."""
    stand_ins: dict[int, object] = {id(datetime.datetime): _FencedDatetime, id(_RealRandom): _FencedRandom}
    for owner, names in _NAMES.items():
        for name in names:
            real = getattr(owner, name)
            fake = _fence(f"{owner.__name__}.{name}", real)
            stand_ins[id(real)] = fake
            yield owner, name, fake
    yield random, "Random", _FencedRandom
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(_FENCED) and module is not None:
            for name, value in list(vars(module).items()):
                if id(value) in stand_ins:
                    yield module, name, stand_ins[id(value)]


def _put(owner: Any, name: str, fake: object) -> Callable[[], None]:
    """Put something in an attribute's place, and return how to take it back."""
    own = vars(owner)
    if name in own:
        real = own[name]
        setattr(owner, name, fake)
        return lambda: setattr(owner, name, real)
    # Inherited, as a socket's methods are.
    setattr(owner, name, fake)
    return lambda: delattr(owner, name)
