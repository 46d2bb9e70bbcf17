"""All processes of one live system: started in order, tended, struck, and stopped without a trace."""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tem_sim.live.child import Child, NodeState
from tem_sim.live.config import HOST, VARIABLE, Limits, LiveConfig, Pool, Ports
from tem_sim.live.logs import Log
from tem_sim.live.own_redis import OwnRedis, redis_server
from tem_sim.live.warden import Warden, wait_until_gone

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

# How long a process may take until it does its work: a machine may be busy with others.
READY_WITHIN_S = 90.0
# How often it may die on the way.
DEATHS_BORNE = 1
# How long processes have to end by themselves when all is stopped.
GRACE_S = 5.0
# When a process that nobody has killed is started again; workers have a setting for it.
RESTART_AFTER_S = 1.0
TEND_EVERY_S = 0.05
REDIS = "redis"


class SystemBrokeError(Exception):
    """A part of the system does not come up, or does not stay; the message says which, and its last words."""


class System:
    """One live system. Use it as a context: whatever happens inside, nothing of it is left behind.

    `store_url` names a store whose tables are there by the time it starts; a file in its folder when left out. Without
    `redis_url` it has a Redis of its own. The folder with its config and logs goes with it, unless one is given or
    `keep_folder` is set; logs are kept that go to a folder of their own, `logs`. `between` is called again and again
    while nodes are waited for; what it raises ends that. With `drops_schema` the store's schema, which `own_schema` has
    made, goes as well when this process dies.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        store_url: str | None = None,
        redis_url: str | None = None,
        luck_seed: int | None = None,
        pool: Pool = "prefork",
        folder: Path | None = None,
        logs: Path | None = None,
        ports: Ports | None = None,
        durable_redis: bool | None = None,
        between: Callable[[], object] = lambda: None,
        drops_schema: bool = False,
    ) -> None:
        # What may fail comes before what would have to be removed.
        if not redis_url:
            redis_server()
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
        self.keep_folder = folder is not None
        self.folder = Path(tempfile.mkdtemp(prefix="tem-sim-live-")) if folder is None else folder
        durable = scenario.broker.durable if durable_redis is None else durable_redis
        *three, redis_port = free_ports(4, besides=[] if ports is None else [*ports.model_dump().values()])
        self.redis = (
            OwnRedis(self.folder, redis_port, secrets.token_hex(16), durable=durable) if not redis_url else None
        )
        self.config = LiveConfig(
            name=f"tem-live-{secrets.token_hex(4)}",
            folder=self.folder,
            scenario_dict=scenario.resolved(),
            luck_seed=secrets.randbits(32) if luck_seed is None else luck_seed,
            store_url=store_url or f"sqlite:///{self.folder / 'store.db'}",
            redis_url=redis_url or (self.redis.url if self.redis else ""),
            secret=secrets.token_hex(32),
            ports=ports or Ports(api=three[0], gateway=three[1], downstream=three[2]),
            limits=Limits.of(scenario),
            pool=pool,
        )
        self._reserved = reserve(*self.config.ports.model_dump().values(), *([redis_port] if self.redis else []))
        if logs is not None:
            (self.folder / "logs").symlink_to(logs.resolve(), target_is_directory=True)
        self.config.save()
        self.log = Log(self.config.log_file("system"), "system")
        self.children: dict[str, Child] = {}
        self._between = between
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._restart_at: dict[str, float] = {}
        self._warden = Warden()
        if not self.keep_folder:
            self._warden.tell("folder", self.folder)
        if drops_schema:
            self._warden.tell("schema", self.config.store_url)
        self._tender = threading.Thread(target=self._tend, name="tender", daemon=True)
        if self.redis is not None:
            self._add(REDIS, self.redis.command, self._redis_answers)
        workers = [f"worker-{number}" for number in range(1, scenario.workers.count + 1)]
        for name in ("downstream", "api", "gateway", "maintenance", *workers, "beat"):
            self.add_node(name)

    def add_node(self, name: str) -> None:
        """Add a node, such as a second scheduler, that is down until it is started."""
        file = self.config.ready_file(name)
        command = [sys.executable, "-m", "tem_sim.live.node", name]
        with self._lock:
            self._add(name, command, lambda pid: file.exists() and file.read_text(encoding="utf-8") == str(pid))

    def _add(self, name: str, command: Sequence[str], is_ready: object) -> None:
        output = self.folder / "logs" / f"{name}.out"
        # What its nodes have in temporary files goes with the system's folder, also when they are killed.
        env = {VARIABLE: str(self.config.file), "TMPDIR": str(self.config.temporary)}
        self.children[name] = Child(name, command, output, is_ready, self._warden, env)  # type: ignore[arg-type]

    def _redis_answers(self, _pid: int) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        try:
            with Redis.from_url(self.config.redis_url, socket_timeout=0.5, socket_connect_timeout=0.5) as client:
                return bool(client.ping())
        except RedisError:
            return False

    # --- starting and stopping

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start every node and wait until all do their work; raise `SystemBrokeError` if one does not."""
        self._tender.start()
        if REDIS in self.children:
            self.start_node(REDIS)
            self.wait_for([REDIS])
        for name in self.children:
            self.start_node(name)
        self.wait_for(list(self.children))

    def wait_for(self, names: Sequence[str], within_s: float = READY_WITHIN_S) -> None:
        """Wait until these nodes do their work; raise `SystemBrokeError` with the last words of one that does not."""
        until = time.monotonic() + within_s
        deaths = {name: self.children[name].deaths for name in names}
        for name in names:
            child = self.children[name]
            while child.state != "up":
                self._between()
                if child.deaths - deaths[name] > DEATHS_BORNE:
                    raise SystemBrokeError(f"{name} ends with code {child.exit_code}\n{child.last_words()}")
                if time.monotonic() > until:
                    raise SystemBrokeError(f"{name} is not ready after {within_s:g} s\n{child.last_words()}")
                time.sleep(0.02)

    def close(self) -> None:
        """Stop everything, and remove the folder unless it is to be kept. Twice does no harm."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._tender.is_alive():
            self._tender.join()
        with self._lock:
            groups = [child.pid for child in self.children.values() if child.pid is not None]
            for name in ("beat", "", REDIS):
                self._end([child for child in self.children.values() if _goes_with(child.name) == name])
            wait_until_gone(groups)
        for one in self._reserved:
            one.close()
        if self.keep_folder:
            shutil.rmtree(self.config.temporary, ignore_errors=True)
            self._warden.tell("keep", self.folder)
        # Whoever has made it a schema of its own drops that now.
        self._warden.tell("keep", self.config.store_url)
        self._warden.close()

    def _end(self, children: Sequence[Child]) -> None:
        """Let these end by themselves, all at the same time; kill those that take too long."""
        for child in children:
            child.terminate()
        until = time.monotonic() + GRACE_S
        for child in children:
            child.ended(max(0.0, until - time.monotonic()))
            child.kill()

    def nodes(self) -> list[NodeState]:
        """Return what every node is at present, in the order in which they are started."""
        with self._lock:
            return [child.at_present() for child in self.children.values()]

    # --- what can be done to a node

    def kill(self, name: str) -> None:
        """Kill a node as SIGKILL does, its children too; nobody starts it again but who calls `start_node`."""
        with self._lock:
            self._restart_at.pop(name, None)
            self.children[name].kill()
            self.log.note("killed", name=name)

    def stop(self, name: str, grace_s: float) -> bool:
        """Ask a node to end (SIGTERM), and kill it after the grace; return whether it ended by itself."""
        child = self.children[name]
        with self._lock:
            child.held += 1
            child.terminate()
        by_itself = child.ended(grace_s)
        with self._lock:
            child.held -= 1
            self.kill(name)
        return by_itself

    def start_node(self, name: str) -> None:
        """Start a node that is down and that nothing holds down; one that runs stays as it is."""
        with self._lock:
            child = self.children[name]
            if self._closed.is_set() or child.held or child.pid is not None:
                return
            self.config.ready_file(name).unlink(missing_ok=True)
            child.start()
            self._restart_at.pop(name, None)
            self.log.note("started", name=name, child_pid=child.pid)

    def pause(self, name: str) -> None:
        """Freeze a node and all its processes (SIGSTOP)."""
        with self._lock:
            self.children[name].pause()

    def resume(self, name: str) -> None:
        """Let a frozen node go on (SIGCONT)."""
        with self._lock:
            self.children[name].resume()

    @contextmanager
    def held_down(self, name: str) -> Iterator[None]:
        """Kill a node and keep it from being started again inside of the context; then start it."""
        with self._lock:
            self.children[name].held += 1
            self.kill(name)
        try:
            yield
        finally:
            with self._lock:
                self.children[name].held -= 1
                self.start_node(name)

    # --- tending

    def _tend(self) -> None:
        """Start again what has died without being asked to, as a supervisor does."""
        while not self._closed.wait(TEND_EVERY_S):
            try:
                with self._lock:
                    self._tend_once()
            except OSError as error:
                # As of a machine that has no process or file left to give: next time there may be one.
                self.log.note("tend_failed", error=f"{type(error).__name__}: {error}")
                self._closed.wait(RESTART_AFTER_S)

    def _tend_once(self) -> None:
        for name, child in self.children.items():
            if not child.held and child.found_dead() is not None:
                self._plan_restart(name, child)
        due = [name for name, at in self._restart_at.items() if at <= time.monotonic()]
        for name in due:
            self.start_node(name)

    def _plan_restart(self, name: str, child: Child) -> None:
        self.log.note("died", name=name, code=child.exit_code)
        after_s: float | None = RESTART_AFTER_S
        if name.startswith("worker-"):
            after_s = self.config.scenario.workers.restart_after_s
        if after_s is not None:
            self._restart_at[name] = time.monotonic() + after_s


def _goes_with(name: str) -> str:
    """Return when a node is stopped: schedulers first, Redis last, since the others cannot end well without it."""
    return name.partition("-")[0] if name.startswith("beat") or name == REDIS else ""


def reserve(*ports: int) -> list[socket.socket]:
    """Keep others from being given these ports of loopback until the returned sockets are closed.

    A server that sets SO_REUSEADDR, as all of ours do, listens on them all the same; while none does, connections are
    refused. Else a system that starts at the same time may be given a port before it is listened on here, or while its
    node is down. Where a second socket cannot be bound like that (other than Linux), and of a port that is taken,
    nothing is reserved.
    """
    reserved = list[socket.socket]()
    for port in ports if sys.platform == "linux" else ():
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            # Whoever is to listen there says so.
            one.close()
        else:
            reserved.append(one)
    return reserved


def free_ports(count: int, besides: Collection[int | None] = ()) -> list[int]:
    """Return so many different ports of loopback, none of `besides`, that nobody listens on at this moment."""
    found = list[int]()
    with ExitStack() as sockets:
        while len(found) < count:
            one = sockets.enter_context(socket.socket())
            one.bind((HOST, 0))
            if one.getsockname()[1] not in besides:
                found.append(one.getsockname()[1])
    return found
