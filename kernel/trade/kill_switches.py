"""Kill switches: results so bad that entries stop; protection goes on (SPEC §2).

A switch that trips locks the whole kernel, durably, until its time: the daily loss until the UTC
day ends, a stop guard until its window has passed, drawdown and consecutive stops until an
operator resumes. What is counted is durable as well: a restart forgets no loss.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from kernel.model.positions import CloseReason, Origin
from kernel.model.rows import SwitchRow
from kernel.model.units import DAY, HUNDRED, MINUTE, ZERO, TsNs, Usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.config import Settings
    from kernel.model.positions import PositionRow

COUNTED_KEPT = 64
"""A position that ended twice, because a crash came between, counts once."""
UNTIL_RESUMED = TsNs(1 << 62)
"""As an end of a lock: an operator has to end it."""

_BY_STOP = (
    CloseReason.STOP_LOSS.value,
    CloseReason.TRAILING_STOP.value,
    CloseReason.ALREADY_THROUGH.value,
    CloseReason.UNPROTECTED.value,
    CloseReason.LIQUIDATION.value,
)


class Trip(msgspec.Struct, frozen=True, gc=False):
    """A switch that tripped: why, and until when there are no entries."""

    reason: str
    until_ns: TsNs


class KillSwitches:
    """Counts results and says when it is enough. 0 in the settings switches a count off."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._day = 0
        self._day_result = ZERO
        self._losing_stops = 0
        self._stops: deque[TsNs] = deque()
        self._wallets: dict[str, Usd] = {}
        self._result = ZERO
        self._best = ZERO
        self._counted: deque[str] = deque(maxlen=COUNTED_KEPT)

    @property
    def any_on(self) -> bool:
        """Whether any count is switched on."""
        settings = self._settings
        return bool(
            settings.daily_loss_limit_usd
            or settings.max_drawdown_percent
            or settings.max_consecutive_stops
            or settings.stop_guard_count
        )

    def row(self) -> SwitchRow:
        """What was counted, for the store."""
        return SwitchRow(
            day=self._day,
            day_result=self._day_result,
            losing_stops=self._losing_stops,
            stops=tuple(self._stops),
            result=self._result,
            best=self._best,
            wallets=tuple(self._wallets.items()),
            counted=tuple(self._counted),
        )

    def restore(self, row: SwitchRow) -> None:
        """Go on counting where the process before ended."""
        self._day, self._day_result = row.day, row.day_result
        self._losing_stops = row.losing_stops
        self._stops = deque(row.stops)
        self._result, self._best = row.result, row.best
        self._wallets = dict(row.wallets)
        self._counted.extend(row.counted)

    def note_wallet(self, venue: str, wallet: Usd) -> None:
        """The money on a venue; the first figure of each venue is what drawdown counts from."""
        self._wallets.setdefault(venue, wallet)

    def ended(self, row: PositionRow, now_ns: TsNs) -> list[Trip]:
        """Count a position that ended; returns the switches that trip by it."""
        if row.origin is not Origin.OURS or not row.filled_qty or row.position_id in self._counted:
            return []
        self._counted.append(row.position_id)
        net = row.net
        self._turn_day(now_ns)
        self._day_result += net
        self._result += net
        self._best = max(self._best, self._result)
        by_stop = row.close_reason in _BY_STOP
        if by_stop:
            self._stops.append(now_ns)
        if net > 0:
            self._losing_stops = 0
        elif by_stop:
            self._losing_stops += 1
        return [trip for trip in self._judge(now_ns) if trip is not None]

    def loss_today(self, now_ns: TsNs, living: Iterable[PositionRow]) -> Trip | None:
        """The daily loss, with what positions that live have realised since the day began."""
        limit = self._settings.daily_loss_limit_usd
        if not limit:
            return None
        self._turn_day(now_ns)
        today = self._day * DAY
        result = self._day_result + sum(
            (row.net for row in living if row.opened_ns >= today), ZERO
        )
        if result > -limit:
            return None
        return Trip(f"daily loss {-result} of at most {limit} USD", TsNs(today + DAY))

    def resumed(self) -> None:
        """An operator looked at it: counting starts anew."""
        self._losing_stops = 0
        self._stops.clear()
        self._result = self._best = ZERO
        self._wallets.clear()

    def _judge(self, now_ns: TsNs) -> tuple[Trip | None, ...]:
        return (
            self.loss_today(now_ns, ()),
            self._drawdown(),
            self._consecutive_stops(),
            self._stop_guard(now_ns),
        )

    def _drawdown(self) -> Trip | None:
        limit = self._settings.max_drawdown_percent
        start = sum(self._wallets.values(), ZERO)
        best = start + self._best
        if not limit or start <= 0 or best <= 0:
            return None
        fallen: Decimal = (self._best - self._result) * HUNDRED / best
        if fallen < limit:
            return None
        return Trip(f"drawdown of at least {limit} percent", UNTIL_RESUMED)

    def _consecutive_stops(self) -> Trip | None:
        limit = self._settings.max_consecutive_stops
        if not limit or self._losing_stops < limit:
            return None
        return Trip(f"{self._losing_stops} losing stops in a row", UNTIL_RESUMED)

    def _stop_guard(self, now_ns: TsNs) -> Trip | None:
        limit = self._settings.stop_guard_count
        window_ns = self._settings.stop_guard_window_minutes * MINUTE
        while self._stops and self._stops[0] <= now_ns - window_ns:
            self._stops.popleft()
        if not limit or len(self._stops) < limit:
            return None
        return Trip(f"{len(self._stops)} stops inside the guard's window", TsNs(now_ns + window_ns))

    def _turn_day(self, now_ns: TsNs) -> None:
        day = now_ns // DAY
        if day != self._day:
            self._day, self._day_result = day, ZERO
