"""What Alembic runs: the revisions on the connection that it is given, in one transaction."""

from alembic import context

from kernel.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
