"""The stop owner: when it moves, repairs, closes or lets alone, and how long it waits."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderClass,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.trade.protective_set import StopOrder
from kernel.trade.stop_breaker import FAILURES_BLOCK
from tests.kernel.fakes import WALL, Bench, Rule
from tests.kernel.trade.parts import fill

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


class Owning(Bench):
    """A bench that runs one wish at the owner."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.run(100 * SECOND)

    def result(self, coro, seconds=5):
        self.began = self.runtime.now()
        outcome = []

        async def one():
            outcome.append(await coro)
            self.took_ns = self.runtime.now() - self.began

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else "still at it"

    def tighten(self, position, level="41500", seconds=5):
        return self.result(self.stops.tighten(position, D(level), "why"), seconds)

    def ensure(self, position, seconds=40):
        return self.result(self.stops.ensure(position, "why"), seconds)

    def protect(self, position, seconds=40):
        return self.result(self.stops.protect(position), seconds)

    def times(self, kind):
        """When it was asked since the wish, in milliseconds."""
        return [
            (at - self.began) // MS
            for venue in self.venues.values()
            for at, _ in venue.requests(kind)
            if at >= self.began
        ]

    def fails(self, error=errors.Rejected, kind="place_stop", code="-1", **how):
        rule = Rule(kind, error, code, **how)
        for venue in self.venues.values():
            venue.rules.append(rule)
        return rule

    def unkept(self, **given):
        """An ACTIVE position with a confirmed stop that no keeper looks after."""
        position = self.filled(**given)
        self.stops.keep = lambda position: None
        assert self.protect(position, 2) is True
        position.transition(ACTIVE, "test")
        return position


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
    (at,) = [one for one in bench.times("submit")][:1]
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


# ---------------------------------------------------------------- levels


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


def doubt(bench, position, level="41400", **changes):
    """A stop that the venue took and nobody saw."""
    fields = {
        "venue": "binance",
        "client_order_id": bench.services.orders.new_id(position, Leg.STOP),
        "symbol": "BTCUSDT", "position_id": position.id, "order_class": OrderClass.CONDITIONAL,
        "order_type": OrderType.STOP_MARKET, "side": Side.SELL, "qty": D("0.005"),
        "reduce_only": True, "trigger_price": D(level), "venue_order_id": "taken",
    }  # fmt: skip
    order = bench.services.orders.register(OrderRow(**(fields | changes)))
    return position.stops.add(StopOrder(order, bench.runtime.now()))


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
    doubt(bench, position, **changes).wanted = wanted
    bench.result(bench.stops.protect(position), 10)
    placed = [str(request.trigger_price) for _, request in bench.venue.requests("place_stop")]
    assert placed[0] == level


# ---------------------------------------------------------------- predicates


def test_a_position_is_covered_at_its_level_for_what_is_known(bench):
    position = bench.filled()
    assert not bench.stops.covered(position), "without a level"
    assert bench.stops.due(position)
    assert not bench.stops.stands(position)
    position = bench.unkept() if position is None else position
    assert bench.protect(position, 2) is True
    assert bench.stops.covered(position)
    assert bench.stops.stands(position)
    assert not bench.stops.due(position)
    position.apply_fill(fill("more", Side.BUY, "0.001", "42000"))
    assert not bench.stops.covered(position)
    assert bench.stops.due(position)


def test_a_flat_position_is_covered(bench):
    position = bench.unkept()
    position.stops.open()[0].missing = True
    assert not bench.stops.covered(position)
    position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert bench.stops.covered(position)


@pytest.mark.parametrize(
    ("qty", "late", "side", "wanted"),
    [
        ("0.008", 200, LONG, "0.008"),
        ("0.008", 50, LONG, "0.005"),
        ("0.003", 200, LONG, "0.005"),
        ("0.008", 200, SHORT, "0.005"),
    ],
)
def test_what_the_venue_newly_shows_beyond_the_executions_is_protected(
    bench, qty, late, side, wanted
):
    position = bench.filled()
    position.report = msgspec.structs.replace(shown(position, qty, late * SECOND), side=side)
    assert bench.stops.wanted_qty(position) == D(wanted)


def test_live_stops_that_close_more_than_there_is_are_oversized(bench):
    position = bench.unkept()
    assert not bench.stops.oversized(position)
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    assert bench.stops.oversized(position)
    (stop,) = position.stops.open()
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=True)
    assert not bench.stops.oversized(position), "it closes what there is"
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=False)
    position.apply_fill(fill("y", Side.SELL, "0.003", "42000"))
    assert not bench.stops.oversized(position), "flat: nothing is resized"


# ---------------------------------------------------------------- keeping and telling


def test_who_is_kept_and_who_is_released_is_told(bench):
    told = []
    bench.stops.on_kept = lambda position: told.append(("kept", position.id))
    bench.stops.on_released = lambda position: told.append(("released", position.id))
    position = bench.filled()
    assert bench.protect(position, 2) is True
    assert bench.stops.kept.is_set
    bench.stops.keep(position)
    assert told == [("kept", position.id)], "once"
    bench.stops.adopted(position)
    assert told[1:] == [("kept", position.id)]
    position.transition(ACTIVE, "test")
    bench.result(bench.exits.close(position, CloseReason.OPERATOR, "test"), 20)
    assert told[-1] == ("released", position.id)
    assert bench.stops.watched("binance") == []


def test_a_surplus_stop_is_put_aside_once(bench):
    position = bench.unkept()
    client = bench.services.orders.new_id(position, Leg.STOP)
    (stop,) = bench.venue.stops()
    report = msgspec.structs.replace(stop, client_order_id=client, venue_order_id="999")
    position.changed.clear()
    bench.stops.put_aside(position, stop)
    assert position.stops.to_cancel() == []
    assert not position.changed.is_set
    bench.stops.put_aside(position, report)
    assert [one.client_order_id for one in position.stops.to_cancel()] == [client]
    assert position.changed.is_set
    assert bench.stops.covered(position)


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


def test_the_end_of_each_stop_is_said(bench):
    position = bench.unkept()
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + SECOND)
    (said,) = bench.kinds("stop.ended")
    assert (said.cause, said.client_order_id) == ("expired", stop.client_order_id)
    assert said.values["wanted"] == "True"
    assert position.stops.exposed_since_ns is not None


@pytest.mark.parametrize(
    ("missing", "status", "lied"),
    [
        (True, OrderStatus.CANCELED, True),
        (True, OrderStatus.EXPIRED, False),
        (False, OrderStatus.CANCELED, False),
    ],
)
def test_a_cancel_that_finds_a_missing_stop_alive_proves_that_the_list_lied(
    bench, missing, status, lied
):
    position = bench.unkept()
    (stop,) = position.stops.open()
    stop.missing = missing
    bench.venue.end(stop.client_order_id, status)
    bench.run(bench.runtime.now() + SECOND)
    assert (position.stops.list_lied_ns is not None) is lied


# ---------------------------------------------------------------- tidying


def settling(bench):
    """Whoever is settled stays in doubt."""

    async def settle(order):
        bench.settled.append(order)

    bench.settle = settle


def test_what_was_never_seen_is_settled_after_fifteen_seconds_once(bench):
    position = bench.unkept()
    settling(bench)
    stop = doubt(bench, position, venue_order_id="")
    bench.run(stop.sent_ns + 14_900 * MS)
    bench.result(bench.stops.tidy(position), 0.05)
    assert bench.settled == []
    bench.run(stop.sent_ns + 15 * SECOND)
    bench.result(bench.stops.tidy(position), 1)
    bench.result(bench.stops.tidy(position), 1)
    assert bench.settled == [stop.order]


@pytest.mark.parametrize("seen", ["report", "execution"])
def test_what_was_seen_is_not_settled(bench, seen):
    position = bench.unkept()
    settling(bench)
    stop = doubt(bench, position)
    if seen == "report":
        stop.missing = True
        (live,) = bench.venue.stops()
        stop.order.report = live
    else:
        stop.order.fills["x"] = fill("x", Side.SELL, "0.001", "42000")
    bench.run(bench.runtime.now() + 20 * SECOND)
    bench.result(bench.stops.tidy(position), 1)
    assert bench.settled == []


def test_tidying_looks_up_the_doubtful_and_cancels_the_unwanted(bench):
    position = bench.unkept()
    bench.result(bench.stops.tidy(position), 1)
    assert bench.times("query_order") == []
    stop = doubt(bench, position)
    (live, _) = position.stops.open()
    live.wanted = False
    bench.result(bench.stops.tidy(position), 1)
    assert len(bench.times("query_order")) == 1
    assert len(bench.times("cancel")) == 1
    assert position.stops.open() == [stop]


def test_a_look_without_value_puts_the_cancels_off(bench):
    position = bench.unkept()
    doubt(bench, position)
    position.stops.open()[0].wanted = False
    bench.fails(errors.OutcomeUnknown, "query_order")
    bench.result(bench.stops.tidy(position), 6)
    assert bench.times("cancel") == []
