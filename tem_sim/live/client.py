"""One user's client: its socket, whether it may have one, and what keeps it from reading."""

from __future__ import annotations

import asyncio
import socket as sockets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tem_sim.scenario.streams import Streams

# The first byte of what Linux tells of a TCP connection is its state; 1 is one on which both ends are still there.
_ESTABLISHED = 1


@dataclass(slots=True)
class Seen:
    """What one user's client knows of one notification."""

    user_id: int
    key: str | None
    first_s: float
    shown: int = 0
    received: int = 0


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True, eq=False)
class Client:
    """One user's client. Its methods belong to the event loop of its socket, and return how much they hit.

    `wants` to be connected unless away by choice; `comes_back` some time, if not now. `offline` counts the faults that
    keep it off the network. It `reads` unless it is half-open, or so slow that it reads nothing.
    """

    user_id: int
    wants: bool = False
    comes_back: bool = False
    session: int = 0
    tries: int = 0
    token: str | None = None
    socket: ClientConnection | None = None
    offline: int = 0
    read_every_s: float | None = None
    may_dial: asyncio.Event = field(default_factory=_set)
    reads: asyncio.Event = field(default_factory=_set)
    _within_s: float | None = None
    _dropped: bool = False
    _half_open: bool = False
    _receiving: asyncio.Task[str | bytes] | None = None

    def connect(self, socket: ClientConnection) -> None:
        """Begin a session."""
        self.socket = socket
        self.session += 1
        self._within_s = None

    def disconnect(self, socket: ClientConnection) -> None:
        """End the session of this socket."""
        if self.socket is socket:
            self.socket = None
            # Numbered as in the simulator, where luck goes by it.
            self.session += 1
            if self._half_open:
                self._half_open = False
                self.reads.set()

    async def receive(self, socket: ClientConnection) -> str | bytes | None:
        """Wait for a message; return None when it stops reading meanwhile. Raise ConnectionClosed at the end."""
        self._receiving = asyncio.ensure_future(socket.recv())
        try:
            await asyncio.wait({self._receiving})
        finally:
            self._receiving.cancel()
        return None if self._receiving.cancelled() else self._receiving.result()

    def _stop_reading(self) -> None:
        self.reads.clear()
        # It would wait for ever for what it does not read, and not notice the end of its socket.
        if self._receiving is not None:
            self._receiving.cancel()

    def abort(self) -> int:
        """Hang up without a word."""
        if self.socket is None:
            return 0
        # A transport that was told not to read does not notice its own end.
        self.socket.transport.resume_reading()
        self.socket.transport.abort()
        return 1

    def wait_s(self, streams: Streams, within_s: float) -> float:
        """Return how long to wait before it dials: its own share of the time in which all do."""
        within_s = within_s if self._within_s is None else self._within_s
        return within_s * streams.uniform("redial", self.user_id, self.session, self.tries)

    # --- what faults do

    def drop(self) -> int:
        """Lose the socket, and do not dial."""
        self._dropped = True
        self._may_or_not()
        return self.abort()

    def let_dial(self, within_s: float) -> int:
        """Dial again, within this time."""
        self._dropped = False
        self.redial_later(within_s)
        self._may_or_not()
        return 0

    def go_offline(self) -> int:
        """Be off the network, which the gateway notices at once."""
        self.offline += 1
        self._may_or_not()
        return self.abort()

    def go_dark(self) -> int:
        """Be off the network, which the gateway does not notice: nothing is read, and no ping answered."""
        self.offline += 1
        self._may_or_not()
        if self.socket is None:
            return 0
        self._half_open = True
        self._stop_reading()
        self.socket.transport.pause_reading()
        return 1

    def go_online(self, within_s: float) -> int:
        """Reach the network again, as far as this fault is concerned."""
        self.offline -= 1
        self.redial_later(within_s)
        self._may_or_not()
        return 0

    def slow_down(self, read_every_s: float | None) -> int:
        """Read one message every so often; None for none at all."""
        self.read_every_s = read_every_s
        if read_every_s is None:
            self._stop_reading()
        return int(self.socket is not None)

    def speed_up(self) -> int:
        """Read as it used to; return how many messages are known to wait."""
        self.read_every_s = None
        if not self._half_open:
            self.reads.set()
        return 0 if self.socket is None else len(self.socket.recv_messages.frames)

    def redial_later(self, within_s: float) -> int:
        """Let it take up to so long until it dials, the next time."""
        self._within_s = within_s
        return 0

    def is_open(self) -> bool:
        """Return whether the other end is still there: what is known of it without reading."""
        if self.socket is None:
            return False
        raw = self.socket.transport.get_extra_info("socket")
        try:
            state: int = raw.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, 1)[0]
        except OSError:
            return False
        return state == _ESTABLISHED

    def _may_or_not(self) -> None:
        if self._dropped or self.offline:
            self.may_dial.clear()
        else:
            self.may_dial.set()
