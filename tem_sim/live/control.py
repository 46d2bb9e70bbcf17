"""How the supervisor tells the downstream what goes wrong, over the port on which handlers call it."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig

TIMEOUT_S = 5.0


def control_key(config: LiveConfig) -> str:
    """Return what proves that a message is the supervisor's own."""
    return hmac.new(config.secret.encode(), b"downstream", hashlib.sha256).hexdigest()


def control(config: LiveConfig, name: str, **fields: Any) -> dict[str, Any]:
    """Send the downstream one message and return its answer.

    `outage` with `on` begins or ends an outage; outages may overlap. `fault` with `on`, `key` (what the fault's luck is
    named by: its number, and of a composite's part also the part's) and `fault` (the fault as JSON: flaky,
    downstream_slow or partial_effect) changes calls that begin while it is on. Both answer with `struck`: how many
    calls outages have refused so far, or this fault has changed. Raises OSError where there is no downstream, and
    ValueError for what it refuses.
    """
    from tem_sim.live.config import HOST

    message = {"control": name, "secret": control_key(config), **fields}
    with socket.create_connection((HOST, config.ports.downstream), timeout=TIMEOUT_S) as connection:
        connection.sendall(json.dumps(message).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer: dict[str, Any] = json.loads(stream.readline() or b'{"wrong": "no answer"}')
    if "wrong" in answer:
        raise ValueError(f"downstream: {answer['wrong']}")
    return answer
