"""From the rows of a store, and what was seen outside it, to the frames; the same reader for sim and live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, func, select
from sqlalchemy.engine import Connection

from tem_sim.frames import SCHEMAS, conform
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tables import attempt, event_table, notification, processing_state, transition

# Rows are fetched and packed this many at a time: as Python tuples, two million of them would not fit the memory limit.
CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one user's client saw of one event's notification."""

    event_id: int
    user_id: int
    dedupe_key: str
    first_s: float
    shown: int
    received: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What happened outside the store. Times are seconds on the store's own time line.

    `effects` and `abandoned` are keyed by (event_id, attempt_no): when the attempt's side effect happened, and when the
    handler's call of an attempt began that was never finished, which no worker lived to record. `samples` and `wakeups`
    are rows of their frames, and so are `steps` and `changes`.
    """

    effects: Mapping[tuple[int, int], float] = field(default_factory=dict)
    abandoned: Mapping[tuple[int, int], float] = field(default_factory=dict)
    deliveries: Sequence[Delivery] = ()
    samples: Sequence[tuple[float, str, float]] = ()
    wakeups: Sequence[tuple[float, str, str, int, int, int]] = ()
    faults: Sequence[Any] = ()
    messages: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[tuple[Any, ...]] = ()
    changes: Sequence[tuple[Any, ...]] = ()


def collect(store: Store, observed: Observed, *, start_s: float, end_s: float) -> dict[str, pd.DataFrame]:
    """Return every frame, keyed by name, with times relative to `start_s`; what lies after `end_s` is left out."""
    with store.begin() as connection:
        read = _Reader(connection, start_s)
        transitions = _transitions(read)
        frames = {
            "events": conform("events", read.columns(_EVENTS)),
            "attempts": _attempts(read, transitions, observed, end_s),
            "transitions": transitions,
            "notifications": _notifications(read, observed),
        }
    frames["samples"] = conform("samples", _listed("samples", observed.samples, start_s))
    frames["wakeups"] = conform("wakeups", _listed("wakeups", observed.wakeups, start_s))
    for name, rows in (("steps", observed.steps), ("changes", observed.changes)):
        frames[name] = conform(name, _listed(name, rows, start_s))
    frames["messages"] = conform("messages", _messages(observed.messages, start_s))
    frames["faults"] = conform("faults", _faults(observed.faults, start_s))
    return frames


# --- reading a table column by column

_e, _p, _a, _t, _n = event_table.c, processing_state.c, attempt.c, transition.c, notification.c

_EVENTS = (
    select(
        _p.event_id,
        _e.user_id,
        _e.kind,
        _e.created_at.label("submitted_s"),
        _p.status,
        _p.retry_count,
        _p.crash_count,
        _p.attempt_no,
        _p.replay_count,
        _p.next_retry_at.label("next_retry_s"),
        _p.finished_at.label("finished_s"),
        _p.last_error,
    )
    .join_from(processing_state, event_table)
    .order_by(_p.event_id)
)
_ATTEMPTS = select(
    _a.event_id,
    _a.attempt_no,
    _a.started_at.label("started_s"),
    _a.finished_at.label("finished_s"),
    _a.outcome,
    _a.error,
    _a.delay_s,
).order_by(_a.seq)
_TRANSITIONS = select(
    _t.seq,
    _t.event_id,
    _t.at.label("at_s"),
    _t.before,
    _t.after,
    _t.cause,
    _t.actor,
    _t.attempt_no,
    _t.retry_count,
).order_by(_t.seq)
_NOTIFICATIONS = select(
    _n.event_id,
    _n.user_id,
    _n.dedupe_key,
    _n.created_at.label("created_s"),
    _n.published_at.label("published_s"),
    _n.acked_at.label("acked_s"),
).order_by(_n.event_id)

# Of the frames that are not read from a table.
_INSTANTS = {"t_s", "clock_s"}
_INTEGERS = {"event_id", "user_id", "seq"}
_COUNTS = {"retry_count", "crash_count", "attempt_no", "replay_count"}


class _Reader:
    """Reads a query into packed columns: numbers as arrays, words as categories."""

    def __init__(self, connection: Connection, start_s: float) -> None:
        self._connection = connection
        self.start_s = start_s

    def columns(self, query: Select[Any]) -> dict[str, Any]:
        names = [column.name for column in query.selected_columns]
        # The rows are counted first: packing into arrays of the right size needs half the memory of joining chunks.
        count = self._connection.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
        packers = [_Words(count) if _is_word(name) else _Numbers(self._type(name), count) for name in names]
        result = self._connection.execute(query, execution_options={"yield_per": CHUNK})
        start = 0
        for rows in result.partitions(CHUNK):
            part = slice(start, start + len(rows))
            for packer, values in zip(packers, zip(*rows, strict=True), strict=True):
                packer.fill(part, values)
            start = part.stop
        packed = {}
        for name in names:
            packed[name] = self._shifted(name, packers.pop(0).packed())
        return packed

    def _type(self, name: str) -> str:
        return "int64" if name in _INTEGERS else "int32" if name in _COUNTS else "float64"

    def _shifted(self, name: str, values: Any) -> Any:
        is_instant = name.endswith("_s") and name != "delay_s"
        return values - self.start_s if is_instant and self.start_s else values


def _is_word(name: str) -> bool:
    return not name.endswith("_s") and name not in _INTEGERS and name not in _COUNTS


class _Numbers:
    def __init__(self, dtype: str, count: int) -> None:
        self._values = np.empty(count, dtype=dtype)

    def fill(self, part: slice, values: Sequence[Any]) -> None:
        self._values[part] = values

    def packed(self) -> np.ndarray[Any, Any]:
        return self._values


class _Words:
    """Words as codes into the list of distinct words; None is code -1."""

    def __init__(self, count: int) -> None:
        self._codes: dict[str | None, int] = {None: -1}
        self._values = np.empty(count, dtype="int32")

    def fill(self, part: slice, values: Sequence[str | None]) -> None:
        codes = self._codes
        for word in set(values) - codes.keys():
            codes[word] = len(codes) - 1
        self._values[part] = [codes[word] for word in values]

    def packed(self) -> Any:
        # Sorted, since a set's order differs from process to process, and the rows' order a little from store to store.
        words = sorted(word for word in self._codes if word is not None)
        rank = np.full(len(words) + 1, -1, dtype="int32")
        rank[[self._codes[word] for word in words]] = range(len(words))
        dtype = pd.CategoricalDtype(pd.Index(words))
        return pd.Categorical.from_codes(rank[self._values], dtype=dtype)


# --- the frames


def _attempts(read: _Reader, transitions: pd.DataFrame, observed: Observed, end_s: float) -> pd.DataFrame:
    """One row per claim, with what was recorded of its end; a claim without an end is unfinished."""
    about = ["event_id", "attempt_no", "actor", "at_s"]
    claims = transitions.loc[transitions["cause"] == "claim", about].sort_values(about[:2], kind="stable")
    recorded = read.columns(_ATTEMPTS)
    stride = 1 + max(int(claims["attempt_no"].max()) if len(claims) else 0, int(recorded["attempt_no"].max(initial=0)))
    places = (claims["event_id"] * stride + claims["attempt_no"]).to_numpy()
    # A zombie's end is recorded after the rescue's; assigning in the order of recording lets the last one stand.
    at, known = _found(places, recorded["event_id"] * stride + recorded["attempt_no"])
    columns: dict[str, Any] = {name: claims[name].to_numpy() for name in ("event_id", "attempt_no")}
    columns |= {"worker": claims["actor"].cat.remove_unused_categories(), "claimed_s": claims["at_s"].to_numpy()}
    for name in ("started_s", "finished_s", "delay_s"):
        columns[name] = _placed(recorded[name][known], at, np.full(len(claims), np.nan))
    for name in ("outcome", "error"):
        codes = _placed(recorded[name].codes[known], at, np.full(len(claims), -1))
        columns[name] = pd.Categorical.from_codes(codes.tolist(), categories=recorded[name].categories)
    columns["outcome"] = columns["outcome"].add_categories("unfinished").fillna("unfinished")
    seen = (_by_place(times, places, stride, end_s) - read.start_s for times in (observed.effects, observed.abandoned))
    columns["effect_s"], began_s = seen
    columns["started_s"] = np.where(np.isnan(columns["started_s"]), began_s, columns["started_s"])
    return conform("attempts", columns)


def _found(places: np.ndarray[Any, Any], keys: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], Any]:
    """Return where the keys are among the sorted places, and a mask of those that are there at all.

    An attempt that the log has no claim of, which only a broken pipeline makes, has no row; the row's own number of
    attempts then tells the checks of it.
    """
    at = np.searchsorted(places, keys)
    known = at < len(places)
    known[known] = places[at[known]] == keys[known]
    return at[known], known


def _placed(values: Any, at: np.ndarray[Any, Any], into: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    into[at] = values
    return into


def _by_place(
    times_of: Mapping[tuple[int, int], float], places: np.ndarray[Any, Any], stride: int, end_s: float
) -> np.ndarray[Any, Any]:
    """Return what was seen of each attempt, in the order of `places`; NaN for what was not before the run's end."""
    at_s = np.full(len(places), np.nan)
    if times_of:
        keys = np.array(list(times_of), dtype=np.int64)
        times = np.fromiter(times_of.values(), dtype=np.float64, count=len(keys))
        at, known = _found(places, keys[:, 0] * stride + keys[:, 1])
        at_s[at] = np.where(times <= end_s, times, np.nan)[known]
    return at_s


def _transitions(read: _Reader) -> pd.DataFrame:
    columns = read.columns(_TRANSITIONS)
    columns["before"] = columns["before"].add_categories("").fillna("")
    order = _order_of_statements(columns)
    for name in columns:
        columns[name] = columns[name][order]
    # A store's own numbers have gaps where transactions were rolled back, on one store and not on another.
    columns["seq"] = np.arange(1, len(order) + 1)
    return conform("transitions", columns)


def _order_of_statements(columns: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return the order of writing, but by event within what one statement wrote: there each store has its own order."""
    at, cause, actor = columns["at_s"], columns["cause"].codes, columns["actor"].codes
    begins = (at[1:] != at[:-1]) | (cause[1:] != cause[:-1]) | (actor[1:] != actor[:-1])
    statement = np.concatenate([[0], np.cumsum(begins)])[: len(at)]
    return np.lexsort((columns["event_id"], statement))


def _notifications(read: _Reader, observed: Observed) -> pd.DataFrame:
    """One row for each notification that was owed or seen; without an outbox only what was seen."""
    columns = read.columns(_NOTIFICATIONS)
    columns["dedupe_key"] = columns["dedupe_key"].astype(str)
    owed = pd.DataFrame(columns)
    seen = pd.DataFrame(
        {
            "event_id": _column(observed.deliveries, "event_id", "int64"),
            "seen_user": _column(observed.deliveries, "user_id", "int64"),
            "delivered_s": _column(observed.deliveries, "first_s", "float64") - read.start_s,
            "shown": _column(observed.deliveries, "shown", "int32"),
            "received": _column(observed.deliveries, "received", "int32"),
        }
    )
    both = owed.merge(seen, on="event_id", how="outer").sort_values("event_id", kind="stable")
    both["user_id"] = both["user_id"].fillna(both["seen_user"]).astype("int64")
    for count in ("shown", "received"):
        both[count] = both[count].fillna(0).astype("int32")
    return conform("notifications", both.drop(columns="seen_user"))


def _column(rows: Sequence[Any], name: str, dtype: str) -> np.ndarray[Any, Any]:
    return np.array([getattr(row, name) for row in rows], dtype=dtype)


def _listed(name: str, rows: Sequence[tuple[Any, ...]], start_s: float) -> dict[str, Any]:
    """Turn rows as they stand in the frame `name` into columns."""
    names = [column.name for column in SCHEMAS[name]]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]
    made: dict[str, Any] = dict(zip(names, columns, strict=True))
    for instant in _INSTANTS & made.keys():
        made[instant] = np.array(made[instant], dtype=float) - start_s
    return made


def _messages(columns: Mapping[str, Any], start_s: float) -> dict[str, Any]:
    """Return the columns with their times on the run's line; empty ones where nobody looked."""
    given = columns or {column.name: [] for column in SCHEMAS["messages"]}
    return {
        name: np.asarray(values, dtype=float) - start_s if name.endswith("_s") else values
        for name, values in given.items()
    }


def _faults(faults: Iterable[Any], start_s: float) -> dict[str, Any]:
    """Turn activations, anything with these attributes, into columns."""
    listed = list(faults)

    def column(name: str, change: Callable[[Any], Any] = lambda value: value) -> list[Any]:
        return [change(getattr(fault, name)) for fault in listed]

    return {
        "fault_id": column("fault_id"),
        "kind": column("kind"),
        "target": column("target"),
        "start_s": column("start_s", lambda at: at - start_s),
        "end_s": column("end_s", lambda at: at - start_s),
        "landed": column("landed"),
        "detail": column("detail"),
        "shade": column("shade"),
    }
