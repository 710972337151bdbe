"""Results: what closed positions of ours brought, fees and funding included (SPEC §12).

All figures are sums that one closed position changes, so that they cost the same after a thousand
days, and a restart goes on from the stored sums.

- win: a net result above zero. Profit factor: sum of the wins over the sum of the losses.
- drawdown: the largest fall of the summed net result below its highest value (or below zero).
- Sharpe: daily net results d of the finished UTC days since the first close, days without any
  counted as zero: mean(d) / stdev(d) · √365, with the sample's standard deviation. On a constant
  capital that is the ratio of the daily returns at a risk-free rate of zero. It is unknown before
  two days are finished, and where every day brought the same.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.positions import Origin, PositionRow
from kernel.model.rows import PerformanceRow
from kernel.model.status import Results
from kernel.model.units import DAY, ONE, ZERO, TsNs, canonical, text

RUNNING, INTERVAL, DAILY = "running", "interval", "day"
"""Periods of performance rows: the sums themselves; a snapshot of them; one at the end of a day."""
YEAR = Decimal(365)
_PLACES = Decimal("0.000001")


def counts(row: PositionRow) -> bool:
    """Whether a position that ended is a result of ours."""
    return row.origin is Origin.OURS and bool(row.filled_qty)


class Tally:
    """The sums of one venue, or of all."""

    def __init__(self, venue: str) -> None:
        self.row = PerformanceRow(venue=venue, period=RUNNING, ts_ns=TsNs(0))

    def add(self, position: PositionRow, now_ns: TsNs) -> None:
        """Count a position that ended now."""
        self.turn(now_ns)
        net, row = position.net, self.row
        total = row.net + net
        peak = max(row.peak, total)
        self.row = msgspec.structs.replace(
            row,
            ts_ns=now_ns,
            first_day=row.first_day if row.closed else now_ns // DAY,
            closed=row.closed + 1,
            wins=row.wins + (net > 0),
            gross_profit=row.gross_profit + max(net, ZERO),
            gross_loss=row.gross_loss - min(net, ZERO),
            net=total,
            fees=row.fees + position.fees,
            funding=row.funding + position.funding,
            peak=peak,
            drawdown=max(row.drawdown, peak - total),
            day_net=row.day_net + net,
        )

    def turn(self, now_ns: TsNs) -> None:
        """Finish the days before this time."""
        row, day = self.row, now_ns // DAY
        if day == row.day:
            return
        if row.closed:
            row = msgspec.structs.replace(
                row,
                day_sum=row.day_sum + row.day_net,
                day_squares=row.day_squares + row.day_net * row.day_net,
            )
        self.row = msgspec.structs.replace(row, day=day, day_net=ZERO)

    def results(self, now_ns: TsNs) -> Results:
        """The figures as of a time."""
        self.turn(now_ns)
        row = self.row
        return Results(
            venue=row.venue,
            closed=row.closed,
            wins=row.wins,
            net=canonical(row.net),
            fees=canonical(row.fees),
            funding=canonical(row.funding),
            drawdown=canonical(row.drawdown),
            win_rate=_ratio(Decimal(row.wins), Decimal(row.closed)),
            profit_factor=_ratio(row.gross_profit, row.gross_loss),
            sharpe=self._sharpe(),
        )

    def snapshot(self, now_ns: TsNs, *, period: str, positions: int) -> PerformanceRow:
        """A row that is kept: the sums and figures of this time."""
        found = self.results(now_ns)
        return msgspec.structs.replace(
            self.row,
            period=period,
            ts_ns=now_ns,
            positions=positions,
            win_rate=found.win_rate,
            profit_factor=found.profit_factor,
            sharpe=found.sharpe,
        )

    def _sharpe(self) -> str:
        row = self.row
        days = Decimal(row.day - row.first_day)
        if not row.closed or days < 2:
            return ""
        mean = row.day_sum / days
        variance = (row.day_squares - days * mean * mean) / (days - ONE)
        if variance <= 0:
            return ""
        return text((mean / variance.sqrt() * YEAR.sqrt()).quantize(_PLACES))


class ResultBook:
    """The sums of every venue and of all together."""

    def __init__(self, venues: tuple[str, ...]) -> None:
        self.tallies = {venue: Tally(venue) for venue in (*venues, "")}

    def restore(self, rows: tuple[PerformanceRow, ...]) -> None:
        """Go on from stored sums; those of a venue that is not traded any more stay stored."""
        for row in rows:
            if row.venue in self.tallies:
                self.tallies[row.venue].row = row

    def add(self, position: PositionRow, now_ns: TsNs) -> tuple[PerformanceRow, ...]:
        """Count a position that ended; the sums that changed, to be stored with it."""
        changed = [self.tallies[venue] for venue in (position.venue, "")]
        for tally in changed:
            tally.add(position, now_ns)
        return tuple(tally.row for tally in changed)

    @property
    def whole(self) -> Tally:
        """All venues together."""
        return self.tallies[""]


def _ratio(part: Decimal, whole: Decimal) -> str:
    return text((part / whole).quantize(_PLACES)) if whole else ""
