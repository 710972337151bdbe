"""The tables in PostgreSQL, as SQLAlchemy Core: the columns of the codec, with keys and indexes.

Each table has besides: `number`, the order in which its keys were first written, and for each time
`…_ns` that is worth reading a generated `…_at` for people. Nothing here connects to anything;
what runs writes SQL of its own (`kernel.store.sql`) and never loads this module.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from kernel.store import codec
from kernel.store.codec import Kind

SCHEMAS = ("monitoring", "fas")
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
TYPES: dict[Kind, Any] = {
    Kind.TEXT: Text,
    Kind.REF: Text,
    Kind.JSON: JSON,
    Kind.MONEY: Numeric,
    Kind.NS: BigInteger,
    Kind.INT: BigInteger,
    Kind.BOOL: Boolean,
    Kind.TEXTS: ARRAY(Text),
    Kind.MONIES: ARRAY(Numeric),
    Kind.MANY_NS: ARRAY(BigInteger),
}
_OPEN_ORDER = "intent_open OR watch_until_ns > 0"
_LIVE = "state NOT IN ('CLOSED', 'ROLLED_BACK') OR result_ns = 0"

metadata = MetaData(naming_convention=NAMING)


def _at(name: str) -> Column[Any]:
    """A time for people, to the microsecond; NULL: never."""
    shown = "at" if name == "ts_ns" else f"{name.removesuffix('_ns')}_at"
    expression = f"CASE WHEN {name} > 0 THEN to_timestamp({name} / 1e9::double precision) END"
    return Column(shown, DateTime(timezone=True), Computed(expression, persisted=True))


def _table(table: codec.Table, *more: Index, **references: str) -> Table:
    """The table of the codec. `references`: column → the column that it refers to."""
    schema, name = table.name.split(".")
    columns: list[Any] = []
    for column in table.columns:
        refers = references.get(column.name)
        foreign = [
            ForeignKey(refers, ondelete="RESTRICT", deferrable=True, initially="DEFERRED")
        ] if refers else []  # fmt: skip
        nullable = column.kind is Kind.REF
        columns.append(Column(column.name, TYPES[column.kind], *foreign, nullable=nullable))
    columns += [_at(column.name) for column in table.columns if column.kind is Kind.NS]
    number = Column("number", BigInteger, Identity(always=True), nullable=False)
    if table.append:
        return Table(name, metadata, number, *columns, PrimaryKeyConstraint("number"), *more,
                     schema=schema)  # fmt: skip
    if not table.key:
        single = Column("single", Boolean, nullable=False, server_default=text("true"))
        return Table(name, metadata, single, number, *columns, CheckConstraint("single", "single"),
                     PrimaryKeyConstraint("single"), schema=schema)  # fmt: skip
    key = PrimaryKeyConstraint(*table.key)
    return Table(name, metadata, *columns, number, key, *more, schema=schema)


POSITIONS = _table(
    codec.POSITIONS,
    Index("ix_positions_live", "number", postgresql_where=text(_LIVE)),
)
ORDERS = _table(
    codec.ORDERS,
    Index("ix_orders_cache_open", "number", postgresql_where=text(_OPEN_ORDER)),
    Index("ix_orders_cache_position_id", "position_id"),
    position_id="monitoring.positions.id",
)
TRADES = _table(
    codec.TRADES,
    Index("ix_trades_position_id", "position_id"),
    position_id="monitoring.positions.id",
)
TRAILING = _table(codec.TRAILING, position_id="monitoring.positions.id")
CLAIMS = _table(codec.CLAIMS, Index("ix_claims_claimed_ns", "claimed_ns"))
LOCKS = _table(codec.LOCKS)
SWITCHES = _table(codec.SWITCHES)
TOTALS = _table(codec.TOTALS)
SNAPSHOTS = _table(codec.SNAPSHOTS)
EVENTS = _table(
    codec.EVENTS,
    Index("ix_events_ts_ns", "ts_ns"),
)
SIGNALS = _table(
    codec.SIGNALS,
    Index("ix_signals_arrived_ns", "arrived_ns"),
)
WAVES = _table(
    codec.WAVES,
    Index("ix_waves_wave_ns", "wave_ns"),
    Index("ix_waves_open", "number", postgresql_where=text("state = 'open'")),
)
STORE = Table(
    "store",
    metadata,
    Column("single", Boolean, nullable=False, server_default=text("true")),
    Column("epoch", BigInteger, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
    Column("first_ns", BigInteger, nullable=False),
    Column("commits", BigInteger, nullable=False),
    _at("since_ns"),
    _at("first_ns"),
    PrimaryKeyConstraint("single"),
    CheckConstraint("single", "single"),
    schema="monitoring",
)
"""One row: the run epoch that was taken last, since when this store exists, when it was loaded for
the first time ever, and how many commits it has."""
LEASES = Table(
    "leases",
    metadata,
    Column("account", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    _at("until_ns"),
    PrimaryKeyConstraint("account"),
    schema="monitoring",
)
"""Who may trade which account; times are the database's."""
