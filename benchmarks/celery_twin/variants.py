"""What is compared: two designs, with a Redis that forgets and one that does not, and two visibility timeouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.celery_twin.schedule import LEASE_S


@dataclass(frozen=True, slots=True)
class Variant:
    """One design under one configuration; `visibility_timeout_s` None is Celery's default, an hour."""

    name: str
    about: str
    design: Literal["ours", "celery"]
    durable: bool
    visibility_timeout_s: float | None = None


def _all() -> list[Variant]:
    found = []
    for durable, word, told in ((False, "memory", "no persistence"), (True, "aof", "append-only file")):
        found += [
            Variant(f"ours-{word}", f"state machine, {told}", "ours", durable),
            Variant(f"celery-{word}", f"Celery's retry, {told}", "celery", durable),
            Variant(f"celery-short-{word}", f"Celery's retry, timeout {LEASE_S} s, {told}", "celery", durable, LEASE_S),
        ]
    return found


VARIANTS = {variant.name: variant for variant in _all()}
