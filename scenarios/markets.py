"""Price series of a scenario as markets of the simulated world."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from kernel.errors import SettingsError
from kernel.model.draws import draw
from kernel.model.instrument import Instrument
from kernel.model.units import text
from replay.datasets import open_data
from replay.problems import DataError
from replay.series import CandleSet, TradeSet
from replay.sources import SourceOptions
from replay.tapes import bar_tape, tick_tape
from scenarios.schema import PricePart, SeriesPart, Walk
from venues.sim.bars import BarTape
from venues.sim.feed import FeedModel
from venues.sim.mark import smoothed_mark
from venues.sim.market import Market
from venues.sim.quotes import Spread
from venues.sim.tape import Tape

_BPS = 10_000


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What the prices of one run have in common.

    `start_ns` is the wall time that a part's times count from, `end_ns` where generated prices
    end (a path ends with its last point), `seed` that of the walks, `folder` where data lies.
    """

    start_ns: int
    end_ns: int
    seed: int
    folder: Path


def make_market(instrument: Instrument, part: PricePart, frame: Frame) -> Market:
    """The market of one symbol; the instrument's tick is the grid of paths and walks.

    Raises:
        SettingsError: A price of a path is not on the tick, or the data cannot be used.
    """
    where, start_ns = f"prices.{instrument.symbol}", frame.start_ns
    tape = _tape(instrument, part, frame, where)
    mark: Tape | BarTape | None = None
    if part.mark == "smoothed":
        mark = smoothed_mark(tape)
    elif isinstance(part.mark, SeriesPart):
        mark = _tape(instrument, part.mark, frame, f"{where}.mark")
    delays = ((0, part.feed_delay),) if part.feed_delay else ()
    gaps = tuple((start_ns + start, start_ns + end) for start, end in part.feed_gaps)
    return Market(
        instrument.venue,
        instrument.symbol,
        tape,
        mark=mark,
        mark_is_last=mark is None,
        spread=Spread(part.spread_bps, part.top_qty),
        feed=FeedModel(delays, gaps, part.feed_candle),
    )


def _tape(
    instrument: Instrument, part: SeriesPart, frame: Frame, where: str
) -> Tape | BarTape:
    if part.data:
        return _recorded(instrument, part.data, frame, where)
    if part.walk is not None:
        span, label = frame.end_ns - frame.start_ns, f"{where}/{frame.seed}"
        points = _walk(part.walk, part.every, instrument, span_ns=span, label=label)
    else:
        points = _path(part, instrument, where)
    ts = np.array([frame.start_ns + at for at, _ in points], np.int64)
    return Tape(ts, np.array([px for _, px in points], np.int64), instrument.tick_size)


def _recorded(
    instrument: Instrument, name: str, frame: Frame, where: str
) -> Tape | BarTape:
    """Trades as ticks or candles as bars, from the start of the run on."""
    options = SourceOptions(venue=instrument.venue, symbol=instrument.symbol)
    try:
        found = open_data([frame.folder / name], options).series
    except DataError as error:
        lines = [f"{where}.data: {line}" for line in str(error).splitlines()]
        raise SettingsError(lines) from error
    for one in found:
        cut = one.between(frame.start_ns, frame.end_ns)
        if isinstance(cut, TradeSet) and len(cut):
            return tick_tape(cut)
        if isinstance(cut, CandleSet) and len(cut):
            return bar_tape(cut)
    raise SettingsError([f"{where}.data: {name} holds no prices between start and end of the run"])


def _path(part: SeriesPart, instrument: Instrument, where: str) -> list[tuple[int, int]]:
    tick = instrument.tick_size
    problems = [
        f"{where}.path.{place}: price {text(price)} is no multiple of the tick {text(tick)}"
        for place, (_, price) in enumerate(part.path)
        if price % tick
    ]
    if problems:
        raise SettingsError(problems)
    corners = [(at, int(price / tick)) for at, price in part.path]
    points = [corners[0]]
    for (at, px), (end_at, end_px) in pairwise(corners):
        if part.shape == "ramp":
            points += _ramp(at, px, end_at=end_at, end_px=end_px, every=part.every)
        points.append((end_at, end_px))
    return points


def _ramp(at: int, px: int, *, end_at: int, end_px: int, every: int) -> list[tuple[int, int]]:
    """Ticks strictly between two corners, on the line between them, towards the first one."""
    span, rise = end_at - at, end_px - px
    out = []
    for moment in range(at + every, end_at, every):
        way = abs(rise) * (moment - at) // span
        out.append((moment, px + (way if rise >= 0 else -way)))
    return out


def _walk(
    walk: Walk, every: int, instrument: Instrument, *, span_ns: int, label: str
) -> list[tuple[int, int]]:
    tick = instrument.tick_size
    price = Decimal(int(walk.start / tick))
    reach = int(walk.step_bps * 100)
    points = []
    for step, at in enumerate(range(0, span_ns + 1, every)):
        points.append((at, max(1, int(price))))
        hundredths = draw(0, f"walk/{label}", step, 2 * reach + 1) - reach
        move = price * (Decimal(hundredths) / 100 + walk.drift_bps) / _BPS
        price = max(Decimal(1), (price + move).quantize(Decimal("0.0001")))
    return points
