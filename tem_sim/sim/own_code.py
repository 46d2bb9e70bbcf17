"""The user's own code under simulated time: `time`, `random`, `uuid` and `datetime` mean the simulation's to it.

For the length of a run the functions that ask the machine for time are exchanged for ones that ask which sim thread
calls. Whoever is none, such as another thread of the process, gets the real ones. Chance is seeded anew at each call
and after each sleep, from streams named after event and attempt, so that it does not matter who else ran in between.
"""

from __future__ import annotations

import datetime
import inspect
import math
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from tem_sim.foreign.chance import seed_of
from tem_sim.foreign.imports import imported

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import ClaimedEvent
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.streams import Streams
    from tem_sim.sim.kernel import Kernel, SimThread

# One run at a time may exchange what the whole process shares; and one thread's chance is the only one it can seed.
_exchanging = threading.RLock()
_here = threading.local()


class OwnCodeError(Exception):
    """The user's code did what cannot be done under simulated time."""


@dataclass(slots=True)
class _Call:
    """A call of the handler that is under way, and how often it has slept."""

    event_id: int
    attempt_no: int
    slept: int = 0


class OwnCode:
    """What a run calls of the user's: the handler, if it is theirs, and the packages in which their code lies."""

    def __init__(
        self, kernel: Kernel, streams: Streams, handler: Callable[[ClaimedEvent], object] | None, roots: frozenset[str]
    ) -> None:
        self.kernel = kernel
        self.roots = roots
        self._handler = handler
        self._streams = streams
        self._calls: dict[SimThread, _Call] = {}

    @property
    def handles(self) -> bool:
        """Whether the handler is the user's."""
        return self._handler is not None

    def handle(self, event: ClaimedEvent) -> None:
        """Call the user's handler in the calling sim thread."""
        thread = self.kernel.current
        assert thread is not None
        assert self._handler is not None
        call = self._calls[thread] = _Call(event.event_id, event.attempt_no)
        self._seed(call)
        try:
            answer = self._handler(event)
        finally:
            self._calls.pop(thread, None)
        if inspect.isawaitable(answer):
            raise OwnCodeError(f"the handler returned {type(answer).__name__}, which nobody awaits")

    def sleep(self, thread: SimThread, seconds: float) -> None:
        """Let simulated time pass in the user's handler."""
        call = self._calls.get(thread)
        if call is None:
            raise OwnCodeError("time.sleep outside a handler: a policy decides, and does not wait")
        if math.isnan(seconds):
            raise ValueError("Invalid value NaN (not a number)")
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.kernel.sleep(float(seconds))
        call.slept += 1
        self._seed(call)

    def _seed(self, call: _Call) -> None:
        uniform = self._streams.uniform("own code", call.event_id, call.attempt_no, call.slept)
        random.seed(seed_of(uniform))
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(int(uniform * 2**32))


def own_code(scenario: Scenario, kernel: Kernel, streams: Streams) -> OwnCode | None:
    """Return what of the scenario is the user's own code; None when nothing is."""
    paths = [path for path in (scenario.handler.call, getattr(scenario.pipeline.backoff, "import_path", None)) if path]
    if not paths:
        return None
    handler: Any = imported(scenario.handler.call) if scenario.handler.call else None
    return OwnCode(kernel, streams, handler, frozenset(path.partition(":")[0].partition(".")[0] for path in paths))


# --- the functions that are exchanged


def _caller() -> tuple[OwnCode, SimThread] | None:
    """Return who asks, if it is a sim thread of the run in this OS thread."""
    own: OwnCode | None = getattr(_here, "own", None)
    thread = own.kernel.current if own is not None else None
    return None if own is None or thread is None else (own, thread)


def _sleep(seconds: float) -> None:
    asks = _caller()
    if asks is None:
        _REAL_SLEEP(seconds)
    else:
        asks[0].sleep(asks[1], seconds)


def _clock(real: Callable[[], Any], simulated: Callable[[OwnCode, SimThread], Any]) -> Callable[[], Any]:
    def ask() -> Any:
        asks = _caller()
        return real() if asks is None else simulated(*asks)

    ask.__name__ = ask.__qualname__ = real.__name__
    return ask


def _wall(own: OwnCode, thread: SimThread) -> float:
    return thread.node.clock.now()


def _steady(own: OwnCode, thread: SimThread) -> float:
    return own.kernel.now


def _wall_ns(own: OwnCode, thread: SimThread) -> int:
    return round(thread.node.clock.now() * 1e9)


def _steady_ns(own: OwnCode, thread: SimThread) -> int:
    return round(own.kernel.now * 1e9)


def _uuid(real: Callable[..., uuid.UUID], version: int) -> Callable[..., uuid.UUID]:
    def make(*args: Any, **more: Any) -> uuid.UUID:
        if _caller() is None:
            return real(*args, **more)
        return uuid.UUID(int=random.getrandbits(128), version=version)

    return make


class Like(type):
    """Makes a stand-in answer `isinstance` as the class that it stands for."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class SimDate(datetime.date, metaclass=Like):
    """`datetime.date`, but for what day it is; it makes real dates."""

    def __new__(cls, *args: Any, **more: Any) -> Any:
        return datetime.date(*args, **more)

    @classmethod
    def today(cls) -> Any:
        """Return the day of the node's clock; the run begins on 1 January 1970."""
        return SimDatetime.now().date()


class SimDatetime(datetime.datetime, metaclass=Like):
    """`datetime.datetime`, but for what time it is; it makes real datetimes."""

    def __new__(cls, *args: Any, **more: Any) -> Any:
        return datetime.datetime(*args, **more)  # noqa: DTZ001  As aware as the user's code makes it.

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """Return the time of the node's clock; without a time zone in UTC, wherever the machine stands."""
        asks = _caller()
        if asks is None:
            return datetime.datetime.now(tz)
        moment = datetime.datetime.fromtimestamp(_wall(*asks), tz or datetime.UTC)
        return moment if tz is not None else moment.replace(tzinfo=None)

    @classmethod
    def utcnow(cls) -> Any:
        """Return the time of the node's clock in UTC, without saying so."""
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        """Return the same as `now()`."""
        return cls.now()


def _like(module: ModuleType, **others: object) -> ModuleType:
    """Return a module with the same names, but for some."""
    made = ModuleType(module.__name__, module.__doc__)
    made.__dict__.update(module.__dict__, **others)
    return made


_REAL_SLEEP = time.sleep
# By module: what everybody finds there while a run with own code goes on.
_SHARED: dict[ModuleType, dict[str, object]] = {
    time: {
        "sleep": _sleep,
        "time": _clock(time.time, _wall),
        "time_ns": _clock(time.time_ns, _wall_ns),
        **{name: _clock(getattr(time, name), _steady) for name in ("monotonic", "perf_counter")},
        **{name: _clock(getattr(time, name), _steady_ns) for name in ("monotonic_ns", "perf_counter_ns")},
    },
    uuid: {"uuid1": _uuid(uuid.uuid1, 1), "uuid4": _uuid(uuid.uuid4, 4)},
}
# What only the user's own modules find instead: a class that others compare types with must stay what it is.
_THEIRS: dict[int, object] = {
    **{id(getattr(module, name)): fake for module, names in _SHARED.items() for name, fake in names.items()},
    id(datetime.datetime): SimDatetime,
    id(datetime.date): SimDate,
    id(datetime): _like(datetime, datetime=SimDatetime, date=SimDate),
}


class _Exchange(NamedTuple):
    """One name that means something else for the length of a run."""

    names: dict[str, Any]
    name: str
    real: object
    fake: object


@contextmanager
def exchanging() -> Iterator[None]:
    """Hold what the whole process shares, for as long as names in it mean something else."""
    with _exchanging:
        yield


@contextmanager
def simulated(own: OwnCode | None) -> Iterator[None]:
    """Let the user's code see the simulation's time and chance, for the length of a run."""
    if own is None:
        yield
        return
    with _exchanging:
        exchanges = list(_exchanges(own.roots))
        before, chance = getattr(_here, "own", None), random.getstate()
        numpys = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        _here.own = own
        for names, name, _, fake in exchanges:
            names[name] = fake
        try:
            yield
        finally:
            for names, name, real, _ in exchanges:
                names[name] = real
            _here.own = before
            random.setstate(chance)
            if numpys is not None:
                sys.modules["numpy"].random.set_state(numpys)


def _exchanges(roots: frozenset[str]) -> Iterator[_Exchange]:
    for module, fakes in _SHARED.items():
        yield from (_Exchange(vars(module), name, vars(module)[name], fake) for name, fake in fakes.items())
    for module_name, found in list(sys.modules.items()):
        if module_name.partition(".")[0] in roots and isinstance(found, ModuleType):
            for name, value in list(vars(found).items()):
                if id(value) in _THEIRS:
                    yield _Exchange(vars(found), name, value, _THEIRS[id(value)])
