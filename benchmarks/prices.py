"""Cost of the price service: building the index, setting a watch, reading. Prints a table.

    python -m benchmarks.prices
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from time import perf_counter_ns

import numpy as np

from kernel.model.messages import WatchSet
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs
from venues.sim.agenda import Agenda
from venues.sim.bars import BarTape
from venues.sim.index import Pyramid, index_of, lows_and_highs
from venues.sim.market import Market
from venues.sim.prices import PriceService
from venues.sim.tape import Tape

START = 1_700_000_040 * 10**9
MINUTE = 60 * 10**9
TICKS, BARS, READS = 5_000_000, 518_400, 3_000


def ticks() -> Tape:
    """A random walk, four ticks a second."""
    r = np.random.default_rng(1)
    px = np.rint(np.exp(np.cumsum(r.standard_normal(TICKS) * 7.7e-5)) * 50_000).astype(np.int32)
    ts = START + np.cumsum((r.standard_exponential(TICKS) * 0.25e9).astype(np.int64))
    return Tape(ts, px, Decimal("0.1"))


def bars() -> BarTape:
    """A year of minutes."""
    r = np.random.default_rng(2)
    close = np.rint(np.exp(np.cumsum(r.standard_normal(BARS) * 6e-4)) * 500_000).astype(np.int64)
    first = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(first, close) + r.integers(0, 300, BARS)
    low = np.minimum(first, close) - r.integers(0, 300, BARS)
    times = START + np.arange(BARS) * MINUTE
    return BarTape(times, first, high, low, close, bar_ns=MINUTE, tick_size=Decimal("0.1"))


def build(tape: Tape | BarTape) -> None:
    """Best of seven builds of the index."""
    columns = lows_and_highs(tape)
    best = min(timed(lambda: Pyramid(*columns)) for _ in range(7))
    index_of(tape)
    size = tape.nbytes / len(tape)
    print(f"  index of {len(tape):,} rows: {best / 1e6:.1f} ms; {size:.1f} bytes a row in all")


def timed(action: Callable[[], object]) -> int:
    """Nanoseconds that an action takes."""
    before = perf_counter_ns()
    action()
    return perf_counter_ns() - before


def calls(prices: PriceService, watch: WatchSet, now: int) -> tuple[Callable[[], object], ...]:
    """What is timed, in the order of the table."""
    hour_ago = TsNs(now - 60 * MINUTE)
    return (
        lambda: prices.watch(watch, now),
        lambda: prices.clear("w"),
        lambda: prices.last("v", "A", PriceSource.LAST),
        lambda: prices.quote("v", "A"),
        lambda: prices.extremes("v", "A", PriceSource.LAST, hour_ago),
    )


def read(tape: Tape | BarTape, span_ns: int) -> None:
    """Mean cost of each call at moments spread over the tape, by the distance of the level."""
    last = PriceSource.LAST
    print("  level at   watch   clear    last   quote   extremes (us)")
    for bps in (2, 10, 50, 200, 1_000):
        agenda = Agenda(START)
        prices = PriceService(agenda, [Market("v", "A", tape, mark_is_last=True)], lambda _: None)
        spent = [0, 0, 0, 0, 0]
        for i in range(1, READS):
            now = START + span_ns * i // READS
            agenda.advance(now)
            price = prices.last("v", "A", last).price
            watch = WatchSet(
                watch_id="w", venue="v", symbol="A", source=last,
                at_or_above=price * (10_000 + bps) / 10_000,
                at_or_below=price * (10_000 - bps) / 10_000,
            )
            for k, call in enumerate(calls(prices, watch, now)):
                spent[k] += timed(call)
        print(f"  {bps:5} bps" + "".join(f"{ns / READS / 1e3:8.1f}" for ns in spent))


def main() -> None:
    """Ticks, then bars."""
    for name, tape, span in (
        ("ticks", ticks(), int(TICKS * 0.25e9)),
        ("bars", bars(), BARS * MINUTE),
    ):
        print(name)
        build(tape)
        read(tape, span)


if __name__ == "__main__":
    main()
