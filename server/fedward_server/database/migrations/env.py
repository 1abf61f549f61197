"""Runs migrations on the connection that :class:`fedward_server.database.database.Database` opened."""

from alembic import context

from fedward_server.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata())
context.run_migrations()
