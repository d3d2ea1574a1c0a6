"""Alembic's entry: runs the migrations on the connection it is handed (see `scoreline.store.migrate`)."""

from alembic import context

from scoreline.store.migrate import VERSION_TABLE
from scoreline.store.tables import load_all

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=load_all(),
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
