"""Alembic's entry: runs the migrations on the connection that relay.db.migrate hands over."""

from alembic import context

from relay.db.dialects import dialect_of
from relay.db.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=dialect_of(connection).copies_to_alter,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
