"""What Alembic runs to migrate a store: on the connection it is given or, by hand, on the store it is told.

By hand is for those who write revisions: `alembic -x store=sqlite:///new.db upgrade head`, then the same store with
`revision --autogenerate --rev-id 0002 -m "what changes"`.
"""

from alembic import context
from sqlalchemy import Connection

from tem_sim.live.schema import VERSION_TABLE, include
from tem_sim.pipeline.store import make_engine
from tem_sim.pipeline.tables import metadata


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_object=include,
        compare_server_default=True,
        # SQLite changes a table by making it anew.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _main() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    engine = make_engine(context.get_x_argument(as_dictionary=True)["store"])
    with engine.begin() as connection:
        _migrate(connection)
    engine.dispose()


_main()
