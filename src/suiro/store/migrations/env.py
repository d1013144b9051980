"""Alembic's way in: it runs this file to go from one revision to another, on the connection that it was given."""

from alembic import context

from suiro.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters most of a table by building it anew
)
with context.begin_transaction():
    context.run_migrations()
