"""From what a collector kept to the data of a page: prices, equity, findings."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from kernel.config import Settings
from kernel.model.units import MINUTE, MS
from replay.findings import find
from replay.report import WORST, Finding, Mark, Point, Report, Span, Story, Trade, thinned
from scenarios.invariants import Checker
from scenarios.report_collector import Collector, Place, changed_settings
from venues.sim.bars import BarTape
from venues.sim.market import Market
from venues.sim.tape import Tape

AROUND_NS = 10 * MINUTE
"""Prices that are shown before and after a position."""
MOST_PRICES = 240
MOST_EQUITY = 900
NEAR_MS = 60_000
"""A fault so shortly before a position opened concerns it."""


def build_report(
    title: str,
    collector: Collector,
    checker: Checker,
    *,
    markets: list[Market],
    settings: Settings,
    start_ns: int,
    end_ns: int,
    problems: list[str] | None = None,
) -> Report:
    """The data of a page about a run that is over; `problems`: expectations that were not met."""
    end_ms = (end_ns - start_ns) // MS
    violations = [
        ((one.ts_ns - start_ns) // MS, one.venue, one.symbol, str(one))
        for one in checker.violations.found
    ]
    broken = sum(checker.violations.counts.values())
    unmet = [line for line in problems or [] if line not in map(str, checker.violations.found)]
    bad = bool(broken or collector.crashed or unmet)
    by_place = {(market.venue, market.symbol): market for market in markets}
    report = Report(
        title=title,
        start_ns=start_ns,
        end_ms=end_ms,
        verdict=_verdict(broken, len(collector.crashed), len(unmet)),
        passed=not bad,
        marks=sorted(collector.marks, key=_at),
        positions=collector.stories,
        dropped=collector.dropped,
        waves=collector.waves,
        alerts=collector.alerts,
        events=collector.events,
        settings=changed_settings(settings),
    )
    _add_naked(report.positions, checker, start_ns, end_ms)
    for story in report.positions:
        _complete(story, report, by_place[(story.venue, story.symbol)])
    report.wallet = thinned(collector.wallet, MOST_EQUITY)
    report.equity = _equity(collector, by_place, start_ns, end_ms)
    report.findings = [
        *(Finding(rank=WORST, title="Not as expected", text=line) for line in unmet),
        *find(report, violations, collector.crashed),
    ]
    report.figures = _figures(report, checker)
    return report


def _verdict(broken: int, crashed: int, unmet: int) -> str:
    counts = ((broken, "broken invariants"), (crashed, "crashed tasks"), (unmet, "not as expected"))
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "passed"


def _figures(report: Report, checker: Checker) -> list[tuple[str, str, str]]:
    """Tiles of a run that has no other figures."""
    closed = [one for one in report.positions if one.closed_ms >= 0]
    fees = sum(one.fees for one in report.positions)
    funding = sum(one.funding for one in report.positions)
    pnl = sum(one.pnl for one in report.positions)
    naked_ms = -(-checker.protection.max_unprotected_ns // MS)
    return [
        ("invariants broken", str(sum(checker.violations.counts.values())), "must be 0"),
        ("longest without a stop", f"{naked_ms} ms", "at the venue, in truth"),
        ("net result", f"{pnl - fees + funding:+.3f} USD", "realised, after fees and funding"),
        ("PnL before fees", f"{pnl:+.3f} USD", "realised"),
        ("fees", f"{fees:.3f} USD", "paid"),
        ("positions", str(len(report.positions)), f"{len(closed)} closed"),
        ("faults that struck", str(sum(m.kind == "fault" for m in report.marks)), "messages met"),
        ("alerts", str(len(report.alerts)), "for a person"),
    ]


def _at(mark: Mark) -> int:
    return mark.at_ms


def _add_naked(positions: list[Story], checker: Checker, start_ns: int, end_ms: int) -> None:
    for venue, symbol, from_ns, to_ns in checker.protection.spans():
        span = Span(from_ms=(from_ns - start_ns) // MS, to_ms=-(-(to_ns - start_ns) // MS))
        for story in positions:
            ended = story.closed_ms if story.closed_ms >= 0 else end_ms
            same = (story.venue, story.symbol) == (venue, symbol)
            if same and story.opened_ms <= span.from_ms <= ended:
                story.naked.append(span)
                break


def _complete(story: Story, report: Report, market: Market) -> None:
    """Prices, averages, slippage and the marks of one position."""
    entries = [one for one in story.trades if (one.side == "BUY") == (story.side == "LONG")]
    exits = [one for one in story.trades if one not in entries]
    story.entry_price = _average(entries)
    story.exit_price = _average(exits)
    story.qty = _text(sum(float(one.qty) for one in entries))
    sign = 1 if story.side == "LONG" else -1
    ended_ms = story.closed_ms if story.closed_ms >= 0 else report.end_ms
    start_ns = report.start_ns
    if story.asked_price and story.entry_price:
        ahead = sign * (story.entry_price - story.asked_price)
        story.entry_slip_bps = ahead / story.asked_price * 10_000
    if story.closed_ms < 0:
        left = sum(float(one.qty) for one in entries) - sum(float(one.qty) for one in exits)
        last = price_at(market.last, start_ns + ended_ms * MS)
        story.unrealized = sign * left * (last - story.entry_price)
    levels = [level for _, level in story.stops if level]
    if levels and exits and any(one.leg == "stop" for one in exits):
        story.exit_slip_bps = sign * (levels[-1] - story.exit_price) / levels[-1] * 10_000
    story.prices = thinned(
        _prices(
            market.last,
            start_ns + story.opened_ms * MS - AROUND_NS,
            start_ns + ended_ms * MS + AROUND_NS,
            start_ns,
        ),
        MOST_PRICES,
    )
    story.marks = [
        number
        for number, mark in enumerate(report.marks)
        if story.opened_ms - NEAR_MS <= mark.at_ms <= ended_ms + NEAR_MS
        and mark.venue in ("", story.venue)
        and mark.symbol in ("", story.symbol)
    ]


def _average(trades: list[Trade]) -> float:
    qty = sum(float(one.qty) for one in trades)
    cost = sum(float(one.qty) * one.price for one in trades)
    return cost / qty if qty else 0.0


def _text(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".")


def price_at(tape: Tape | BarTape, ts_ns: int) -> float:
    """The last price at a time, as a number for a chart; 0: none yet. Inside a bar its open."""
    tick = float(tape.tick_size)
    if isinstance(tape, BarTape):
        row = bisect_right(tape.open_ns, ts_ns) - 1
        if row < 0:
            return 0.0
        over = ts_ns >= tape.open_ns[row] + tape.bar_ns
        return (tape.close[row] if over else tape.open[row]) * tick
    row = bisect_right(tape.ts, ts_ns) - 1
    return tape.px[row] * tick if row >= 0 else 0.0


def _prices(tape: Tape | BarTape, from_ns: int, to_ns: int, start_ns: int) -> list[Point]:
    """Recorded prices of a span: ticks, or the corners of bars."""
    tick = float(tape.tick_size)
    if isinstance(tape, BarTape):
        first = max(0, bisect_right(tape.open_ns, from_ns) - 1)
        last = bisect_left(tape.open_ns, to_ns)
        return [
            ((ts - start_ns) // MS, px * tick)
            for bar in range(first, last)
            for ts, px in zip(tape.corner_times(bar), tape.corners(bar), strict=True)
        ]
    first = max(0, bisect_right(tape.ts, from_ns) - 1)
    last = bisect_left(tape.ts, to_ns)
    return [((tape.ts[row] - start_ns) // MS, tape.px[row] * tick) for row in range(first, last)]


def _equity(
    collector: Collector, markets: dict[Place, Market], start_ns: int, end_ms: int
) -> list[Point]:
    """Wallets plus what open positions are worth, at even times."""
    step = max(1, end_ms // MOST_EQUITY)
    held: dict[Place, tuple[float, float]] = {}
    points: list[Point] = []
    changes, wallet = collector.holdings, collector.wallet
    change = at_wallet = 0
    money = wallet[0][1]
    for at_ms in range(0, end_ms + 1, step):
        while change < len(changes) and changes[change][0] <= at_ms:
            _, place, qty, cost = changes[change]
            held[place] = (qty, cost)
            change += 1
        while at_wallet < len(wallet) and wallet[at_wallet][0] <= at_ms:
            money = wallet[at_wallet][1]
            at_wallet += 1
        worth = money
        for place, (qty, cost) in held.items():
            if qty:
                price = price_at(markets[place].last, start_ns + at_ms * MS)
                worth += qty * price - (cost if qty > 0 else -cost)
        points.append((at_ms, round(worth, 4)))
    return points
