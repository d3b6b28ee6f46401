"""What alembic runs around the migrations: they use the connection that the database was opened with."""

from alembic import context

from tailrace.storage.migrations import VERSION_TABLE
from tailrace.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
context.run_migrations()
