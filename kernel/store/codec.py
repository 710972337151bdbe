"""The one codec of the stores: a row as the values of the columns of its table, and back.

What is read from any store went through here: PostgreSQL keeps the values in columns, memory makes
them when it is read. What comes back equals what was written, decimals in canonical form.

PostgreSQL takes neither NUL nor lone surrogates in text, so they are written as U+001A and four hex
digits, as is U+001A itself. A reference to nothing is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from enum import Enum
from operator import itemgetter
from typing import Any, NamedTuple, cast, get_type_hints

import msgspec

from kernel.model.positions import PositionRow
from kernel.model.rows import (
    ClaimRow,
    EventRow,
    FillRow,
    LockRow,
    OrderRow,
    PerformanceRow,
    Row,
    SignalRow,
    SwitchRow,
    TrailingRow,
    WaveRow,
)
from kernel.model.units import ZERO

type Values = tuple[Any, ...]

_WIDE = Context(prec=200_000)
"""More digits than `numeric` has: taking zeros away never rounds."""
_REFUSED = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    REF = "reference"
    """Text that names a row of another table; "" refers to nothing."""
    JSON = "json"
    MONEY = "money"
    """Any exact decimal: money, prices, quantities."""
    NS = "nanoseconds"
    INT = "integer"
    BOOL = "boolean"
    TEXTS = "texts"
    MONIES = "monies"
    MANY_NS = "many nanoseconds"


class Column(NamedTuple):
    """One column: its name, what it holds, and the type of the field where that is an enum."""

    name: str
    kind: Kind
    enum: type[Enum] | None = None


class Table(NamedTuple):
    """Where rows of one kind are kept.

    `key` () with `append` False: one row at most. `append`: every row is a new one.
    """

    name: str
    """With its schema."""
    row: type[Row]
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    append: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in the order of the values."""
        return tuple(column.name for column in self.columns)


def _table(
    name: str,
    row: type[Row],
    key: Sequence[str] = (),
    *,
    append: bool = False,
    **special: tuple[str, Kind],
) -> Table:
    """A table with a column for each field; `special` renames a field or says what it holds."""
    columns = []
    for field, hint in get_type_hints(row).items():
        told, kind = special.get(field, (field, None))
        enum = hint if isinstance(hint, type) and issubclass(hint, Enum) else None
        columns.append(Column(told, kind or _kind(field, hint), enum))
    return Table(name, row, tuple(columns), tuple(key), append)


def _kind(field: str, hint: Any) -> Kind:
    plain = getattr(hint, "__value__", hint)
    plain = getattr(plain, "__supertype__", plain)
    if plain is int and field.endswith("_ns"):
        return Kind.NS
    if isinstance(plain, type) and issubclass(plain, Enum):
        return Kind.TEXT
    return {str: Kind.TEXT, Decimal: Kind.MONEY, int: Kind.INT, bool: Kind.BOOL}[plain]


POSITIONS = _table(
    "monitoring.positions", PositionRow, ["id"], position_id=("id", Kind.TEXT)
)
ORDERS = _table(
    "monitoring.orders_cache",
    OrderRow,
    ["venue", "client_order_id"],
    position_id=("position_id", Kind.REF),
)
TRADES = _table(
    "monitoring.trades",
    FillRow,
    ["venue", "symbol", "trade_id"],
    position_id=("position_id", Kind.REF),
)
TRAILING = _table("monitoring.trailing_stop_state", TrailingRow, ["position_id"])
CLAIMS = _table("monitoring.claims", ClaimRow, ["once_key"])
LOCKS = _table("monitoring.symbol_locks", LockRow, ["venue", "symbol"])
SWITCHES = Table(
    "monitoring.kill_switches",
    SwitchRow,
    (
        Column("day", Kind.INT),
        Column("day_result", Kind.MONEY),
        Column("losing_stops", Kind.INT),
        Column("stops_ns", Kind.MANY_NS),
        Column("result", Kind.MONEY),
        Column("best", Kind.MONEY),
        Column("wallet_venues", Kind.TEXTS),
        Column("wallets", Kind.MONIES),
        Column("counted", Kind.TEXTS),
    ),
    (),
)
TOTALS = _table("monitoring.performance_totals", PerformanceRow, ["venue"])
SNAPSHOTS = _table(
    "monitoring.performance_snapshots", PerformanceRow, ["venue", "period", "ts_ns"]
)
EVENTS = _table("monitoring.events", EventRow, append=True, values=("details", Kind.JSON))
SIGNALS = _table("fas.signals", SignalRow, ["once_key", "arrived_ns"])
WAVES = _table(
    "fas.waves",
    WaveRow,
    ["source", "wave_ns"],
    selected=("selected", Kind.JSON),
    outcome=("outcome", Kind.JSON),
)

TABLES = (
    POSITIONS, ORDERS, TRADES, TRAILING, CLAIMS, LOCKS, SWITCHES, TOTALS, SNAPSHOTS, EVENTS,
    SIGNALS, WAVES,
)  # fmt: skip
"""In an order in which what is referred to comes first."""
_TABLE_OF = {table.row: table for table in TABLES if table is not TOTALS}


def table_of(row: Row) -> Table:
    """The table that keeps this row."""
    if type(row) is PerformanceRow and row.period == "running":
        return TOTALS
    return _TABLE_OF[type(row)]


def tables_of(kind: type[Row]) -> tuple[Table, ...]:
    """The tables that keep rows of this kind."""
    return tuple(table for table in TABLES if table.row is kind)


# -------------------------------------------------------------------- writing


def to_values(row: Row) -> Values:
    """The values of a row, in the order of the columns of its table."""
    if type(row) is SwitchRow:
        values: Values = (
            row.day, row.day_result, row.losing_stops, row.stops, row.result, row.best,
            tuple(venue for venue, _ in row.wallets), tuple(held for _, held in row.wallets),
            row.counted,
        )  # fmt: skip
    else:
        values = msgspec.structs.astuple(cast("msgspec.Struct", row))
    texts, references = _PLACES[type(row)]
    for place in references:
        values = (*values[:place], values[place] or None, *values[place + 1 :])
    if texts(values).isprintable():  # nearly always; what is refused is not printable
        return values
    return tuple(map(_escaped, values))


def _escaped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_escaped, value))
    if not isinstance(value, str):
        return value
    return _REFUSED.sub(lambda found: f"\x1a{ord(found[0]):04x}", value)


def _joined(table: Table) -> Callable[[Values], str]:
    """What gives all free text of a row at once: it is searched at every write."""
    single = [
        place
        for place, column in enumerate(table.columns)
        if column.kind in (Kind.TEXT, Kind.JSON, Kind.REF) and column.enum is None
    ]
    lists = [
        place for place, column in enumerate(table.columns) if column.kind is Kind.TEXTS
    ]
    if lists:
        return lambda values: "".join("".join(values[place]) for place in lists)
    if len(single) == 1:
        return itemgetter(single[0])
    get = itemgetter(*single)
    return lambda values: "".join(filter(None, get(values)))


_PLACES = {
    table.row: (
        _joined(table),
        [at for at, column in enumerate(table.columns) if column.kind is Kind.REF],
    )
    for table in TABLES
}
"""Kind of row → (its free text, the places of references)."""


# -------------------------------------------------------------------- reading


def from_values(table: Table, values: Sequence[Any]) -> Row:
    """The row of these values, as a store gives them back.

    Raises:
        ValueError: They are not a row of this table: a decimal that is not finite, a word that is
            none of its enum.
    """
    read = [
        _read(column, value) for column, value in zip(table.columns, values, strict=True)
    ]
    if table is SWITCHES:
        read[6:8] = [tuple(zip(read[6], read[7], strict=True))]
    fields = table.row.__struct_fields__
    return table.row(**dict(zip(fields, read, strict=True)))


def _read(column: Column, value: Any) -> Any:
    if column.enum is not None:
        return column.enum(value)
    reader = _READ.get(column.kind)
    return value if reader is None else reader(value)


def _original_text(value: str) -> str:
    if "\x1a" not in value:
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


def _exact(value: Decimal | str) -> Decimal:
    """The number in canonical form, without rounding."""
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"not a finite number: {number}")
    if not number:
        return ZERO
    reduced = number.normalize(_WIDE)
    if "E+" in str(reduced):
        return reduced.quantize(Decimal(1), context=_WIDE)
    return reduced


_READ: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: _original_text,
    Kind.JSON: _original_text,
    Kind.REF: lambda value: "" if value is None else _original_text(value),
    Kind.MONEY: _exact,
    Kind.TEXTS: lambda values: tuple(_original_text(value) for value in values),
    Kind.MONIES: lambda values: tuple(_exact(value) for value in values),
    Kind.MANY_NS: tuple,
}

# -------------------------------------------------------------------- bytes

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Any])


def encode_row(row: Row) -> bytes:
    """The values of a row as bytes."""
    return _ENCODER.encode(to_values(row))


def decode_row(table: Table, data: bytes) -> Row:
    """The row of these bytes.

    Raises:
        ValueError: They are not a row of this table.
    """
    return from_values(table, _DECODER.decode(data))
