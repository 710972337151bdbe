"""Positions of ours while they live: working objects, their transitions, fills booked once.

1. A position changes its state only by `transition`, which follows `POSITION_TABLE`.
2. Quantities come from distinct executions and from nothing else: a fill that was booked before
   changes nothing, funding changes money only, and the order of arrival makes no difference.
3. `protected_level` is never loosened, whoever asks.
4. Storing a row is the caller's business: the state is durable before the act that it announces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kernel.errors import InvariantViolation
from kernel.model.orders import Fill, FillKind, PositionReport, PositionSide
from kernel.model.positions import POSITION_TABLE, Origin, PositionRow, PositionState
from kernel.model.units import ZERO, MonoNs, Price, Qty, canonical
from kernel.trade.protective_set import StopSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.ports.outbox import Outbox
    from kernel.runtime.scheduler import Runtime

RECENT_POSITIONS = 256
"""Ended positions that are kept, so that late events find what they belong to."""

_MOVES_QUANTITY = (FillKind.TRADE, FillKind.LIQUIDATION, FillKind.ADL, FillKind.SETTLEMENT)


class Position:
    """The working object of one position.

    Attributes:
        row: The record as it should be stored; replaced, never changed.
        stops: What protects it.
        changed: Set at every fill, transition and report that says something new. Clear it, look,
            then wait.
        lock: One operation at a time: entry, replacement, close.
        report: What the venue said last about it; None before that.
        filled_mono_ns: When the first fill became known; None before that.
        frozen: Nothing but protection may act on it ("": it is not frozen).
    """

    __slots__ = (
        "_book",
        "_entry_notional",
        "_exit_notional",
        "_outbox",
        "_runtime",
        "changed",
        "filled_mono_ns",
        "fills",
        "frozen",
        "lock",
        "report",
        "row",
        "stops",
    )

    def __init__(
        self, row: PositionRow, runtime: Runtime, outbox: Outbox, fills: Iterable[Fill] = ()
    ) -> None:
        self.row = row
        self._runtime = runtime
        self._outbox = outbox
        self._book: PositionBook | None = None
        self.stops = StopSet(runtime)
        self.changed = runtime.event()
        self.lock = runtime.lock()
        self.report: PositionReport | None = None
        self.filled_mono_ns: MonoNs | None = None
        self.frozen = ""
        self.fills: dict[str, Fill] = {}
        self._entry_notional = row.entry_price * row.filled_qty
        self._exit_notional = row.exit_price * row.closed_qty
        self._restore(tuple(fills))

    # ------------------------------------------------------------ identity

    @property
    def id(self) -> str:
        """The position's id."""
        return self.row.position_id

    @property
    def venue(self) -> str:
        """Name of the venue."""
        return self.row.venue

    @property
    def symbol(self) -> str:
        """The venue's symbol."""
        return self.row.symbol

    @property
    def side(self) -> PositionSide:
        """LONG or SHORT."""
        return self.row.side

    @property
    def state(self) -> PositionState:
        """Where its life stands."""
        return self.row.state

    @property
    def ours(self) -> bool:
        """Whether it came from a signal of ours."""
        return self.row.origin is Origin.OURS

    @property
    def qty(self) -> Qty:
        """Filled minus closed, from distinct executions; below zero: an entry fill is missing."""
        return self.row.filled_qty - self.row.closed_qty

    # ------------------------------------------------------------ changes

    def transition(self, state: PositionState, cause: str) -> None:
        """Go to another state; a decision is recorded. Storing the row is the caller's business.

        Raises:
            InvariantViolation: The table does not allow it.
        """
        before = self.row.state
        if state not in POSITION_TABLE[before]:
            raise InvariantViolation(f"{self.id}: {before} may not become {state} ({cause})")
        self.update(state=state)
        self._outbox.record(
            "position.state",
            cause,
            venue=self.venue,
            symbol=self.symbol,
            position_id=self.id,
            before=before.value,
            after=state.value,
            qty=self.qty,
        )
        if state.terminal and self._book is not None:
            self._book.retire(self)
        self.changed.set()

    def update(self, **changes: Any) -> None:
        """Replace fields of the row and stamp it.

        Raises:
            InvariantViolation: The protected level would be loosened.
        """
        level = changes.get("protected_level")
        if level is not None and self.row.protected_level:
            loosened = (level - self.row.protected_level) * self.side.sign < 0
            if loosened:
                raise InvariantViolation(
                    f"{self.id}: protected level {self.row.protected_level} must not become {level}"
                )
        self.row = msgspec.structs.replace(self.row, updated_ns=self._runtime.ts(), **changes)

    def apply_fill(self, fill: Fill) -> bool:
        """Book an execution once.

        Returns:
            False where it was booked before; then nothing changed.
        """
        if fill.trade_id in self.fills:
            return False
        assert fill.symbol == self.symbol
        self.fills[fill.trade_id] = fill
        if fill.kind is FillKind.FUNDING:
            self.update(funding=self.row.funding - fill.fee)
        elif fill.kind in _MOVES_QUANTITY:
            self._book_execution(fill)
        self.changed.set()
        return True

    def hear(self, report: PositionReport) -> bool:
        """Take what the venue says of this position; older than what is known changes nothing."""
        known = self.report
        if known is not None and is_older(report, known):
            return False
        self.report = report
        if known is None or not is_same(report, known):
            self.changed.set()
        return True

    def _book_execution(self, fill: Fill) -> None:
        opening = fill.side is self.side.entry_side
        changes: dict[str, Any] = {"fees": self.row.fees + fill.fee}
        if opening:
            filled = self.row.filled_qty + fill.qty
            self._entry_notional += fill.qty * fill.price
            changes["filled_qty"] = canonical(filled)
            changes["entry_price"] = canonical(self._entry_notional / filled)
            first = self.row.first_fill_ns
            changes["first_fill_ns"] = min(first, fill.ts_ns) if first else fill.ts_ns
            if self.filled_mono_ns is None:
                self.filled_mono_ns = self._runtime.now()
        else:
            closed = self.row.closed_qty + fill.qty
            self._exit_notional += fill.qty * fill.price
            changes["closed_qty"] = canonical(closed)
            changes["exit_price"] = canonical(self._exit_notional / closed)
        self.update(**changes)
        self.update(realized_pnl=self._realized())

    def _realized(self) -> Price:
        """Before fees: exact whatever the order in which the fills came."""
        if not self.row.filled_qty or not self.row.closed_qty:
            return ZERO
        cost = self._entry_notional * self.row.closed_qty / self.row.filled_qty
        return canonical((self._exit_notional - cost) * self.side.sign)

    def _restore(self, fills: tuple[Fill, ...]) -> None:
        """Remember the stored executions, so that they are not booked again."""
        opened = closed = ZERO
        for fill in fills:
            self.fills[fill.trade_id] = fill
            if fill.kind not in _MOVES_QUANTITY:
                continue
            if fill.side is self.side.entry_side:
                opened += fill.qty * fill.price
            else:
                closed += fill.qty * fill.price
        self._entry_notional = opened or self._entry_notional
        self._exit_notional = closed or self._exit_notional
        if self.row.filled_qty:
            self.filled_mono_ns = self._runtime.now()


class PositionBook:
    """All positions that live, and the last ones that ended."""

    def __init__(self, runtime: Runtime, outbox: Outbox) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._open: dict[str, Position] = {}
        self._by_symbol: dict[tuple[str, str], Position] = {}
        self._recent: dict[str, Position] = {}
        self.ended = 0
        self.on_ended: list[Callable[[Position], None]] = []
        """Told of each position that ended, in this order."""

    def create(self, row: PositionRow, fills: Iterable[Fill] = ()) -> Position:
        """Make a working object for a row and add it."""
        position = Position(row, self._runtime, self._outbox, fills)
        self.add(position)
        return position

    def add(self, position: Position) -> None:
        """Take a position that lives.

        Raises:
            InvariantViolation: There is one on this venue and symbol, or the id was used.
        """
        key = (position.venue, position.symbol)
        if position.id in self._open or position.id in self._recent:
            raise InvariantViolation(f"position {position.id} exists already")
        if key in self._by_symbol:
            raise InvariantViolation(
                f"a second position on {position.venue} {position.symbol}: "
                f"{self._by_symbol[key].id} lives"
            )
        position._book = self  # noqa: SLF001 - the book is the other half of the position
        if position.state.terminal:
            self._remember(position)
            return
        self._open[position.id] = position
        self._by_symbol[key] = position

    def retire(self, position: Position) -> None:
        """Called by the position when it ended."""
        if self._open.pop(position.id, None) is None:
            return
        del self._by_symbol[(position.venue, position.symbol)]
        self.ended += 1
        self._remember(position)
        for tell in self.on_ended:
            tell(position)

    def open(self) -> list[Position]:
        """Every position that lives, in the order in which they were added."""
        return list(self._open.values())

    def by_symbol(self, venue: str, symbol: str) -> Position | None:
        """The living position on a symbol."""
        return self._by_symbol.get((venue, symbol))

    def by_id(self, position_id: str) -> Position | None:
        """A position, living or among the last that ended."""
        return self._open.get(position_id) or self._recent.get(position_id)

    def on_venue(self, venue: str) -> list[Position]:
        """Every position that lives on a venue."""
        return [position for position in self._open.values() if position.venue == venue]

    def slots_used(self) -> int:
        """Positions that count for `MAX_POSITIONS`: open, pending and unsettled, foreign too."""
        return len(self._open)

    def forgotten(self) -> list[Position]:
        """Take the ended positions that are too many to be kept."""
        gone = []
        while len(self._recent) > RECENT_POSITIONS:
            gone.append(self._recent.pop(next(iter(self._recent))))
        return gone

    def _remember(self, position: Position) -> None:
        self._recent[position.id] = position


def is_older(report: PositionReport, known: PositionReport) -> bool:
    """Whether a position report must not overwrite what is known (hazards W10)."""
    if report.seq and known.seq:
        return report.seq < known.seq
    return report.updated_ns < known.updated_ns


def is_same(report: PositionReport, known: PositionReport) -> bool:
    """Whether two reports differ in nothing but the mark and what follows from it."""
    return (
        report.qty == known.qty
        and report.side is known.side
        and report.stop_price == known.stop_price
        and report.stop_trigger_by is known.stop_trigger_by
        and report.liquidation_price == known.liquidation_price
        and report.entry_price == known.entry_price
    )


def _differs(report: PositionReport, known: PositionReport) -> bool:
    """Whether a report says anything that protection looks at; marks and PnL move all the time."""
    return (
        report.qty != known.qty
        or report.stop_price != known.stop_price
        or report.side is not known.side
        or report.entry_price != known.entry_price
        or report.stop_trigger_by is not known.stop_trigger_by
        or report.liquidation_price != known.liquidation_price
        or report.hedge_leg != known.hedge_leg
    )
