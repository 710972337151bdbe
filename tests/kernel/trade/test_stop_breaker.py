"""When stops go wrong on a venue as a whole, entries end there, and only there."""

from typing import Any

import pytest

from kernel.config import Settings
from kernel.model.units import MINUTE, SECOND
from kernel.trade.stop_breaker import FAILURES_BLOCK, THROUGH_BLOCK, StopBreaker
from tests.kernel.fakes import Bench


def breaker(**settings):
    values = {"VENUE_BREAKER_FAILURES": "3", "VENUE_BREAKER_MINUTES": "5"} | settings
    bench: Any = Bench(Settings.load(values), venue_names=("binance", "bybit"))
    bench.desk, bench.other = bench.services.desks["binance"], bench.services.desks["bybit"]
    bench.run(10 * SECOND)
    return bench, StopBreaker(bench.services)


def fail(one, count, code="-4045"):
    for _ in range(count):
        one.failed("binance", code)


def blocks(bench):
    bench.run(bench.runtime.now())
    return [one for one in bench.desk.block_reasons if one in (FAILURES_BLOCK, THROUGH_BLOCK)]


def test_so_many_equal_failures_in_a_row_end_entries_on_their_venue():
    bench, one = breaker()
    fail(one, 2)
    assert blocks(bench) == []
    fail(one, 1)
    assert blocks(bench) == [FAILURES_BLOCK]
    assert FAILURES_BLOCK not in bench.other.block_reasons
    (alert,) = bench.alerts("stop.breaker")
    assert (alert.severity, alert.venue) == ("CRITICAL", "binance")
    assert alert.text.startswith("3 stops in a row failed with -4045")
    fail(one, 3)
    assert blocks(bench) == [FAILURES_BLOCK]
    assert len(bench.alerts("stop.breaker")) == 1, "said once"


def test_another_failure_begins_to_count_anew():
    bench, one = breaker()
    fail(one, 2)
    fail(one, 1, "-1111")
    fail(one, 2)
    assert blocks(bench) == []
    fail(one, 1)
    assert blocks(bench) == [FAILURES_BLOCK]


def test_a_confirmed_stop_lifts_the_block_and_begins_to_count_anew():
    bench, one = breaker()
    fail(one, 3)
    one.confirmed("binance")
    assert blocks(bench) == []
    fail(one, 2)
    assert blocks(bench) == []
    assert bench.kinds("stop.breaker_closed") == []


def test_a_limit_of_zero_switches_the_breaker_off():
    bench, one = breaker(VENUE_BREAKER_FAILURES="0")
    fail(one, 50)
    assert blocks(bench) == []


def test_after_its_minutes_one_entry_tells_whether_stops_work():
    bench, one = breaker()
    fail(one, 3)
    bench.run(10 * SECOND + 5 * MINUTE - 1)
    assert blocks(bench) == [FAILURES_BLOCK]
    assert not bench.desk.on_probation
    bench.run(10 * SECOND + 5 * MINUTE)
    assert blocks(bench) == []
    assert bench.desk.on_probation
    (said,) = bench.kinds("stop.breaker_probes")
    assert said.venue == "binance"
    one.confirmed("binance")
    assert not bench.desk.on_probation
    bench.run(bench.runtime.now())
    assert len(bench.kinds("stop.breaker_closed")) == 1


def test_a_failure_on_probation_ends_entries_at_once_and_for_as_long_again():
    bench, one = breaker()
    fail(one, 3)
    bench.run(10 * SECOND + 5 * MINUTE)
    fail(one, 1, "-1111")
    assert blocks(bench) == [FAILURES_BLOCK]
    assert not bench.desk.on_probation
    bench.run(10 * SECOND + 10 * MINUTE - 1)
    assert blocks(bench) == [FAILURES_BLOCK]
    bench.run(10 * SECOND + 10 * MINUTE)
    assert blocks(bench) == []


def test_without_minutes_only_a_confirmed_stop_lifts_it():
    bench, one = breaker(VENUE_BREAKER_MINUTES="0")
    fail(one, 3)
    bench.run(bench.runtime.now() + 600 * MINUTE)
    assert blocks(bench) == [FAILURES_BLOCK]


def test_a_wait_whose_block_was_lifted_ends_in_nothing():
    bench, one = breaker()
    fail(one, 3)
    one.confirmed("binance")
    bench.run(10 * SECOND + 5 * MINUTE)
    assert not bench.desk.on_probation
    assert bench.kinds("stop.breaker_probes") == []


def test_only_the_last_wait_counts():
    bench, one = breaker()
    fail(one, 3)
    one.confirmed("binance")
    bench.run(bench.runtime.now() + MINUTE)
    fail(one, 3)
    bench.run(10 * SECOND + 6 * MINUTE - 1)
    assert blocks(bench) == [FAILURES_BLOCK]
    bench.run(10 * SECOND + 6 * MINUTE)
    assert blocks(bench) == []


# ---------------------------------------------------------------- already through


def through(**settings):
    values = {"ALREADY_THROUGH_LIMIT": "2", "ALREADY_THROUGH_WINDOW_SECONDS": "60"} | settings
    return breaker(**values)


@pytest.mark.parametrize(("apart", "blocked"), [(60 * SECOND - 1, True), (60 * SECOND, False)])
def test_so_many_stops_that_are_through_within_the_window_end_entries(apart, blocked):
    bench, one = through()
    one.through("binance")
    assert blocks(bench) == []
    bench.run(bench.runtime.now() + apart)
    one.through("binance")
    assert blocks(bench) == ([THROUGH_BLOCK] if blocked else [])
    assert [one.severity for one in bench.alerts("stop.through_breaker")] == blocked * ["CRITICAL"]


def test_each_venue_counts_its_own():
    bench, one = through()
    one.through("binance")
    one.through("bybit")
    assert blocks(bench) == []
    assert THROUGH_BLOCK not in bench.other.block_reasons


def test_a_limit_of_zero_lets_stops_be_through():
    bench, one = through(ALREADY_THROUGH_LIMIT="0")
    for _ in range(9):
        one.through("binance")
    assert blocks(bench) == []
