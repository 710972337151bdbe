"""Judging stops that are found on the venue: after a start, for adopted and foreign positions.

A found stop counts only if it is live, on the right side of the market, closing-only, covers the
quantity, is this position's, and lies within `STOP_REUSE_TOLERANCE_PERCENT` of the level
(SPEC §4, owner). A stop left from an earlier position is never this one's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.ids import Leg, is_ours, parse_client_order_id, symbol_hash
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType
from kernel.model.rows import OrderRow
from kernel.model.traits import StopStyle
from kernel.model.units import ZERO, Price, text
from kernel.trade import evidence, stop_levels
from kernel.trade.protective_set import StopOrder

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder


class Adoption:
    """Takes over what protects a position already."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def judge(self, position: Position, level: Price) -> Price:
        """Read what stands on the venue, keep what counts, and put the rest of ours aside.

        Returns:
            The tightest level found that counts; ZERO: none does.

        Raises:
            VenueError: The read has no value; nothing was concluded.
        """
        services = self._services
        if services.desks[position.venue].traits.stop_style is StopStyle.ATTACHED:
            return await self._attached(position, level)
        reports = await evidence.read_open_orders(
            services, position.venue, position.symbol, OrderClass.CONDITIONAL
        )
        price = await evidence.fresh_price(services, position)
        best = ZERO
        for report in reports:
            if report.position_side != position.leg:
                continue
            reason = self._refusal(position, report, level, price)
            if reason:
                self.put_aside(position, report, reason)
                continue
            self._keep(position, report)
            best = stop_levels.tighter_of(position.side, report.trigger_price, best)
        return best

    async def _attached(self, position: Position, level: Price) -> Price:
        services = self._services
        found = (await evidence.read_position(services, position)).report
        if found is None or not found.stop_price:
            return ZERO
        near = self._near(position, found.stop_price, level)
        right = not stop_levels.is_through(position.side, found.stop_price, found.mark_price)
        if not near or not right:
            return ZERO
        if found.stop_trigger_by is not services.settings.stop_source and not (
            await self._order_says_source(position, found.stop_price)
        ):
            return ZERO
        return found.stop_price

    async def _order_says_source(self, position: Position, price: Price) -> bool:
        # A position's row does not tell the trigger's series (Bybit V5 position/list); the order
        # that the venue made of the stop does.
        services = self._services
        reports = await evidence.read_open_orders(
            services, position.venue, position.symbol, OrderClass.CONDITIONAL
        )
        return any(
            report.order_class is OrderClass.ATTACHED
            and report.position_side == position.leg
            and report.trigger_price == price
            and report.trigger_by is services.settings.stop_source
            for report in reports
        )

    def _refusal(self, position: Position, report: OrderReport, level: Price, price: Price) -> str:
        """Why a found stop does not count; "": it does."""
        settings = self._services.settings
        if report.order_type is not OrderType.STOP_MARKET or report.status is not OrderStatus.NEW:
            return "not a live stop"
        if report.side is not position.side.exit_side:
            return "wrong side"
        if not report.closes:
            return "not closing-only"
        if report.trigger_by is not settings.stop_source:
            return "another price series"
        if stop_levels.is_through(position.side, report.trigger_price, price):
            return "wrong side of the market"
        if not report.close_position and report.qty < position.qty:
            return "does not cover the quantity"
        if not self._is_of(position, report):
            return "not this position's"
        if not self._near(position, report.trigger_price, level):
            return "too far from the level"
        return ""

    def _near(self, position: Position, found: Price, level: Price) -> bool:
        """Within the tolerance, or tighter: the level of our books may be lost writes behind."""
        tolerance = self._services.settings.stop_reuse_tolerance_percent
        return stop_levels.is_tighter(position.side, found, level) or (
            stop_levels.within_tolerance(level=level, found=found, percent=tolerance)
        )

    def _is_of(self, position: Position, report: OrderReport) -> bool:
        known = self._services.orders.by_client_id(position.venue, report.client_order_id)
        if known is not None:
            return known.row.position_id == position.id
        parts = parse_client_order_id(report.client_order_id)
        if parts is not None:  # ours, and the store lost its row: its id tells whose it is
            return (
                parts.leg is Leg.STOP
                and parts.wave_minute == position.row.wave_minute
                and parts.symbol_hash == symbol_hash(position.venue, position.symbol)
            )
        # Our row of a foreign position begins when we found it: the venue knows since when it is.
        opened_ns = 0 if position.report is None else position.report.opened_ns
        return not position.ours and report.created_ns >= opened_ns

    def _keep(self, position: Position, report: OrderReport) -> None:
        order = self._registered(position, report)
        if position.stops.find(order.client_order_id) is None:
            position.stops.add(StopOrder(order, self._services.runtime.now()))
        self._services.decide(
            "stop.adopted",
            "it counts as this position's",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id=report.client_order_id,
            level=text(report.trigger_price),
            qty=text(report.qty),
        )

    def put_aside(self, position: Position, report: OrderReport, reason: str) -> None:
        """Ours: into the to-cancel ledger, for when a good stop stands. Others': let alone."""
        self._services.decide(
            "stop.refused",
            reason,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id=report.client_order_id,
            level=text(report.trigger_price),
            qty=text(report.qty),
        )
        if not is_ours(report.client_order_id) or report.status.terminal:
            return
        order = self._registered(position, report)
        if position.stops.find(order.client_order_id) is None:
            stop = position.stops.add(StopOrder(order, self._services.runtime.now()))
            stop.wanted = False

    def _registered(self, position: Position, report: OrderReport) -> TrackedOrder:
        services = self._services
        known = services.orders.by_client_id(position.venue, report.client_order_id)
        if known is not None:
            return known
        now = services.runtime.ts()
        order = services.orders.register(
            OrderRow(
                venue=position.venue,
                client_order_id=report.client_order_id,
                symbol=position.symbol,
                position_id=position.id,
                order_class=OrderClass.CONDITIONAL,
                order_type=report.order_type,
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
        services.persist((order.row,))
        return order
