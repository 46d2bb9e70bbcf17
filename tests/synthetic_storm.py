"""A storm of any size as a Run, made with numpy alone: for plots and for timing what reads frames.

All events arrive within the first second of an outage, fail, back off up to 10, 20, 40 … s, and are served in
order at a fixed rate. No pipeline ran, but all frames agree with each other as if one had.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from frame_builder import SCENARIO

from tem_sim.frames import SCHEMAS, Run, conform, digest, empty

Columns = dict[str, Any]


def storm(events: int = 2000, outage_s: float = 60.0, rate_per_s: float = 400.0, retries: int = 5) -> Run:
    """Return a run in which all fail until the outage is over; `retries` + 1 failures make an event EXTINCT."""
    rng = np.random.default_rng(1)
    ids = np.arange(1, events + 1)
    submitted_s = np.round(np.sort(rng.random(events)), 6)
    due_s, alive = submitted_s.copy(), np.ones(events, dtype=bool)
    attempts: list[pd.DataFrame] = []
    log = [_steps(ids, submitted_s, "", "QUEUED", "submit", "api", 0, 0)]
    status = np.full(events, "QUEUED", dtype=object)
    finished_s = np.full(events, np.nan)
    failures = np.zeros(events, dtype=int)
    for number in range(1, retries + 2):
        who = np.flatnonzero(alive)[np.argsort(due_s[alive], kind="stable")]
        claimed = np.round(_served_s(due_s[who], rate_per_s), 6)
        ended = np.round(claimed + 0.02, 6)
        bad = claimed < outage_s
        last = number == retries + 1
        delay = np.round(10.0 * 2 ** (number - 1) * rng.random(len(who)), 6)
        workers = np.array(["worker-1", "worker-2"])[ids[who] % 2]
        log.append(_steps(ids[who], claimed, "QUEUED", "PROCESSING", "claim", workers, number, number - 1))
        log.append(
            _steps(
                ids[who[~bad]],
                ended[~bad],
                "PROCESSING",
                "PROCESSED",
                "ok",
                workers[~bad],
                number,
                number - 1,
            )
        )
        to, cause = ("EXTINCT", "exhausted") if last else ("FAILED", "error")
        log.append(_steps(ids[who[bad]], ended[bad], "PROCESSING", to, cause, workers[bad], number, number))
        attempts.append(
            pd.DataFrame(
                {
                    "event_id": ids[who],
                    "attempt_no": number,
                    "worker": workers,
                    "claimed_s": claimed,
                    "started_s": claimed,
                    "finished_s": ended,
                    "outcome": np.where(bad, "error", "ok"),
                    "error": np.where(bad, "Refused", None),
                    "delay_s": np.where(bad & (not last), delay, np.nan),
                    "effect_s": np.where(bad, np.nan, ended),
                }
            )
        )
        failures[who[bad]] += 1
        status[who] = np.where(bad, to, "PROCESSED")
        finished_s[who] = np.where(bad & (not last), np.nan, ended)
        alive[who] = bad & (not last)
        due_s[who] = np.round(np.ceil(ended + delay), 6)
        again = who[bad] if not last else who[:0]
        log.append(_steps(ids[again], due_s[again], "FAILED", "QUEUED", "retry", "beat", number, number))
    return _run(ids, submitted_s, status, failures, finished_s, attempts, log, outage_s)


def _served_s(due_s: np.ndarray[Any, Any], rate_per_s: float) -> np.ndarray[Any, Any]:
    """Return when each of these, first come first served at a fixed rate, gets its turn."""
    turns = np.arange(len(due_s)) / rate_per_s
    return np.asarray(np.maximum.accumulate(due_s - turns) + turns)


def _steps(ids: Any, at_s: Any, before: str, after: str, cause: str, actor: Any, number: int, count: int) -> Columns:
    labels = {"before": before, "after": after, "cause": cause, "actor": actor}
    return {"event_id": ids, "at_s": at_s, **labels, "attempt_no": number, "retry_count": count}


def _run(
    ids: Any, submitted_s: Any, status: Any, failures: Any, finished_s: Any, attempts: Any, log: Any, outage_s: float
) -> Run:
    steps = pd.concat([pd.DataFrame(step) for step in log], ignore_index=True)
    steps["seq"] = np.arange(len(steps))
    tries = pd.concat(attempts, ignore_index=True)
    done = status == "PROCESSED"
    used = np.bincount(tries["event_id"], minlength=len(ids) + 1)[1:]
    fault = {"fault_id": [0], "kind": ["outage"], "target": ["handler"], "start_s": [0.0], "end_s": [outage_s]}
    fault |= {"landed": [1], "detail": [""], "shade": ["tab:red"]}
    made: dict[str, Any] = {
        "events": _events(ids, submitted_s, status, failures, used, finished_s),
        "attempts": tries,
        "transitions": steps,
        "notifications": _notifications(ids[done], finished_s[done] + 0.2),
        "faults": fault,
    }
    frames: dict[str, Any] = {name: conform(name, made[name]) if name in made else empty(name) for name in SCHEMAS}
    backoff = {"growth": "exponential", "base": 10, "factor": 2, "jitter": "full", "max_retries": 5}
    return Run(
        scenario_dict={**SCENARIO, "scenario": "storm", "pipeline": {**SCENARIO["pipeline"], "backoff": backoff}},
        seed=1,
        mode="sim",
        status="complete",
        store="none",
        end_s=float(np.nanmax(finished_s)) + 1.0,
        digest=digest(frames["transitions"]),
        **frames,
    )


def _events(ids: Any, submitted_s: Any, status: Any, failures: Any, used: Any, finished_s: Any) -> Columns:
    return {
        "event_id": ids,
        "user_id": ids,
        "kind": ["normal"] * len(ids),
        "submitted_s": submitted_s,
        "status": status,
        "retry_count": failures,
        "crash_count": np.zeros_like(ids),
        "attempt_no": used,
        "replay_count": np.zeros_like(ids),
        "next_retry_s": np.full(len(ids), np.nan),
        "finished_s": finished_s,
        "last_error": np.where(status == "PROCESSED", None, "Refused"),
    }


def _notifications(ids: Any, told_s: Any) -> Columns:
    once = np.ones(len(ids), dtype=int)
    keys = [f"event-{number}" for number in ids]
    times = dict.fromkeys(("created_s", "published_s", "acked_s", "delivered_s"), told_s)
    return {"event_id": ids, "user_id": ids, "dedupe_key": keys, **times, "shown": once, "received": once}
