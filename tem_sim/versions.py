"""Which versions a result came from."""

import platform
from importlib.metadata import version


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that a run's behaviour rests on."""
    libraries = ("simpy", "greenlet", "sqlalchemy", "numpy", "pandas")
    return {
        "tem_sim": version("tem-sim"),
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }
