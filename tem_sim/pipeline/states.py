"""The states of an event and the edges between them.

RETRY is no sixth state: it names the edge FAILED → QUEUED, and the phase of a QUEUED row that has failed before.
"""

from enum import StrEnum


class State(StrEnum):
    """Where an event stands; the value is what the store holds."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"
    EXTINCT = "EXTINCT"


class Cause(StrEnum):
    """Why a row moved along an edge; stands beside it in the transition log."""

    SUBMIT = "submit"
    CLAIM = "claim"
    OK = "ok"
    ERROR = "error"
    EXHAUSTED = "exhausted"
    RETRY = "retry"
    RESCUE = "rescue"
    CRASHED = "crashed"
    EXPIRED = "expired"
    RELEASE = "release"
    REPLAY = "replay"


TERMINAL = frozenset({State.PROCESSED, State.EXTINCT})

# Each legal edge with the causes that may take it. The CHECK of the transition log is made from this table.
CAUSES: dict[tuple[State | None, State], frozenset[Cause]] = {
    (None, State.QUEUED): frozenset({Cause.SUBMIT}),
    (State.QUEUED, State.PROCESSING): frozenset({Cause.CLAIM}),
    (State.PROCESSING, State.PROCESSED): frozenset({Cause.OK}),
    (State.PROCESSING, State.FAILED): frozenset({Cause.ERROR}),
    (State.PROCESSING, State.EXTINCT): frozenset({Cause.EXHAUSTED, Cause.CRASHED, Cause.EXPIRED}),
    (State.PROCESSING, State.QUEUED): frozenset({Cause.RESCUE, Cause.RELEASE}),
    (State.FAILED, State.QUEUED): frozenset({Cause.RETRY}),
    (State.EXTINCT, State.QUEUED): frozenset({Cause.REPLAY}),
}

LEGAL_EDGES = frozenset(CAUSES)
