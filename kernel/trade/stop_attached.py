"""The stop that is a property of the position (Bybit trading-stop, Full mode): set and read back.

1. Setting and moving are one call; the venue resizes the stop with the position.
2. The answer confirms nothing: the position's row, or the stop's own order, does.
3. The same call with the same level is harmless ("not modified" is success), so an unknown
   outcome is sent again.

Source: venue-bybit.md §3.3 (POST /v5/position/trading-stop), §4.1, §4.2.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kernel.errors import OutcomeUnknown, VenueError
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderReport, OrderType
from kernel.model.rows import OrderRow
from kernel.model.units import MS, Price, Qty, text
from kernel.model.venue import SetPositionStop
from kernel.trade import evidence, stop_levels
from kernel.trade.protective_set import StopOrder
from kernel.trade.stop_placement import StopUnconfirmed, position_leg

if TYPE_CHECKING:
    from kernel.model.orders import PositionReport
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

READ_BACK_NS = (150 * MS, 500 * MS, 1200 * MS, 2200 * MS)
"""Reads after the answer, where no event came before; then at the time-out."""


class AttachedStops:
    """Stops attached to positions, for any number of them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def covers(self, position: Position, level: Price, qty: Qty) -> bool:
        """Whether the venue showed a stop at `level` or tighter and nothing spoke against it."""
        confirmed = position.stops.confirmed
        return bool(confirmed) and (confirmed - level) * position.side.sign >= 0

    def fits(self, position: Position, level: Price, qty: Qty) -> bool:
        """Whether the stop stands exactly at `level`; its size is the venue's business."""
        return position.stops.confirmed == level and position.stops.exposed_since_ns is None

    async def establish(self, position: Position, level: Price, qty: Qty, cause: str) -> None:
        """Make one attempt at a confirmed stop at `level`.

        Raises:
            VenueError: The venue refused (`NoPositionYet`, `WouldTriggerNow`, …).
            StopUnconfirmed: It was taken, and the position does not show it.
        """
        services = self._services
        services.decide(
            "stop.placed",
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            level=text(level),
            qty=text(qty),
        )
        await services.commit_protect((position.row,))
        before = position.report
        try:
            await services.desks[position.venue].gateway.set_position_stop(
                SetPositionStop(
                    symbol=position.symbol,
                    trigger_price=level,
                    trigger_by=services.settings.stop_source,
                    position_side=position_leg(position),
                )
            )
        except OutcomeUnknown as error:
            services.decide(
                "outcome.unknown",
                error.code or "no answer",
                venue=position.venue,
                symbol=position.symbol,
                position_id=position.id,
            )
        await self._read_back(position, level, before)
        position.stops.cover(level, services.runtime.now())
        services.decide(
            "stop.confirmed",
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            level=text(level),
            qty=text(qty),
        )

    async def discard(self, position: Position) -> None:
        """Nothing is to be cancelled: the venue clears an attached stop with its position."""
        for stop in position.stops.to_cancel():
            if stop.attached:
                stop.wanted = True

    async def probe(self, position: Position) -> None:
        """Read the position: it shows its stop.

        Raises:
            VenueError: The read had no value.
        """
        await evidence.read_position(self._services, position)

    def observe(self, position: Position) -> None:
        """Compare what the position's newest row shows with what was confirmed.

        A tighter stop that somebody set is kept and becomes the level; anything else is a loss
        of protection. What the position looked like while a stop is being set says nothing.
        """
        stops, level, report = position.stops, position.stops.confirmed, position.report
        if report is None or not report.qty or not level or stops.busy:
            return
        if self._shows(report, level):
            return
        services = self._services
        found = report.stop_price
        right = report.stop_trigger_by is services.settings.stop_source
        kept = right and stop_levels.is_tighter(position.side, found, level)
        if kept:
            position.update(protected_level=found)
            stops.cover(found, services.runtime.now())
            services.persist((position.row,))
        else:
            stops.expose(services.runtime.now())
        services.decide(
            "stop.adopted" if kept else "stop.missing",
            "the position shows another stop",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            level=text(level),
            found=text(found),
        )

    def adopt(self, position: Position, report: OrderReport) -> None:
        """Know the order that the venue made for an attached stop, so that its end is seen."""
        services = self._services
        known = services.orders.by_venue_id(
            position.venue, OrderClass.ATTACHED, report.venue_order_id
        )
        if known is not None:
            self._take_up(position, known)
            return
        if report.status.terminal or report.side is not position.side.exit_side:
            return
        now = services.runtime.ts()
        order = services.orders.register(
            OrderRow(
                venue=position.venue,
                client_order_id=services.orders.new_id(position, Leg.STOP),
                symbol=position.symbol,
                position_id=position.id,
                order_class=OrderClass.ATTACHED,
                order_type=OrderType.STOP_MARKET,
                side=report.side,
                qty=report.qty,
                reduce_only=True,
                trigger_price=report.trigger_price,
                trigger_by=report.trigger_by,
                venue_order_id=report.venue_order_id,
                created_ns=now,
                updated_ns=now,
            )
        )
        services.orders.on_report(position.venue, report)
        position.stops.add(StopOrder(order, services.runtime.now()))
        services.persist((order.row, position.row))

    def _take_up(self, position: Position, order: TrackedOrder) -> None:
        """One that the store knew: after a start the set is empty."""
        if order.terminal or order.row.position_id != position.id:
            return
        if position.stops.find(order.client_order_id) is None:
            position.stops.add(StopOrder(order, self._services.runtime.now()))

    async def _read_back(
        self, position: Position, level: Price, before: PositionReport | None
    ) -> None:
        services = self._services
        asked_ns = services.runtime.now()
        polls = [*READ_BACK_NS, evidence.call_timeout_ns(services)]
        while True:
            position.changed.clear()
            report = position.report
            if report is not None and report is not before and self._shows(report, level):
                return
            if not polls:
                raise StopUnconfirmed(f"{position.id}: the position does not show its stop")
            if await evidence.wait_until(services.runtime, position.changed, asked_ns + polls[0]):
                continue
            polls.pop(0)
            with suppress(VenueError):  # a read without value: the next poll asks again
                await evidence.read_position(services, position)

    def _shows(self, report: PositionReport, level: Price) -> bool:
        source = self._services.settings.stop_source
        return report.stop_price == level and report.stop_trigger_by is source
