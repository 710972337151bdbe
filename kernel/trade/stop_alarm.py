"""Tells a person that a position has been without a confirmed stop for too long (SPEC §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.units import SECOND, MonoNs

if TYPE_CHECKING:
    from kernel.runtime.timers import TimerHandle
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services


class ExposureAlarms:
    """One alarm for each position that is exposed, due a deadline after that began."""

    def __init__(self, services: Services, exits: Exits) -> None:
        self._services = services
        self._exits = exits
        self._alarms: dict[str, TimerHandle] = {}

    def expose(self, position: Position, since_ns: MonoNs) -> None:
        """No confirmed stop covers it; longer than the deadline is told as CRITICAL."""
        position.stops.expose(since_ns)
        if position.id not in self._alarms:
            self._arm(position)

    def cancel(self, position: Position) -> None:
        """It is covered again, or over."""
        alarm = self._alarms.pop(position.id, None)
        if alarm is not None:
            alarm.cancel()

    def _arm(self, position: Position) -> None:
        """Whoever noted the exposure: the alarm is due a deadline after its beginning."""
        since_ns = position.stops.exposed_since_ns
        if since_ns is None:
            return
        runtime = self._services.runtime
        at_ns = MonoNs(max(since_ns + self._limit_ns, runtime.now()) + 1)
        self._alarms[position.id] = runtime.call_at(at_ns, lambda: self._tell(position))

    @property
    def _limit_ns(self) -> int:
        return self._services.settings.unprotected_deadline_seconds * SECOND

    def _tell(self, position: Position) -> None:
        """Tell once an exposure, unless it ended or began later than the one it was set for."""
        since_ns = position.stops.exposed_since_ns
        if since_ns is None or position.qty <= 0:
            self._alarms.pop(position.id, None)
            return
        if self._services.runtime.now() <= since_ns + self._limit_ns:
            self._arm(position)
            return
        closing = self._exits.in_progress(position)
        self._services.alert(
            "CRITICAL",
            "position.unprotected",
            "no confirmed stop for longer than allowed; "
            + ("a close is in progress" if closing else "no close is in progress"),
            venue=position.venue,
            symbol=position.symbol,
            dedupe=f"position.unprotected|{position.id}",
        )
