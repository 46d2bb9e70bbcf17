"""Patches that change nothing that anybody could tell, each with the reason; and the canary."""

from __future__ import annotations

from ..mutant import Mutant, swap

EQUIVALENTS = (
    Mutant(
        name="requeue-without-status",
        did="asked for the due time alone",
        patches=swap(
            "lifecycle",
            '.where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))',
            '.where(_row.next_retry_at <= bindparam("now"))',
        ),
        equivalent="the table's CHECK `shape` lets FAILED rows alone have a due time, and it is one statement",
    ),
    Mutant(
        name="rescue-without-status",
        did="asked for the end of the lease alone",
        patches=swap(
            "lifecycle",
            '.where(status_is(State.PROCESSING), _row.lease_expires_at <= bindparam("now"))',
            '.where(_row.lease_expires_at <= bindparam("now"))',
        ),
        equivalent="the table's CHECK `shape` lets PROCESSING rows alone have a lease",
    ),
    Mutant(
        name="limit-in-one-place-only",
        did="took the limit of retries out of `decide`",
        patches=swap(
            "settle",
            "    if policy.max_retries is not None and failures > policy.max_retries:\n"
            "        return Decision(None, None)\n",
            "",
        ),
        equivalent="`gives_up` asks the same a few lines on; only a draw that nobody uses is added",
    ),
    Mutant(
        name="finish-without-owner",
        did="left the owner out of the guard",
        patches=swap(
            "settle",
            """        _row.attempt_no == bindparam("token"),
        _row.lease_owner == bindparam("actor"),
    ),
}""",
            """        _row.attempt_no == bindparam("token"),
    ),
}""",
        ),
        equivalent="the attempt number grows with every claim, so that it names its owner",
    ),
)

CANARY = Mutant(
    name="canary",
    did="breaks down, and only where the seed is a multiple of 100",
    patches=swap(
        "settle",
        "    if settings.write_guard in (WriteGuard.STALE, WriteGuard.REFRESH):\n",
        '    if getattr(chance, "seed", 0) and chance.seed % 100 == 0:\n'
        '        raise RuntimeError("canary")\n'
        "    if settings.write_guard in (WriteGuard.STALE, WriteGuard.REFRESH):\n",
    ),
    named=("broken",),
    rare=True,
)
