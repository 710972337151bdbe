"""A mark price made from the last price, by a stated formula, where data has none.

At every whole multiple of `period_ns` the mark is the mean of the last prices made in the
`window_ns` up to and including that instant, rounded to the nearest tick (a half rounds up);
without one in the window it is the last price before. It lags the last price and smooths its
spikes, as a venue's mark does; it knows nothing of an index price or of funding.
"""

from __future__ import annotations

import numpy as np

from kernel.errors import SettingsError
from kernel.model.units import MINUTE, SECOND
from venues.sim.bars import BarTape
from venues.sim.tape import Column, Tape


def smoothed_mark(
    last: Tape | BarTape, *, period_ns: int = SECOND, window_ns: int = MINUTE
) -> Tape:
    """The mark series of a last-price series; of bars the corners of the path are the prices.

    Raises:
        SettingsError: A period or window of less than 1 ns.
    """
    problems = [
        f"{name} {value}: must be at least 1"
        for name, value in (("period_ns", period_ns), ("window_ns", window_ns))
        if value < 1
    ]
    if problems:
        raise SettingsError(problems)
    ts, px = (last.ts_column, last.px_column) if isinstance(last, Tape) else _corners(last)
    first = -(-int(ts[0]) // period_ns) * period_ns
    at = np.arange(first, int(ts[-1]) + period_ns, period_ns, dtype=np.int64)
    end = np.searchsorted(ts, at, side="right")
    start = np.minimum(np.searchsorted(ts, at - window_ns, side="right"), end - 1)
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(px, dtype=np.int64)))
    count = end - start
    mean = (2 * (total[end] - total[start]) + count) // (2 * count)
    return Tape(at, mean.astype(px.dtype), last.tick_size)


def _corners(bars: BarTape) -> tuple[Column, Column]:
    rows = range(len(bars))
    ts = np.array([t for bar in rows for t in bars.corner_times(bar)], np.int64)
    px = np.array([p for bar in rows for p in bars.corners(bar)], np.int64)
    return ts, px
