"""Waves generated from closed candles: a documented momentum score, nothing more.

Rules, on the 15-minute grid, for each (venue, symbol) with candles of last prices:

1. C(T) is the close of the candle that closes exactly at T; F(T) the newest C at or before T.
2. move(T) = C(T) / C(T - 15 min) - 1. A signal needs both closes, a move other than zero, and a
   |move| larger than `quantile` percent of the |moves| at the 96 grid times before (as many as
   exist, at least `fewest` - 1).
3. The side is the sign of the move: BUY up, SELL down.
4. week(T) = F(T) / F(T - 7 d) - 1, month(T) the same over 30 d; both from the first candle on
   where the history is shorter.
5. score_week = percentile of week(T) among its values at the 672 grid times before (7 d, as many
   as exist), counted upwards for BUY and downwards for SELL: 100 · (below + equal / 2) / count, in
   hundredths. score_month the same with month(T) and 2880 grid times (30 d); it is absent before
   one day of history.
6. The signal arrives 5 to 8 minutes after T: 5 min + a draw for the wave (to 150 s) + a draw for
   the signal (to 30 s), in ms, both functions of (seed, time, symbol) only.

Everything is whole-number arithmetic: changes in millionths and scores in hundredths, rounded down.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec
import numpy as np

from kernel.model.draws import draw
from kernel.model.orders import Side
from kernel.model.units import DAY, MINUTE, MS, TsNs
from replay.columns import Ints
from replay.layouts import interval_text
from replay.problems import LayoutError
from replay.series import CandleSet
from replay.waves import CANDLE_NS, SignalRow

_WEEK = 7 * DAY // CANDLE_NS
_MONTH = 30 * DAY // CANDLE_NS
_DAY = DAY // CANDLE_NS
_EARLIEST_NS = 5 * MINUTE
_WAVE_SPREAD_MS = 150_000
_SIGNAL_SPREAD_MS = 30_000


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What the generated waves are like."""

    quantile: int = 75
    """0 to 100; of the moves of the last day, how many percent a move must exceed."""
    max_signals: int = 0
    """Signals in one wave, the best by (score_week, symbol); 0: no limit."""
    source: str = "momentum"
    fewest: int = 16
    """Grid times before the first signal, 2 or more; short recordings need fewer."""


def generate(
    seed: int, candles: Iterable[CandleSet], recipe: Recipe | None = None
) -> list[SignalRow]:
    """Signals of all candle sets by (arrival, venue, symbol): a function of its arguments.

    Raises:
        LayoutError: Candles of mark prices, or of an interval that does not divide 15 minutes.
    """
    chosen = recipe or Recipe()
    waves: dict[int, list[SignalRow]] = {}
    for one in sorted(candles, key=lambda found: (found.venue, found.symbol)):
        if one.price != "last" or CANDLE_NS % one.interval_ns:
            raise LayoutError(
                "candles",
                f"{one.venue} {one.symbol}: {interval_text(one.interval_ns)} {one.price}",
                "last prices, an interval that divides 15 minutes",
                "other candles",
            )
        for row in _signals(seed, one, chosen):
            waves.setdefault(row.candle_ns, []).append(row)
    rows: list[SignalRow] = []
    for candle_ns in sorted(waves):
        wave = waves[candle_ns]
        if chosen.max_signals:
            wave.sort(key=lambda row: (-row.score_week, row.symbol, row.exchange))
            wave = wave[: chosen.max_signals]
        rows.extend(sorted(wave, key=lambda row: (row.arrival_ns, row.exchange, row.symbol)))
    return rows


def _signals(seed: int, candles: CandleSet, recipe: Recipe) -> list[SignalRow]:
    first, closes = _grid(candles)
    known = np.flatnonzero(closes > 0)
    if len(known) <= recipe.fewest:
        return []
    newest = closes[np.maximum.accumulate(np.where(closes > 0, np.arange(len(closes)), 0))]
    move = _change(newest, 1)
    size = np.abs(move)
    week, month = _change(newest, _WEEK), _change(newest, _MONTH)
    whole = closes > 0
    rows = []
    for at in range(recipe.fewest, len(closes)):
        if not whole[at] or not whole[at - 1] or move[at] == 0:
            continue
        lately = size[max(1, at - _DAY) : at]
        if np.count_nonzero(lately < size[at]) * 100 < recipe.quantile * len(lately):
            continue
        side = Side.BUY if move[at] > 0 else Side.SELL
        rows.append(
            _row(
                seed,
                candles,
                recipe.source,
                close_ns=(first + at) * CANDLE_NS,
                side=side,
                score_week=_percentile(week[max(0, at - _WEEK) : at + 1], side),
                score_month=(
                    _percentile(month[max(0, at - _MONTH) : at + 1], side) if at >= _DAY else None
                ),
            )
        )
    return rows


def _grid(candles: CandleSet) -> tuple[int, Ints]:
    """(number of the first grid time, closes at each grid time from there; 0 where none is)."""
    closed_ns = candles.open_time_ns + candles.interval_ns
    on_grid = closed_ns % CANDLE_NS == 0
    numbers = closed_ns[on_grid] // CANDLE_NS
    if not len(numbers):
        return 0, np.zeros(0, dtype=np.int64)
    first = int(numbers[0])
    closes = np.zeros(int(numbers[-1]) - first + 1, dtype=np.int64)
    closes[numbers - first] = candles.close[on_grid]
    return first, closes


def _change(prices: Ints, steps: int) -> Ints:
    """Change in millionths over `steps`, from the first price on where there are fewer."""
    base = prices[np.maximum(np.arange(len(prices)) - steps, 0)]
    return (prices - base) * 1_000_000 // base


def _percentile(values: Ints, side: Side) -> Decimal:
    """Where the last value stands among those before it, in the direction of the side."""
    now, past = values[-1], values[:-1]
    below = np.count_nonzero(past < now if side is Side.BUY else past > now)
    equal = np.count_nonzero(past == now)
    hundredths = (2 * int(below) + int(equal)) * 10_000 // (2 * len(past))
    return Decimal(hundredths) / 100


def _row(
    seed: int,
    candles: CandleSet,
    source: str,
    *,
    close_ns: int,
    side: Side,
    score_week: Decimal,
    score_month: Decimal | None,
) -> SignalRow:
    candle_ns = close_ns - CANDLE_NS
    place = f"{candles.venue}|{candles.symbol}|{candle_ns}"
    late_ms = draw(seed, f"wave arrival|{source}|{candle_ns}", 0, _WAVE_SPREAD_MS + 1)
    late_ms += draw(seed, f"signal arrival|{source}|{place}", 0, _SIGNAL_SPREAD_MS + 1)
    return SignalRow(
        arrival_ns=TsNs(close_ns + _EARLIEST_NS + late_ms * MS),
        source=source,
        candle_ns=TsNs(candle_ns),
        symbol=candles.symbol,
        side=side,
        score_week=score_week,
        score_month=score_month,
        exchange=candles.venue,
        id=f"{source}-{candles.venue}-{candles.symbol}-{candle_ns // CANDLE_NS}",
    )
