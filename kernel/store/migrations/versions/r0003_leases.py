"""Who may trade which account, and until when."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE monitoring.leases (
    account text NOT NULL,
    instance text NOT NULL, epoch bigint NOT NULL, until_ns bigint NOT NULL,
    until_at timestamptz GENERATED ALWAYS AS (CASE WHEN until_ns > 0
        THEN to_timestamp(until_ns / 1e9::double precision) END) STORED,
    CONSTRAINT pk_leases PRIMARY KEY (account)
)
"""


def upgrade() -> None:
    """Make it."""
    op.execute(TABLE)
