"""From a live system that has stopped to the frames of its run: the store's rows, the logs, the clients, the gauges."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from tem_sim.collect import Observed, collect
from tem_sim.frames import conform
from tem_sim.live.told import told_by
from tem_sim.pipeline.tables import event_table

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.live.clients import Clients
    from tem_sim.live.config import LiveConfig
    from tem_sim.live.load import LoadGenerator
    from tem_sim.pipeline.store import Store

# The API keeps a user's key under the user's id.
OURS = re.compile(r"(?:^|:)event-(\d+)$")
# Frames in which an event is named, and the column that names it.
_NAMED = {
    "events": "event_id",
    "attempts": "event_id",
    "transitions": "event_id",
    "notifications": "event_id",
    "wakeups": "first_id",
}
_IN_ORDER = {
    "events": ["event_id"],
    "attempts": ["event_id", "attempt_no"],
    "notifications": ["event_id"],
}


def frames_of(
    config: LiveConfig,
    store: Store,
    clients: Clients,
    load: LoadGenerator,
    *,
    samples: Sequence[tuple[float, str, float]],
    faults: Sequence[Any],
    start_s: float,
    end_s: float,
) -> dict[str, pd.DataFrame]:
    """Return every frame, with events named by the numbers of their arrivals; times come in since the epoch."""
    told = told_by(config.folder / "logs", ack_early=config.scenario.broker.ack == "early")
    numbers = _numbers(store)
    counts = {
        **load.submissions(set(numbers.values())),
        "database_statements": told.statements,
        "database_transactions": told.transactions,
        **({"tasks_failed": told.failed_tasks} if told.failed_tasks else {}),
    }
    observed = Observed(
        effects=told.effects,
        abandoned=told.calls,
        deliveries=clients.deliveries(),
        samples=[
            *sorted(one for one in (*samples, *told.gauges) if start_s <= one[0] <= end_s),
            *((start_s + at, "submissions_sent_per_s", float(n)) for at, n in load.sent_per_s()),
            *((end_s, name, float(count)) for name, count in counts.items()),
        ],
        wakeups=[row for row in told.wakeups if start_s <= row[0] <= end_s],
        messages=_until(told.messages, end_s),
        faults=faults,
    )
    frames = collect(store, observed, start_s=start_s, end_s=end_s)
    return {name: _named(name, frame, numbers) for name, frame in frames.items()}


def _numbers(store: Store) -> dict[int, int]:
    """Return the number of the arrival that each event of the store is; what nobody of ours has sent comes last."""
    with store.begin() as connection:
        query = select(event_table.c.id, event_table.c.idempotency_key).order_by(event_table.c.id)
        found = {row.id: OURS.search(row.idempotency_key) for row in connection.execute(query)}
    ours = {name: int(match[1]) for name, match in found.items() if match is not None}
    last = max(ours.values(), default=0)
    strangers = (name for name in found if name not in ours)
    return ours | {name: last + place for place, name in enumerate(strangers, start=1)}


def _named(name: str, frame: pd.DataFrame, numbers: Mapping[int, int]) -> pd.DataFrame:
    column = _NAMED.get(name)
    if column is None or frame.empty:
        return frame
    # 0 stands for no event.
    mapped = np.array([numbers.get(one, 0) for one in frame[column].tolist()], dtype=np.int64)
    named = frame.assign(**{column: mapped})
    if name in _IN_ORDER:
        named = named.sort_values(_IN_ORDER[name], kind="stable")
    return conform(name, named)


def _until(messages: Mapping[str, list[Any]], end_s: float) -> dict[str, list[Any]]:
    """Leave out what was delivered after the run's end."""
    kept = [at <= end_s for at in messages["delivered_s"]]
    return {
        name: [value for value, keep in zip(values, kept, strict=True) if keep] for name, values in messages.items()
    }
