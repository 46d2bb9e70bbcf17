"""Command lines run in a folder of their own, in this process or as a user would start them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from tem_sim.cli.main import app

STORM = """
scenario: small_storm
horizon: 2m
arrivals: {kind: burst, at: 1s, events: 40}
pipeline: {backoff: {growth: exponential, base: 2s, jitter: full, max_retries: 8}}
workers: {count: 2, concurrency: 2}
faults: [{kind: outage, at: 0s, for: 10s}]
"""
STALE = """
scenario: stale
horizon: 60s
stop: horizon
arrivals: {kind: burst, at: 1s, events: 5}
pipeline: {write_guard: stale, backoff: {growth: exponential, base: 1s, jitter: none, max_retries: 3}}
faults: [{kind: outage, at: 0s, for: 60s}]
"""


def written(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def tem_sim(*words: str, **more):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    result = CliRunner().invoke(app, [str(word) for word in words], **more)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def document(*words: str):
    """Run a command with --json and return what it printed."""
    return json.loads(tem_sim(*words, "--json").stdout)


def process(*words: str, env: dict[str, str] | None = None, **more) -> subprocess.Popen[str]:
    """Start a command as a process of its own; its encoding is UTF-8 unless `env` says otherwise."""
    command = [sys.executable, "-m", "tem_sim", *words]
    pipe = subprocess.PIPE
    given = {**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=given, encoding="utf-8", **more)
