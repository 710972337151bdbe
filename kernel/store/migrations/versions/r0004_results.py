"""When the result of a position was told; those that ended before this are told."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STEPS = """
ALTER TABLE monitoring.positions ADD COLUMN result_ns bigint;
UPDATE monitoring.positions SET result_ns = CASE
    WHEN state IN ('CLOSED', 'ROLLED_BACK') THEN greatest(closed_ns, updated_ns, 1) ELSE 0 END;
ALTER TABLE monitoring.positions ALTER COLUMN result_ns SET NOT NULL;
ALTER TABLE monitoring.positions ADD COLUMN result_at timestamptz
    GENERATED ALWAYS AS (CASE WHEN result_ns > 0
        THEN to_timestamp(result_ns / 1e9::double precision) END) STORED;
DROP INDEX monitoring.ix_positions_live;
CREATE INDEX ix_positions_live ON monitoring.positions (number)
    WHERE state NOT IN ('CLOSED', 'ROLLED_BACK') OR result_ns = 0;
"""


def upgrade() -> None:
    """Add the column, and make a start read what is not told yet."""
    for statement in STEPS.split(";"):
        if statement.strip():
            op.execute(statement)
