"""A watch at the level asks the venue; one source alone proves nothing."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.orders import PositionSide
from kernel.model.units import SECOND
from kernel.trade.level_watch import LevelWatch
from tests.kernel.fakes import Bench, Rule

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


@pytest.fixture
def bench():
    made = Bench()
    made.run(100 * SECOND)
    return made


def watching(bench, level="41000", side=LONG):
    position = bench.filled(side=side, level=D(level))
    watch = LevelWatch(bench.services, position)
    watch.follow()
    bench.run(bench.runtime.now())
    return position, watch


def asked(bench, watch):
    task = bench.spawn(watch.is_passed_over())
    bench.run(bench.runtime.now() + SECOND)
    return task.result()


def bounds(bench):
    bench.run(bench.runtime.now())
    return [(one.at_or_below, one.at_or_above) for one in bench._watches.values()]


@pytest.mark.parametrize(("side", "bound"), [(LONG, (D(41000), None)), (SHORT, (None, D(41000)))])
def test_the_watch_stands_at_the_level_on_the_losing_side(bench, side, bound):
    watching(bench, side=side)
    assert bounds(bench) == [bound]


def test_without_a_level_there_is_nothing_to_watch(bench):
    _, watch = watching(bench, level="0")
    assert bounds(bench) == []
    watch.clear()


def test_the_watch_follows_the_level_and_is_one(bench):
    position, watch = watching(bench)
    watch.follow()
    position.update(protected_level=D(41500))
    watch.follow()
    assert bounds(bench) == [(D(41500), None)]
    watch.clear()
    assert bounds(bench) == []
    watch.follow()
    assert bounds(bench) == [(D(41500), None)], "taken away and followed again"


def test_a_price_at_the_level_gives_the_stop_its_time_and_wakes_the_owner(bench):
    position, watch = watching(bench)
    position.changed.clear()
    bench.price("41001")
    assert watch.due_ns is None
    bench.price("41000")
    assert watch.due_ns == 100 * SECOND + bench.settings.stop_fill_timeout_seconds * SECOND
    assert position.changed.is_set
    watch.clear()
    assert watch.due_ns is None


@pytest.mark.parametrize(
    ("feed", "venue", "passed"),
    [
        ("41000", "41000", True),
        ("40999", "40999", True),
        ("41001", "40999", False),
        ("40999", "41001", False),
    ],
)
def test_only_the_feed_and_the_venue_together_prove_that_a_stop_was_passed_over(
    bench, feed, venue, passed
):
    _, watch = watching(bench)
    bench.price("40999")
    bench.prices.push("BTCUSDT", feed)
    original = bench.venue.position_report

    def report(symbol):
        bench.prices.push(symbol, venue)
        shown = original(symbol)
        bench.prices.push(symbol, feed)
        return shown

    bench.venue.position_report = report
    at = bench.runtime.now()
    assert asked(bench, watch) is passed
    came_back = feed == "41001"
    assert watch.due_ns == (None if came_back else at + 15 * SECOND), "asked again, or watched anew"
    watch.follow()
    assert len(bounds(bench)) == came_back


@pytest.mark.parametrize("kind", ["positions", "executions"])
def test_a_read_without_value_is_asked_for_again(bench, kind):
    _, watch = watching(bench)
    bench.price("40999")
    bench.venue.rules.append(Rule(kind, errors.OutcomeUnknown, times=1))
    at = bench.runtime.now()
    assert asked(bench, watch) is False
    assert watch.due_ns == at + 15 * SECOND
    assert asked(bench, watch) is True


def test_a_position_that_the_venue_does_not_show_was_not_passed_over(bench):
    _, watch = watching(bench)
    bench.price("40999")
    bench.venue.held.clear()
    assert asked(bench, watch) is False


def test_a_position_that_is_flat_by_its_executions_was_not_passed_over(bench):
    position, watch = watching(bench)
    bench.price("40999")
    shown = bench.venue.position_report("BTCUSDT")
    bench.venue.position_report = lambda symbol: shown
    (entry,) = position.fills.values()
    bench.venue.fills.append(
        type(entry)(
            **{name: getattr(entry, name) for name in entry.__struct_fields__}
            | {"trade_id": "x", "side": position.side.exit_side, "venue_order_id": "9"}
            | {"client_order_id": "hand", "ts_ns": bench.runtime.ts()}
        )
    )
    assert asked(bench, watch) is False
    assert position.qty == 0
