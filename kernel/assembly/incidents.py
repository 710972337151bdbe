"""What a part reports that no part can settle alone: strays, doubts, a ban, a store that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.assembly.parts import Parts
    from kernel.errors import Throttled
    from kernel.model.orders import Fill
    from kernel.model.units import TsNs
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder


class Incidents:
    """Listens to the books, the writer and the gateways; most incidents ask for a resync."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services = services
        self._parts = parts
        services.orders.on_stray = self._stray
        services.orders.on_reappeared = self._reappeared
        services.orders.on_unheard = self._unheard
        services.orders.on_unknown = parts.foreign_epochs.hear
        services.book.on_ended.append(self._ended)
        services.writer.on_health = self._store_health
        for desk in services.desks.values():
            desk.gateway.on_ban = self._banned

    def doubt_everything(self, kind: str, cause: str) -> None:
        """Time was lost or moved: entries wait for a resync of every venue."""
        self._services.decide(kind, cause)
        self._services.alert("WARNING", kind, f"{cause}: entries wait for a resync")
        self._parts.request_resyncs(kind)

    def _stray(self, venue: str, fill: Fill) -> None:
        reason = f"execution {fill.trade_id} on {fill.symbol} is not ours"
        self._parts.request_resync(venue, reason)

    def _unheard(self, venue: str, happened_ns: TsNs) -> None:
        self._services.desks[venue].suspect(happened_ns)

    def _ended(self, position: Position) -> None:
        """Keep closed history from growing: what ended long ago is forgotten, orders and all."""
        if position.qty:
            reason = f"{position.id} ended with {position.qty} left"
            self._parts.request_resync(position.venue, reason)
        self._services.orders.forget(self._services.book.forgotten())

    def _reappeared(self, order: TrackedOrder) -> None:
        row = order.row
        self._services.alert(
            "CRITICAL",
            "order.reappeared",
            f"{row.client_order_id} was declared never placed and is alive",
            venue=row.venue,
            symbol=row.symbol,
        )
        self._parts.request_resync(row.venue, f"{row.client_order_id} reappeared")

    def _store_health(self, failing: bool) -> None:  # noqa: FBT001 - a callback's argument
        for desk in self._services.desks.values():
            if failing:
                desk.block_entries("store")
            else:
                desk.unblock_entries("store")

    def _banned(self, desk: VenueDesk, error: Throttled) -> None:
        naked = [
            position.symbol
            for position in self._services.book.on_venue(desk.name)
            if position.qty and not self._parts.stops.covered(position)
        ]
        self._services.alert(
            "CRITICAL",
            "venue.banned",
            f"nothing can be sent ({error}); stop not verified: {', '.join(naked) or 'none'}",
            venue=desk.name,
        )
        self._watch_ban(desk)

    def _watch_ban(self, desk: VenueDesk) -> None:
        """Say when the ban is over; it may have been made longer meanwhile."""
        runtime = self._services.runtime

        def over() -> None:
            if runtime.now() < desk.gateway.banned_until_ns:
                self._watch_ban(desk)
            else:
                self._services.decide("venue.unbanned", "its time is over", venue=desk.name)

        runtime.call_at(desk.gateway.banned_until_ns, over)
