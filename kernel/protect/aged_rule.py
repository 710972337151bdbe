"""When a position is aged, what loss is tolerated then, and the price that follows: pure (SPEC §6).

Times are nanoseconds, percents are percents. Over the age a position first gets the grace period,
in which it may end without a loss; after that the tolerated loss grows with every hour.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from kernel.model.units import HOUR, MINUTE, ZERO, Price
from kernel.trade import stop_levels

if TYPE_CHECKING:
    from kernel.config import Settings
    from kernel.model.instrument import Instrument
    from kernel.model.orders import PositionSide

ACCELERATES_AFTER_NS = 10 * HOUR
"""Past the grace period; from there on the tolerance has the acceleration factor (owner)."""


class AgedRule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The numbers of the rule."""

    max_age_ns: int
    grace_ns: int
    interval_ns: int
    """Between two checks."""
    step_percent: Decimal
    max_loss_percent: Decimal
    acceleration: Decimal
    commission_percent: Decimal
    """Of the round trip."""

    @classmethod
    def of(cls, settings: Settings) -> AgedRule:
        """The rule that the settings state."""
        return cls(
            max_age_ns=int(settings.max_position_age_hours * HOUR),
            grace_ns=int(settings.aged_grace_period_hours * HOUR),
            interval_ns=settings.aged_check_interval_minutes * MINUTE,
            step_percent=settings.aged_loss_step_percent,
            max_loss_percent=settings.aged_max_loss_percent,
            acceleration=settings.aged_acceleration_factor,
            commission_percent=settings.commission_percent,
        )

    def beyond_ns(self, age_ns: int) -> int:
        """How long the grace period is over; below zero: it is not."""
        return age_ns - self.max_age_ns - self.grace_ns

    def is_aged(self, age_ns: int) -> bool:
        """Whether a position is older than the age, not just as old."""
        return age_ns > self.max_age_ns

    def tolerance_percent(self, age_ns: int) -> Decimal:
        """The tolerated loss; ZERO up to the end of the grace period."""
        beyond_ns = self.beyond_ns(age_ns)
        if beyond_ns <= 0:
            return ZERO
        tolerance = self.step_percent * Decimal(beyond_ns) / HOUR
        if beyond_ns > ACCELERATES_AFTER_NS:
            tolerance *= self.acceleration
        return min(tolerance, self.max_loss_percent)

    def target(self, side: PositionSide, *, entry: Price, age_ns: int) -> Decimal:
        """The price at which an aged position may end; not on the tick grid."""
        percent = self.commission_percent
        if self.beyond_ns(age_ns) >= 0:
            percent = -self.tolerance_percent(age_ns)
        return stop_levels.profit_price(side, entry=entry, percent=percent)

    def limit(
        self, instrument: Instrument, side: PositionSide, *, entry: Price, age_ns: int
    ) -> Price:
        """The target on the tick grid, rounded so that it is not worse."""
        target = self.target(side, entry=entry, age_ns=age_ns)
        return stop_levels.tighter_side(instrument, side, target)

    def was_at_cap(self, age_ns: int) -> bool:
        """Whether the tolerance was at its cap at the check before; a restart changes nothing."""
        before_ns = age_ns - self.interval_ns
        return (
            self.beyond_ns(before_ns) >= 0
            and self.tolerance_percent(before_ns) >= self.max_loss_percent
        )

    def is_stale(self, *, age_ns: int, rested_ns: int) -> bool:
        """Whether an exit that rests for so long was unfilled at two checks in a row past grace.

        It counts from the check that placed it, or from the end of the grace period: the next
        check finds it unfilled for the first time, the one after that for the second. It was
        placed somewhat after its check began, and a check after a restart comes out of turn;
        half an interval tells the two cases apart.
        """
        past_grace_ns = min(rested_ns, self.beyond_ns(age_ns))
        return past_grace_ns * 2 >= self.interval_ns * 3
