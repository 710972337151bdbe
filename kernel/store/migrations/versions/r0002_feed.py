"""What the feed said and what became of each wave."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA IF NOT EXISTS fas;

CREATE TABLE fas.signals (
    once_key text NOT NULL, source text NOT NULL,
    venue text NOT NULL, symbol text NOT NULL, side text NOT NULL,
    candle_ns bigint NOT NULL, arrived_ns bigint NOT NULL,
    raw text NOT NULL, drop_reason text NOT NULL,
    {candle_at}, {arrived_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_signals PRIMARY KEY (once_key, arrived_ns)
);
CREATE INDEX ix_signals_arrived_ns ON fas.signals (arrived_ns);

CREATE TABLE fas.waves (
    source text NOT NULL, wave_ns bigint NOT NULL, state text NOT NULL,
    expected_until_ns bigint NOT NULL, received bigint NOT NULL,
    selected json NOT NULL, outcome json NOT NULL,
    opened_ns bigint NOT NULL, closed_ns bigint NOT NULL,
    {wave_at}, {expected_until_at}, {opened_at}, {closed_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_waves PRIMARY KEY (source, wave_ns)
);
CREATE INDEX ix_waves_wave_ns ON fas.waves (wave_ns);
CREATE INDEX ix_waves_open ON fas.waves (number) WHERE state = 'open';
"""
TIMES = ("candle", "arrived", "wave", "expected_until", "opened", "closed")


def upgrade() -> None:
    """Make them."""
    times = {
        f"{name}_at": f"{name}_at timestamptz GENERATED ALWAYS AS (CASE WHEN {name}_ns > 0"
        f" THEN to_timestamp({name}_ns / 1e9::double precision) END) STORED"
        for name in TIMES
    }
    for statement in TABLES.format(**times).split(";"):
        if statement.strip():
            op.execute(statement)
