"""What docs/races.md shows of PostgreSQL, where its commands cannot be run without a server."""

from pathlib import Path

import pytest

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.races.account import account
from tem_sim.races.races import cells
from tem_sim.report.screen import show

PAGE = Path(__file__).parents[2] / "docs" / "races.md"
BLOCK = "```text file=races_postgresql\n"
PAIRS = ["settle-settle", "finish-settle", "renew-rescue", "stale-claim"]
GUARDS = [WriteGuard.REFRESH, WriteGuard.ROW_LOCK, WriteGuard.FENCED]


@pytest.mark.server
def test_the_block_on_postgresql_is_what_it_shows_now(postgresql_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    levels = [IsolationLevel.READ_COMMITTED, IsolationLevel.SNAPSHOT]
    show(account(cells(PAIRS, GUARDS, levels, ["sqlite://", postgresql_url])))
    shown = PAGE.read_text(encoding="utf-8").partition(BLOCK)[2].partition("```\n")[0]
    assert shown == capsys.readouterr().out
