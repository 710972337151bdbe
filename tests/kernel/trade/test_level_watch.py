"""A stop that the venue passed over: when the venue is asked, and what it must show."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import PositionSide, PriceSource
from kernel.model.units import SECOND
from kernel.trade.level_watch import LevelWatch
from tests.kernel.fakes import Bench, Rule

D = Decimal


class Watched:
    """A position under a stop that its venue never triggers, with a watch of its own."""

    def __init__(self, side=PositionSide.LONG):
        self.bench = Bench().protection()
        self.position = self.bench.filled(side)
        self.level = D(41160) if side is PositionSide.LONG else D(42840)
        self.position.update(protected_level=self.level)
        self.watch = LevelWatch(self.bench.services, self.position)
        self.watch.follow()
        self.bench.run(SECOND)

    def price(self, price):
        self.bench.price(price)
        return self

    def mark(self, price):
        """What the venue says of the market, whatever the feed says."""
        original = self.bench.venue.position_report
        self.bench.venue.position_report = lambda symbol: msgspec.structs.replace(
            original(symbol), mark_price=D(price)
        )

    def asked(self):
        task = self.bench.spawn(self.watch.is_passed_over())
        self.bench.run(self.bench.runtime.now() + SECOND)
        return task.result()

    def bounds(self):
        return [(w.at_or_above, w.at_or_below, w.source) for w in self.bench._watches.values()]


@pytest.mark.parametrize(
    ("side", "bound"),
    [
        (PositionSide.LONG, (None, D(41160), PriceSource.MARK)),
        (PositionSide.SHORT, (D(42840), None, PriceSource.MARK)),
    ],
)
def test_the_watch_stands_at_the_level_on_the_side_where_the_stop_triggers(side, bound):
    watched = Watched(side)
    assert watched.bounds() == [bound]
    (key,) = watched.bench._watches
    assert key == "watch/binance/BTCUSDT:level/1"


def test_the_watch_follows_the_level_and_stands_once():
    watched = Watched()
    watched.watch.follow()
    watched.bench.run(watched.bench.runtime.now())
    assert list(watched.bench._watches) == ["watch/binance/BTCUSDT:level/1"], "the same one"
    assert [below for _, below, _ in watched.bounds()] == [D(41160)]
    watched.position.update(protected_level=D(41500))
    watched.watch.follow()
    watched.bench.run(watched.bench.runtime.now())
    assert [below for _, below, _ in watched.bounds()] == [D(41500)]
    watched.watch.clear()
    watched.watch.clear()
    watched.bench.run(watched.bench.runtime.now())
    assert watched.bounds() == []


def test_without_a_level_there_is_nothing_to_watch():
    bench = Bench().protection()
    LevelWatch(bench.services, bench.filled()).follow()
    bench.run(SECOND)
    assert bench.watches == []


def test_the_venue_is_to_be_asked_three_seconds_after_the_price_was_at_the_level():
    watched = Watched()
    assert watched.watch.due_ns is None
    watched.position.changed.clear()
    watched.price("41160")
    assert watched.watch.due_ns == watched.bench.runtime.now() + 3 * SECOND
    assert watched.position.changed.is_set
    watched.position.update(protected_level=D(41170))
    watched.watch.follow()
    assert watched.watch.due_ns is None, "another level, another watch"


def test_a_stop_is_passed_over_where_feed_and_venue_are_through_its_level():
    watched = Watched().price("41100")
    begun = watched.bench.runtime.now()
    assert watched.asked() is True
    assert watched.watch.due_ns == begun + 15 * SECOND


def test_a_market_that_came_back_is_watched_anew():
    watched = Watched().price("41100").price("41800")
    assert watched.asked() is False
    assert watched.watch.due_ns is None
    watched.watch.follow()
    watched.bench.run(watched.bench.runtime.now())
    assert len(watched.bounds()) == 1
    watched.price("41160")
    assert watched.watch.due_ns is not None


def test_a_venue_that_is_through_the_level_alone_closes_nothing_either():
    watched = Watched().price("41100").price("41800")
    watched.mark("41100")
    assert watched.asked() is False


def test_a_venue_that_is_not_through_the_level_is_asked_again():
    watched = Watched().price("41100")
    watched.mark("42000")
    begun = watched.bench.runtime.now()
    assert watched.asked() is False
    assert watched.watch.due_ns == begun + 15 * SECOND


@pytest.mark.parametrize("kind", ["executions", "positions"])
def test_a_read_without_value_proves_nothing_and_is_made_again(kind):
    watched = Watched().price("41100")
    watched.bench.venue.rules.append(Rule(kind, errors.OutcomeUnknown, "timeout"))
    assert watched.asked() is False
    assert watched.watch.due_ns is not None


def test_a_position_that_the_venue_does_not_show_is_not_passed_over():
    watched = Watched().price("41100")
    del watched.bench.venue.held["BTCUSDT"]
    assert watched.asked() is False


def test_a_position_that_executions_closed_is_not_passed_over():
    watched = Watched().price("41100")
    held = watched.bench.venue.held["BTCUSDT"]
    watched.bench.venue.silent = True
    report = watched.bench.venue.position_report("BTCUSDT")
    watched.bench.venue.held["BTCUSDT"].stop = D(41160)
    watched.bench.venue.fire_attached("BTCUSDT")
    watched.bench.venue.position_report = lambda symbol: report
    watched.bench.venue.held["BTCUSDT"] = held
    assert watched.asked() is False
    assert watched.position.qty == 0, "the read told it"
