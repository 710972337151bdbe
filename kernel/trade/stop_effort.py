"""The effort for a confirmed stop: so many attempts, inside the deadline.

1. One try and three retries, inside `UNPROTECTED_DEADLINE_SECONDS` from the first known fill; at
   the deadline the answer is "no", and whoever asked closes.
2. What is proven not executed for want of budget, or because the venue shows no position yet, is
   no attempt.
3. Only proven codes, confirmed by a fresh price, mean "already through"; then the position is
   closed at market, once.
4. Nothing that is confirmed loosens the protected level.

Source: SPEC §3.3, §4.
"""

from __future__ import annotations

from contextlib import suppress
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
from kernel.model.positions import ENTERING, CloseReason, PositionState
from kernel.model.units import MS, SECOND, ZERO, MonoNs, Price, text
from kernel.runtime.errors import TimedOut
from kernel.trade import evidence, stop_levels
from kernel.trade.stop_breaker import StopBreaker
from kernel.trade.stop_orders import StopsCrowded
from kernel.trade.stop_placement import StopUnconfirmed

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_adoption import Adoption
    from kernel.trade.stop_alarm import ExposureAlarms
    from kernel.trade.stop_coverage import StopCoverage

RETRY_NS = (SECOND, 2 * SECOND, 4 * SECOND)
"""Pauses before the three retries (owner)."""
NO_POSITION_WAIT_NS = 200 * MS
BUDGET_WAIT_NS = 250 * MS
FIRST_LOOK_NS = SECOND
"""So long a first stop after a start waits to know what stands on the venue already."""
DEADLINE_MARGIN_NS = SECOND
"""The deadline itself belongs to the close: its store wait and its request."""


class StopEffort:
    """Gets stops confirmed, for any number of positions."""

    def __init__(
        self,
        services: Services,
        exits: Exits,
        *,
        coverage: StopCoverage,
        adoption: Adoption,
        alarms: ExposureAlarms,
    ) -> None:
        self._services = services
        self._exits = exits
        self._coverage = coverage
        self._adoption = adoption
        self._alarms = alarms
        self._breaker = StopBreaker(services)

    async def protect(self, position: Position, cause: str) -> bool:
        """Get a confirmed stop before the deadline; True: it stands."""
        services, stops = self._services, position.stops
        async with stops.lock:
            if self._coverage.stands(position):
                return True
            now = since_ns = services.runtime.now()
            if not self._coverage.covered(position):
                first = not position.row.protected_level
                self._alarms.expose(position, _filled_ns(position, now) if first else now)
                may_wait = self._coverage.may_wait(position)
                if stops.exposed_since_ns is not None and not may_wait:
                    since_ns = stops.exposed_since_ns
            deadline = services.settings.unprotected_deadline_seconds * SECOND - DEADLINE_MARGIN_NS
            stands = False
            try:
                with services.runtime.timeout_at(MonoNs(since_ns + deadline)):
                    stands = await self._attempts(position, cause)
            except TimedOut:
                self._decide("stop.deadline", cause, position)
            return stands

    async def move(self, position: Position, level: Price, cause: str) -> bool:
        """Make one attempt at a tighter level; the caller holds the lock. True: confirmed."""
        try:
            await self._coverage.style(position).establish(
                position, level, self._coverage.wanted_qty(position), cause
            )
        except (VenueError, StopUnconfirmed, StopsCrowded) as error:
            self._failed(position, error, 0)
            return False
        if position.state is not PositionState.ACTIVE:
            return False
        self._confirmed(position, level, cause)
        return True

    async def _attempts(self, position: Position, cause: str) -> bool:
        failed, recomputed = 0, False
        while position.qty > 0:
            level = ZERO
            try:
                level = await self._wanted(position)
                if not level or position.qty <= 0:  # it may have ended while the venue was read
                    return False
                await self._coverage.style(position).establish(
                    position, level, self._coverage.wanted_qty(position), cause
                )
            except NoPositionYet:
                await self._look_again(position)
                if position.state is PositionState.ACTIVE:
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
                    self._coverage.first.forget(position)
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
                if self._coverage.covered(position):
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
        level = self._coverage.level(position)
        found = await self._found(position, level)
        level = stop_levels.tighter_of(position.side, found, level)
        level = self._tightest_taken(position, level)
        if self._coverage.first.must_close(position):
            cause = "adverse drift between entry and stop"
            await self._exits.close(position, CloseReason.ROLLBACK, cause)
            return ZERO
        inside = self._coverage.inside(position, level)
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

    async def _found(self, position: Position, level: Price) -> Price:
        """The tightest stop that stood on the venue and counts; ZERO: none does.

        A first stop does not wait for a read that fails: what stands is judged at the next look.

        Raises:
            VenueError: What stands on the venue could not be read.
        """
        if not self._coverage.may_have_stops(position):
            return self._coverage.found(position)
        if position.stored and not position.row.protected_level:
            try:
                with self._services.runtime.timeout(FIRST_LOOK_NS):
                    found = await self._adoption.judge(position, level)
            except (VenueError, TimedOut):
                return ZERO
        else:
            found = await self._adoption.judge(position, level)
        self._coverage.judged(position, found)
        return found

    def _tightest_taken(self, position: Position, level: Price) -> Price:
        """A tighter stop that the venue took may be live, seen or not: none is placed behind it."""
        source = self._services.settings.stop_source
        price = self._services.prices.last(position.venue, position.symbol, source).price
        for stop in position.stops.doubtful():
            taken = stop.wanted and bool(stop.order.row.venue_order_id)
            if taken and not stop_levels.is_through(position.side, stop.level, price):
                level = stop_levels.tighter_of(position.side, stop.level, level)
        return level

    async def _out_of_budget(self, position: Position, error: VenueError) -> None:
        """Proven not executed, so not an attempt: wait for the budget; the deadline holds."""
        runtime = self._services.runtime
        wait_ns = BUDGET_WAIT_NS
        if isinstance(error, Throttled):
            wait_ns = max(wait_ns, error.retry_at_ns - runtime.ts())
        self._decide("stop.waits", f"{type(error).__name__}: {error}", position)
        await runtime.sleep(wait_ns)

    async def _look_again(self, position: Position) -> None:
        """The venue shows no position: not yet, or not any more? Executions tell."""
        await self._services.runtime.sleep(NO_POSITION_WAIT_NS)
        with suppress(VenueError):  # a read without value: the next try tells
            await evidence.read_executions(self._services, position)

    async def _close_if_through(self, position: Position, level: Price) -> bool:
        price = await evidence.fresh_price(self._services, position)
        if not level or not stop_levels.is_through(position.side, level, price):
            return False
        cause = f"{text(price)} is through {text(level)}"
        await self._exits.close(position, CloseReason.ALREADY_THROUGH, cause)
        return True

    def _confirmed(self, position: Position, level: Price, cause: str) -> None:
        """A stop stands at `level`: it is the protected level from now on."""
        services, before = self._services, position.row.protected_level
        stop_levels.ratchet(position.side, level, before)
        if position.state not in ENTERING:
            self._coverage.first.forget(position)
        self._breaker.confirmed(position.venue)
        self._coverage.stands_near(position, near=False)
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

    def _decide(self, kind: str, cause: str, position: Position, **values: object) -> None:
        self._services.decide(
            kind,
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id="",
            **values,
        )


def _filled_ns(position: Position, now: MonoNs) -> MonoNs:
    return now if position.filled_mono_ns is None else position.filled_mono_ns
