"""Positions of ours while they live: working objects, their transitions, fills booked once.

1. A position changes its state only by `transition`, which follows `POSITION_TABLE`.
2. Quantities come from distinct executions: a fill that was booked before changes nothing, funding
   changes money only, and the order of arrival makes no difference. What something else proves
   (`infer`, `resize`, a position that was found) stands until its executions replace it.
3. `protected_level` is never loosened, whoever asks.
4. Storing a row is the caller's business: the state is durable before the act that it announces.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from kernel.errors import InvariantViolation
from kernel.model.orders import ONE_WAY, Fill, FillKind, PositionReport
from kernel.model.positions import POSITION_TABLE, Origin, PositionRow, PositionState
from kernel.model.units import ZERO, MonoNs, Price, Qty, TsNs, canonical
from kernel.trade.protective_set import StopSet
from kernel.trade.totals import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.ports.outbox import Outbox
    from kernel.runtime.scheduler import Runtime

LEGS = (ONE_WAY, "LONG", "SHORT")
RECENT_POSITIONS = 256
"""Ended positions that are kept, so that late events find what they belong to."""

_MOVES_QUANTITY = (FillKind.TRADE, FillKind.LIQUIDATION, FillKind.ADL, FillKind.SETTLEMENT)


class Position:
    """The working object of one position.

    Attributes:
        id: The position's id.
        venue: Name of the venue.
        symbol: The venue's symbol.
        side: LONG or SHORT.
        leg: The venue's leg of the symbol: BOTH in one-way mode.
        row: The record as it should be stored; replaced, never changed.
        stops: What protects it.
        changed: Set at every fill, transition and report that says something new. Clear it, look,
            then wait.
        lock: One operation at a time: entry, replacement, close.
        report: What the venue said last about it; None before that.
        filled_mono_ns: When the first fill became known; None before that.
        frozen: Nothing but protection may act on it ("": it is not frozen).
        stored: It comes from an earlier process, which may have placed what no row tells of.
    """

    __slots__ = (
        "_book",
        "_closed",
        "_opened",
        "_outbox",
        "_runtime",
        "changed",
        "filled_mono_ns",
        "fills",
        "frozen",
        "id",
        "leg",
        "lock",
        "report",
        "row",
        "side",
        "stops",
        "stored",
        "symbol",
        "venue",
    )

    def __init__(
        self, row: PositionRow, runtime: Runtime, outbox: Outbox, fills: Sequence[Fill] = ()
    ) -> None:
        self.row = row
        self.id = row.position_id
        self.venue = row.venue
        self.symbol = row.symbol
        self.side = row.side
        self.leg = row.hedge_leg
        self._runtime = runtime
        self._outbox = outbox
        self._book: PositionBook | None = None
        self.stops = StopSet(runtime)
        self.changed = runtime.event()
        self.lock = runtime.lock()
        self.report: PositionReport | None = None
        self.filled_mono_ns: MonoNs | None = None
        self.frozen = ""
        self.stored = False
        self.fills: dict[str, Fill]
        known = [fill for fill in fills if fill.kind in _MOVES_QUANTITY]
        self.fills = {fill.trade_id: fill for fill in fills}
        opening = [fill for fill in known if fill.side is row.side.entry_side]
        closing = [fill for fill in known if fill.side is not row.side.entry_side]
        self._opened = Total(row.filled_qty, row.entry_price, row.updated_ns, opening)
        self._closed = Total(row.closed_qty, row.exit_price, row.updated_ns, closing)
        if row.filled_qty:
            self.filled_mono_ns = runtime.now()

    # ------------------------------------------------------------ state

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

    def infer(self, qty: Qty, price: Price, cause: str) -> bool:
        """Take an entry quantity as filled although its executions are not known yet.

        They replace it when they come. False: so much is known already.
        """
        if not self._opened.at_least(canonical(qty), price, self._runtime.ts()):
            return False
        self._outbox.record(
            "fill.inferred",
            cause,
            venue=self.venue,
            symbol=self.symbol,
            position_id=self.id,
            qty=qty,
            price=price,
        )
        self._count(self.row.first_fill_ns or self._runtime.ts())
        self.changed.set()
        return True

    def resize(self, qty: Qty, price: Price) -> None:
        """The venue's quantity wins; the difference came or went at `price`.

        The executions of what went replace it when they come, and change the quantity no more.
        """
        now, filled = self._runtime.ts(), self.row.filled_qty
        self._opened.at_least(canonical(self.row.closed_qty + qty), price, now)
        self._closed.at_least(canonical(filled - qty), price, now)
        self._count(self.row.first_fill_ns or self._runtime.ts())
        self.changed.set()

    @property
    def inferred(self) -> bool:
        """A part of it is known by something else than executions."""
        return self._opened.base_qty > 0 or self._closed.base_qty > 0

    def _book_execution(self, fill: Fill) -> None:
        first = self.row.first_fill_ns
        if fill.side is self.side.entry_side:
            self._opened.add(fill)
            first = min(first, fill.ts_ns) if first else fill.ts_ns
        else:
            self._closed.add(fill)
        self.update(fees=self.row.fees + fill.fee)
        self._count(first)

    def _count(self, first_fill_ns: TsNs) -> None:
        """Bring the row to the totals."""
        opened, closed = self._opened, self._closed
        if opened.qty and self.filled_mono_ns is None:
            self.filled_mono_ns = self._runtime.now()
        realized = ZERO
        if opened.qty and closed.qty:  # what turned it round closed no more than there was
            qty = min(opened.qty, closed.qty)
            cost, paid = (side.notional * qty / side.qty for side in (opened, closed))
            realized = canonical((paid - cost) * self.side.sign)
        self.update(
            filled_qty=canonical(opened.qty),
            entry_price=opened.price,
            closed_qty=canonical(closed.qty),
            exit_price=closed.price,
            realized_pnl=realized,
            first_fill_ns=first_fill_ns,
        )


class PositionBook:
    """All positions that live, and the last ones that ended."""

    def __init__(self, runtime: Runtime, outbox: Outbox) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._open: dict[str, Position] = {}
        self._by_leg: dict[tuple[str, str, str], Position] = {}
        self._recent: dict[str, Position] = {}
        self.ended = 0
        self.on_ended: list[Callable[[Position], None]] = []
        """Told of each position that ended, in this order."""
        self.on_result: list[Callable[[Position], None]] = []
        """Told once of each that ended, as soon as its executions tell all of it, or never will."""
        self.awaits_funding: Callable[[Position], bool] = _awaits_none
        """Whether one that ended may have paid funding that is not known yet."""
        self._unexplained: dict[str, Position] = {}

    def create(self, row: PositionRow, fills: Sequence[Fill] = ()) -> Position:
        """Make a working object for a row and add it."""
        position = Position(row, self._runtime, self._outbox, fills)
        self.add(position)
        return position

    def add(self, position: Position) -> None:
        """Take a position that lives.

        Raises:
            InvariantViolation: There is one on this venue and symbol, or the id was used.
        """
        key = (position.venue, position.symbol, position.leg)
        if position.id in self._open or position.id in self._recent:
            raise InvariantViolation(f"position {position.id} exists already")
        if key in self._by_leg and not position.state.terminal:
            raise InvariantViolation(
                f"a second position on {position.venue} {position.symbol}: "
                f"{self._by_leg[key].id} lives"
            )
        position._book = self  # noqa: SLF001 - the book is the other half of the position
        if position.state.terminal:
            self._remember(position)
            if not position.row.result_ns:
                self._unexplained[position.id] = position
            return
        self._open[position.id] = position
        self._by_leg[key] = position

    def retire(self, position: Position) -> None:
        """Called by the position when it ended."""
        if self._open.pop(position.id, None) is None:
            return
        del self._by_leg[(position.venue, position.symbol, position.leg)]
        self.ended += 1
        self._remember(position)
        for tell in self.on_ended:
            tell(position)
        self._unexplained[position.id] = position
        self.explain(position)

    def explain(self, position: Position, *, final: bool = False) -> None:
        """Tell the result of one that ended, where all of it is known or it is final.

        Storing the row is the caller's business.
        """
        if position.id not in self._unexplained:
            return
        known = final or not (position.qty or self.awaits_funding(position))
        if known:
            del self._unexplained[position.id]
            position.update(result_ns=self._runtime.ts())
            for tell in self.on_result:
                tell(position)

    def unexplained(self, venue: str, symbol: str = "") -> list[Position]:
        """Those that ended on a venue with something untold: executions, or funding."""
        return [
            position
            for position in self._unexplained.values()
            if position.venue == venue and symbol in ("", position.symbol)
        ]

    def open(self) -> list[Position]:
        """Every position that lives, in the order in which they were added."""
        return list(self._open.values())

    def without_result(self) -> list[Position]:
        """Every position whose result is not told yet: those that live, and some that ended."""
        return [*self._open.values(), *self._unexplained.values()]

    def by_symbol(self, venue: str, symbol: str, leg: str = "") -> Position | None:
        """The living position on a leg of a symbol; leg "": on any of them, LONG before SHORT."""
        for one in (leg,) if leg else LEGS:
            found = self._by_leg.get((venue, symbol, one))
            if found is not None:
                return found
        return None

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
        count = len(self._recent) - RECENT_POSITIONS
        if count <= 0:
            return []
        explained = (one for one in self._recent.values() if one.id not in self._unexplained)
        gone = list(islice(explained, count))
        for position in gone:
            del self._recent[position.id]
        return gone

    def _remember(self, position: Position) -> None:
        self._recent[position.id] = position


def _awaits_none(_position: Position) -> bool:
    """Before the kernel is wired there is no ledger to ask."""
    return False


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
