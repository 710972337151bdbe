"""Limits and reservations: the one place that says whether one more position is allowed (SPEC §2).

1. What is open, pending or unsettled counts as if it were filled, over all venues, foreign
   positions included.
2. A check and its reservation are one synchronous step; the symbol's lock is held around it.
3. A reservation ends only by proof: the position is open and counts itself, or nothing of it is
   left. A doubtful one stays until the book and the orders show nothing on the symbol.
4. Margin comes from a ledger per wave and venue: the balance is read once, and every reservation
   since then is subtracted (hazards E09).
5. All of this stops entries only. Protection asks nobody here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from kernel.model.orders import PositionSide, PriceSource
from kernel.model.positions import PositionState
from kernel.model.rows import LockRow
from kernel.model.units import HOUR, HUNDRED, MINUTE, SECOND, ZERO, TsNs, Usd, canonical
from kernel.runtime.errors import TimedOut
from kernel.trade.kill_switches import UNTIL_RESUMED, KillSwitches, Trip

if TYPE_CHECKING:
    from types import TracebackType

    from kernel.model.orders import Fill
    from kernel.model.rows import StoredState
    from kernel.runtime.primitives import Lock
    from kernel.trade.book import Position
    from kernel.trade.services import Services

_PENDING = (
    PositionState.PENDING_ENTRY,
    PositionState.ENTRY_PLACED,
    PositionState.PENDING_SL,
    PositionState.ROLLBACK,
)
"""States in which the whole intended quantity may still fill."""


type SymbolKey = tuple[str, str]
"""(venue, symbol); symbol "" stands for the venue, both "" for everything."""

EVERYTHING: SymbolKey = ("", "")


class Reservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A slot, an exposure and a margin that are kept for one entry."""

    reservation_id: str
    venue: str
    symbol: str
    side: PositionSide
    notional: Usd
    margin: Usd


class SymbolHold:
    """`async with hold as held:` the symbol's lock for an entry or a manual act.

    `held` is False where it did not come within `LOCK_TIMEOUT`: then nothing may be done.
    """

    def __init__(self, services: Services, lock: Lock) -> None:
        self._runtime = services.runtime
        self._timeout_ns = services.settings.lock_timeout * SECOND
        self._lock = lock
        self._held = False

    async def __aenter__(self) -> bool:
        try:
            with self._runtime.timeout(self._timeout_ns):
                await self._lock.acquire()
                self._held = True
        except TimedOut:
            return False
        return True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held:
            self._held = False
            self._lock.release()


class Risk:
    """Limits, reservations, margin, locks and kill switches of one kernel.

    Attributes:
        paused: Why an operator stopped entries ("": they are not).
        switches: Results that end entries.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reservations: dict[str, Reservation] = {}
        self._doubtful: dict[str, None] = {}
        self._locks: dict[SymbolKey, Trip] = {}
        self._holds: dict[SymbolKey, Lock] = {}
        self._margin: dict[str, Usd] = {}
        self._made = 0
        self._marks: dict[SymbolKey, Decimal] = {}
        self._marks_ns = -1
        """The instant of `_marks`: the candidates of one wave are all checked at one."""
        self.paused = ""
        self.switches = KillSwitches(services.settings)
        services.book.on_ended.append(self._on_ended)
        services.book.on_result.append(self._on_result)

    # ------------------------------------------------------------ slots and exposure

    def free_slots(self) -> int:
        """Positions that `MAX_POSITIONS` still allows."""
        return self._services.settings.max_positions - len(self._taken())

    def exposure(self) -> Usd:
        """Σ |qty|·mark of what is open or pending, and what is reserved beyond that."""
        total = sum(
            (
                max(self._value_of(position), self._reserved_on(position.venue, position.symbol))
                for position in self._services.book.open()
            ),
            ZERO,
        )
        for reservation in self._settle_doubts():
            if self._services.book.by_symbol(reservation.venue, reservation.symbol) is None:
                total += reservation.notional
        return canonical(total + sum(self._foreign_values().values(), ZERO))

    def _taken(self) -> dict[SymbolKey, None]:
        """Every (venue, symbol) that has a position, a foreign one or a reservation."""
        taken = {(one.venue, one.symbol): None for one in self._services.book.open()}
        taken.update(dict.fromkeys((one.venue, one.symbol) for one in self._settle_doubts()))
        taken.update(dict.fromkeys(self._foreign_values()))
        return taken

    def _value_of(self, position: Position) -> Usd:
        row = position.row
        qty = max(row.intended_qty, position.qty) if row.state in _PENDING else abs(position.qty)
        return qty * (self._mark(position.venue, position.symbol) or row.entry_price)

    def _foreign_values(self) -> dict[SymbolKey, Usd]:
        """Positions that the venues report and the book does not have."""
        values: dict[SymbolKey, Usd] = {}
        for desk in self._services.desks.values():
            for (symbol, leg), report in desk.reported.items():
                if not report.qty or report.side is PositionSide.FLAT:  # most of them are flat
                    continue
                if self._services.book.by_symbol(desk.name, symbol, leg) is None:
                    price = report.mark_price or self._mark(desk.name, symbol) or report.entry_price
                    value = report.qty * price
                    values[(desk.name, symbol)] = values.get((desk.name, symbol), ZERO) + value
        return values

    def _mark(self, venue: str, symbol: str) -> Decimal:
        now = self._services.runtime.now()
        if now != self._marks_ns:
            self._marks_ns = now
            self._marks.clear()
        mark = self._marks.get((venue, symbol))
        if mark is None:
            mark = self._services.prices.last(venue, symbol, PriceSource.MARK).price
            self._marks[(venue, symbol)] = mark
        return mark

    def _reserved_on(self, venue: str, symbol: str) -> Usd:
        if not self._reservations:
            return ZERO
        return sum(
            (
                one.notional
                for one in self._reservations.values()
                if one.venue == venue and one.symbol == symbol
            ),
            ZERO,
        )

    # ------------------------------------------------------------ checks

    def refusal(self, venue: str, symbol: str, side: PositionSide, notional: Usd) -> str:
        """Why one more position is not allowed now; "": it is."""
        settings = self._services.settings
        taken = self._taken()
        if (venue, symbol) in taken:
            return "position_open"
        if len(taken) >= settings.max_positions:
            return "max_positions"
        if settings.max_positions_per_side and (
            self._on_side(side) >= settings.max_positions_per_side
        ):
            return "max_positions_per_side"
        if self.exposure() + notional > settings.max_exposure_usd:
            return "max_exposure"
        return self._margin_refusal(venue, notional)

    def entry_block(self, venue: str, symbol: str) -> str:
        """Why there are no entries at all, on the venue, or on the symbol; "": there are."""
        if self._services.stopping:
            return "stopping"
        if self.paused:
            return f"paused: {self.paused}"
        trip = self.switches.loss_today(
            self._services.runtime.ts(), (one.row for one in self._services.book.without_result())
        )
        if trip is not None:
            return trip.reason
        for key in (EVERYTHING, (venue, ""), (venue, symbol)):
            lock = self._lock(key)
            if lock is not None:
                return f"locked: {lock.reason}"
        return ""

    def _on_side(self, side: PositionSide) -> int:
        on_side = {
            (one.venue, one.symbol): None for one in self._services.book.open() if one.side is side
        }
        on_side.update(
            dict.fromkeys(
                (one.venue, one.symbol) for one in self._reservations.values() if one.side is side
            )
        )
        return len(on_side)

    # ------------------------------------------------------------ reservations

    def hold(self, venue: str, symbol: str) -> SymbolHold:
        """The lock under which an entry or a manual act checks and reserves."""
        lock = self._holds.get((venue, symbol))
        if lock is None:
            lock = self._holds[(venue, symbol)] = self._services.runtime.lock()
        return SymbolHold(self._services, lock)

    def reserve(
        self, venue: str, symbol: str, side: PositionSide, notional: Usd
    ) -> Reservation | str:
        """Check and reserve in one step; a text is the reason why not."""
        reason = self.refusal(venue, symbol, side, notional)
        if reason:
            return reason
        self._made += 1
        made = Reservation(
            reservation_id=f"{self._services.epoch}-{self._made}",
            venue=venue,
            symbol=symbol,
            side=side,
            notional=notional,
            margin=self.margin_of(notional),
        )
        self._reservations[made.reservation_id] = made
        self._margin[venue] -= made.margin
        return made

    def opened(self, reservation_id: str) -> None:
        """Proven open: from now on the position counts itself; its margin is used."""
        self._reservations.pop(reservation_id, None)
        self._doubtful.pop(reservation_id, None)

    def absent(self, reservation_id: str) -> None:
        """Proven that nothing of it is left: everything is free again."""
        self._doubtful.pop(reservation_id, None)
        reservation = self._reservations.pop(reservation_id, None)
        if reservation is not None:
            self._margin[reservation.venue] += reservation.margin

    def under_way(self, venue: str) -> int:
        """Entries on a venue that are reserved and not yet proven open or absent."""
        return sum(1 for one in self._reservations.values() if one.venue == venue)

    def doubtful(self, reservation_id: str) -> None:
        """Nobody can say: it stays until nothing of ours is on the symbol."""
        if reservation_id in self._reservations:
            self._doubtful[reservation_id] = None

    def reserved(self, venue: str) -> list[str]:
        """Symbols of a venue on which an entry is under way, or may have been."""
        return [one.symbol for one in self._settle_doubts() if one.venue == venue]

    def _settle_doubts(self) -> list[Reservation]:
        for reservation_id in list(self._doubtful):
            one = self._reservations[reservation_id]
            on_book = self._services.book.by_symbol(one.venue, one.symbol)
            if on_book is None and not self._services.orders.open_orders(one.venue, one.symbol):
                self.absent(reservation_id)
        return list(self._reservations.values())

    # ------------------------------------------------------------ margin

    def margin_of(self, notional: Usd) -> Usd:
        """What an entry binds: notional by leverage, and the cost of both ways."""
        settings = self._services.settings
        cost = notional * settings.commission_percent / HUNDRED
        return canonical(notional / settings.leverage + cost)

    def note_available(self, venue: str, available: Usd, wallet: Usd) -> None:
        """A balance that was read for a wave: the ledger of the venue starts anew from it.

        What is reserved at this moment may or may not be in the figure: it is subtracted.
        """
        pending = sum(
            (one.margin for one in self._reservations.values() if one.venue == venue), ZERO
        )
        self._margin[venue] = available - pending
        self.switches.note_wallet(venue, wallet)

    def _margin_refusal(self, venue: str, notional: Usd) -> str:
        left = self._margin.get(venue)
        if left is None:
            return "balance_unknown"
        return "" if self.margin_of(notional) <= left else "margin"

    # ------------------------------------------------------------ locks and kill switches

    def lock(self, venue: str, symbol: str, reason: str, until_ns: TsNs) -> bool:
        """No entries on a symbol (symbol "": a venue; both "": anywhere) until a wall time.

        A lock that is there is only ever made longer. Durable, written behind.

        Returns:
            False where there is a lock already that lasts as long; nothing changed.
        """
        key = (venue, symbol)
        known = self._lock(key)
        if known is not None and known.until_ns >= until_ns:
            return False
        self._locks[key] = Trip(reason, until_ns)
        self._services.decide(
            "entries.locked", reason, venue=venue, symbol=symbol, until_ns=until_ns
        )
        self._store_lock(key, reason, until_ns)
        return True

    def unlock(self, venue: str, symbol: str, cause: str) -> None:
        """End a lock before its time."""
        if self._locks.pop((venue, symbol), None) is not None:
            self._services.decide("entries.unlocked", cause, venue=venue, symbol=symbol)
            self._store_lock((venue, symbol), cause, self._services.runtime.ts())

    def locks(self) -> list[LockRow]:
        """Every lock that holds, for people."""
        return [
            LockRow(venue=key[0], symbol=key[1], reason=lock.reason, until_ns=lock.until_ns)
            for key in list(self._locks)
            if (lock := self._lock(key)) is not None
        ]

    def restore(self, state: StoredState) -> None:
        """Locks and counts of the process before."""
        for row in state.locks:
            self._locks[(row.venue, row.symbol)] = Trip(row.reason, row.until_ns)
        if state.switches is not None:
            self.switches.restore(state.switches)

    def _store_switches(self) -> None:
        if self.switches.any_on:
            self._services.persist((self.switches.row(),))

    def pause(self, reason: str) -> None:
        """An operator stops entries."""
        self.paused = reason or "operator"
        self._services.decide("entries.paused", self.paused)

    def resume(self) -> None:
        """An operator lets entries go on; tripped kill switches end and count anew."""
        self.paused = ""
        self.switches.resumed()
        self._store_switches()
        self.unlock(*EVERYTHING, "operator resumed")
        self._services.decide("entries.resumed", "operator")

    def _lock(self, key: SymbolKey) -> Trip | None:
        lock = self._locks.get(key)
        if lock is not None and lock.until_ns <= self._services.runtime.ts():
            del self._locks[key]
            return None
        return lock

    def _store_lock(self, key: SymbolKey, reason: str, until_ns: TsNs) -> None:
        row = LockRow(venue=key[0], symbol=key[1], reason=reason, until_ns=until_ns)
        self._services.persist((row,))

    def forced(self, venue: str, fill: Fill) -> None:
        """The venue closed a position, or a part, by itself: no entry on its symbol for long.

        Whoever's position it was, and from its time on: told late it ends no later (SPEC §9).
        """
        until = TsNs(fill.ts_ns + self._services.settings.fact_lock_hours * HOUR)
        if until > self._services.runtime.ts():
            self.lock(venue, fill.symbol, fill.kind.value.lower(), until)

    def _on_ended(self, position: Position) -> None:
        """A position ended: cool-down."""
        now = self._services.runtime.ts()
        cooldown = self._services.settings.symbol_cooldown_minutes
        if cooldown and position.row.filled_qty:
            until = TsNs(now + cooldown * MINUTE)
            self.lock(position.venue, position.symbol, "cool-down", until)

    def _on_result(self, position: Position) -> None:
        """What it brought is known: kill switches."""
        now = self._services.runtime.ts()
        trips = self.switches.ended(position.row, now)
        self._store_switches()
        for trip in trips:
            if not self.lock(*EVERYTHING, trip.reason, trip.until_ns):
                continue
            end = "an operator resumes" if trip.until_ns == UNTIL_RESUMED else "its time is over"
            self._services.alert(
                "CRITICAL", "kill_switch", f"{trip.reason}: no entries until {end}"
            )
