"""A position that is without a confirmed stop for too long is told, once an exposure."""

from typing import Any

import pytest

from kernel.model.orders import Side
from kernel.model.units import SECOND
from kernel.trade.stop_alarm import ExposureAlarms
from tests.kernel.fakes import Bench
from tests.kernel.trade.parts import fill


class NoExits:
    """Closes nothing; says what it is told to."""

    closing = False

    def in_progress(self, position):
        return self.closing


@pytest.fixture
def bench():
    made: Any = Bench()
    made.run(100 * SECOND)
    made.exits = NoExits()
    made.alarms = ExposureAlarms(made.services, made.exits)
    made.position = made.filled()
    return made


def told(bench, seconds):
    """So many alarms within so many seconds from the first exposure."""
    bench.run(100 * SECOND + int(seconds * SECOND))
    return len(bench.alerts())


LIMIT = 30


def test_an_exposure_is_told_when_it_is_longer_than_the_deadline(bench):
    assert bench.settings.unprotected_deadline_seconds == LIMIT
    bench.alarms.expose(bench.position, bench.runtime.now())
    assert told(bench, LIMIT) == 0
    bench.run(130 * SECOND + 1)
    (alert,) = bench.alerts()
    assert (alert.severity, alert.symbol, alert.venue) == ("CRITICAL", "BTCUSDT", "binance")
    assert told(bench, 300) == 1


def test_an_exposure_that_began_long_ago_is_told_at_once(bench):
    bench.alarms.expose(bench.position, 10 * SECOND)
    bench.run(100 * SECOND + 1)
    assert len(bench.alerts()) == 1


def test_what_is_covered_in_time_is_not_told(bench):
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.position.stops.exposed_since_ns = None
    bench.alarms.cancel(bench.position)
    bench.alarms.cancel(bench.position)
    assert told(bench, 100) == 0


def test_what_was_covered_by_another_hand_is_not_told(bench):
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.position.stops.exposed_since_ns = None
    assert told(bench, 100) == 0
    bench.alarms.expose(bench.position, bench.runtime.now())
    assert told(bench, 200) == 1, "the next exposure is another one"


def test_an_exposure_after_a_covered_one_is_told_once_after_its_own_deadline(bench):
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.run(110 * SECOND)
    bench.position.stops.exposed_since_ns = None
    bench.alarms.cancel(bench.position)
    bench.alarms.expose(bench.position, bench.runtime.now())
    assert told(bench, 40) == 0
    assert told(bench, 100) == 1


def test_a_position_that_is_flat_is_not_told(bench):
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert told(bench, 100) == 0


def test_an_exposure_that_began_later_has_its_whole_deadline(bench):
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.run(110 * SECOND)
    bench.position.stops.exposed_since_ns = bench.runtime.now()
    assert told(bench, 40) == 0
    assert told(bench, 41) == 1


def test_an_exposure_is_told_once_however_often_it_is_noted(bench):
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.run(120 * SECOND)
    bench.alarms.expose(bench.position, bench.runtime.now())
    assert told(bench, 200) == 1


@pytest.mark.parametrize("closing", [True, False])
def test_the_words_say_whether_it_is_being_closed(bench, closing):
    bench.exits.closing = closing
    bench.alarms.expose(bench.position, bench.runtime.now())
    bench.run(200 * SECOND)
    (alert,) = bench.alerts()
    assert alert.text.endswith("; a close is in progress") is closing
