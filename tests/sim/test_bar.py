"""A run shows its progress to whoever asks, and by itself only to a person before a notebook."""

from __future__ import annotations

from typing import Any

import pytest

from tem_sim.scenario.loader import loads
from tem_sim.sim import bar
from tem_sim.sim.world import simulate

TINY = loads("scenario: tiny\nhorizon: 1m\nstop: horizon\narrivals: {kind: burst, at: 1s, events: 1}\n")


class FakeBar:
    """Notes what a bar of tqdm is told."""

    made: list[FakeBar] = []  # noqa: RUF012  # One list for all, as a screen is.

    def __init__(self, **options: Any) -> None:
        self.options, self.n, self.closed = options, 0, False
        self.made.append(self)

    def __enter__(self) -> FakeBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def update(self, more: int) -> None:
        self.n += more


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    """Put bars that can be looked at in place of tqdm's."""
    monkeypatch.setattr("tqdm.auto.tqdm", FakeBar)
    monkeypatch.setattr(FakeBar, "made", [])
    return FakeBar.made


def test_a_person_before_a_notebook_sees_a_bar_of_simulated_seconds(
    bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar, "in_interactive_kernel", lambda: True)
    simulate(TINY)
    (shown,) = bars
    assert (shown.options["total"], shown.options["desc"], shown.closed) == (60, "tiny", True)
    assert 55 <= shown.n <= 60
    # Not before it has taken a while, and gone when it is over.
    assert (shown.options["delay"], shown.options["leave"]) == (bar.AFTER_S, False)


def test_nobody_else_sees_one(bars: list[FakeBar]) -> None:
    assert not bar.in_interactive_kernel()
    simulate(TINY)
    assert bars == []


def test_a_caller_who_asks_is_told_instead(bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bar, "in_interactive_kernel", lambda: True)
    told: list[float] = []
    simulate(TINY, progress=lambda now_s, _: told.append(now_s))
    assert bars == []
    assert told[-1] > 50
