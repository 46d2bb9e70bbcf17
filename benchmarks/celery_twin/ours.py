"""One run of our design, read as the twin's is: from the downstream's log and the users' sockets."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.celery_twin.outcome import Seen, check_struck
from tem_sim.live.logs import lines
from tem_sim.live.run import run_live
from tem_sim.pipeline.states import TERMINAL, State

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario


def run(scenario: Scenario, logs: Path | None = None) -> Seen:
    """Run the state machine under a scenario. Logs are kept in `logs`, if given."""
    with tempfile.TemporaryDirectory(prefix="tem-sim-twin-") as folder:
        kept = logs or Path(folder)
        done = run_live(scenario, keep=kept)
        if done.status != "complete":
            raise KeyboardInterrupt
        check_struck(scenario, int(done.faults["landed"].sum()))
        return _seen(done, kept)


def _seen(run: Run, logs: Path) -> Seen:
    status = dict(zip(run.events["event_id"].tolist(), run.events["status"].tolist(), strict=True))
    told = dict(zip(run.notifications["event_id"].tolist(), run.notifications["shown"].tolist(), strict=True))
    last_s = max(run.attempts["effect_s"].max(), run.notifications["delivered_s"].max())
    return Seen(
        accepted=_accepted(logs),
        given_up=frozenset(number for number, one in status.items() if one == State.EXTINCT),
        called=frozenset(line["n"] for line in _logged(logs, "downstream", "call")),
        effects=Counter(line["n"] for line in _logged(logs, "downstream", "effect")),
        told=told,
        left=Counter(number for number, one in status.items() if one not in TERMINAL),
        last_at_s=float(last_s),
    )


def _accepted(logs: Path) -> frozenset[int]:
    """Return the numbers of the events whose client was told that they were taken."""
    posted = [line for line in _logged(logs, "system", "posted") if line.get("status") in (200, 201)]
    return frozenset(number for line in posted for number in range(line["first"], line["first"] + line["events"]))


def _logged(logs: Path, node: str, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(logs / f"{node}.jsonl") if line["event"] == event]
