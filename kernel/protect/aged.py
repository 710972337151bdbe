"""Aged positions: brought to an end at a target that gives way with time (SPEC §6).

1. Looked at after a start, once the venue was read whole, and at every
   `AGED_CHECK_INTERVAL_MINUTES`. Positions of ours alone; one whose age is not known is reported.
2. The book at the target or better: close at market. Else one reduce-only limit rests at the
   target (`kernel.trade.resting_exit`), and is replaced when the target moves.
3. Close at market without any target: the tolerance was at its cap at the check before; or, past
   the grace period, exits were refused at two checks in a row, or one and the same exit was
   unfilled at two.
4. An exit that found no rate budget is tried again soon; that is no refusal.
5. What an active trailing stop holds at the target or better is left to it.
6. The stop stays all the time. A reduce-only refusal of the exit is a question: own exits are
   cancelled, the position is read again, and what is left is closed at market.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from kernel.model.orders import FillKind
from kernel.model.positions import CloseReason, PositionState, TrailingState
from kernel.model.units import HOUR, SECOND, MonoNs, Price, TsNs, text
from kernel.protect.aged_rule import AgedRule
from kernel.trade import evidence, stop_levels
from kernel.trade.resting_exit import Rested

if TYPE_CHECKING:
    from kernel.model.instrument import Instrument
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

UNREAD_POLL_NS = SECOND
AGAIN_NS = 15 * SECOND
"""After an exit that found no rate budget; its stop stands meanwhile."""
REFUSALS = 2
"""Exits refused at so many checks in a row, past the grace period, end the attempts."""


class AgedPositions:
    """Ends the positions that are too old."""

    def __init__(self, services: Services, stops: StopOwner, exits: Exits) -> None:
        self._services = services
        self._stops = stops
        self._exits = exits
        self._rule = AgedRule.of(services.settings)
        self._in_hand: dict[str, None] = {}
        self._refusals: dict[str, int] = {}
        self._postponed: dict[str, None] = {}
        """Their exit found no rate budget: looked at again between two checks."""
        services.book.on_ended.append(self._forget)

    async def run(self) -> None:
        """For ever; supervised by the kernel."""
        async with self._services.runtime.group() as group:
            for desk in self._services.desks.values():
                group.spawn(self._venue(desk), f"aged positions {desk.name}")

    async def _venue(self, desk: VenueDesk) -> None:
        runtime = self._services.runtime
        while not desk.resynced_mono_ns:
            await runtime.sleep(UNREAD_POLL_NS)
        self.check(desk.name)
        ticker = runtime.ticker(self._rule.interval_ns)
        while True:
            await ticker.next()
            self.check(desk.name)

    def check(self, venue: str) -> None:
        """Look at every position of a venue, each in a task of its own."""
        for position in self._services.book.on_venue(venue):
            self._look(position)

    def _look(self, position: Position) -> None:
        if self._is_free(position) and position.id not in self._in_hand:
            self._in_hand[position.id] = None
            self._services.supervise(
                f"age {position.id}", partial(self._see, position), position=position
            )

    def _is_free(self, position: Position) -> bool:
        """Whether it is ours, and in nobody's hand."""
        if self._services.stopping or not position.ours or position.frozen:
            return False
        active = position.state is PositionState.ACTIVE and position.qty > 0
        return active and position.stops.fired is None and not self._exits.in_progress(position)

    async def _see(self, position: Position) -> None:
        try:
            opened_ns = self._opened_ns(position)
            if not opened_ns:
                self._report_unknown(position, "neither the venue nor an execution tells its age")
                return
            if not position.row.entry_price:
                self._report_unknown(position, "its average entry is not known: there is no target")
                return
            age_ns = self._services.runtime.ts() - opened_ns
            if self._rule.is_aged(age_ns):
                await self._end(position, age_ns)
        finally:
            self._in_hand.pop(position.id, None)

    def _opened_ns(self, position: Position) -> TsNs:
        """When it was opened: by the venue's word, else by the first fill; 0: not known."""
        report = position.report
        if report is not None and report.side is position.side and report.opened_ns:
            return report.opened_ns
        opened = [
            fill.ts_ns
            for fill in position.fills.values()
            if fill.side is position.side.entry_side and fill.kind is FillKind.TRADE
        ]
        return min(opened, default=TsNs(0))

    # ------------------------------------------------------------ one aged position

    async def _end(self, position: Position, age_ns: int) -> None:
        """Do what is due for a position that is too old."""
        target = self._rule.limit(
            self._instrument(position),
            position.side,
            entry=position.row.entry_price,
            age_ns=age_ns,
        )
        if self._is_trailed(position, target):
            self._decide("aged.trailed", "left to trailing", position, age_ns=age_ns, target=target)
            await self._exits.resting.withdraw(position, "left to trailing")
            return
        market = await self._market(position)
        self._decide(
            "aged.found", "too old", position, age_ns=age_ns, target=target, market=text(market)
        )
        self._warn(position, age_ns, target)
        emergency = self._emergency(position, age_ns)
        if emergency:
            await self._give_up(position, emergency)
        elif market and stop_levels.reaches(position.side, market, target):
            cause = f"{text(market)} is at the target {text(target)} or better"
            await self._exits.close(position, CloseReason.AGED, cause)
        else:
            await self._rest(position, age_ns, target)

    def _is_trailed(self, position: Position, target: Price) -> bool:
        """Whether an active trailing stop holds the target or better, by a confirmed stop."""
        row = position.row
        if not self._services.settings.aged_respect_trailing:
            return False
        if row.trailing is not TrailingState.ACTIVE or not self._stops.covered(position):
            return False
        return stop_levels.reaches(position.side, row.protected_level, target)

    def _emergency(self, position: Position, age_ns: int) -> str:
        """Why it may not wait any longer; "": it may."""
        if self._rule.was_at_cap(age_ns):
            return "the tolerated loss was at its cap at the check before"
        resting = self._exits.resting.of(position)
        if resting is None:
            return ""
        rested_ns = self._services.runtime.ts() - resting.row.created_ns
        if self._rule.is_stale(age_ns=age_ns, rested_ns=rested_ns):
            return "the exit was unfilled at two checks in a row"
        return ""

    async def _rest(self, position: Position, age_ns: int, target: Price) -> None:
        """Let an exit wait at the target; what a refusal means depends on its kind."""
        cause = "aged" if self._rule.beyond_ns(age_ns) >= 0 else "aged, without a loss"
        rested = await self._exits.resting.place(position, target, cause)
        if rested is Rested.UNSENT:
            self._look_soon(position)
        elif rested is Rested.NOTHING_TO_REDUCE:
            cause = "the exit was refused: it would not reduce"
            await self._exits.close(position, CloseReason.AGED, cause, doubtful=True)
        elif rested is Rested.REFUSED and self._rule.beyond_ns(age_ns) >= 0:
            self._refusals[position.id] = self._refusals.get(position.id, 0) + 1
            if self._refusals[position.id] >= REFUSALS:
                await self._give_up(position, "the exit was refused at two checks in a row")
        else:
            self._refusals.pop(position.id, None)

    def _look_soon(self, position: Position) -> None:
        """Again as soon as there may be a budget, not at the next check only."""
        if position.id in self._postponed:
            return
        self._postponed[position.id] = None
        runtime, gateway = self._services.runtime, self._services.desks[position.venue].gateway
        due_ns = MonoNs(max(runtime.now() + AGAIN_NS, gateway.banned_until_ns))
        runtime.call_at(due_ns, partial(self._look_again, position))

    def _look_again(self, position: Position) -> None:
        self._postponed.pop(position.id, None)
        self._look(position)

    async def _give_up(self, position: Position, cause: str) -> None:
        self._services.alert(
            "CRITICAL",
            "aged.emergency",
            f"an aged position is closed at market: {cause}",
            venue=position.venue,
            symbol=position.symbol,
            dedupe=f"aged.emergency|{position.id}",
        )
        await self._exits.resting.withdraw(position, cause)
        await self._exits.close(position, CloseReason.AGED, cause)

    # ------------------------------------------------------------ what is known and told

    async def _market(self, position: Position) -> Price:
        """The side of the book that a close would meet, else a fresh price; ZERO: not known."""
        services = self._services
        quote = services.prices.quote(position.venue, position.symbol)
        if services.runtime.ts() - quote.ts_ns > evidence.PRICE_FRESH_NS:
            return await evidence.fresh_price(services, position)
        return quote.bid if position.side.sign > 0 else quote.ask

    def _report_unknown(self, position: Position, why: str) -> None:
        self._services.decide(
            "aged.unknown",
            why,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
        )
        self._services.alert(
            "WARNING",
            "aged.unknown",
            f"{why}; it counts as not aged",
            venue=position.venue,
            symbol=position.symbol,
            dedupe=f"aged.unknown|{position.id}",
        )

    def _warn(self, position: Position, age_ns: int, target: Price) -> None:
        self._services.alert(
            "WARNING",
            "aged.found",
            f"{hours(age_ns)} h old, to be closed at {text(target)} or better",
            venue=position.venue,
            symbol=position.symbol,
            dedupe=f"aged.found|{position.id}",
        )

    def _decide(
        self,
        kind: str,
        cause: str,
        position: Position,
        *,
        age_ns: int,
        target: Price,
        **values: str,
    ) -> None:
        self._services.decide(
            kind,
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            hours=hours(age_ns),
            tolerance=text(_short(self._rule.tolerance_percent(age_ns))),
            target=text(target),
            **values,
        )

    def _forget(self, position: Position) -> None:
        self._refusals.pop(position.id, None)

    def _instrument(self, position: Position) -> Instrument:
        return self._services.desks[position.venue].instruments[position.symbol]


def hours(age_ns: int) -> str:
    """An age for people: hours with two decimals, cut off."""
    whole, rest = divmod(age_ns * 100 // HOUR, 100)
    return f"{whole}.{rest:02d}"


def _short(percent: Decimal) -> Decimal:
    return percent.quantize(Decimal("0.0001"))
