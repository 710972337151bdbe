"""Invariants on the books: I6 at each end of a position, I10 and I11 at the end of a run."""

from __future__ import annotations

from decimal import Decimal

from kernel.model.ids import is_ours
from kernel.model.orders import FillKind
from kernel.model.positions import Origin, PositionRow, PositionState
from kernel.model.rows import FillRow
from kernel.model.units import ZERO, Usd, text
from kernel.store.simulated import SimulatedStore
from scenarios.protection_checks import ProtectionChecks
from scenarios.violations import Violations
from venues.sim.truth import LedgerKind, Traded, TruthEvent
from venues.sim.venue import SimVenue

type Difference = tuple[str, str, str, str]
"""(invariant, venue, symbol, words)."""


class Books:
    """What one venue executed, summed apart from the venue's own books."""

    def __init__(self) -> None:
        self.qty: dict[str, Decimal] = {}
        self.fees = ZERO
        self.realized = ZERO
        self.trades: dict[tuple[str, str], bool] = {}
        """(symbol, trade id) → whether the order was ours."""

    def add(self, event: Traded) -> None:
        """Sum one execution."""
        fill = event.fill
        if fill.kind is FillKind.FUNDING:
            return
        self.qty[fill.symbol] = self.qty.get(fill.symbol, ZERO) + fill.qty * fill.side.sign
        self.fees += fill.fee
        self.realized += fill.realized_pnl
        self.trades[(fill.symbol, fill.trade_id)] = is_ours(fill.client_order_id)


class BookChecks:
    """Compares the kernel's books with the venues' truth."""

    def __init__(
        self, store: SimulatedStore, protection: ProtectionChecks, violations: Violations
    ) -> None:
        self._store = store
        self._protection = protection
        self._violations = violations
        self._books: dict[str, Books] = {}
        self._venues: dict[str, SimVenue] = {}

    def attach(self, venue: SimVenue) -> None:
        """Observe a venue from now on."""
        books = self._books[venue.name] = Books()
        self._venues[venue.name] = venue

        def hear(event: TruthEvent) -> None:
            if type(event) is Traded:
                books.add(event)

        venue.subscribe(hear)

    def ended(self, venue: str, symbol: str, state: str, now_ns: int) -> None:
        """The kernel says that a position is over: then the venue must be flat (I6)."""
        qty = self._protection.qty(venue, symbol)
        if qty and self._protection.is_ours(venue, symbol):
            words = f"the kernel says {state}, the venue holds {text(qty)}"
            self._violations.add("I6", now_ns, venue, symbol, words)

    def finish(self, now_ns: int, *, settled: bool) -> None:
        """The run is over.

        Args:
            now_ns: Wall time.
            settled: A kernel ran undisturbed at the end, so that its books must have converged.
        """
        found = self.money()
        if settled:
            found += self.differences()
        for invariant, venue, symbol, words in found:
            self._violations.add(invariant, now_ns, venue, symbol, words)

    def money(self) -> list[Difference]:
        """I10, at any time: fills and positions, ledger and balance of the venues, exactly."""
        return [one for name, books in self._books.items() for one in self._money(name, books)]

    def differences(self) -> list[Difference]:
        """I10 and I11: where the kernel's stored books are not what the venues hold by now."""
        rows = [row for row in self._store.rows(PositionRow) if isinstance(row, PositionRow)]
        found: list[Difference] = []
        for name, books in self._books.items():
            found += self._positions(name, books, rows)
            found += self._fills(name, books, rows)
        return found

    def _money(self, name: str, books: Books) -> list[Difference]:
        found: list[Difference] = []
        venue = self._venues[name]
        account = venue.account
        held: dict[str, Decimal] = {}
        for position in account.open.values():
            held[position.symbol] = held.get(position.symbol, ZERO) + position.qty
        for symbol, qty in books.qty.items():
            if qty != held.get(symbol, ZERO):
                shown = text(held.get(symbol, ZERO))
                words = f"the fills make {text(qty)}, the position is {shown}"
                found.append(("I10", name, symbol, words))
        cash = account.cash
        checks: list[tuple[str, Usd, Usd]] = [
            ("wallet", account.wallet, sum(cash.values(), ZERO)),
            ("fees", books.fees, -cash[LedgerKind.FEE.value]),
            ("realized PnL", books.realized, cash[LedgerKind.REALIZED_PNL.value]),
        ]
        for what, left, right in checks:
            if left != right:
                words = f"{what}: {text(left)} is not {text(right)}"
                found.append(("I10", name, "", words))
        return found

    def _positions(
        self, name: str, books: Books, rows: list[PositionRow]
    ) -> list[Difference]:
        """I11: what the store says is open is what the venue holds."""
        found: list[Difference] = []
        stored: dict[str, Decimal] = {}
        for row in rows:
            if row.venue == name and not row.state.terminal:
                qty = (row.filled_qty - row.closed_qty) * row.side.sign
                stored[row.symbol] = stored.get(row.symbol, ZERO) + qty
                settled = row.state is PositionState.ACTIVE
                if not settled and row.origin is Origin.OURS:
                    words = f"{row.position_id} is still {row.state} at the end"
                    found.append(("I11", name, row.symbol, words))
        for symbol in dict.fromkeys([*stored, *books.qty]):
            ours, theirs = stored.get(symbol, ZERO), books.qty.get(symbol, ZERO)
            if ours != theirs:
                words = f"stored {text(ours)}, the venue holds {text(theirs)}"
                found.append(("I11", name, symbol, words))
        return found

    def _fills(self, name: str, books: Books, rows: list[PositionRow]) -> list[Difference]:
        """I10: each trade of ours is booked once, with the venue's own money."""
        found: list[Difference] = []
        booked: dict[tuple[str, str], None] = {}
        for row in self._store.rows(FillRow):
            funding = FillKind.FUNDING.value
            if isinstance(row, FillRow) and row.venue == name and row.kind != funding:
                booked[(row.symbol, row.trade_id)] = None
        for (symbol, trade), ours in books.trades.items():
            if ours and (symbol, trade) not in booked:
                words = f"trade {trade} is not booked"
                found.append(("I10", name, symbol, words))
        for symbol, trade in booked:
            if (symbol, trade) not in books.trades:
                words = f"trade {trade} is booked and never happened"
                found.append(("I10", name, symbol, words))
        if all(books.trades.values()) and all(row.state.terminal for row in rows):
            pnl = sum((row.realized_pnl for row in rows if row.venue == name), ZERO)
            if pnl != books.realized:
                words = f"PnL of the positions {text(pnl)}, of the venue {text(books.realized)}"
                found.append(("I10", name, "", words))
        return found
