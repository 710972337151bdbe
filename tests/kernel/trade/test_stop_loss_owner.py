"""The stop owner: when it moves, repairs, closes or lets alone, and how long it waits."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import (
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.units import MS, SECOND, TsNs
from kernel.trade.protective_set import StopOrder
from kernel.trade.stop_breaker import FAILURES_BLOCK
from tests.kernel.fakes import WALL
from tests.kernel.trade.owning import Owning
from tests.kernel.trade.parts import fill

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def shown(position, qty="0.005", at=0, **changes):
    return PositionReport(
        symbol="BTCUSDT", side=position.side, qty=D(qty), updated_ns=TsNs(WALL + at), **changes
    )


# ---------------------------------------------------------------- moving


def test_a_move_is_confirmed_and_becomes_the_protected_level(bench):
    position = bench.unkept()
    assert bench.tighten(position) is True
    assert position.row.protected_level == 41500
    (said,) = bench.kinds("stop.moved")
    assert (said.cause, said.values["before"], said.values["level"]) == ("why", "41160", "41500")
    assert position.row in bench.store.rows


@pytest.mark.parametrize("why", ["not active", "flat", "fired", "uncovered", "looser", "the same"])
def test_what_may_not_be_moved_is_not_asked_for(bench, why):
    position = bench.unkept()
    level = {"looser": "41159", "the same": "41160"}.get(why, "41500")
    if why == "not active":
        position.transition(CLOSING, "test")
    elif why == "flat":
        position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    elif why == "fired":
        (position.stops.fired,) = position.stops.open()
    elif why == "uncovered":
        position.stops.open()[0].missing = True
    assert bench.tighten(position, level) is False
    assert bench.times("place_stop") == []


def test_a_move_that_fails_counts_as_one_failure_and_leaves_the_old_stop(bench):
    position = bench.unkept()
    bench.fails(times=1)
    assert bench.tighten(position) is False
    (said,) = bench.kinds("stop.failed")
    assert said.values["attempt"] == "1"
    assert position.row.protected_level == 41160
    assert bench.times("place_stop") == [0]


def test_a_move_of_what_is_being_closed_meanwhile_is_none(bench):
    position = bench.unkept()
    bench.at(bench.runtime.now() + 10 * MS, lambda: position.transition(CLOSING, "test"))
    assert bench.tighten(position) is False
    assert position.row.protected_level == 41160
    assert bench.kinds("stop.moved") == []


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


# ---------------------------------------------------------------- ensuring


@pytest.mark.parametrize("why", ["closing", "fired", "entering"])
def test_what_is_in_other_hands_is_not_ensured(bench, why):
    position = bench.unkept()
    bench.venue.end(position.stops.open()[0].client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + SECOND)
    if why == "closing":
        position.transition(CLOSING, "test")
    elif why == "fired":
        position.stops.fired = StopOrder(
            bench.services.orders.of_position(position.id)[-1], bench.runtime.now()
        )
    else:
        position.row = msgspec.structs.replace(position.row, state=PositionState.ENTRY_PLACED)
    bench.ensure(position, 2)
    assert bench.times("place_stop") == []


@pytest.mark.parametrize("state", [PositionState.PENDING_SL, ACTIVE])
def test_a_stop_that_is_gone_is_placed_again_at_its_level(bench, state):
    position = bench.filled(level=D(41300), state=state)
    bench.ensure(position, 2)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [41300]
    assert position.id in [one.id for one in bench.stops.watched("binance")]
    assert bench.stops.watched("bybit") == []


def lost(bench, **given):
    """An unkept position whose stop the venue ended, and none can be placed."""
    position = bench.unkept(**given)
    bench.venue.end(position.stops.open()[0].client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + 100 * MS)
    bench.fails()
    return position


def test_what_cannot_be_protected_is_closed_after_four_attempts(bench):
    position = lost(bench)
    bench.ensure(position)
    assert len(bench.times("place_stop")) == 4
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.UNPROTECTED
    assert len(bench.times("submit")) == 1


def test_a_pending_position_that_cannot_be_protected_is_its_sagas(bench):
    position = bench.filled(level=D(41300))
    bench.fails()
    bench.ensure(position)
    assert bench.times("submit") == []


def test_a_foreign_position_is_protected_and_never_closed(bench):
    position = lost(bench, origin=Origin.FOREIGN)
    bench.ensure(position)
    assert len(bench.times("place_stop")) == 4
    assert position.state is ACTIVE
    assert bench.times("submit") == []


def test_what_the_venue_does_not_show_is_not_closed(bench):
    position = lost(bench)
    bench.venue.held.clear()
    bench.ensure(position)
    assert bench.times("submit") == []
    assert position.state is ACTIVE


def test_a_position_that_cannot_be_read_is_closed(bench):
    position = lost(bench)
    bench.fails(errors.OutcomeUnknown, "positions", times=1)
    bench.ensure(position, 30)
    assert len(bench.times("submit")) >= 1


@pytest.mark.parametrize("meanwhile", ["flat", "covered", "fired", "closing"])
def test_what_came_right_meanwhile_is_not_closed(bench, meanwhile):
    position = lost(bench)
    (order,) = [
        one for one in bench.services.orders.of_position(position.id) if one.row.reduce_only
    ]

    def change():
        if meanwhile == "flat":
            position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
        elif meanwhile == "covered":
            bench.stops.covered = lambda position: True
        elif meanwhile == "fired":
            position.stops.fired = StopOrder(order, bench.runtime.now())
        else:
            position.transition(CLOSING, "test")

    bench.at(bench.runtime.now() + 6900 * MS, change)
    bench.ensure(position)
    assert bench.times("submit") == []


def missing(bench):
    """A kept stop that reads do not show, and none can be placed beside it."""
    position = bench.unkept()
    (stop,) = position.stops.open()
    stop.missing = True
    bench.venue.silent = True
    bench.fails()
    bench.fails(errors.UnknownOrder, "query_order")
    return position, stop


def test_a_row_that_is_missing_closes_nothing_and_is_told(bench):
    position, _ = missing(bench)
    bench.ensure(position)
    assert position.state is ACTIVE
    assert bench.times("submit") == []
    (alert,) = bench.alerts("stop.not_seen")
    assert (alert.severity, alert.symbol) == ("CRITICAL", "BTCUSDT")


def test_a_row_that_is_proven_missing_closes(bench):
    position, _ = missing(bench)
    bench.venue.orders.clear()
    bench.ensure(position, 80)
    assert position.state is PositionState.CLOSED
    assert bench.alerts("stop.not_seen") == []


@pytest.mark.parametrize("why", ["unwanted", "never shown", "not missing"])
def test_only_a_wanted_stop_that_was_shown_can_be_merely_missing(bench, why):
    position, stop = missing(bench)
    if why == "unwanted":
        stop.wanted = False
    elif why == "never shown":
        stop.order.report = None
    else:
        stop.missing = False
        stop.order.report = msgspec.structs.replace(stop.order.report, reduce_only=False)
    bench.ensure(position, 45)
    assert bench.alerts("stop.not_seen") == []
    assert len(bench.times("submit")) >= 1


# ---------------------------------------------------------------- the effort


def test_the_deadline_ends_the_effort_a_second_early_and_is_said(bench):
    position = bench.filled()
    bench.fails(errors.OutcomeUnknown, delay_ns=3600 * SECOND)
    bench.fails(errors.OutcomeUnknown, "query_order", delay_ns=3600 * SECOND)
    assert bench.protect(position) is False
    assert bench.took_ns == 29 * SECOND
    assert [one.cause for one in bench.kinds("stop.deadline")] == ["first stop"]


def test_the_deadline_of_a_later_stop_counts_from_the_exposure(bench):
    position = lost(bench)
    bench.venue.rules.clear()
    bench.fails(errors.OutcomeUnknown, delay_ns=3600 * SECOND)
    bench.fails(errors.OutcomeUnknown, "query_order", delay_ns=3600 * SECOND)
    bench.run(bench.runtime.now() + 10 * SECOND)
    since = position.stops.exposed_since_ns
    bench.ensure(position)
    at = bench.times("submit")[0]
    assert bench.began + at * MS == since + 29 * SECOND + 40 * MS, "one read of the position"


def test_a_missing_row_has_its_whole_deadline(bench):
    position, _ = missing(bench)
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
            super().__init__(*given, retry_at_ns=bench.runtime.ts() + 3 * SECOND)

    bench.fails(Later, times=1)
    assert bench.protect(position) is True
    first, second = bench.times("place_stop")
    assert 3000 <= second - first <= 3100


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


def resting(bench):
    position = bench.unkept()
    bench.venue.rests = (OrderType.LIMIT,)
    bench.result(bench.exits.resting.place(position, D(43000), "test"))
    bench.venue.end(position.stops.open()[0].client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + 100 * MS)
    return position


def test_a_stop_that_the_resting_exit_refuses_means_close_after_a_read(bench):
    position = resting(bench)
    bench.fails(errors.ReduceOnlyRefused, times=1)
    bench.ensure(position, 10)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.AGED
    assert len(bench.times("place_stop")) == 1
    assert bench.times("open_orders")[0] < bench.times("submit")[0]


def test_another_refusal_beside_a_resting_exit_is_tried_again(bench):
    position = resting(bench)
    bench.fails(times=1)
    bench.ensure(position, 10)
    assert position.state is ACTIVE
    assert len(bench.times("place_stop")) == 2


def test_that_refusal_without_a_resting_exit_is_tried_again(bench):
    position = bench.filled()
    bench.fails(errors.ReduceOnlyRefused, times=1)
    assert bench.protect(position) is True
    assert len(bench.times("place_stop")) == 2
