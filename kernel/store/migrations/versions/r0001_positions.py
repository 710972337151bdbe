"""Positions and what belongs to them, claims, switches, results, events, the run epoch."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE SCHEMA IF NOT EXISTS monitoring;

CREATE TABLE monitoring.store (
    single boolean NOT NULL DEFAULT true,
    epoch bigint NOT NULL,
    since_ns bigint NOT NULL,
    {since_at},
    CONSTRAINT pk_store PRIMARY KEY (single),
    CONSTRAINT ck_store_single CHECK (single)
);

CREATE TABLE monitoring.positions (
    id text NOT NULL,
    venue text NOT NULL, symbol text NOT NULL, side text NOT NULL,
    state text NOT NULL, origin text NOT NULL,
    wave_ns bigint NOT NULL, once_key text NOT NULL,
    intended_qty numeric NOT NULL, filled_qty numeric NOT NULL, closed_qty numeric NOT NULL,
    entry_price numeric NOT NULL, exit_price numeric NOT NULL,
    realized_pnl numeric NOT NULL, fees numeric NOT NULL, funding numeric NOT NULL,
    protected_level numeric NOT NULL, "trailing" text NOT NULL, best_price numeric NOT NULL,
    close_reason text NOT NULL, guard_acted text NOT NULL, generation bigint NOT NULL,
    opened_ns bigint NOT NULL, first_fill_ns bigint NOT NULL,
    closed_ns bigint NOT NULL, updated_ns bigint NOT NULL,
    hedge_leg text NOT NULL,
    {wave_at}, {opened_at}, {first_fill_at}, {closed_at}, {updated_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_positions PRIMARY KEY (id)
);
CREATE INDEX ix_positions_live ON monitoring.positions (number)
    WHERE state NOT IN ('CLOSED', 'ROLLED_BACK');

CREATE TABLE monitoring.orders_cache (
    venue text NOT NULL, client_order_id text NOT NULL, symbol text NOT NULL,
    position_id text,
    order_class text NOT NULL, order_type text NOT NULL, side text NOT NULL,
    qty numeric NOT NULL, reduce_only boolean NOT NULL,
    trigger_price numeric NOT NULL, trigger_by text NOT NULL, price numeric NOT NULL,
    venue_order_id text NOT NULL, status text NOT NULL,
    filled_qty numeric NOT NULL, avg_price numeric NOT NULL,
    intent_open boolean NOT NULL, watch_until_ns bigint NOT NULL,
    created_ns bigint NOT NULL, updated_ns bigint NOT NULL,
    {watch_until_at}, {created_at}, {updated_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_orders_cache PRIMARY KEY (venue, client_order_id),
    CONSTRAINT fk_orders_cache_position_id FOREIGN KEY (position_id)
        REFERENCES monitoring.positions (id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX ix_orders_cache_position_id ON monitoring.orders_cache (position_id);
CREATE INDEX ix_orders_cache_open ON monitoring.orders_cache (number)
    WHERE intent_open OR watch_until_ns > 0;

CREATE TABLE monitoring.trades (
    venue text NOT NULL, symbol text NOT NULL, trade_id text NOT NULL,
    position_id text,
    client_order_id text NOT NULL, venue_order_id text NOT NULL, side text NOT NULL,
    qty numeric NOT NULL, price numeric NOT NULL, fee numeric NOT NULL,
    realized_pnl numeric NOT NULL, kind text NOT NULL, ts_ns bigint NOT NULL,
    {at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_trades PRIMARY KEY (venue, symbol, trade_id),
    CONSTRAINT fk_trades_position_id FOREIGN KEY (position_id)
        REFERENCES monitoring.positions (id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX ix_trades_position_id ON monitoring.trades (position_id);

CREATE TABLE monitoring.trailing_stop_state (
    position_id text NOT NULL, state text NOT NULL,
    activation_price numeric NOT NULL, best_price numeric NOT NULL,
    confirmed_stop numeric NOT NULL,
    last_update_ns bigint NOT NULL, updated_ns bigint NOT NULL,
    {last_update_at}, {updated_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_trailing_stop_state PRIMARY KEY (position_id),
    CONSTRAINT fk_trailing_stop_state_position_id FOREIGN KEY (position_id)
        REFERENCES monitoring.positions (id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE monitoring.claims (
    once_key text NOT NULL, wave_ns bigint NOT NULL, claimed_ns bigint NOT NULL,
    {wave_at}, {claimed_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_claims PRIMARY KEY (once_key)
);
CREATE INDEX ix_claims_claimed_ns ON monitoring.claims (claimed_ns);

CREATE TABLE monitoring.symbol_locks (
    venue text NOT NULL, symbol text NOT NULL, reason text NOT NULL, until_ns bigint NOT NULL,
    {until_at},
    number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_symbol_locks PRIMARY KEY (venue, symbol)
);

CREATE TABLE monitoring.kill_switches (
    single boolean NOT NULL DEFAULT true,
    number bigint GENERATED ALWAYS AS IDENTITY,
    day bigint NOT NULL, day_result numeric NOT NULL, losing_stops bigint NOT NULL,
    stops_ns bigint[] NOT NULL, result numeric NOT NULL, best numeric NOT NULL,
    wallet_venues text[] NOT NULL, wallets numeric[] NOT NULL, counted text[] NOT NULL,
    CONSTRAINT pk_kill_switches PRIMARY KEY (single),
    CONSTRAINT ck_kill_switches_single CHECK (single)
);

CREATE TABLE monitoring.performance_totals (
    {results},
    CONSTRAINT pk_performance_totals PRIMARY KEY (venue)
);

CREATE TABLE monitoring.performance_snapshots (
    {results},
    CONSTRAINT pk_performance_snapshots PRIMARY KEY (venue, period, ts_ns)
);

CREATE TABLE monitoring.events (
    number bigint GENERATED ALWAYS AS IDENTITY,
    ts_ns bigint NOT NULL, kind text NOT NULL,
    venue text NOT NULL, symbol text NOT NULL,
    position_id text NOT NULL, client_order_id text NOT NULL,
    cause text NOT NULL, details json NOT NULL,
    seq bigint NOT NULL, place bigint NOT NULL, level text NOT NULL, text text NOT NULL,
    wave text NOT NULL, venue_order_id text NOT NULL,
    {at},
    CONSTRAINT pk_events PRIMARY KEY (number)
);
CREATE INDEX ix_events_ts_ns ON monitoring.events (ts_ns);
"""
RESULTS = """
    venue text NOT NULL, period text NOT NULL, ts_ns bigint NOT NULL,
    closed bigint NOT NULL, wins bigint NOT NULL,
    gross_profit numeric NOT NULL, gross_loss numeric NOT NULL, net numeric NOT NULL,
    fees numeric NOT NULL, funding numeric NOT NULL,
    peak numeric NOT NULL, drawdown numeric NOT NULL,
    first_day bigint NOT NULL, day bigint NOT NULL,
    day_net numeric NOT NULL, day_sum numeric NOT NULL, day_squares numeric NOT NULL,
    positions bigint NOT NULL,
    win_rate text NOT NULL, profit_factor text NOT NULL, sharpe text NOT NULL,
    {at},
    number bigint GENERATED ALWAYS AS IDENTITY
"""
TIMES = (
    "since", "wave", "opened", "first_fill", "closed", "updated", "watch_until", "created",
    "last_update", "claimed", "until",
)  # fmt: skip


def _at(column: str, shown: str) -> str:
    return (
        f"{shown} timestamptz GENERATED ALWAYS AS (CASE WHEN {column} > 0"
        f" THEN to_timestamp({column} / 1e9::double precision) END) STORED"
    )


def upgrade() -> None:
    """Make them."""
    times = {f"{name}_at": _at(f"{name}_ns", f"{name}_at") for name in TIMES}
    at = _at("ts_ns", "at")
    for statement in TABLES.format(**times, at=at, results=RESULTS.format(at=at)).split(";"):
        if statement.strip():
            op.execute(statement)
