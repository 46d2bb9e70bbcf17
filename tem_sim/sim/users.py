"""The users' clients: whether they are connected, what holds them up, and what each of them saw."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Notification


@dataclass(slots=True)
class Seen:
    """What one user's client knows of one notification."""

    user_id: int
    key: str | None
    first_s: float
    shown: int = 0
    received: int = 0


@dataclass(slots=True, eq=False)
class SlowReader:
    """A client that reads too slowly, and what the gateway holds for it meanwhile.

    What is more than `room` is dropped, or closes the socket. It reads one every `every_s`; None for none at all.
    """

    room: int
    closes: bool
    every_s: float | None
    waiting: deque[Notification] = field(default_factory=deque)
    reading: bool = False
    # Whether something was dropped that it has to be sent again once it has read the rest.
    behind: bool = False
    held: int = 0
    overflows: int = 0

    def forget(self) -> None:
        """Lose what was held, with the socket."""
        self.waiting.clear()
        self.reading = self.behind = False


@dataclass(slots=True)
class User:
    """One user's client: connected or not; a new session for each connection.

    `wants` to be connected unless away by choice; `comes_back` some time, if not now; `dialing` in a moment. `offline`
    counts the faults that keep it off the network, `misrouted` those that send what is for it to another gateway. A
    `half_open` socket takes what is sent and delivers nothing.
    """

    user_id: int
    connected: bool = False
    session: int = 0
    comes_back: bool = True
    wants: bool = False
    dialing: bool = False
    since_s: float = 0.0
    offline: int = 0
    misrouted: int = 0
    half_open: bool = False
    reader: SlowReader | None = None

    @property
    def reachable(self) -> bool:
        """Whether it is connected, or will be some time."""
        return self.connected or self.comes_back or self.dialing

    def connect(self, now: float) -> None:
        """Begin a session."""
        self.connected = True
        self.session += 1
        self.since_s = now

    def disconnect(self) -> None:
        """End the session; what is on its way is lost."""
        self.connected = self.half_open = False
        self.session += 1
        if self.reader is not None:
            self.reader.forget()
