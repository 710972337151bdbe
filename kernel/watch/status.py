"""Reads what a person needs to know of a running kernel; changes nothing (SPEC §12)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kernel.model.orders import PriceSource
from kernel.model.status import (
    Budget,
    Limits,
    LockStatus,
    OpenAlert,
    PositionStatus,
    Status,
    VenueStatus,
    WaveStatus,
)
from kernel.model.units import MS, SECOND, ZERO, TsNs, canonical

if TYPE_CHECKING:
    from kernel.model.messages import Decision
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services
    from kernel.watch.alerts import Alerts
    from kernel.watch.health import Health
    from kernel.watch.results import ResultBook

WAVES = 8
"""Waves that are told of."""


class StatusReader:
    """Puts the picture of one kernel together."""

    def __init__(
        self, services: Services, alerts: Alerts, health: Health, results: ResultBook
    ) -> None:
        self._services = services
        self._alerts = alerts
        self._health = health
        self._results = results
        self._started_ns = TsNs(0)
        self.offsets: dict[str, int] = {}
        """Venue → its clock minus ours, nanoseconds; kept by the clock check."""
        self._waves: deque[WaveStatus] = deque(maxlen=WAVES)
        self._zombies: dict[tuple[str, str], int] = {}
        """(venue, kind of decision) → how many."""
        for kind, hear in (
            ("kernel.started", self._on_started),
            ("wave.expected", self._on_wave),
            ("wave.selected", self._on_wave),
            ("wave.closed", self._on_wave),
            ("zombie.found", self._on_zombie),
            ("zombie.cleared", self._on_zombie),
        ):
            services.outbox.listen(kind, hear)

    def read(self) -> Status:
        """The picture of this instant. The price look-ups are journaled as reads."""
        services, now = self._services, self._services.runtime.ts()
        return Status(
            ts_ns=now,
            started_ns=self._started_ns,
            epoch=services.epoch,
            stopping=services.stopping,
            rows_waiting=services.writer.waiting,
            health=self._health.status(),
            positions=tuple(self._position(one, now) for one in services.book.open()),
            waves=tuple(self._waves),
            venues=tuple(self._venue(desk) for desk in services.desks.values()),
            limits=self._limits(now),
            locks=tuple(
                LockStatus(row.venue, row.symbol, row.reason, row.until_ns)
                for row in services.risk.locks()
            ),
            alerts=tuple(
                OpenAlert(one.severity, one.kind, one.text, one.venue, one.symbol, TsNs(since_ns))
                for one, since_ns in self._alerts.states()
            ),
            results=tuple(tally.results(now) for tally in self._results.tallies.values()),
        )

    def _position(self, position: Position, now: TsNs) -> PositionStatus:
        row, stops = position.row, position.stops
        mark = self._services.prices.last(row.venue, row.symbol, PriceSource.MARK).price
        open_pnl = (mark - row.entry_price) * position.qty * row.side.sign if mark else ZERO
        since_ns = stops.exposed_since_ns
        exposed_ns = 0 if since_ns is None else self._services.runtime.now() - since_ns
        confirmed = bool(stops.confirmed) and since_ns is None
        live = [stop for stop in stops.live() if stop.wanted]
        return PositionStatus(
            position_id=row.position_id,
            venue=row.venue,
            symbol=row.symbol,
            side=row.side,
            state=row.state,
            ours=position.ours,
            qty=position.qty,
            entry=row.entry_price,
            mark=mark,
            pnl=canonical(open_pnl + row.net),
            stop_level=row.protected_level,
            stop_id=live[0].order.row.venue_order_id if live else "",
            protected=confirmed,
            unprotected_ms=exposed_ns // MS,
            trailing=row.trailing,
            best=row.best_price,
            age_s=(now - row.first_fill_ns) // SECOND if row.first_fill_ns else 0,
            frozen=position.frozen,
        )

    def _venue(self, desk: VenueDesk) -> VenueStatus:
        runtime, limiter = self._services.runtime, desk.gateway.limiter
        offset = self.offsets.get(desk.name)
        return VenueStatus(
            name=desk.name,
            stream_up=desk.stream_up,
            banned_ms=max(desk.gateway.banned_until_ns - runtime.now(), 0) // MS,
            blocks=desk.block_reasons,
            wallet=desk.balance.wallet if desk.balance is not None else ZERO,
            clock_offset_ms=str(offset // MS) if offset is not None else "",
            budgets=tuple(
                Budget(
                    bucket=name,
                    capacity=bucket.capacity,
                    used=bucket.in_use(runtime.now()),
                    window_ms=bucket.window_ns // MS,
                )
                for name, bucket in limiter.buckets.items()
            ),
            zombies_found=self._zombies.get((desk.name, "zombie.found"), 0),
            zombies_cleared=self._zombies.get((desk.name, "zombie.cleared"), 0),
        )

    def _limits(self, now: TsNs) -> Limits:
        services = self._services
        settings, risk = services.settings, services.risk
        self._results.whole.turn(now)
        return Limits(
            positions=settings.max_positions - risk.free_slots(),
            max_positions=settings.max_positions,
            exposure=risk.exposure(),
            max_exposure=settings.max_exposure_usd,
            paused=risk.paused,
            today=canonical(self._results.whole.row.day_net),
        )

    # ------------------------------------------------------------ what was said

    def _on_started(self, _decision: Decision) -> None:
        self._started_ns = self._services.runtime.ts()

    def _on_zombie(self, decision: Decision) -> None:
        key = (decision.venue, decision.kind)
        self._zombies[key] = self._zombies.get(key, 0) + 1

    def _on_wave(self, decision: Decision) -> None:
        """The newest wave first; what is said later of one replaces what was said before."""
        values = decision.values
        before = next((one for one in self._waves if one.wave == values["wave"]), None)
        if before is not None:
            self._waves.remove(before)
        closed = decision.kind == "wave.closed"
        self._waves.appendleft(
            WaveStatus(
                wave=values["wave"],
                state=decision.cause if closed else "open",
                received=int(values.get("received", "0")),
                target=int(values.get("target", "0")),
                active=int(values.get("active", "0")),
            )
        )
