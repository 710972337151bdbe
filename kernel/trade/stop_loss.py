"""The stop owner: the only code that places, verifies, moves and resizes protective stops.

1. A position has one *protected level*: the first stop, later every tighter one. Verifying,
   repairing, resizing and adopting re-place this level; nothing loosens it.
2. A stop is one that the venue showed live with side, size, trigger and closing-only; an
   acknowledgement is not a stop.
3. One try and three retries, inside `UNPROTECTED_DEADLINE_SECONDS` from the first known fill; at
   the deadline the answer is "no", and whoever asked closes.
4. Only proven codes, confirmed by a fresh price, mean "already through"; then the position is
   closed at market, once.
5. A triggered stop is not done and is never moved: `kernel.trade.stop_keeper` sees to its end.

Source: SPEC §3.3, §4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import (
    KernelError,
    NoPositionYet,
    NotSent,
    ReduceOnlyRefused,
    Throttled,
    VenueError,
    WouldTriggerNow,
)
from kernel.model.orders import OrderClass, OrderReport, OrderStatus
from kernel.model.positions import ENTERING, CloseReason, PositionState
from kernel.model.traits import StopStyle
from kernel.model.units import MS, SECOND, ZERO, MonoNs, Price, Qty, text
from kernel.runtime.errors import TimedOut
from kernel.trade import evidence, stop_levels
from kernel.trade.first_stop import FirstStops
from kernel.trade.stop_absence import has_no_stop
from kernel.trade.stop_adoption import Adoption
from kernel.trade.stop_alarm import ExposureAlarms
from kernel.trade.stop_attached import AttachedStops
from kernel.trade.stop_breaker import StopBreaker
from kernel.trade.stop_keeper import StopKeeper
from kernel.trade.stop_orders import ConditionalStops, StopsCrowded
from kernel.trade.stop_placement import StopUnconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.instrument import Instrument
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.protective_set import StopOrder
    from kernel.trade.services import Services

RETRY_NS = (SECOND, 2 * SECOND, 4 * SECOND)
"""Pauses before the three retries (owner)."""
NO_POSITION_WAIT_NS = 200 * MS
BUDGET_WAIT_NS = 250 * MS
SETTLE_AFTER_NS = 15 * SECOND
"""A stop that was sent and not seen for so long is settled by evidence."""
DEADLINE_MARGIN_NS = SECOND
"""The deadline itself belongs to the close: its store wait and its request."""
OPEN_STATES = (PositionState.PENDING_SL, PositionState.ACTIVE)


class StopOwner:
    """Owns the protection of every position on every venue."""

    def __init__(self, services: Services, exits: Exits) -> None:
        self._services = services
        self._exits = exits
        self._attached = AttachedStops(services)
        self._conditional = ConditionalStops(services)
        self._adoption = Adoption(services)
        self._keeper = StopKeeper(services, self, exits)
        self.kept = services.runtime.event()
        """Set whenever a position begins to be kept. Clear it, look, then wait."""
        self.on_kept: Callable[[Position], None] = _ignore
        """Told whenever a position begins to be kept."""
        self.on_released: Callable[[Position], None] = _ignore
        """Told when a kept position has ended."""
        self._first = FirstStops(services)
        self._breaker = StopBreaker(services)
        self._known: dict[str, None] = {}
        """Positions whose stops on the venue are known: placed here, or judged."""
        self._alarms = ExposureAlarms(services, exits)
        self._settling: dict[str, None] = {}

    # ------------------------------------------------------------ what others ask for

    async def protect(self, position: Position) -> bool:
        """Place the first stop of a filled position and see it confirmed.

        Returns:
            True: confirmed live; from now on the position is kept under a stop.
            False: it is not, and must be closed; or it is being closed or flat already.
        """
        if not await self._effort(position, "first stop"):
            return False
        self.keep(position)
        return True

    async def tighten(self, position: Position, level: Price, cause: str) -> bool:
        """Move the stop to a tighter level.

        Returns:
            True: confirmed at `level`. False: the old stop stands as it was.
        """
        stops = position.stops
        async with stops.lock:
            if not self._may_tighten(position, level):
                return False
            with self._services.held():
                return await self._tighten(position, level, cause)

    async def _tighten(self, position: Position, level: Price, cause: str) -> bool:
        try:
            await self._style(position).establish(
                position, level, self.wanted_qty(position), cause
            )
        except (VenueError, StopUnconfirmed, StopsCrowded) as error:
            self._failed(position, error, 0)
            return False
        if position.state is not PositionState.ACTIVE:
            return False
        self._confirmed(position, level, cause)
        return True

    def _may_tighten(self, position: Position, level: Price) -> bool:
        if position.state is not PositionState.ACTIVE or position.qty <= 0:
            return False
        if position.stops.fired is not None or not self.covered(position):
            return False
        return stop_levels.is_tighter(position.side, level, position.row.protected_level)

    async def ensure(self, position: Position, cause: str) -> None:
        """Verify the protected level with the right size, and repair it; else close.

        What is found on the venue after a start is judged and adopted here too. Nothing happens
        to a position that is flat, closing, or whose stop has triggered.
        """
        if position.state not in OPEN_STATES or position.stops.fired is not None:
            return
        since_ns = self._services.runtime.now()
        if await self._effort(position, cause):
            self.keep(position)
            return
        if position.state is not PositionState.ACTIVE or position.stops.fired is not None:
            return
        if position.qty <= 0 or self.covered(position):
            return
        if self._only_missing(position) and not await has_no_stop(
            self._services, position, since_ns
        ):
            self._services.alert(
                "CRITICAL",
                "stop.not_seen",
                "reads do not show the stop and another one cannot be placed; a row that is "
                "missing closes nothing",
                venue=position.venue,
                symbol=position.symbol,
                dedupe=f"stop.not_seen|{position.id}",
            )
            return
        if self.covered(position) or self._exits.in_progress(position):
            return  # while the venue was asked
        if not position.ours:
            return  # protected, never closed (SPEC §9): its keeper tries on, the alarm tells
        if await self._not_there(position):
            return  # nothing to be closed: a sync ends it
        await self._exits.close(position, CloseReason.UNPROTECTED, cause)

    def _only_missing(self, position: Position) -> bool:
        """Whether nothing but rows missing from reads speaks against the stop."""
        return any(
            stop.wanted and stop.missing and stop.order.report is not None
            for stop in position.stops.open()
        )

    def forget(self, position: Position) -> None:
        """Drop what is kept of a position that ended."""
        self._first.forget(position)
        self._known.pop(position.id, None)
        self._alarms.cancel(position)
        self.on_released(position)

    def put_aside(self, position: Position, report: OrderReport) -> None:
        """A stop of ours on its symbol that is not in its set: into the to-cancel ledger."""
        if position.stops.find(report.client_order_id) is None:
            self._adoption.put_aside(position, report, "surplus")
            position.changed.set()

    def keep(self, position: Position) -> None:
        """Start the task that keeps this position under a stop; nothing where it runs."""
        if self._keeper.start(position):
            self.kept.set()
            self.on_kept(position)

    def adopted(self, position: Position) -> None:
        """A position that is kept turned out to be ours: what belongs to ours begins."""
        self.on_kept(position)

    def on_report(self, position: Position, report: OrderReport) -> None:
        """Take a report of an order on this position's symbol, after the registry has."""
        if report.order_class is OrderClass.ATTACHED:
            self._attached.adopt(position, report)
        self.settle(position)

    def on_position(self, position: Position) -> None:
        """Take what the venue now says of the position (`position.report`)."""
        if self._style(position) is self._attached:
            self._attached.observe(position)

    def level(self, position: Position) -> Price:
        """The protected level; while it enters also the first stop's level, where that is tighter.

        Raises:
            ValueError: No average entry is known.
        """
        protected = position.row.protected_level
        if not protected:
            return self._first.level(position)
        if position.state in ENTERING and self._first.known(position):
            return stop_levels.tighter_of(position.side, self._first.level(position), protected)
        return protected

    def due(self, position: Position) -> bool:
        """Whether what is filled of an entry lacks a confirmed stop of its size and level."""
        return not self.covered(position) or self.level(position) != position.row.protected_level

    def covered(self, position: Position) -> bool:
        """Whether a confirmed stop covers the whole position at its level, by what is known."""
        protected, qty = position.row.protected_level, position.qty
        if not protected:
            return False
        return qty <= 0 or self._style(position).covers(position, protected, qty)

    def oversized(self, position: Position) -> bool:
        """Whether live stops close more than there is."""
        if self._style(position) is self._attached:
            return False
        live = position.stops.live()
        total = sum((stop.qty for stop in live if not stop.whole), ZERO)
        return total > self.wanted_qty(position) > 0

    def wanted_qty(self, position: Position) -> Qty:
        """What is to be protected: by executions, or more where the venue newly shows more."""
        report, qty = position.report, position.qty
        if report is None or report.side is not position.side or report.qty <= qty:
            return qty
        newest = max((fill.ts_ns for fill in position.fills.values()), default=0)
        return report.qty if report.updated_ns > newest else qty

    def closing(self, position: Position) -> bool:
        """Whether an exit is in progress."""
        return self._exits.in_progress(position)

    def watched(self, venue: str) -> list[Position]:
        """Positions on a venue that are kept under a stop."""
        return self._keeper.positions(venue)

    def settle(self, position: Position) -> None:
        """Draw the consequences of reports: what fired, what ended, what is exposed."""
        now = self._services.runtime.now()
        if self._style(position) is self._attached:
            self._attached.observe(position)
        for stop in position.stops.settle(now):
            self._decide(
                "stop.ended",
                stop.order.row.status.value.lower(),
                position,
                client_order_id=stop.client_order_id,
                wanted=str(stop.wanted),
            )
            if stop.missing and stop.order.row.status is OrderStatus.CANCELED:
                position.stops.list_lied_ns = now  # our cancel found it alive
            if stop.attached and stop.wanted:
                self._alarms.expose(position, now)
        if position.row.protected_level and not self.covered(position):
            self._alarms.expose(position, now)

    async def tidy(self, position: Position) -> None:
        """Probe what is doubtful and retry the cancels of the ledger, once each."""
        stops = position.stops
        async with stops.lock:
            style = self._style(position)
            try:
                if stops.doubtful():
                    await style.probe(position)
            except VenueError:
                return  # a read without value changes nothing
            await style.discard(position)
        now = self._services.runtime.now()
        for stop in stops.doubtful():
            unseen = stop.order.report is None and not stop.order.seen
            if unseen and now - stop.sent_ns >= SETTLE_AFTER_NS:
                self._settle_unseen(stop)

    def _settle_unseen(self, stop: StopOrder) -> None:
        """Prove in a task of its own that the venue has it, or that it never had it."""
        if stop.client_order_id in self._settling:
            return
        self._settling[stop.client_order_id] = None
        self._services.supervise(
            f"settle {stop.client_order_id}", lambda: self._exits.settler.settle(stop.order)
        )

    # ------------------------------------------------------------ the effort

    async def _effort(self, position: Position, cause: str) -> bool:
        """Get a confirmed stop before the deadline; True: it stands."""
        services, stops = self._services, position.stops
        async with stops.lock:
            if self.stands(position):
                return True
            now = since_ns = services.runtime.now()
            if not self.covered(position):
                first = not position.row.protected_level
                self._alarms.expose(position, _filled_ns(position, now) if first else now)
                closes = position.ours and not self._only_missing(position)
                if stops.exposed_since_ns is not None and closes:
                    since_ns = stops.exposed_since_ns
            deadline = services.settings.unprotected_deadline_seconds * SECOND - DEADLINE_MARGIN_NS
            stands = False
            try:
                with services.runtime.timeout_at(MonoNs(since_ns + deadline)):
                    stands = await self._attempts(position, cause)
            except TimedOut:
                self._decide("stop.deadline", cause, position)
            return stands

    def stands(self, position: Position) -> bool:
        """Whether exactly the right stop is confirmed: level, size, inside liquidation."""
        protected = position.row.protected_level
        if not protected or position.id not in self._known:
            return False
        if self.level(position) != protected:
            return False
        if self._inside(position, protected) != protected:
            return False
        return self._style(position).fits(position, protected, self.wanted_qty(position))

    def _inside(self, position: Position, level: Price) -> Price:
        """The level, or the nearest that lies inside the liquidation price."""
        if position.report is None or position.report.side is not position.side:
            return level
        return stop_levels.inside_liquidation(
            self._instrument(position),
            position.side,
            level=level,
            liquidation=position.report.liquidation_price,
            buffer_percent=self._services.settings.liquidation_buffer_percent,
        )

    async def _attempts(self, position: Position, cause: str) -> bool:
        failed, recomputed = 0, False
        while position.qty > 0:
            level = ZERO
            try:
                level = await self._wanted(position)
                if not level or position.qty <= 0:  # it may have ended while the venue was read
                    return False
                await self._style(position).establish(
                    position, level, self.wanted_qty(position), cause
                )
            except NoPositionYet:
                if await self._gone(position) or position.state is PositionState.ACTIVE:
                    return False
                continue
            except (Throttled, NotSent) as error:
                await self._out_of_budget(position, error)
                continue
            except WouldTriggerNow as error:
                if await self._close_if_through(position, level):
                    return False
                if not recomputed and not position.row.protected_level:
                    recomputed = True
                    self._first.forget(position)
                    continue
                failed = self._failed(position, error, failed)
            except (VenueError, StopUnconfirmed, StopsCrowded) as error:
                failed = self._failed(position, error, failed)
                if isinstance(error, ReduceOnlyRefused) and self._exits.resting.of(position):
                    cause = "the resting exit and the stop refused each other"
                    await self._exits.close(position, CloseReason.AGED, cause, doubtful=True)
                    return False
            else:
                self._confirmed(position, level, cause)
                if self.covered(position):
                    return True
                continue
            if failed > len(RETRY_NS):
                return False
            await self._services.runtime.sleep(RETRY_NS[failed - 1])
        return False

    async def _wanted(self, position: Position) -> Price:
        """The level to place now; ZERO: the position is being closed instead.

        Raises:
            VenueError: What stands on the venue could not be read.
        """
        level = self.level(position)
        if self._may_have_stops(position):
            found = await self._adoption.judge(position, level)
            level = stop_levels.tighter_of(position.side, found, level)
        self._known[position.id] = None
        level = self._tightest_taken(position, level)
        if self._first.must_close(position):
            cause = "adverse drift between entry and stop"
            await self._exits.close(position, CloseReason.ROLLBACK, cause)
            return ZERO
        inside = self._inside(position, level)
        if inside == level:
            return level
        self._decide(
            "stop.liquidation",
            "the level lies beyond the liquidation price",
            position,
            level=text(level),
            inside=text(inside),
        )
        if await self._close_if_through(position, inside):
            return ZERO
        return inside

    def _tightest_taken(self, position: Position, level: Price) -> Price:
        """A tighter stop that the venue took may be live, seen or not: none is placed behind it."""
        source = self._services.settings.stop_source
        price = self._services.prices.last(position.venue, position.symbol, source).price
        for stop in position.stops.doubtful():
            taken = stop.wanted and bool(stop.order.row.venue_order_id)
            if taken and not stop_levels.is_through(position.side, stop.level, price):
                level = stop_levels.tighter_of(position.side, stop.level, level)
        return level

    def _may_have_stops(self, position: Position) -> bool:
        """Whether stops of it may stand on the venue that this process did not place."""
        if position.id in self._known:
            return False
        if position.row.protected_level or not position.ours:
            return True
        orders = self._services.orders.of_position(position.id)
        if all(order.row.reduce_only for order in orders):
            return True  # no entry of it is known here: it was found on the venue
        return any(order.row.order_class is OrderClass.CONDITIONAL for order in orders)

    async def _out_of_budget(self, position: Position, error: VenueError) -> None:
        """Proven not executed, so not an attempt: wait for the budget; the deadline holds."""
        runtime = self._services.runtime
        wait_ns = BUDGET_WAIT_NS
        if isinstance(error, Throttled) and error.retry_at_ns:
            wait_ns = max(wait_ns, error.retry_at_ns - runtime.ts())
        self._decide("stop.waits", f"{type(error).__name__}: {error}", position)
        await runtime.sleep(wait_ns)

    async def _gone(self, position: Position) -> bool:
        """The venue shows no position: not yet, or not any more? Executions tell."""
        await self._services.runtime.sleep(NO_POSITION_WAIT_NS)
        try:
            await evidence.read_executions(self._services, position)
        except VenueError:
            return False  # a read without value: the next try tells
        return position.qty <= 0

    async def _not_there(self, position: Position) -> bool:
        """Whether a complete read shows no such position."""
        try:
            return not (await evidence.read_position(self._services, position)).qty
        except VenueError:
            return False  # a read without value

    async def _close_if_through(self, position: Position, level: Price) -> bool:
        price = await evidence.fresh_price(self._services, position)
        if not level or not stop_levels.is_through(position.side, level, price):
            return False
        cause = f"{text(price)} is through {text(level)}"
        await self._exits.close(position, CloseReason.ALREADY_THROUGH, cause)
        return True

    # ------------------------------------------------------------ books

    def _confirmed(self, position: Position, level: Price, cause: str) -> None:
        """A stop stands at `level`: it is the protected level from now on."""
        services, before = self._services, position.row.protected_level
        stop_levels.ratchet(position.side, level, before)
        if position.state not in ENTERING:
            self._first.forget(position)
        self._breaker.confirmed(position.venue)
        self._alarms.cancel(position)
        gap_ns = position.stops.gap_ns
        if level != before:
            position.update(protected_level=level)
            self._decide(
                "stop.moved" if before else "stop.set",
                cause,
                position,
                before=text(before),
                level=text(level),
                gap_ms=gap_ns // MS,
            )
        services.persist((position.row,))
        limit_ms = services.settings.trailing_alert_if_unprotected_window_ms
        if before and gap_ns > limit_ms * MS:
            services.alert(
                "WARNING",
                "stop.gap",
                f"without a confirmed stop for {gap_ns // MS} ms",
                venue=position.venue,
                symbol=position.symbol,
                dedupe=f"stop.gap|{position.id}",
            )

    def _failed(self, position: Position, error: KernelError, failed: int) -> int:
        self._decide(
            "stop.failed",
            f"{type(error).__name__}: {error}",
            position,
            attempt=failed + 1,
        )
        code = error.code if isinstance(error, VenueError) else type(error).__name__
        self._breaker.failed(position.venue, code)
        return failed + 1

    def _style(self, position: Position) -> ConditionalStops | AttachedStops:
        style = self._services.desks[position.venue].traits.stop_style
        return self._attached if style is StopStyle.ATTACHED else self._conditional

    def _instrument(self, position: Position) -> Instrument:
        return self._services.desks[position.venue].instruments[position.symbol]

    def _decide(
        self,
        kind: str,
        cause: str,
        position: Position,
        *,
        client_order_id: str = "",
        **values: object,
    ) -> None:
        self._services.outbox.record(
            kind,
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id=client_order_id,
            **values,
        )


def _ignore(position: Position) -> None:
    """Before the kernel is wired nobody is told."""


def _filled_ns(position: Position, now: MonoNs) -> MonoNs:
    return now if position.filled_mono_ns is None else position.filled_mono_ns
