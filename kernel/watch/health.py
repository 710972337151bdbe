"""Health: what works, what limps, what is broken, since when and why (SPEC §12).

Parts: database, signal feed, disk, memory, kernel lag; of each venue its stream, its requests and
the clock against it. Nothing is polled: each part is judged when somebody who knows says something
(a decision), or when the driver reports on its host. A part that a person must look at is
critical; so is one that has been degraded for too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.messages import Alert
from kernel.model.status import HealthPart, HealthStatus
from kernel.model.units import MINUTE, MS, MonoNs, TsNs

if TYPE_CHECKING:
    from kernel.config import Settings
    from kernel.model.messages import Decision, HostReport
    from kernel.ports.outbox import Outbox
    from kernel.runtime.scheduler import Runtime
    from kernel.runtime.timers import TimerHandle

OK, DEGRADED, CRITICAL = "ok", "degraded", "critical"
LEVELS = (OK, DEGRADED, CRITICAL)
"""From best to worst."""

DATABASE, FEED, DISK, MEMORY, LAG = "database", "feed", "disk", "memory", "lag"
STREAM, REQUESTS, CLOCK = "stream", "requests", "clock"
"""Parts of each venue: "stream binance"."""

MB = 1_000_000
_SERIOUS = 5
"""So many times the lag that is warned of is critical."""

RULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "recovery.loaded": ((DATABASE, "", OK),),
    "store.failing": ((DATABASE, "", DEGRADED),),
    "store.recovered": ((DATABASE, "", OK),),
    "store.unloaded": ((DATABASE, "", CRITICAL),),
    "feed.ready": ((FEED, "", OK),),
    "feed.down": ((FEED, "", DEGRADED),),
    "feed.auth_failed": ((FEED, "", CRITICAL),),
    "stream.up": ((STREAM, "", OK),),
    "stream.down": ((STREAM, "", DEGRADED),),
    "venue.open": ((REQUESTS, "", OK),),
    "venue.unread": ((REQUESTS, "", DEGRADED),),
    "venue.banned": ((REQUESTS, "", CRITICAL),),
    "venue.unbanned": ((REQUESTS, "", OK),),
    "resync.failed": ((REQUESTS, "", DEGRADED),),
    "entries.blocked": ((CLOCK, "clock offset", DEGRADED), (REQUESTS, "unauthorized", CRITICAL)),
    "entries.unblocked": (
        (CLOCK, "clock offset", OK),
        (REQUESTS, "unauthorized", OK),
        (REQUESTS, "resync", OK),
    ),
}
"""Kind of decision → (part, only for this cause, what the part then is)."""

ESCALATES = (DATABASE, STREAM, REQUESTS)
"""Parts that are critical after `STREAM_DOWN_ALERT_MINUTES` of being degraded."""


class _Part:
    __slots__ = ("base", "known", "level", "name", "reason", "since_ns", "timer", "venue")

    def __init__(self, base: str, venue: str, *, known: bool) -> None:
        self.base = base
        self.venue = venue
        self.name = f"{base} {venue}".rstrip()
        self.known = known
        """Heard of: before that it is degraded without anybody being told."""
        self.level = OK if known else DEGRADED
        self.reason = "" if known else "not heard of yet"
        self.since_ns = TsNs(0)
        self.timer: TimerHandle | None = None


class Health:
    """The health of one kernel."""

    def __init__(
        self, runtime: Runtime, outbox: Outbox, settings: Settings, venues: tuple[str, ...]
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._settings = settings
        self._patience_ns = settings.stream_down_alert_minutes * MINUTE
        parts = [_Part(base, "", known=False) for base in (DATABASE, FEED)]
        for venue in venues:
            parts += [_Part(base, venue, known=False) for base in (STREAM, REQUESTS)]
            parts.append(_Part(CLOCK, venue, known=True))
        parts += [_Part(base, "", known=True) for base in (DISK, MEMORY, LAG)]
        self._parts = {(part.base, part.venue): part for part in parts}
        for kind in RULES:
            outbox.listen(kind, self._hear)

    def status(self) -> HealthStatus:
        """How it is now."""
        parts = [
            HealthPart(part.name, part.level, part.reason, part.since_ns)
            for part in self._parts.values()
        ]
        worst = max((LEVELS.index(part.level) for part in parts), default=0)
        return HealthStatus(LEVELS[worst], tuple(parts))

    def on_host(self, report: HostReport) -> None:
        """Judge what the driver says of disk, memory and lag; what it does not know is left out."""
        settings = self._settings
        if report.disk_free_bytes >= 0:
            free, least = report.disk_free_bytes // MB, settings.disk_free_min_mb
            level = CRITICAL if free < least else DEGRADED if free < 2 * least else OK
            self._set(DISK, "", level, f"{free} MB free")
        if report.memory_bytes >= 0:
            used, most = report.memory_bytes // MB, settings.memory_max_mb
            level = OK
            if most:
                level = CRITICAL if used > most else DEGRADED if used * 5 > most * 4 else OK
            self._set(MEMORY, "", level, f"{used} MB in use")
        if report.lag_ns >= 0:
            lag, most = report.lag_ns // MS, settings.kernel_lag_warn_ms
            level = OK
            if most:
                level = CRITICAL if lag > _SERIOUS * most else DEGRADED if lag > most else OK
            self._set(LAG, "", level, f"{lag} ms late")

    # ------------------------------------------------------------ inside

    def _hear(self, decision: Decision) -> None:
        for base, cause, level in RULES[decision.kind]:
            if cause and decision.cause != cause:
                continue
            venue = decision.venue if (base, decision.venue) in self._parts else ""
            if (base, venue) in self._parts:
                self._set(base, venue, level, decision.cause)

    def _set(self, base: str, venue: str, level: str, reason: str) -> None:
        part = self._parts[(base, venue)]
        if level == DEGRADED and part.level == CRITICAL and part.base in ESCALATES and part.known:
            return  # another try failed: it is no better for that
        first, part.known = not part.known, True
        if part.level == level and not first:
            return
        before, part.level, part.reason = part.level, level, reason
        part.since_ns = self._runtime.ts()
        if part.timer is not None:
            part.timer.cancel()
            part.timer = None
        if not (first and level == OK):
            self._told(part, before)
        if level == DEGRADED and base in ESCALATES:
            due = MonoNs(self._runtime.now() + self._patience_ns)
            part.timer = self._runtime.call_at(due, lambda: self._escalate(part))

    def _escalate(self, part: _Part) -> None:
        part.timer = None
        minutes = self._patience_ns // MINUTE
        self._set(part.base, part.venue, CRITICAL, f"{part.reason}; for {minutes} minutes")

    def _told(self, part: _Part, before: str) -> None:
        self._outbox.record(
            "health.changed",
            part.reason,
            venue=part.venue,
            part=part.name,
            before=before,
            after=part.level,
            overall=self.status().level,
        )
        if part.level == CRITICAL:
            self._outbox.alert(
                Alert(
                    severity="CRITICAL",
                    kind="health.critical",
                    text=f"{part.name}: {part.reason}",
                    venue=part.venue,
                    dedupe=part.name,
                )
            )
