"""What trailing reads of closed candles."""

from decimal import Decimal

import pytest

from kernel.model.candle import Candle
from kernel.model.orders import PositionSide, PriceSource
from kernel.model.units import HOUR, MINUTE, SECOND, ZERO, TsNs
from kernel.protect.trailing_reads import hour_of, missed_best, next_hour_ns, read_atr
from tests.kernel.fakes import WALL, Bench

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def candle(at, high, low, *, whole=True, close=None):
    middle = D(close or low)
    return Candle(TsNs(at), middle, D(high), D(low), middle, whole)


class Reading(Bench):
    """A filled position, and candles that are told."""

    def __init__(self, side=LONG):
        super().__init__()
        self.run(10 * HOUR)
        self.position = self.filled(side=side)
        self.now = self.runtime.ts()
        self.asked = []
        self.told: tuple[Candle, ...] = ()
        self.prices.candles = self.candles  # type: ignore[method-assign]

    def candles(self, *given):
        self.asked.append(given)
        return self.told

    def missed(self, ago_ns, best="42000"):
        return missed_best(self.services, self.position, TsNs(self.now - ago_ns), D(best))


@pytest.mark.parametrize(
    ("ago", "interval", "count"),
    [
        (30 * SECOND, MINUTE, 1),
        (MINUTE, MINUTE, 2),
        (90 * SECOND, MINUTE, 2),
        (1440 * MINUTE, MINUTE, 1440),
        (1440 * MINUTE + 1, HOUR, 25),
        (30 * HOUR, HOUR, 31),
        (9999 * HOUR, HOUR, 1440),
    ],
)
def test_what_was_missed_is_read_in_minutes_of_a_day_else_in_hours(ago, interval, count):
    bench = Reading()
    bench.missed(ago)
    assert bench.asked == [("binance", "BTCUSDT", PriceSource.MARK, interval, count)]


def test_the_best_of_the_whole_candles_since_counts():
    bench = Reading()
    stored = bench.now - 10 * MINUTE
    bench.told = (
        candle(stored - MINUTE, 45000, 41000),
        candle(stored, 44000, 41000),
        candle(stored + 1, 42500, 41900),
        candle(stored + MINUTE, 42300, 41800),
    )
    assert bench.missed(10 * MINUTE) == 42500
    assert bench.missed(10 * MINUTE, "43000") == 43000
    short = Reading(SHORT)
    short.told = bench.told
    assert short.missed(10 * MINUTE) == 41800
    assert short.missed(10 * MINUTE, "41700") == 41700


def test_the_hour_of_a_candle_begins_a_second_late():
    start = WALL // HOUR * HOUR
    late = [TsNs(start + ns) for ns in (SECOND - 1, SECOND, HOUR)]
    assert [hour_of(at) - start // HOUR for at in late] == [-1, 0, 0]
    assert [next_hour_ns(at) for at in late] == [1, HOUR, SECOND]


@pytest.mark.parametrize("whole", [True, False])
def test_the_range_is_that_of_the_whole_hours_of_the_period(whole):
    bench = Reading()
    bench.services.settings = bench.settings.model_copy(update={"trailing_atr_period": 2})
    bench.told = tuple(
        candle(number * HOUR, 42100 + 100 * number, 42000, whole=whole, close=42050)
        for number in range(3)
    )
    atr = read_atr(bench.services, bench.position)
    assert bench.asked == [("binance", "BTCUSDT", PriceSource.MARK, HOUR, 3)]
    assert atr == (250 if whole else ZERO)
    bench.run(bench.runtime.now())
    (said,) = bench.kinds("trailing.atr")
    assert said.cause == ("a new hour" if whole else "too few whole candles, so the callback holds")
    assert said.values["atr"] == str(atr)
