"""Which versions, and which code, a result came from."""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

# The rooms that make a run and the numbers in it; what shows them may change and they are the same.
_MAKES_NUMBERS = ("pipeline", "foreign", "scenario", "frames.py", "collect.py", "sim", "analysis", "checks")


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that a run's behaviour rests on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    libraries = ("simpy", "greenlet", "sqlalchemy", "numpy", "pandas")
    return {
        "tem_sim": version("tem-sim"),
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }


@cache
def engine() -> str:
    """Return a hash of all that a run's numbers rest on but its scenario and seed: versions, and this package's code.

    A version number alone would not do for those who change the package and have not released it yet.
    """
    digest = hashlib.sha256(repr(sorted(versions().items())).encode())
    here = Path(__file__).parent
    for name in _MAKES_NUMBERS:
        for file in sorted((here / name).rglob("*.py")) or [here / name]:
            digest.update(f"\n{file.relative_to(here).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
