"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("sqlalchemy", "greenlet", "simpy", "ciw", "numpy", "pandas")


def described(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return processor, cores, load, and the versions that matter."""
    load = os.getloadavg()[0]
    return {
        "cpu": _processor(),
        "cores": str(os.cpu_count()),
        "load": f"{load:.1f}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    } | {name: version(name) for name in packages}


def _processor() -> str:
    """Return the model's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
