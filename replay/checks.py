"""Judging market data: raw tables in, series out, with everything that is wrong in a report.

Everything is looked for at once, whatever the treatment. A row is judged first in itself, then
by its order, then as a duplicate, and gaps last, each on the rows that the step before left.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from kernel.model.units import DAY, HOUR, MINUTE, text
from replay import ticks
from replay.columns import Bools, Ints
from replay.judge import Judge, time_text
from replay.layouts import interval_text
from replay.problems import LayoutError, Report, Treatment
from replay.series import CandleSet, FundingSet, Gap, QuoteSet, TradeSet, narrow
from replay.tables import Table

_OHLC = ("open", "high", "low", "close")
_LONGEST_FUNDING_NS = 8 * HOUR
"""No venue of ours settles funding less often."""


class Subject(NamedTuple):
    """Which series a table holds."""

    venue: str
    symbol: str
    price: str = "last"
    interval_ns: int = 0
    """As the file name says; 0: found from the rows."""
    tick_size: str = ""
    """As told; "": the largest power of ten that every price is a multiple of."""


def settle_candles(
    raw: Table, subject: Subject, treatment: Treatment, report: Report
) -> CandleSet | None:
    """Judge candles; None where nothing usable is left."""
    judge = Judge(raw, treatment, report)
    tick_size = _scale(judge, _OHLC, subject.tick_size)
    if tick_size is None:
        return None
    _impossible_candles(judge)
    interval_ns = _interval(judge, subject)
    if interval_ns is None:
        return None
    _off_grid(judge, interval_ns)
    judge.order()
    judge.repeats(
        judge.table.time_ns,
        lambda row: f"a second candle at {time_text(int(judge.table.time_ns[row]))}",
    )
    table = judge.table
    times = table.time_ns
    after = np.flatnonzero(np.diff(times) > interval_ns) + 1
    gaps = tuple(
        Gap(
            from_ns=int(times[row - 1]) + interval_ns,
            to_ns=int(times[row]),
            missing=int(times[row] - times[row - 1]) // interval_ns - 1,
        )
        for row in after
    )
    judge.holes(gaps, after, "candles")
    judge.note("candles without volume", int((table.floats["volume"] == 0).sum()))
    if not len(table):
        return None
    return CandleSet(
        venue=subject.venue,
        symbol=subject.symbol,
        price=subject.price,
        interval_ns=interval_ns,
        tick_size=tick_size,
        gaps=gaps,
        open_time_ns=times,
        open=narrow(table.units["open"]),
        high=narrow(table.units["high"]),
        low=narrow(table.units["low"]),
        close=narrow(table.units["close"]),
        volume=table.floats["volume"],
    )


def settle_trades(
    raw: Table, subject: Subject, treatment: Treatment, report: Report
) -> TradeSet | None:
    """Judge trades; None where nothing usable is left."""
    judge = Judge(raw, treatment, report)
    tick_size = _scale(judge, ("price",), subject.tick_size)
    qty_step = _scale(judge, ("qty",), "")
    if tick_size is None or qty_step is None:
        return None
    units = judge.table.units
    judge.drop(
        "impossible row",
        (units["price"] <= 0) | (units["qty"] <= 0),
        lambda row: (
            f"price {raw_text(judge.table, 'price', row)} qty {raw_text(judge.table, 'qty', row)}"
        ),
        treated=treatment.impossible == "drop",
        allowed="price > 0 and qty > 0",
        fix="fetch the file again, or --impossible drop",
    )
    judge.order()
    if judge.table.ids is not None:
        judge.repeats(
            judge.table.ids,
            lambda row: f"a trade id for the second time, {time_text(judge.table.time_ns[row])}",
        )
    table = judge.table
    gaps, after = _lost_trades(table)
    judge.holes(gaps, after, "trades")
    if not len(table):
        return None
    return TradeSet(
        venue=subject.venue,
        symbol=subject.symbol,
        tick_size=tick_size,
        qty_step=qty_step,
        gaps=gaps,
        ts_ns=table.time_ns,
        px=narrow(table.units["price"]),
        qty=table.units["qty"],
        taker=table.marks.get("taker", np.zeros(len(table), dtype=np.int8)),
    )


def settle_quotes(
    raw: Table, subject: Subject, treatment: Treatment, report: Report
) -> QuoteSet | None:
    """Judge quotes; None where nothing usable is left. Of one instant the last quote counts."""
    judge = Judge(raw, treatment, report)
    tick_size = _scale(judge, ("bid", "ask"), subject.tick_size)
    qty_step = _scale(judge, ("bid_qty", "ask_qty"), "")
    if tick_size is None or qty_step is None:
        return None
    units = judge.table.units
    judge.drop(
        "impossible row",
        (units["bid"] <= 0)
        | (units["ask"] <= units["bid"])
        | (units["bid_qty"] < 0)
        | (units["ask_qty"] < 0),
        lambda row: " ".join(
            f"{role} {raw_text(judge.table, role, row)}"
            for role in ("bid", "ask", "bid_qty", "ask_qty")
        ),
        treated=treatment.impossible == "drop",
        allowed="0 < bid < ask, quantities >= 0",
        fix="fetch the file again, or --impossible drop",
    )
    judge.order()
    table = judge.table
    if not len(table):
        return None
    return QuoteSet(
        venue=subject.venue,
        symbol=subject.symbol,
        tick_size=tick_size,
        qty_step=qty_step,
        ts_ns=table.time_ns,
        bid=narrow(table.units["bid"]),
        ask=narrow(table.units["ask"]),
        bid_qty=table.units["bid_qty"],
        ask_qty=table.units["ask_qty"],
    )


def settle_funding(
    raw: Table, subject: Subject, treatment: Treatment, report: Report
) -> FundingSet | None:
    """Judge funding settlements; None where nothing usable is left.

    Intervals differ and change (1 to 8 h), so only more than 8 h between two rows is a gap.
    """
    judge = Judge(raw, treatment, report)
    rate_step = _scale(judge, ("rate",), "")
    if rate_step is None:
        return None
    one = int(1 / rate_step)
    judge.drop(
        "impossible row",
        np.abs(judge.table.units["rate"]) > one,
        lambda row: f"rate {raw_text(judge.table, 'rate', row)}",
        treated=treatment.impossible == "drop",
        allowed="-1 to 1 (a share of the notional, not percent)",
        fix="fetch the file again, or --impossible drop",
    )
    judge.order()
    judge.repeats(
        judge.table.time_ns,
        lambda row: f"a second settlement at {time_text(int(judge.table.time_ns[row]))}",
    )
    table = judge.table
    times = table.time_ns
    after = np.flatnonzero(np.diff(times) > _LONGEST_FUNDING_NS + MINUTE) + 1
    gaps = tuple(
        Gap(
            from_ns=int(times[row - 1]) + 1,
            to_ns=int(times[row]),
            missing=max(1, round(int(times[row] - times[row - 1]) / _LONGEST_FUNDING_NS) - 1),
        )
        for row in after
    )
    judge.holes(gaps, after, "settlements")
    if not len(table):
        return None
    return FundingSet(
        venue=subject.venue,
        symbol=subject.symbol,
        rate_step=rate_step,
        gaps=gaps,
        ts_ns=times,
        rate=table.units["rate"],
    )


def raw_text(table: Table, role: str, row: int) -> str:
    """A number as the file writes it, for messages."""
    return table.numbers[role].text(row)


def _scale(judge: Judge, roles: tuple[str, ...], told: str) -> Decimal | None:
    """Bring columns to whole units of one step, in the table; None where that cannot be done."""
    table = judge.table
    if not len(table):
        return None
    try:
        scaled = ticks.scale({role: table.numbers[role] for role in roles}, ticks.told_step(told))
    except LayoutError as error:
        judge.whole(error)
        return None

    def describe(row: int) -> str:
        return " ".join(f"{role} {raw_text(judge.table, role, row)}" for role in roles)

    table.units.update(scaled.columns)
    noisy = scaled.noisy & ~scaled.off
    if judge.treatment.noise == "round":
        judge.note(f"rows with binary noise rounded to {text(scaled.step)}", int(noisy.sum()))
    else:
        judge.rows(
            "float noise",
            np.flatnonzero(noisy),
            describe,
            allowed=f"multiples of {text(scaled.step)}",
            fix="--noise round",
        )
    judge.drop(
        "off tick",
        scaled.off,
        describe,
        treated=False,
        allowed=f"multiples of {text(scaled.step)}",
        fix="another --tick-size, or none",
    )
    return scaled.step


def _impossible_candles(judge: Judge) -> None:
    table = judge.table
    open_, high, low, close = (table.units[role] for role in _OHLC)
    wrong: Bools = (low <= 0) | (high < np.maximum(open_, close)) | (low > np.minimum(open_, close))
    wrong |= table.floats["volume"] < 0
    judge.drop(
        "impossible row",
        wrong,
        lambda row: (
            " ".join(f"{role} {raw_text(table, role, row)}" for role in _OHLC)
            + f" volume {table.floats['volume'][row]:g}"
        ),
        treated=judge.treatment.impossible == "drop",
        allowed="0 < low <= open, close <= high; volume >= 0",
        fix="fetch the file again, or --impossible drop",
    )


def _interval(judge: Judge, subject: Subject) -> int | None:
    """The interval in ns: what most neighbours are apart, and what the file name says."""
    steps = np.diff(np.unique(judge.table.time_ns))
    if not len(steps):
        if not subject.interval_ns:
            judge.whole(
                LayoutError(
                    "interval unknown",
                    f"{len(judge.table)} candle(s) and a file name that does not say",
                    "two candles, or a name such as BTCUSDT-1m-20250504-20250603.csv.gz",
                    "rename the file",
                )
            )
            return None
        return subject.interval_ns
    values, counts = np.unique(steps, return_counts=True)
    found = int(values[counts.argmax()])
    wanted = subject.interval_ns or found
    # Few rows may all stand next to a gap; then the name is believed.
    unlike = wanted not in values and (found % wanted != 0 or len(steps) >= 3)
    if unlike or DAY % wanted:
        judge.whole(
            LayoutError(
                "wrong interval",
                f"most rows are {interval_text(found)} apart",
                f"{interval_text(wanted)} (file name)"
                if subject.interval_ns
                else "an interval that divides a day",
                "rename the file, or check its time unit",
            )
        )
        return None
    return wanted


def _off_grid(judge: Judge, interval_ns: int) -> None:
    table = judge.table
    judge.drop(
        "off grid",
        table.time_ns % interval_ns != 0,
        lambda row: f"open time {int(table.time_ns[row])} ns",
        treated=judge.treatment.off_grid == "drop",
        allowed=f"multiples of {interval_text(interval_ns)}",
        fix="--off-grid drop",
    )


def _lost_trades(table: Table) -> tuple[tuple[Gap, ...], Ints]:
    if table.ids is None or not table.ids_count:
        return (), np.zeros(0, dtype=np.int64)
    steps = np.diff(table.ids)
    after = np.flatnonzero(steps > 1) + 1
    gaps = tuple(
        Gap(
            from_ns=int(table.time_ns[row - 1]) + 1,
            to_ns=int(table.time_ns[row]),
            missing=int(steps[row - 1]) - 1,
        )
        for row in after
    )
    return gaps, after
