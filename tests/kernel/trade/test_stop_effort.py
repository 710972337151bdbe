"""The effort for a confirmed stop: attempts, pauses, deadline, what ends it."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import (
    OrderStatus,
    PositionSide,
)
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.trade.stop_breaker import FAILURES_BLOCK
from tests.kernel.fakes import Rule
from tests.kernel.trade.owning import Owning, shown

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def test_one_try_and_three_retries_after_one_two_and_four_seconds(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("place_stop", errors.FilterViolation, "-1111"))
    assert bench.protect(position) is False
    times = [at for at, _ in bench.venue.requests("place_stop")]
    gaps = [round((b - a) / SECOND) for a, b in pairwise(times)]
    assert gaps == [1, 2, 4]


def test_the_answer_comes_before_the_unprotected_deadline_whatever_attempts_remain(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("place_stop", errors.OutcomeUnknown, delay_ns=20 * SECOND))
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown, delay_ns=20 * SECOND))
    started = bench.runtime.now()
    task = bench.spawn(bench.stops.protect(position))
    bench.run(started + 30 * SECOND - 1)
    assert task.done
    assert task.result() is False


def test_the_deadline_counts_from_the_first_known_fill(bench):
    position = bench.filled()
    filled_ns = bench.runtime.now()
    bench.run(filled_ns + 10 * SECOND)
    bench.venue.rules.append(Rule("place_stop", errors.OutcomeUnknown, delay_ns=20 * SECOND))
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown, delay_ns=20 * SECOND))
    task = bench.spawn(bench.stops.protect(position))
    bench.run(filled_ns + 30 * SECOND - 1)
    assert task.done


def test_already_through_closes_at_market_once_after_a_fresh_price_confirms_it(bench):
    position = bench.filled()
    bench.at(bench.runtime.now() + 5 * MS, lambda: bench.price("41000"))
    assert bench.protect(position, 20) is False
    assert bench.venue.held == {}
    assert len(bench.venue.requests("submit")) == 1
    assert position.row.close_reason == CloseReason.ALREADY_THROUGH
    assert position.state is PositionState.ROLLBACK


def test_a_refusal_that_no_price_confirms_is_not_already_through(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("place_stop", errors.WouldTriggerNow, "-2021", times=2))
    assert bench.protect(position) is True
    assert bench.venue.requests("submit") == []


def test_three_already_through_closes_in_a_minute_stop_entries_on_the_venue(bench):
    for number in range(3):
        start = bench.runtime.now()
        bench.price("42000")
        position = bench.filled()
        bench.spawn(bench.stops.protect(position))
        bench.at(start + 5 * MS, lambda: bench.price("41000"))
        bench.run(start + 15 * SECOND)
        position.transition(PositionState.ROLLED_BACK, "saga")
        assert bench.services.desks["binance"].entries_allowed is (number < 2)
    assert bench.alerts("stop.through_breaker")


def test_equal_stop_failures_in_a_row_stop_entries_until_one_is_confirmed(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("place_stop", errors.Rejected, "-4120", times=3))
    assert bench.protect(position) is True
    assert bench.alerts("stop.breaker")
    assert bench.services.desks["binance"].entries_allowed


def test_adverse_drift_rebases_and_warns(bench):
    position = bench.filled(entry="42000")
    bench.price("41000")
    assert bench.protect(position) is True
    assert position.row.protected_level == D(40180)
    assert bench.alerts("stop.drift")


def test_adverse_drift_closes_where_the_owner_wants_that():
    bench = Owning(settings=Settings.load({"STOP_DRIFT_ADVERSE": "close"}))
    position = bench.filled(entry="42000")
    bench.price("41000")
    assert bench.protect(position) is False
    assert bench.venue.held == {}
    assert position.row.close_reason == CloseReason.ROLLBACK


def test_a_level_beyond_the_liquidation_price_is_tightened(bench):
    position = bench.filled()
    bench.venue.held["BTCUSDT"].liquidation = D(41500)
    position.hear(bench.venue.position_report("BTCUSDT"))
    assert bench.protect(position) is True
    assert position.row.protected_level == D(41708)


def test_a_level_beyond_the_liquidation_price_is_moved_inside(bench):
    position = bench.filled()
    position.hear(shown(position, liquidation_price=D(41500)))
    assert bench.protect(position) is True
    (said,) = bench.kinds("stop.liquidation")
    assert said.values["level"] == "41160"
    (stop,) = bench.venue.stops()
    assert stop.trigger_price > 41500
    assert str(stop.trigger_price) == said.values["inside"]
    assert bench.stops.stands(position)


def test_the_liquidation_price_of_the_other_side_bounds_nothing(bench):
    position = bench.filled()
    position.report = msgspec.structs.replace(
        shown(position, liquidation_price=D(41500)), side=SHORT
    )
    assert bench.protect(position) is True
    assert bench.kinds("stop.liquidation") == []


def test_a_market_between_the_level_and_liquidation_means_close(bench):
    position = bench.filled()
    position.hear(shown(position, liquidation_price=D(41900)))
    bench.price("41910")
    assert bench.protect(position) is False
    assert position.row.close_reason == CloseReason.ALREADY_THROUGH
    assert bench.times("place_stop") == []


@pytest.mark.parametrize(
    ("changes", "wanted", "level"),
    [
        ({}, True, "41400"),
        ({}, False, "41160"),
        ({"venue_order_id": ""}, True, "41160"),
        ({"trigger_price": D(42100)}, True, "41160"),
        ({"trigger_price": D(41000)}, True, "41160"),
    ],
    ids=["taken", "unwanted", "never taken", "through", "looser"],
)
def test_nothing_is_placed_behind_a_tighter_stop_that_the_venue_took(bench, changes, wanted, level):
    position = bench.filled()
    bench.doubt(position, **changes).wanted = wanted
    bench.result(bench.stops.protect(position), 10)
    placed = [str(request.trigger_price) for _, request in bench.venue.requests("place_stop")]
    assert placed[0] == level


def test_a_gap_that_is_longer_than_allowed_is_told(bench):
    position = bench.unkept()
    (stop,) = bench.venue.stops()
    limit = bench.settings.trailing_alert_if_unprotected_window_ms
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + 10 * MS)
    lost_ns = position.stops.exposed_since_ns
    bench.run(lost_ns + (limit - 40) * MS)
    bench.ensure(position, 1)
    assert bench.alerts("stop.gap") == []
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + 10 * MS)
    bench.run(position.stops.exposed_since_ns + (limit - 39) * MS)
    bench.ensure(position, 1)
    (alert,) = bench.alerts("stop.gap")
    assert alert.severity == "WARNING"
    assert str(limit + 1) in alert.text


def test_the_deadline_ends_the_effort_a_second_early_and_is_said(bench):
    position = bench.filled()
    bench.fails(errors.OutcomeUnknown, delay_ns=3600 * SECOND)
    bench.fails(errors.OutcomeUnknown, "query_order", delay_ns=3600 * SECOND)
    assert bench.protect(position) is False
    assert bench.took_ns == 29 * SECOND
    assert [one.cause for one in bench.kinds("stop.deadline")] == ["first stop"]


def test_the_deadline_of_a_later_stop_counts_from_the_exposure(bench):
    position = bench.lost()
    bench.venue.rules.clear()
    bench.fails(errors.OutcomeUnknown, delay_ns=3600 * SECOND)
    bench.fails(errors.OutcomeUnknown, "query_order", delay_ns=3600 * SECOND)
    bench.run(bench.runtime.now() + 10 * SECOND)
    since = position.stops.exposed_since_ns
    bench.ensure(position)
    at = bench.times("submit")[0]
    assert bench.began + at * MS == since + 29 * SECOND + 40 * MS, "one read of the position"


def test_a_missing_row_has_its_whole_deadline(bench):
    position, _ = bench.missing()
    position.stops.exposed_since_ns = bench.runtime.now() - 25 * SECOND
    bench.ensure(position, 60)
    assert len(bench.times("place_stop")) == 4


def test_where_the_right_stop_stands_nothing_is_asked(bench):
    position = bench.unkept()
    sent = len(bench.venue.sent)
    assert bench.protect(position) is True
    assert len(bench.venue.sent) == sent


def test_a_budget_that_is_used_up_is_no_attempt_and_is_waited_for(bench):
    position = bench.filled()
    bench.fails(errors.NotSent, times=6)
    assert bench.protect(position) is True
    times = bench.times("place_stop")
    assert [later - earlier for earlier, later in pairwise(times)] == 6 * [270]
    assert len(bench.kinds("stop.waits")) == 6
    assert bench.kinds("stop.failed") == []


def test_a_venue_that_says_when_is_waited_for_until_then(bench):
    position = bench.filled()

    class Later(errors.Throttled):
        def __init__(self, *given):
            super().__init__(*given, retry_at_ns=bench.runtime.ts() + 10 * SECOND)

    bench.fails(Later, times=1)
    assert bench.protect(position) is True
    first, second = bench.times("place_stop")
    assert 10_000 <= second - first <= 10_100
    assert len(bench.kinds("stop.waits")) == 1, "it is not asked again and again"


def test_a_venue_that_shows_no_position_yet_is_asked_again_after_two_tenths():
    bench = Owning(venue_names=("bybit",))
    position = bench.filled(venue="bybit")
    bench.fails(errors.NoPositionYet, "position_stop", times=3)
    assert bench.protect(position) is True
    times = bench.times("position_stop")
    assert [later - earlier for earlier, later in pairwise(times)] == 3 * [260]
    assert bench.kinds("stop.failed") == []


def test_an_active_position_that_the_venue_does_not_show_is_a_syncs():
    bench = Owning(venue_names=("bybit",))
    position = bench.filled(venue="bybit", level=D(41300), state=ACTIVE)
    bench.fails(errors.NoPositionYet, "position_stop")
    bench.venue.held.clear()
    bench.ensure(position, 3)
    assert len(bench.times("position_stop")) == 1
    assert bench.times("submit") == []


def test_executions_that_cannot_be_read_do_not_end_the_effort():
    bench = Owning(venue_names=("bybit",))
    position = bench.filled(venue="bybit")
    bench.fails(errors.NoPositionYet, "position_stop", times=2)
    bench.fails(errors.OutcomeUnknown, "executions", times=1)
    assert bench.protect(position) is True


def test_a_refusal_of_the_side_makes_the_first_level_be_computed_anew_once(bench):
    """No fresh price says that it is through: the market may have been misread."""
    position = bench.filled()
    bench.fails(errors.WouldTriggerNow, times=6, code="-2021")
    bench.protect(position)
    times = bench.times("place_stop")
    assert len(bench.kinds("stop.first")) == 2
    assert len(times) == 5, "one anew at once, then four attempts"
    assert times[1] - times[0] < 100
    assert times[2] - times[1] >= 1000


def test_a_later_level_is_not_computed_anew(bench):
    position = bench.filled(level=D(41300), state=ACTIVE)
    bench.fails(errors.WouldTriggerNow, times=1, code="-2021")
    bench.ensure(position, 5)
    assert bench.kinds("stop.first") == []
    first, second = bench.times("place_stop")
    assert second - first >= 1000


def test_a_stop_that_the_resting_exit_refuses_means_close_after_a_read(bench):
    position = bench.rested()
    bench.fails(errors.ReduceOnlyRefused, times=1)
    bench.ensure(position, 10)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.AGED
    assert len(bench.times("place_stop")) == 1
    assert bench.times("open_orders")[0] < bench.times("submit")[0]


def test_another_refusal_beside_a_resting_exit_is_tried_again(bench):
    position = bench.rested()
    bench.fails(times=1)
    bench.ensure(position, 10)
    assert position.state is ACTIVE
    assert len(bench.times("place_stop")) == 2


def test_that_refusal_without_a_resting_exit_is_tried_again(bench):
    position = bench.filled()
    bench.fails(errors.ReduceOnlyRefused, times=1)
    assert bench.protect(position) is True
    assert len(bench.times("place_stop")) == 2


def test_equal_failures_are_counted_by_their_code(bench):
    position = bench.unkept()
    limit = bench.settings.venue_breaker_failures
    bench.fails(times=limit - 1, code="-1")
    for number in range(limit - 1):
        bench.tighten(position, str(41500 + number))
    bench.fails(times=limit, code="-2")
    desk = bench.services.desks["binance"]
    for number in range(limit):
        assert FAILURES_BLOCK not in desk.block_reasons
        bench.tighten(position, str(41600 + number))
    assert FAILURES_BLOCK in desk.block_reasons


@pytest.mark.parametrize("why", ["unwanted", "never shown", "not missing"])
def test_only_a_wanted_stop_that_was_shown_can_be_merely_missing(bench, why):
    position, stop = bench.missing()
    if why == "unwanted":
        stop.wanted = False
    elif why == "never shown":
        stop.order.report = None
    else:
        stop.missing = False
        stop.order.report = msgspec.structs.replace(stop.order.report, reduce_only=False)
        for placed in bench.venue.orders.values():  # the venue itself shows one that may open
            placed.report = msgspec.structs.replace(placed.report, reduce_only=False)
    bench.ensure(position, 45)
    assert bench.alerts("stop.not_seen") == []
    assert len(bench.times("submit")) >= 1
