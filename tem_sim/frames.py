"""The hinge: the columns, types and units of every frame, and the run that carries them.

What ran (SimPy or the real thing) ends here, and everything that looks at a run begins here. Times are float
seconds since the run's start; NaN means that it did not happen. `SCHEMAS` lists every column there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tem_sim.pipeline.states import State

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.scenario.models import Scenario

STATES = tuple(str(state) for state in State)
# What a thread does that the frame `steps` has a row for. `answer_lost`: the commit whose answer never came.
STEPS = (
    "connect",
    "begin",
    "statement",
    "commit",
    "rollback",
    "answer_lost",
    "wake",
    "publish",
    "handle",
    "handled",
    "task",
    "task_done",
    "task_failed",
    "killed",
)
FATES = ("open", "acked", "returned", "lost")
OUTCOMES = ("ok", "error", "lost", "superseded", "expired", "released", "unfinished")

Dtype = Literal["int64", "int32", "float64", "category", "str"]
Status = Literal["complete", "interrupted", "broken"]


class FrameError(ValueError):
    """A frame does not keep to its schema; the message lists every broken column."""


class RunError(Exception):
    """A run folder cannot be read or written; the message says where, why and what to do."""


class Column(NamedTuple):
    """One column; `values` is a category's whole vocabulary, None where it is open."""

    name: str
    dtype: Dtype
    unit: str
    about: str
    null: bool = False
    values: tuple[str, ...] | None = None


def _time(name: str, about: str, null: bool = False) -> Column:
    return Column(name, "float64", "s", about, null)


def _count(name: str, about: str) -> Column:
    return Column(name, "int32", "1", about)


def _id(name: str, about: str) -> Column:
    return Column(name, "int64", "id", about)


def _label(name: str, about: str, null: bool = False, values: tuple[str, ...] | None = None) -> Column:
    return Column(name, "category", "label", about, null, values)


def _text(name: str, about: str) -> Column:
    return Column(name, "str", "text", about)


_EVENTS = (
    _id("event_id", "The event."),
    _id("user_id", "Whom it concerns."),
    _label("kind", "The event's kind; decides what the handler does with it."),
    _time("submitted_s", "When the event was written to the store, which is the `submit` transition's time."),
    _label("status", "The state at the end of the run.", values=STATES),
    _count("retry_count", "Failed attempts since the submit or the last replay, as the row says."),
    _count("crash_count", "Leases lost, as the row says."),
    _count("attempt_no", "The number of the last attempt; the row's fencing token."),
    _count("replay_count", "Times an operator brought it back from EXTINCT."),
    _time("next_retry_s", "When the next retry is due; only a FAILED row has one.", null=True),
    _time("finished_s", "When it became PROCESSED or EXTINCT.", null=True),
    _label("last_error", "The last attempt's error.", null=True),
)

_ATTEMPTS = (
    _id("event_id", "The event."),
    _count("attempt_no", "Which try of the event: 1 is the first, 2 and later are retries."),
    _label("worker", "The actor that claimed it."),
    _time("claimed_s", "When the claim was committed."),
    _time("started_s", "When the handler's call began.", null=True),
    _time(
        "finished_s",
        "When the handler's call ended; of a lost attempt, when it was declared so.",
        null=True,
    ),
    _label(
        "outcome",
        "`superseded`: finished after its row was given to another. `expired`: its deadline passed before its call. "
        "`released`: given back without a call, as the circuit was open.",
        values=OUTCOMES,
    ),
    _label("error", "What the handler raised.", null=True),
    _time("delay_s", "The backoff booked after this attempt's failure.", null=True),
    _time(
        "effect_s",
        "When the downstream applied the side effect, whatever the outcome says.",
        null=True,
    ),
)

_TRANSITIONS = (
    _id("seq", "Orders one event's transitions truly, whatever the clocks say; may have gaps."),
    _id("event_id", "The event."),
    _time("at_s", "When, by the clock of the actor, which a fault may have skewed."),
    _label("before", "The state left; empty at the event's creation.", values=("", *STATES)),
    _label("after", "The state entered.", values=STATES),
    _label("cause", "Why; see `pipeline.states.Cause`."),
    _label("actor", "Who."),
    _count("attempt_no", "The row's attempt number after the change."),
    _count("retry_count", "The row's retry count after the change."),
)

_NOTIFICATIONS = (
    _id("event_id", "The event."),
    _id("user_id", "Who is told."),
    _text("dedupe_key", "The key by which the client knows a repeat; empty without an outbox."),
    _time("created_s", "When the outbox row was written.", null=True),
    _time("published_s", "When it was first published.", null=True),
    _time("acked_s", "When the outbox row was settled for good.", null=True),
    _time("delivered_s", "When the user was first shown it.", null=True),
    _count("shown", "Times the user was shown it; 1 is right."),
    _count("received", "Times the user's client got it, repeats that it suppressed included."),
)

_SAMPLES = (
    _time("t_s", "When the gauge was read, by the run's own clock."),
    _label("name", "Which gauge."),
    Column("value", "float64", "1", "What it showed."),
)

_WAKEUPS = (
    _time("t_s", "When they were sent, by the clock of the sender."),
    _label("actor", "Which node sent them."),
    _label("task", "By which task: `request` (new events), `retry`, `rescue` (the scheduler's), `batch` (a worker's)."),
    _id("first_id", "Of a request its first event, else 0."),
    _count("sent", "How many."),
    _count("lost", "How many of them never reached the queue: lost on the way, or refused, which is all of them."),
)

_MESSAGES = (
    _time("delivered_s", "When the broker handed it to the worker, by the run's own clock."),
    _id("message", "The wake-up's number, in the order of sending; copies and repeats have the same."),
    _label("worker", "The worker that got it."),
    _count("redelivered", "Whether the broker said that it was handed out before: 1 or 0."),
    _time("started_s", "When one of the worker's slots began on it.", null=True),
    _time("finished_s", "When its task came to its end.", null=True),
    _time("settled_s", "When this delivery was over for the broker.", null=True),
    _label("fate", "How: acknowledged, returned to the queue, lost; `open` if it never was.", values=FATES),
)

_FAULTS = (
    _count("fault_id", "The fault's place in the scenario."),
    _label("kind", "The fault's kind."),
    _label("target", "What it was aimed at."),
    _time("start_s", "When it began, as it happened.", null=True),
    _time("end_s", "When it was healed, as it happened.", null=True),
    _count("landed", "Times it really did something; 0 means that it was asked for and never landed."),
    _text("detail", "What it did, in words."),
    _text("shade", "Its colour on plots, as matplotlib names it."),
)

_STEPS = (
    _id("step", "Its place in the order in which everything really happened."),
    _time("t_s", "When, by the run's own clock: when the statement was executed, not when it was sent."),
    _time("clock_s", "When, by the clock of the actor."),
    _label("actor", "Which node."),
    _label("thread", "Which thread of it: `worker-1/0`, `beat/retry`, `api/request-7`."),
    _label("kind", "What it did.", values=STEPS),
    _label("label", "The function of the pipeline that did it: `settle.settle`, `lifecycle.requeue_due`."),
    _label("sql", "The statement, as it was sent; of a publish, the events it tells of; else empty."),
    _count("rows", "How many rows it changed or how many messages it sent; -1 where nobody can tell."),
    _id("event_id", "Of a handler's call, the event; else 0."),
    _id("txn", "The transaction in which it happened, numbered from 1; 0 outside of any."),
    _time("waited_s", "How long it waited for another's lock before."),
    _label("error", "What was raised to the code; empty where nothing was."),
)

_CHANGES = (
    _id("change", "Its place in the order of all changes."),
    _id("step", "The step of the statement that made it."),
    _id("commit_step", "The step of the commit that made it last."),
    _id("txn", "The transaction."),
    _time("t_s", "When it was committed, by the run's own clock."),
    _time("clock_s", "What the actor's clock showed when it sent the statement."),
    _label("actor", "Which node made it."),
    _label("thread", "Which thread of it."),
    _label("label", "The function of the pipeline that made it."),
    _label("table", "The table."),
    _label("op", "What was done to the row.", values=("insert", "update", "delete")),
    _id("event_id", "The event that the row belongs to; 0 where it belongs to none."),
    _text("before", "The row before, as JSON with times in seconds; empty of an insert."),
    _text("after", "The row after; empty of a delete."),
)

SCHEMAS: dict[str, tuple[Column, ...]] = {
    "events": _EVENTS,
    "attempts": _ATTEMPTS,
    "transitions": _TRANSITIONS,
    "notifications": _NOTIFICATIONS,
    "samples": _SAMPLES,
    "wakeups": _WAKEUPS,
    "messages": _MESSAGES,
    "faults": _FAULTS,
    "steps": _STEPS,
    "changes": _CHANGES,
}


def conform(name: str, columns: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """Return the columns as the frame `name`: the schema's order and dtypes, a fresh index, no row moved.

    Open categories are sorted and hold only what occurs, so equal data make equal frames. Raises `FrameError`
    with every missing, unknown, unconvertible or wrongly empty column.
    """
    schema = SCHEMAS[name]
    known = {column.name for column in schema}
    problems = [f"{extra}: no such column" for extra in columns if str(extra) not in known]
    series: dict[str, pd.Series[Any]] = {}
    for column in schema:
        try:
            series[column.name] = _conform_column(column, columns)
        except (KeyError, ValueError, TypeError) as error:
            problems.append(f"{column.name}: {_reason(error)}")
    if not problems and len({len(one) for one in series.values()}) > 1:
        problems = [f"columns differ in length: { ({k: len(v) for k, v in series.items()}) }"]
    if problems:
        raise FrameError(f"frame {name}: " + "; ".join(problems))
    return pd.DataFrame(series, copy=False)


def _reason(error: Exception) -> str:
    return "missing" if isinstance(error, KeyError) else str(error)


def _conform_column(column: Column, columns: pd.DataFrame | Mapping[str, Any]) -> pd.Series[Any]:
    values = columns[column.name]
    if column.dtype == "category":
        made = pd.Series(_categorical(column, values), copy=False)
    elif column.dtype == "str":
        made = pd.Series(values, dtype=object).fillna("").reset_index(drop=True).astype(str)
    elif column.dtype == "float64":
        made = pd.Series(np.asarray(values, dtype=np.float64), copy=False)
    else:
        made = _integers(column, values)
    if not column.null and bool(made.isna().any()):
        raise ValueError(f"{int(made.isna().sum())} values are missing")
    return made


def _integers(column: Column, values: Any) -> pd.Series[Any]:
    given = np.asarray(values)
    if given.size == 0:
        return pd.Series(np.empty(0, dtype=column.dtype))
    made = given.astype(column.dtype, copy=False)
    if made is not given and not np.array_equal(made, given):
        raise ValueError(f"not whole {column.dtype} numbers")
    return pd.Series(made, copy=False)


def _categorical(column: Column, values: Any) -> pd.Categorical[Any]:
    if isinstance(values, list) and values and all(type(value) is str for value in values):
        return _of_words(column, values)
    made = pd.Categorical(values).remove_unused_categories()
    made = made.rename_categories(str)
    present = set(made.categories)
    wanted = sorted(present) if column.values is None else list(column.values)
    if strangers := sorted(present - set(wanted)):
        raise ValueError(f"unknown values {strangers}; the schema knows {wanted}")
    # An empty list has no strings to infer from; naming the dtype keeps empty frames equal to full ones.
    return made.set_categories(pd.Index(wanted, dtype="str"))


def _of_words(column: Column, values: list[str]) -> pd.Categorical[Any]:
    """Do the same for a list of words, which is what small frames are made of, without asking pandas what it is."""
    present = sorted(set(values))
    wanted = present if column.values is None else list(column.values)
    places = {word: place for place, word in enumerate(wanted)}
    if strangers := [word for word in present if word not in places]:
        raise ValueError(f"unknown values {strangers}; the schema knows {wanted}")
    codes = np.fromiter((places[value] for value in values), dtype=np.int32, count=len(values))
    return pd.Categorical.from_codes(codes, dtype=_words_dtype(tuple(wanted)))


@lru_cache(maxsize=256)
def _words_dtype(words: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(pd.Index(words, dtype="str"))


def empty(name: str) -> pd.DataFrame:
    """Return the frame `name` without rows."""
    return conform(name, {column.name: [] for column in SCHEMAS[name]})


def digest(transitions: pd.DataFrame) -> str:
    """Return the SHA-256, in hex, of the transition log: what must not depend on store, machine or process.

    One line per transition, sorted by (event_id, seq): event_id, time in whole microseconds (its 6
    decimals), before, after, cause, actor and attempt_no, separated by `|`. `seq` only orders: stores may
    leave gaps in it.
    """
    order = np.lexsort((transitions["seq"].to_numpy(), transitions["event_id"].to_numpy()))
    sha = hashlib.sha256()
    # Chunks keep the Python objects of two million rows from living at the same time.
    for start in range(0, len(order), 20_000):
        rows = order[start : start + 20_000]
        micros = np.rint(transitions["at_s"].to_numpy()[rows] * 1e6).astype(np.int64).tolist()
        event_ids, attempts = (transitions[name].to_numpy()[rows].tolist() for name in ("event_id", "attempt_no"))
        labels = (_words(transitions[name], rows) for name in ("before", "after", "cause", "actor"))
        lines = zip(event_ids, micros, *labels, attempts, strict=True)
        sha.update("".join([f"{e}|{t}|{b}|{a}|{c}|{w}|{n}\n" for e, t, b, a, c, w, n in lines]).encode())
    return sha.hexdigest()


def _words(column: pd.Series[Any], rows: np.ndarray[Any, Any]) -> list[str]:
    words = np.array([str(word) for word in column.cat.categories], dtype=object)
    made: list[str] = words[column.cat.codes.to_numpy()[rows]].tolist()
    return made


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Run:
    """One run of a scenario: what was asked, and a frame for each kind of thing that happened.

    `scenario_dict` is the scenario as resolved (plain JSON); `end_s` is the time at which the run ended. `mode` is
    "sim" or "live"; a live run's digest is empty, since no seed repeats it. `schedule` says at which steps another
    thread went on than by default, where the scenario's `store.schedule` is not `random`.
    Columns and units: `SCHEMAS`.
    """

    scenario_dict: dict[str, JsonValue]
    seed: int
    mode: str
    status: Status
    store: str
    end_s: float
    digest: str
    versions: dict[str, str] = field(default_factory=dict)
    schedule: dict[int, str] = field(default_factory=dict)
    events: pd.DataFrame
    attempts: pd.DataFrame
    transitions: pd.DataFrame
    notifications: pd.DataFrame
    samples: pd.DataFrame
    wakeups: pd.DataFrame
    faults: pd.DataFrame
    messages: pd.DataFrame = field(default_factory=lambda: empty("messages"))
    # Of runs that were watched; without rows in others.
    steps: pd.DataFrame = field(default_factory=lambda: empty("steps"))
    changes: pd.DataFrame = field(default_factory=lambda: empty("changes"))

    @property
    def name(self) -> str:
        """The scenario's name."""
        return str(self.scenario_dict.get("scenario", "unnamed"))

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario as a model, validated when first asked for.

        Raises `RunError` when it is none any more, such as when the user's own policy is not to be found from here.
        """
        from pydantic import ValidationError

        from tem_sim.scenario.models import Scenario

        try:
            return Scenario.model_validate(self.scenario_dict)
        except ValidationError as error:
            told = [f"{'.'.join(str(step) for step in one['loc'])}: {one['msg']}" for one in error.errors()]
            raise RunError(f"{self.name}: the scenario of this run cannot be used here: {'; '.join(told)}") from None

    def counts(self) -> dict[str, int]:
        """Return the numbers of the run's card: events, attempts, retries, and the events in each state."""
        states = self.events["status"].value_counts(sort=False)
        retries = int((self.attempts["attempt_no"] > 1).sum())
        head = {"events": len(self.events), "attempts": len(self.attempts), "retries": retries}
        return head | {str(state): int(count) for state, count in states.items()}

    def save(self, folder: str | Path) -> Path:
        """Write the run to a folder and return it; see `load`.

        The folder appears whole or not at all, and a run already there is replaced only once the new one is
        complete. Files in it that are not the run's own stay. Raises `RunError` when the folder holds
        something else than a run.
        """
        from tem_sim.archive import save

        return save(self, Path(folder))

    @staticmethod
    def load(folder: str | Path) -> Run:
        """Read a run back, equal to what was saved down to the last bit. Raises `RunError`."""
        from tem_sim.archive import load

        return load(Path(folder))

    def __repr__(self) -> str:
        numbers = " ".join(f"{name}={value}" for name, value in self.counts().items())
        return (
            f"<Run {self.name} seed={self.seed} {self.mode} {self.status} end={self.end_s:.6g}s "
            + (f"digest={self.digest[:12]} " if self.digest else "")
            + f"{numbers}>"
        )

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<td style='text-align:right'><b>{value:,}</b><br><small>{escape(name)}</small></td>"
            for name, value in self.counts().items()
        )
        head = (
            f"<b>{escape(self.name)}</b> · seed {self.seed} · {escape(self.mode)} · {escape(self.status)} · "
            f"{self.end_s:,.6g} s {'simulated' if self.mode == 'sim' else 'of real time'}"
        )
        if self.digest:
            head += f" · digest <code>{self.digest[:12]}</code>"
        return f"<div>{head}<table><tr>{cells}</tr></table></div>"
