"""The in-memory store: the world's side of `kernel.ports.store`, deterministic, without a clock.

1. Rows are kept as bytes, one for each key; a commit is applied whole or not at all.
2. A commit is applied when it is *completed*, in the order of submission. What was submitted and
   not completed is lost in a crash, except the first so many that the caller says were applied.
3. Event rows are kept apart, the newest `EVENTS_KEPT` of the last `EVENTS_AGE_NS`.
4. A claim that exists refuses its whole commit.
5. While it is down, commits and loads are answered with a failure and change nothing; while it
   is stalled, answers come when the stall ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kernel.model.messages import StoreCommit, StoreDone, StoreFailed, StoreLoad, StoreLoaded
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
from kernel.model.units import DAY, MS, TsNs
from kernel.store.codec import decode_row, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable

type StoreAnswer = StoreDone | StoreLoaded | StoreFailed

LATENCY_NS = 1 * MS
EVENTS_KEPT = 100_000
EVENTS_AGE_NS = 90 * DAY


class _Window:
    """A fault in time: [from, until)."""

    __slots__ = ("from_ns", "kind", "until_ns")

    def __init__(self, kind: str, from_ns: int, until_ns: int) -> None:
        self.kind = kind
        self.from_ns = from_ns
        self.until_ns = until_ns

    def covers(self, now_ns: int) -> bool:
        return self.from_ns <= now_ns < self.until_ns


class MemoryStore:
    """Rows by key, with an index of what a start reads, so that closed history costs nothing.

    Args:
        latency_ns: From a request to its answer.

    Attributes:
        epoch: Run epoch that the last load took.
        since_ns: Wall time of the first load; 0 before it.
        commits: How many were applied.
        refused: How many a claim refused.
        failed: How many requests a fault answered.
        events: Event rows, oldest first.
    """

    def __init__(self, *, latency_ns: int = LATENCY_NS) -> None:
        self.latency_ns = latency_ns
        self.epoch = 0
        self.since_ns = TsNs(0)
        self.commits = 0
        self.refused = 0
        self.failed = 0
        self.events: deque[EventRow] = deque(maxlen=EVENTS_KEPT)
        self._rows: dict[str, bytes] = {}
        self._live_positions: dict[str, None] = {}
        self._orders_of: dict[str, dict[str, None]] = {}
        self._fills_of: dict[str, dict[str, None]] = {}
        self._open_orders: dict[str, None] = {}
        self._claims: dict[str, int] = {}
        self._waves: dict[str, tuple[int, bool]] = {}
        """Key → (wave, whether it is open)."""
        self._locks: dict[str, None] = {}
        self._sums: dict[str, None] = {}
        """Keys of running performance rows."""
        self._pending: dict[str, StoreCommit | StoreLoad] = {}
        self._doomed: dict[str, str] = {}
        self._last_due_ns = 0
        self._windows: list[_Window] = []

    # ------------------------------------------------------------ faults

    def down(self, from_ns: int, until_ns: int) -> None:
        """Answer every request of this window with a failure."""
        self._windows.append(_Window("down", from_ns, until_ns))

    def stall(self, from_ns: int, until_ns: int) -> None:
        """Answer the requests of this window at its end."""
        self._windows.append(_Window("stall", from_ns, until_ns))

    def crash(self, applied: int = 0) -> None:
        """Its client died: the first so many waiting commits were applied, the rest is lost."""
        for key in list(self._pending)[:applied]:
            body = self._pending[key]
            if isinstance(body, StoreCommit) and key not in self._doomed:
                self._apply(body.rows)
        self._pending.clear()
        self._doomed.clear()
        self._last_due_ns = 0

    def snapshot(self) -> dict[str, bytes]:
        """Everything, for a later `restore`."""
        return dict(self._rows)

    def restore(self, rows: dict[str, bytes]) -> None:
        """Become an earlier state, as a restored backup does. The epoch goes on.

        Without any rows it is a new store.
        """
        if not rows:
            self.since_ns = TsNs(0)
        for index in (self._live_positions, self._open_orders, self._waves, self._locks):
            index.clear()
        self._sums.clear()
        self._rows.clear()
        self._orders_of.clear()
        self._fills_of.clear()
        self._claims.clear()
        for data in rows.values():
            self._put(decode_row(data))

    # ------------------------------------------------------------ requests

    def submit(self, key: str, body: StoreCommit | StoreLoad, now_ns: int) -> int:
        """Take a request; answers when it is due. `complete` it then."""
        due_ns = max(now_ns + self.latency_ns, self._last_due_ns)
        for window in self._windows:
            if not window.covers(now_ns):
                continue
            if window.kind == "stall":
                due_ns = max(due_ns, window.until_ns)
            else:
                self._doomed[key] = "the store is down"
        self._last_due_ns = due_ns
        self._pending[key] = body
        return due_ns

    def complete(self, key: str, now_ns: int) -> StoreAnswer:
        """Apply a request and give its answer.

        Args:
            key: As submitted; requests are completed in the order of submission.
            now_ns: Wall time.

        Raises:
            KeyError: It was never submitted, or was lost in a crash.
        """
        body = self._pending.pop(key)
        reason = self._doomed.pop(key, "")
        if reason:
            self.failed += 1
            return StoreFailed(reason=reason)
        if isinstance(body, StoreLoad):
            return StoreLoaded(state=self._load(now_ns))
        return StoreDone(claimed=self._apply(body.rows))

    def take_events(self, rows: tuple[EventRow, ...]) -> bool:
        """Keep event rows, outside of every commit; False: a fault of this time refuses them."""
        if rows and any(window.covers(rows[-1].ts_ns) for window in self._windows):
            return False
        for row in rows:
            self._keep_event(row)
        return True

    @property
    def pending(self) -> int:
        """Requests that are not completed."""
        return len(self._pending)

    def rows(self) -> Iterable[Row]:
        """Every row, in the order in which the keys were first written."""
        return (decode_row(data) for data in self._rows.values())

    def get(self, key: str) -> Row | None:
        """One row by `row_key`."""
        data = self._rows.get(key)
        return None if data is None else decode_row(data)

    # ------------------------------------------------------------ rows

    def _apply(self, rows: tuple[Row, ...]) -> tuple[bool, ...]:
        claims = [row for row in rows if isinstance(row, ClaimRow)]
        claimed = tuple(claim.once_key not in self._claims for claim in claims)
        if not all(claimed):
            self.refused += 1
            return claimed
        for row in rows:
            self._put(row)
        self.commits += 1
        return claimed

    def _keep_event(self, row: EventRow) -> None:
        events = self.events
        events.append(row)
        while events[0].ts_ns < row.ts_ns - EVENTS_AGE_NS:
            events.popleft()

    def _put(self, row: Row) -> None:
        if isinstance(row, EventRow):
            self._keep_event(row)
            return
        key = row_key(row)
        self._rows[key] = encode_row(row)
        match row:
            case PositionRow():
                _mark(self._live_positions, row.position_id, on=not row.state.terminal)
            case OrderRow():
                self._orders_of.setdefault(row.position_id, {})[key] = None
                _mark(self._open_orders, key, on=row.intent_open or row.watch_until_ns > 0)
            case FillRow():
                self._fills_of.setdefault(row.position_id, {})[key] = None
            case ClaimRow():
                self._claims[row.once_key] = row.claimed_ns
            case WaveRow():
                self._waves[key] = (row.wave_ns, row.state == "open")
            case LockRow():
                self._locks[key] = None
            case PerformanceRow(period="running"):
                self._sums[key] = None
            case _:
                pass

    def _load(self, now_ns: int) -> StoredState:
        self.epoch += 1
        self.since_ns = self.since_ns or TsNs(now_ns)
        positions = tuple(self._live_positions)
        order_keys: dict[str, None] = {}
        for position_id in positions:
            order_keys.update(self._orders_of.get(position_id, {}))
        order_keys.update(self._open_orders)
        orders = [self._row(key, OrderRow) for key in order_keys]
        claims = [
            self._row(f"claim|{once_key}", ClaimRow)
            for once_key, claimed_ns in self._claims.items()
            if claimed_ns > now_ns - DAY
        ]
        locks = [self._row(key, LockRow) for key in self._locks]
        return StoredState(
            epoch=self.epoch,
            positions=tuple(self._row(f"position|{one}", PositionRow) for one in positions),
            orders=tuple(
                order for order in orders if order.intent_open or self._matters(order, now_ns)
            ),
            fills=tuple(
                self._row(key, FillRow)
                for position_id in positions
                for key in self._fills_of.get(position_id, ())
            ),
            trailing=tuple(
                self._row(f"trailing|{one}", TrailingRow)
                for one in positions
                if f"trailing|{one}" in self._rows
            ),
            claims=tuple(claims),
            waves=tuple(
                self._row(key, WaveRow)
                for key, (wave_ns, is_open) in self._waves.items()
                if is_open or wave_ns > now_ns - DAY
            ),
            locks=tuple(lock for lock in locks if lock.until_ns > now_ns),
            performance=tuple(self._row(key, PerformanceRow) for key in self._sums),
            switches=self._row("switches", SwitchRow) if "switches" in self._rows else None,
            since_ns=self.since_ns,
        )

    def _matters(self, order: OrderRow, now_ns: int) -> bool:
        return order.position_id in self._live_positions or order.watch_until_ns > now_ns

    def _row[T: Row](self, key: str, kind: type[T]) -> T:
        row = decode_row(self._rows[key])
        assert isinstance(row, kind)
        return row


def _mark(index: dict[str, None], key: str, *, on: bool) -> None:
    if on:
        index[key] = None
    else:
        index.pop(key, None)
