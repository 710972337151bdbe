"""Which database it is, and how far it has come: a backup of a run that goes on is told by it."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE monitoring.store
    ADD COLUMN first_ns bigint NOT NULL DEFAULT 0,
    ADD COLUMN commits bigint NOT NULL DEFAULT 0,
    ADD COLUMN first_at timestamptz GENERATED ALWAYS AS (CASE WHEN first_ns > 0
        THEN to_timestamp(first_ns / 1e9::double precision) END) STORED
"""
FIRST = "UPDATE monitoring.store SET first_ns = since_ns"
NO_DEFAULTS = """
ALTER TABLE monitoring.store
    ALTER COLUMN first_ns DROP DEFAULT, ALTER COLUMN commits DROP DEFAULT
"""


def upgrade() -> None:
    """Add both; a database that was loaded before was so when it began to exist."""
    op.execute(COLUMNS)
    op.execute(FIRST)
    op.execute(NO_DEFAULTS)
