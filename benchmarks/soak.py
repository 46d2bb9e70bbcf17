"""A soak: the shipped one again and again in one run, on real processes; what was lost, what came twice: `make soak`.

Needs PostgreSQL, whose URL is TEM_SIM_TEST_POSTGRESQL as for the tests, and a `redis-server` on PATH. Exits with 1 when
anything is lost, stuck or broken, or when a fault that was asked for did not land.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.host import described
from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.live.logs import lines
from tem_sim.live.run import run_live
from tem_sim.scenario.loader import load
from tem_sim.scenario.models import Scenario

SHIPPED = Path(__file__).parents[1] / "scenarios" / "live_soak.yaml"
STORE = os.environ.get("TEM_SIM_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
# From one round to the next: all events of the shipped soak have come by then, and its faults are over.
ROUND_S = 60.0
# So many come in each. One that had not reached the API by the end of the run is in none of its frames.
EVENTS = 2_000
PACKAGES = ("celery", "kombu", "redis", "psycopg", "sqlalchemy", "fastapi", "uvicorn", "websockets")


def soak_scenario(rounds: int) -> Scenario:
    """Return the shipped soak, so many times one after the other in one run, and healed once, in the end."""
    shipped = load(SHIPPED)
    assert shipped.heal_at_s is not None
    later_s = [number * ROUND_S for number in range(rounds)]
    changed = {
        "scenario": f"live_soak x {rounds}",
        "arrivals": [_shifted(one.resolved(), by_s) for by_s in later_s for one in shipped.arrivals],
        "faults": [_shifted(one.resolved(), by_s) for by_s in later_s for one in shipped.faults],
        "heal_at": shipped.heal_at_s + later_s[-1],
        "horizon": shipped.horizon_s + later_s[-1],
    }
    return Scenario.model_validate(shipped.resolved() | changed)


def _shifted(part: dict[str, Any], by_s: float) -> dict[str, Any]:
    times = ("at", "from", "until")
    return {key: value + by_s if key in times and value is not None else value for key, value in part.items()}


def struck(run: Run) -> dict[str, int]:
    """Return how often each kind of fault landed; a cut of all connections is one, however many nodes had some."""
    landed = run.faults[run.faults.landed > 0]
    strikes = Counter(landed.kind.astype(str))
    strikes["connections_dropped"] = landed[landed.kind == "connections_dropped"].fault_id.nunique()
    return dict(strikes)


def asked_for(rounds: int) -> dict[str, int]:
    """Return how often each kind of fault should land."""
    once = {"worker_death": 20, "broker_restart": 3, "connections_dropped": 3, "gateway_disconnect": 2}
    return {kind: rounds * count for kind, count in once.items()}


def figures(run: Run, logs: Path, wall_s: float) -> dict[str, Any]:
    """Return all that the soak came to, as plain JSON."""
    found, told = metrics(run), run.notifications
    effects = Counter(line["n"] for line in lines(logs / "downstream.jsonl") if line["event"] == "effect")
    names = ("lost_events", "rejected_submissions", "stuck_rows", "lost_notifications", "duplicate_notifications")
    return {
        "events": len(run.events),
        "ended": {str(state): count for state, count in Counter(run.events.status).items()},
        **{name: int(found[name]) for name in names},
        "illegal_edges": sum(one.n_rows for one in run_checks(run, ["legal_edges"])),
        "checks_broken": [one.name for one in run_checks(run) if one.verdict == "false"],
        "attempts": len(run.attempts),
        "attempts_lost_with_their_worker": int((run.attempts.outcome == "lost").sum()),
        "effects_again": int(found["duplicate_effects"]),
        "effects_again_by_the_downstream": sum(effects.values()) - len(effects),
        "notifications_again_suppressed": int((told.received - told.shown).sum()),
        "latency_p50_s": round(float(found["latency_p50_s"]), 3),
        "latency_p99_s": round(float(found["latency_p99_s"]), 3),
        "run_s": round(run.end_s, 1),
        "wall_s": round(wall_s, 1),
        "faults": struck(run),
    }


def is_well(found: Mapping[str, Any], rounds: int) -> bool:
    """Whether nothing was lost, every repeat is known, and every fault landed."""
    nothing = ("lost_events", "rejected_submissions", "stuck_rows", "lost_notifications", "duplicate_notifications")
    return (
        found["ended"] == {"PROCESSED": rounds * EVENTS}
        and not any(found[name] for name in (*nothing, "illegal_edges", "checks_broken"))
        and found["effects_again"] == found["effects_again_by_the_downstream"]
        and found["faults"] == asked_for(rounds)
    )


def main() -> None:
    """Run, print, and keep the run, its logs and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="each has 2 000 events and takes 60 s")
    parser.add_argument("--store", default=STORE)
    parser.add_argument("--out", type=Path, default=Path("reports/soak"))
    args = parser.parse_args()
    logs = args.out / "logs"
    logs.mkdir(parents=True, exist_ok=False)
    began = time.monotonic()
    run = run_live(soak_scenario(args.rounds), store=args.store, keep=logs, progress=_tell)
    found = figures(run, logs, time.monotonic() - began)
    run.save(args.out / "run")
    host = described(PACKAGES) | {name: run.versions[name] for name in ("postgresql", "redis", "python")}
    document = {"measured": time.strftime("%Y-%m-%d", time.gmtime()), "host": host, "soak": found}
    (args.out / "soak.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for name, value in {**host, **found}.items():
        print(f"{name:32} {value}")
    sys.exit(0 if is_well(found, args.rounds) else 1)


def _tell(now_s: float, horizon_s: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{now_s:6.0f} of at most {horizon_s:.0f} s", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
