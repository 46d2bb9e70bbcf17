"""What the commands of `tem-sim live` share: what must be installed, and how their mistakes are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tem_sim.cli.console import BROKE, USAGE, complain, usage_errors

# Those of the extra `live` without which nothing of it works; the store itself asks for PostgreSQL's driver.
NEEDED = ("alembic", "celery", "fastapi", "jwt", "prometheus_client", "redis", "uvicorn", "websockets")


@contextmanager
def live_errors() -> Iterator[None]:
    """Turn what the user can mend into a message and exit code 2, and a system that breaks into one and 3."""
    _refuse_without_extra()
    from tem_sim.live.own_redis import NoRedisError
    from tem_sim.live.system import SystemBrokeError
    from tem_sim.live.up import WishError

    with usage_errors():
        try:
            yield
        except (NoRedisError, WishError) as error:
            complain(str(error))
            raise typer.Exit(USAGE) from None
        except SystemBrokeError as error:
            complain(str(error))
            raise typer.Exit(BROKE) from None


def _refuse_without_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        complain(f"tem-sim live needs more packages ({', '.join(missing)}): pip install 'tem-sim[live]'")
        raise typer.Exit(USAGE)
