"""Each test runs in a folder of its own, with a small storm and a bug in it."""

import pytest
from cli_helpers import STALE, STORM, written


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TEM_SIM_TRACEBACK", raising=False)
    return tmp_path


@pytest.fixture
def storm(folder):
    return written("storm.yaml", STORM)


@pytest.fixture
def stale(folder):
    return written("stale.yaml", STALE)
