"""Rows in memory, deterministic, without a clock.

A row is kept as it came, for rows never change; whoever reads gets what the one codec makes of it,
as from a database (`kernel.store.codec`).
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING

from kernel.errors import RowsRefused, StoreFenced
from kernel.model.positions import PositionRow
from kernel.model.rows import (
    ClaimRow,
    EventRow,
    FillRow,
    LockRow,
    OrderRow,
    PerformanceRow,
    Row,
    StoredState,
    SwitchRow,
    TrailingRow,
    WaveRow,
    row_key,
)
from kernel.model.units import TsNs
from kernel.store.backend import CLAIMS_READ_NS, NEW, Mark, Retention
from kernel.store.codec import (
    ORDERS,
    POSITIONS,
    TABLES,
    TOTALS,
    Table,
    decode_row,
    encode_row,
    table_of,
    tables_of,
)
from kernel.store.leases import Holding, LeaseAsk, taken_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    type Key = object
    """Of a row in its table: the value of its key column, or a tuple of them."""


class MemoryBackend:
    """A `Backend`, with an index of what a start reads, so that closed history costs nothing.

    Attributes:
        epoch: See `Backend`.
        since_ns: See `Backend`.
        mark: See `Backend`.
        retention: See `Backend`.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.since_ns = TsNs(0)
        self.mark = NEW
        self.retention = Retention()
        self._events: deque[EventRow] = deque()
        self._leases: dict[str, Holding] = {}
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[str, dict[Key, Row]] = {table.name: {} for table in TABLES}
        self._places: dict[tuple[str, Key], tuple[int, str]] = {}
        """(table, key) → when it was first written, and the position that it belongs to."""
        self._written = 0
        self._live_positions: dict[Key, None] = {}
        self._open_orders: dict[Key, None] = {}
        self._children: dict[tuple[str, str], dict[Key, None]] = {}
        """(table, position) → orders or fills."""
        self._claims: dict[str, int] = {}
        self._waves: dict[Key, tuple[int, bool]] = {}
        """Key → (wave, whether it is open)."""

    # ------------------------------------------------------------ the port

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""
        if epoch and epoch < self.epoch:
            raise StoreFenced(f"run epoch {self.epoch} has loaded since run epoch {epoch}")
        claimed = tuple(row.once_key not in self._claims for row in rows if type(row) is ClaimRow)
        if all(claimed):
            self._demand_positions(rows)
            for row in rows:
                self._put(row)
            self.mark = self.mark._replace(commits=self.mark.commits + 1)
        return claimed

    def ask_mark(self) -> Mark:
        """See `Backend.ask_mark`."""
        return self.mark

    def _demand_positions(self, rows: tuple[Row, ...]) -> None:
        known = self._rows[POSITIONS.name]
        for row in rows:
            if type(row) is OrderRow or type(row) is FillRow or type(row) is TrailingRow:
                name = row.position_id
            else:
                continue
            if not name or name in known:
                continue
            if not any(type(one) is PositionRow and one.position_id == name for one in rows):
                raise RowsRefused(f"{row_key(row)} refers to {name!r}, which is not stored")

    def keep_events(self, rows: tuple[EventRow, ...]) -> None:
        """See `Backend.keep_events`."""
        events = self._events
        for row in rows:
            events.append(row)
            oldest_ns = row.ts_ns - self.retention.events_ns
            while len(events) > self.retention.events or events[0].ts_ns < oldest_ns:
                events.popleft()

    def events(self) -> tuple[EventRow, ...]:
        """See `Backend.events`."""
        return tuple(self._events)

    def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """See `Backend.get`."""
        asked: Key = key[0] if len(key) == 1 else key
        for table in tables_of(kind):
            row = self._rows[table.name].get(asked)
            if row is not None:
                return _read(table, row)
        return None

    def has(self, kind: type[Row], *key: str | int) -> bool:
        """See `Backend.has`."""
        asked: Key = key[0] if len(key) == 1 else key
        return any(asked in self._rows[table.name] for table in tables_of(kind))

    def rows(self, *kinds: type[Row]) -> Iterator[Row]:
        """See `Backend.rows`."""
        for table in TABLES:
            if kinds and table.row not in kinds:
                continue
            for row in self._rows[table.name].values():
                yield _read(table, row)

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """See `Backend.replace`."""
        held = tuple(rows)
        self._clear()
        if epoch is not None:
            self.epoch, self.since_ns, self.mark = epoch, TsNs(since_ns), mark
        elif not held:
            self.since_ns, self.mark = TsNs(0), NEW
        for row in held:
            self._put(row)

    def close(self) -> None:
        """See `Backend.close`."""

    # ------------------------------------------------------------ writing

    def _put(self, row: Row) -> None:
        if type(row) is EventRow:
            self.keep_events((row,))
            return
        if type(row) is ClaimRow and row.once_key in self._claims:
            return  # a claim is made once; the same one again in one commit says nothing new
        table = table_of(row)
        key = _KEYS[table.name](row)
        self._rows[table.name][key] = row
        self._written += 1
        if type(row) is OrderRow:
            self._place(table, key, row.position_id)
            _mark(self._open_orders, key, on=row.intent_open or row.watch_until_ns > 0)
        elif type(row) is PositionRow:
            self._place(table, key, row.position_id)
            _mark(self._live_positions, key, on=not (row.state.terminal and row.result_ns))
        elif type(row) is FillRow:
            self._place(table, key, row.position_id)
        elif type(row) is ClaimRow:
            self._claims[row.once_key] = row.claimed_ns
        elif type(row) is WaveRow:
            self._waves[key] = (row.wave_ns, row.state == "open")

    def _place(self, table: Table, key: Key, position_id: str) -> None:
        place = (table.name, key)
        known = self._places.get(place)
        if known is not None and known[1] == position_id:
            return
        number = self._written
        if known is not None:
            number = known[0]
            del self._children[(table.name, known[1])][key]
        self._places[place] = (number, position_id)
        self._children.setdefault((table.name, position_id), {})[key] = None

    # ------------------------------------------------------------ a start

    def lease(self, ask: LeaseAsk, now_ns: int) -> None:
        """See `Backend.lease`."""
        taken_over(self._leases, ask, now_ns)
        self._lease(ask, ask.epoch, now_ns)

    def _lease(self, ask: LeaseAsk, epoch: int, now_ns: int) -> None:
        for account in ask.accounts:
            self._leases[account] = Holding(ask.instance, epoch, now_ns + ask.term_ns)

    def load(
        self,
        now_ns: int,
        ask: LeaseAsk | None = None,
        *,
        least_epoch: int = 1,
        anew: bool = False,
    ) -> StoredState:
        """See `Backend.load`."""
        lease_of, epoch = "", max(self.epoch + 1, least_epoch)
        if ask is not None:
            lease_of = taken_over(self._leases, ask, now_ns)
            self._lease(ask, epoch, now_ns)
        if not self.since_ns or anew or self.epoch + 1 < least_epoch:
            self.since_ns = TsNs(now_ns)
        if not self.mark.first_ns:
            self.mark = self.mark._replace(first_ns=now_ns)
        self.epoch = epoch
        self._forget(now_ns)
        live = self._sorted("monitoring.positions", self._live_positions)
        orders: dict[Key, None] = {}
        fills: dict[Key, None] = {}
        for one in live:
            orders.update(self._children.get(("monitoring.orders_cache", str(one)), {}))
            fills.update(self._children.get(("monitoring.trades", str(one)), {}))
        orders.update(self._open_orders)
        after_ns = now_ns - CLAIMS_READ_NS
        return StoredState(
            epoch=self.epoch,
            positions=self._read(PositionRow, live),
            orders=tuple(
                order
                for order in self._read(
                    OrderRow, self._sorted("monitoring.orders_cache", orders)
                )
                if order.intent_open
                or order.position_id in self._live_positions
                or order.watch_until_ns > now_ns
            ),
            fills=self._read(FillRow, self._sorted("monitoring.trades", fills)),
            trailing=self._read(
                TrailingRow,
                [one for one in live if one in self._rows["monitoring.trailing_stop_state"]],
            ),
            claims=self._read(
                ClaimRow, [key for key, at_ns in self._claims.items() if at_ns > after_ns]
            ),
            waves=self._read(
                WaveRow,
                [
                    key
                    for key, (wave_ns, is_open) in self._waves.items()
                    if is_open or wave_ns > after_ns
                ],
            ),
            locks=tuple(
                lock
                for lock in self._read(LockRow, self._rows["monitoring.symbol_locks"])
                if lock.until_ns > now_ns
            ),
            performance=self._read(PerformanceRow, self._rows[TOTALS.name], TOTALS),
            switches=next(iter(self._read(SwitchRow, [()])), None),
            since_ns=self.since_ns,
            lease_of=lease_of,
        )

    def _forget(self, now_ns: int) -> None:
        """Orders that nothing can ask for any more."""
        held = self._rows[ORDERS.name]
        for key, row in list(held.items()):
            if key in self._open_orders:
                continue
            assert isinstance(row, OrderRow)
            if row.position_id in self._live_positions:
                continue
            if max(row.created_ns, row.updated_ns) < now_ns - self.retention.orders_ns:
                del held[key]
                del self._places[(ORDERS.name, key)]
                del self._children[(ORDERS.name, row.position_id)][key]

    def _sorted(self, table: str, keys: Iterable[Key]) -> list[Key]:
        return sorted(keys, key=lambda key: self._places[(table, key)][0])

    def _read[T: Row](
        self, kind: type[T], keys: Iterable[Key], table: Table | None = None
    ) -> tuple[T, ...]:
        table = table or _TABLES[kind]
        found = (self._rows[table.name].get(key) for key in keys)
        rows = [_read(table, row) for row in found if row is not None]
        return tuple(row for row in rows if isinstance(row, kind))


def _read(table: Table, row: Row) -> Row:
    """What a database would give for a row."""
    return decode_row(table, encode_row(row))


def _mark(index: dict[Key, None], key: Key, *, on: bool) -> None:
    if on:
        index[key] = None
    else:
        index.pop(key, None)


def _no_key(_row: Row) -> Key:
    return ()


def _key_of(table: Table) -> Callable[[Row], Key]:
    if not table.key:
        return _no_key
    fields = dict(zip(table.names, table.row.__struct_fields__, strict=False))
    return attrgetter(*(fields[name] for name in table.key))


_TABLES: dict[type, Table] = {table.row: table for table in TABLES}
_KEYS = {table.name: _key_of(table) for table in TABLES}
