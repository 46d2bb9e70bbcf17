"""Stores on which transactions can be taken apart."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def statement_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a store for `interleave: statement`: SQLite in a file of the run's own, PostgreSQL."""
    if request.param == "sqlite":
        return "sqlite://"
    url: str = request.getfixturevalue("postgresql_url")
    return url
