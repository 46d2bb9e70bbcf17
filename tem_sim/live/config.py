"""What every process of one live system must know, in one file that only its owner may read."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

# Names the file, in the environment of each process.
VARIABLE = "TEM_SIM_LIVE"
HOST = "127.0.0.1"
FILE = "live.json"

Pool = Literal["prefork", "threads"]


class Ports(BaseModel):
    """Where the parts listen, on loopback."""

    model_config = ConfigDict(frozen=True)

    api: int
    gateway: int
    downstream: int


class Limits(BaseModel):
    """What the API and the gateway take from outside."""

    model_config = ConfigDict(frozen=True)

    payload_bytes: int = 64 * 1024
    batch: int = 500
    requests: int = 200
    sockets: int = 10_000
    sockets_per_user: int = 5
    # Notifications that the gateway holds for one socket; what is more stays in the outbox until there is room.
    held_per_socket: int = 200
    # How long a socket may take to read what was sent before it is closed as too slow.
    slow_after_s: float = 10.0

    @staticmethod
    def of(scenario: Scenario) -> Limits:
        """Return the limits under which all that a scenario sends is taken."""
        usual = Limits()
        # A few bytes more than its padding are in each payload.
        payloads = [scenario.events.payload_bytes, *(getattr(one, "payload_bytes", 0) for one in scenario.faults)]
        most = max(usual.payload_bytes, max(payloads) + 1024)
        return usual.model_copy(update={"payload_bytes": most, "batch": max(usual.batch, scenario.api.batch)})


class LiveConfig(BaseModel):
    """One live system: its parts, where they are, and the scenario that says how they behave.

    `name` is unlike that of any other system: it is the prefix of its keys and channels in Redis and the application
    name of its connections. `secret` signs the users' tokens. `luck_seed` is the root of the handler's luck and of
    the jitter.
    """

    model_config = ConfigDict(frozen=True, ignored_types=(cached_property,))

    name: str
    folder: Path
    scenario_dict: dict[str, JsonValue]
    luck_seed: int
    store_url: str
    redis_url: str
    secret: str
    ports: Ports
    limits: Limits = Limits()
    pool: Pool = "prefork"

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario that the system was started with."""
        from tem_sim.scenario.models import Scenario

        return Scenario.model_validate(self.scenario_dict)

    @property
    def channel(self) -> str:
        """The Redis channel on which notifications are published."""
        return f"{self.name}:notifications"

    @property
    def api_url(self) -> str:
        """Where the Event API and the users' page are."""
        return f"http://{HOST}:{self.ports.api}"

    @property
    def gateway_url(self) -> str:
        """Where the users' sockets go."""
        return f"ws://{HOST}:{self.ports.gateway}"

    @property
    def file(self) -> Path:
        """Where this is kept."""
        return self.folder / FILE

    @property
    def temporary(self) -> Path:
        """Where its processes have their temporary files."""
        return self.folder / "tmp"

    def log_file(self, node: str) -> Path:
        """Return where a process writes what it does, a JSON document a line."""
        return self.folder / "logs" / f"{node}.jsonl"

    def ready_file(self, node: str) -> Path:
        """Return the file in which a process leaves its pid once it does its work."""
        return self.folder / "ready" / node

    def save(self) -> Path:
        """Write the file, and make the folders beside it."""
        for name in ("logs", "ready", self.temporary.name):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json(indent=1))
        return self.file

    @staticmethod
    def load(file: str | Path | None = None) -> LiveConfig:
        """Read the file; the one that the environment names when left out."""
        return LiveConfig.model_validate_json(Path(file or os.environ[VARIABLE]).read_text(encoding="utf-8"))
