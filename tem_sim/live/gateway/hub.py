"""Who is connected, and whose a notification is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tem_sim.live.gateway.protocol import Close, RefusedError

if TYPE_CHECKING:
    from tem_sim.live.config import Limits
    from tem_sim.live.gateway.connection import Connection
    from tem_sim.pipeline.ports import Notification


class Hub:
    """The connections by user. A notification goes to those of its user, and to no other."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_user: defaultdict[int, set[Connection]] = defaultdict(set)
        # Those that have not said whose they are count as well.
        self._sockets = 0

    def __iter__(self) -> Iterator[Connection]:
        for connections in self._by_user.values():
            yield from connections

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._by_user.get(connection.user_id, ())

    @property
    def connected(self) -> int:
        """How many sockets there are whose user is known."""
        return sum(map(len, self._by_user.values()))

    @property
    def users(self) -> int:
        """How many users have a socket."""
        return len(self._by_user)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a socket for as long as it is open; raise `RefusedError` when there are too many."""
        if self._sockets >= self._limits.sockets:
            raise _too_many("the gateway", self._limits.sockets)
        self._sockets += 1
        try:
            yield
        finally:
            self._sockets -= 1

    @contextmanager
    def joined(self, connection: Connection) -> Iterator[None]:
        """Deliver to a connection while the block runs; raise `RefusedError` when its user has too many."""
        mine = self._by_user[connection.user_id]
        if len(mine) >= self._limits.sockets_per_user:
            raise _too_many("this user", self._limits.sockets_per_user)
        mine.add(connection)
        try:
            yield
        finally:
            mine.discard(connection)
            if not mine:
                del self._by_user[connection.user_id]

    def deliver(self, note: Notification) -> None:
        """Offer a notification to its user's sockets."""
        for connection in self._by_user.get(note.user_id, ()):
            connection.offer(note)

    def of_users(self, connections: Iterable[Connection]) -> dict[int, list[Connection]]:
        """Return those of the connections that are here still, by user in ascending order."""
        found = defaultdict(list)
        for connection in connections:
            if connection in self:
                found[connection.user_id].append(connection)
        return dict(sorted(found.items()))


def _too_many(who: str, limit: int) -> RefusedError:
    return RefusedError(Close.TOO_MANY, f"{who} has {limit} sockets, as many as are allowed")
