"""The first stop: drift is judged once, and the average entry is followed without it."""

from decimal import Decimal

import msgspec
import pytest

from kernel.config import Settings
from kernel.model.messages import PriceRead
from kernel.model.orders import PositionSide, PriceSource
from kernel.model.positions import PositionState
from kernel.model.units import SECOND, TsNs
from kernel.trade.first_stop import FirstStops
from tests.kernel.fakes import Bench

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


class Judging(Bench):
    """A bench whose market a test sets; the stop is 2 % from its base."""

    def __init__(self, adverse="rebase"):
        super().__init__(
            Settings.load({"STOP_LOSS_PERCENT": "2", "STOP_DRIFT_ADVERSE": adverse})
        )
        self.first = FirstStops(self.services)
        self.run(100 * SECOND)
        self.at_market("42000")

    def at_market(self, price, age_ns=0):
        """What the feed says, so old."""
        self.sources: list[PriceSource] = []

        def last(venue, symbol, source):
            self.sources.append(source)
            return PriceRead(D(price), TsNs(self.runtime.ts() - age_ns))

        self.prices.last = last  # type: ignore[method-assign]

    def averages(self, position, price):
        """More of it filled."""
        position.update(entry_price=D(price))

    def told(self):
        self.run(self.runtime.now())
        return [(one.cause, one.values["level"], one.values["market"])
                for one in self.kinds("stop.first")]  # fmt: skip


@pytest.fixture
def bench():
    return Judging()


def test_without_drift_the_base_is_the_average_entry(bench):
    position = bench.filled()
    assert not bench.first.known(position)
    assert bench.first.level(position) == 41160
    assert bench.first.known(position)
    assert bench.told() == [("entry", "41160", "42000")]
    assert bench.sources == [PriceSource.MARK]
    assert bench.alerts("stop.drift") == []
    assert not bench.first.must_close(position)


@pytest.mark.parametrize(
    ("side", "market", "level", "adverse"),
    [
        (LONG, "43000", "42140", False),
        (LONG, "41000", "40180", True),
        (SHORT, "43000", "43860", True),
        (SHORT, "41000", "41820", False),
    ],
)
def test_where_the_market_drifted_it_is_the_base_and_against_us_that_is_told(
    bench, side, market, level, adverse
):
    position = bench.filled(side=side)
    bench.at_market(market)
    assert bench.first.level(position) == D(level)
    assert bench.told() == [("drift", level, market)]
    alerts = bench.alerts("stop.drift")
    assert [(one.severity, one.symbol, one.dedupe) for one in alerts] == adverse * [
        ("WARNING", "BTCUSDT", position.id)
    ]


def test_drift_is_judged_once(bench):
    position = bench.filled()
    bench.first.level(position)
    bench.at_market("43000")
    assert bench.first.level(position) == 41160
    bench.averages(position, "42010")
    assert bench.first.level(position) == 41170, "only the entry is followed"
    assert [cause for cause, *_ in bench.told()] == ["entry", "entry"]
    assert bench.told()[1][2] == "0", "the market is not looked at again"


def test_a_base_that_drifted_stays_whatever_fills_later(bench):
    position = bench.filled()
    bench.at_market("43000")
    first = bench.first.level(position)
    bench.averages(position, "42010")
    bench.at_market("45000")
    assert bench.first.level(position) == first
    assert len(bench.told()) == 1


def test_an_average_that_did_not_move_changes_nothing(bench):
    position = bench.filled()
    for _ in range(3):
        assert bench.first.level(position) == 41160
    assert len(bench.told()) == 1


def test_a_price_of_ten_seconds_is_fresh_and_an_older_one_is_no_drift(bench):
    position = bench.filled()
    bench.at_market("43000", 10 * SECOND)
    assert bench.first.level(position) == 42140
    bench.first.forget(position)
    bench.at_market("43000", 10 * SECOND + 1)
    assert bench.first.level(position) == 41160
    assert [market for *_, market in bench.told()] == ["43000", "0"]


def test_what_is_forgotten_is_judged_anew(bench):
    position = bench.filled()
    bench.first.level(position)
    bench.first.forget(position)
    assert not bench.first.known(position)
    bench.at_market("43000")
    assert bench.first.level(position) == 42140
    bench.first.forget(position)
    bench.first.forget(position)


@pytest.mark.parametrize("adverse", ["rebase", "close"])
def test_only_by_setting_one_that_drifted_against_us_is_to_be_closed(adverse):
    bench = Judging(adverse)
    unknown, against = bench.filled(), bench.filled(symbol="ETHUSDT")
    with_us = bench.filled(symbol="SOLUSDT")
    instruments = bench.services.desks["binance"].instruments
    for symbol in ("ETHUSDT", "SOLUSDT"):
        instruments[symbol] = instruments["BTCUSDT"]
    bench.at_market("41000")
    bench.first.level(against)
    bench.at_market("43000")
    bench.first.level(with_us)
    assert bench.first.must_close(against) is (adverse == "close")
    assert not bench.first.must_close(unknown)
    assert not bench.first.must_close(with_us)


def test_our_executions_tell_the_entry_before_the_venue_does(bench):
    position = bench.filled()
    bench.venue.held["BTCUSDT"].entry = D(42100)
    position.hear(bench.venue.position_report("BTCUSDT"))
    assert bench.first.level(position) == 41160


def test_of_a_foreign_position_the_venue_tells_the_entry(bench):
    row = msgspec.structs.replace(
        bench.filled().row, position_id="found", symbol="ETHUSDT", entry_price=D(0),
        state=PositionState.PENDING_SL,
    )  # fmt: skip
    bench.services.desks["binance"].instruments["ETHUSDT"] = bench.services.desks[
        "binance"
    ].instruments["BTCUSDT"]
    found = bench.services.book.create(row)
    with pytest.raises(ValueError, match="entry 0"):
        bench.first.level(found)
    bench.venue.open("ETHUSDT", LONG, "0.005", "42100")
    found.hear(bench.venue.position_report("ETHUSDT"))
    assert bench.first.level(found) == 41258
