"""When stops go wrong on a venue as a whole, entries end there (SPEC §2, §4; hazards S03, S16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.units import MINUTE, SECOND, MonoNs

if TYPE_CHECKING:
    from kernel.trade.services import Services

FAILURES_BLOCK = "equal stop failures in a row"
"""Lifted by the next stop that is confirmed; after `VENUE_BREAKER_MINUTES` entries are tried again,
one at a time."""
THROUGH_BLOCK = "stops are already through"
"""Lifted by a person."""


class StopBreaker:
    """Counts what went wrong, by venue."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._failures: dict[str, tuple[str, int]] = {}
        self._due: dict[str, MonoNs] = {}
        self._through: dict[str, list[int]] = {}

    def confirmed(self, venue: str) -> None:
        """A stop stands: stops work on this venue."""
        self._failures.pop(venue, None)
        desk = self._services.desks[venue]
        desk.unblock_entries(FAILURES_BLOCK)
        if desk.on_probation:
            desk.on_probation = False
            self._services.decide("stop.breaker_closed", "a stop is confirmed", venue=venue)

    def failed(self, venue: str, code: str) -> None:
        """A stop failed; so many equal failures in a row stop entries."""
        last, count = self._failures.get(venue, (code, 0))
        count = count + 1 if last == code else 1
        self._failures[venue] = (code, count)
        limit = self._services.settings.venue_breaker_failures
        desk = self._services.desks[venue]
        if limit and (count == limit or desk.on_probation):
            desk.on_probation = False
            desk.block_entries(FAILURES_BLOCK)
            self._services.alert(
                "CRITICAL",
                "stop.breaker",
                f"{count} stops in a row failed with {code}: no entries until one is confirmed",
                venue=venue,
            )
            self._try_again_later(venue)

    def _try_again_later(self, venue: str) -> None:
        """Without a position nothing confirms a stop: after a while an entry is what tells."""
        runtime, minutes = self._services.runtime, self._services.settings.venue_breaker_minutes
        if not minutes:
            return
        due_ns = MonoNs(runtime.now() + minutes * MINUTE)
        self._due[venue] = due_ns

        def over() -> None:
            desk = self._services.desks[venue]
            if self._due.get(venue) != due_ns or FAILURES_BLOCK not in desk.block_reasons:
                return
            desk.on_probation = True
            self._services.decide(
                "stop.breaker_probes",
                f"{minutes} minutes without a confirmed stop",
                venue=venue,
            )
            desk.unblock_entries(FAILURES_BLOCK)

        runtime.call_at(due_ns, over)

    def through(self, venue: str) -> None:
        """A position was closed because its stop was already through."""
        now = self._services.runtime.now()
        limit = self._services.settings.already_through_limit
        window = self._services.settings.already_through_window_seconds
        recent = self._through.setdefault(venue, [])
        recent[:] = [at for at in recent if now - at < window * SECOND]
        recent.append(now)
        if not limit or len(recent) < limit:
            return
        self._services.desks[venue].block_entries(THROUGH_BLOCK)
        self._services.alert(
            "CRITICAL",
            "stop.through_breaker",
            f"{len(recent)} positions were closed in {window} s because their stop was already"
            " through: entries stop here until resumed",
            venue=venue,
        )
