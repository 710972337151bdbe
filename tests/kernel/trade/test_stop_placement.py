"""One stop: recorded, sent, and seen live as it was asked for."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.errors import KernelError
from kernel.model.ids import Leg, leg_of
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PriceSource, Side
from kernel.model.positions import PositionState
from kernel.model.units import MS, SECOND
from kernel.runtime.errors import TimedOut
from kernel.trade.protective_set import StopPhase
from kernel.trade.stop_placement import StopPlacement, StopUnconfirmed
from tests.kernel.fakes import WALL, Bench, Rule
from tests.kernel.trade.parts import fill

D = Decimal


class Placing(Bench):
    """Places stops of one filled position by hand; nothing else acts on it."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.run(100 * SECOND)
        self.position = self.filled()
        self.placement = StopPlacement(self.services)

    def place(self, level="41160", qty="0.005", child=0, seconds=10):
        """The stop, or why not; `took_ns` says how long it took."""
        self.began = self.runtime.now()
        outcome: list[Any] = []

        async def one():
            try:
                outcome.append(
                    await self.placement.place(
                        self.position, D(level), D(qty), child=child, cause="why"
                    )
                )
            except KernelError as error:
                outcome.append(error)
            self.took_ns = self.runtime.now() - self.began

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else None

    def ids(self):
        return [one.client_order_id for _, one in self.venue.requests("place_stop")]

    def looks(self):
        return [
            (at - self.began) // MS for at, _ in self.venue.requests("query_order")
            if at >= self.began
        ]  # fmt: skip

    def fails(self, error, times=1, **how):
        self.venue.rules.append(Rule("place_stop", error, "-1", times=times, **how))


@pytest.fixture
def bench():
    made = Placing()
    yield made
    assert made.crashes == []


def test_a_stop_is_recorded_before_it_is_sent_as_what_it_is(bench):
    stored: list[Any] = []
    place = bench.venue._place_stop

    def noted(request):
        stored.extend(bench.store.rows[-2:])
        return place(request)

    bench.venue._place_stop = noted
    stop = bench.place(child=2)
    assert [type(one).__name__ for one in stored] == ["OrderRow", "PositionRow"]
    row = stop.order.row
    assert leg_of(row.client_order_id) is Leg.STOP
    assert row.client_order_id.split("-")[3].endswith("2")
    assert (row.order_class, row.order_type) == (OrderClass.CONDITIONAL, OrderType.STOP_MARKET)
    assert (row.side, row.qty, row.trigger_price) == (Side.SELL, D("0.005"), 41160)
    assert row.trigger_by is PriceSource.MARK
    assert row.reduce_only
    assert (stored[0].created_ns, stored[0].updated_ns) == 2 * (WALL + 100 * SECOND,)
    ((_, request),) = bench.venue.requests("place_stop")
    assert (request.side, request.qty, request.trigger_price) == (Side.SELL, D("0.005"), 41160)
    assert (request.trigger_by, request.position_side) == (PriceSource.MARK, "BOTH")
    (said,) = bench.kinds("stop.placed")
    assert (said.cause, said.client_order_id) == ("why", row.client_order_id)


def test_a_stop_that_the_stream_shows_needs_no_look(bench):
    stop = bench.place()
    assert stop.phase is StopPhase.LIVE
    assert bench.looks() == []
    assert bench.position.stops.find(stop.client_order_id) is stop


def test_a_flat_or_ended_position_gets_none(bench):
    bench.position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert isinstance(bench.place(), StopUnconfirmed)
    assert bench.ids() == []


def test_an_ended_position_gets_none_whatever_it_holds(bench):
    bench.position.transition(PositionState.ROLLBACK, "test")
    bench.position.transition(PositionState.ROLLED_BACK, "test")
    assert isinstance(bench.place(), StopUnconfirmed)
    assert bench.ids() == []


def test_a_stop_is_asked_for_the_positions_leg_and_series():
    bench = Placing(settings=Settings.load({"STOP_TRIGGER_PRICE": "last"}))
    bench.position.leg = "LONG"
    stop = bench.place()
    ((_, request),) = bench.venue.requests("place_stop")
    assert (request.position_side, request.trigger_by) == ("LONG", PriceSource.LAST)
    assert stop.order.row.trigger_by is PriceSource.LAST


def test_what_wakes_it_without_the_stop_to_be_seen_does_not_hurry_a_look(bench):
    bench.venue.silent = True

    def wake():
        (stop,) = bench.position.stops.open()
        stop.order.changed.set()

    bench.at(bench.runtime.now() + 100 * MS, wake)
    stop = bench.place()
    assert stop.phase is StopPhase.LIVE
    assert bench.looks() == [340]


def test_without_events_it_is_looked_up_three_times_then_at_the_time_out(bench):
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013"))
    failed = bench.place()
    assert isinstance(failed, StopUnconfirmed)
    timeout = bench.settings.protection_call_timeout_seconds * 1000
    assert bench.looks() == [40 + 300, 40 + 800, 40 + 1600, 40 + timeout]
    (stop,) = bench.position.stops.open()
    assert stop.doubt
    assert stop.wanted


def test_a_look_without_value_is_followed_by_the_next(bench):
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown, times=2))
    stop = bench.place()
    assert stop.phase is StopPhase.LIVE
    assert bench.looks() == [340, 840, 1640]


@pytest.mark.parametrize(
    "error", [errors.Rejected, errors.NotSent, errors.Throttled, errors.Unauthorized]
)
def test_a_refusal_ends_the_intent_and_the_next_one_has_an_id_of_its_own(bench, error):
    bench.fails(error)
    assert isinstance(bench.place(), error)
    assert bench.position.stops.open() == []
    (order,) = [
        one for one in bench.services.orders.of_position(bench.position.id) if one.row.reduce_only
    ]
    assert order.row.status is OrderStatus.REJECTED
    bench.run(bench.runtime.now() + 60 * SECOND)
    assert bench.place().phase is StopPhase.LIVE
    assert len(dict.fromkeys(bench.ids())) == 2


def test_an_unknown_outcome_goes_out_again_under_its_id(bench):
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=4))
    bench.fails(errors.OutcomeUnknown)
    assert isinstance(bench.place(), StopUnconfirmed)
    assert [one.cause for one in bench.kinds("outcome.unknown")] == ["-1"]
    (stop,) = bench.position.stops.open()
    assert stop.doubt
    assert bench.place() is stop
    assert len(dict.fromkeys(bench.ids())) == 1
    assert len(bench.ids()) == 2


def test_a_refusal_of_what_is_in_doubt_ends_nothing(bench):
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013"))
    bench.fails(errors.OutcomeUnknown)
    bench.place()
    bench.fails(errors.Rejected)
    assert isinstance(bench.place(), errors.Rejected)
    (stop,) = bench.position.stops.open()
    assert not stop.order.terminal


def test_a_doubt_outlives_an_attempt_that_was_cut_short(bench):
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013"))
    bench.fails(errors.OutcomeUnknown)

    async def cut():
        with suppress(TimedOut), bench.runtime.timeout_at(bench.runtime.now() + SECOND):
            await bench.placement.place(bench.position, D(41160), D("0.005"), child=0, cause="why")

    task = bench.spawn(cut())
    bench.run(bench.runtime.now() + 2 * SECOND)
    assert task.done
    bench.fails(errors.Rejected)
    assert isinstance(bench.place(), errors.Rejected)
    (stop,) = bench.position.stops.open()
    assert not stop.order.terminal, "the first send of it may have been taken"


def unseen_elsewhere(bench):
    """Two stops at other levels that the venue took and does not show."""
    bench.venue.silent = True
    rule = Rule("query_order", errors.UnknownOrder, "-2013")
    bench.venue.rules.append(rule)
    for level in ("41000", "41010"):
        assert isinstance(bench.place(level), StopUnconfirmed)
    rule.times = 0
    bench.venue.silent = False
    assert len(bench.position.stops.doubtful()) == 2
    return bench.ids()


def test_what_is_not_seen_at_other_levels_holds_nothing_up(bench):
    before = unseen_elsewhere(bench)
    stop = bench.place()
    assert stop.phase is StopPhase.LIVE
    assert stop.client_order_id not in before


def test_an_intent_without_an_answer_goes_out_again_whatever_else_is_not_seen(bench):
    unseen_elsewhere(bench)
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=4))
    bench.fails(errors.OutcomeUnknown)
    assert isinstance(bench.place(), StopUnconfirmed)
    sent = bench.ids()[-1]
    stop = bench.place(seconds=0.2)
    assert (stop.client_order_id, stop.phase) == (sent, StopPhase.LIVE)
    assert bench.ids().count(sent) == 2


def test_a_live_stop_of_the_same_size_is_another_part_of_the_set(bench):
    first = bench.place()
    unseen_elsewhere(bench)
    second = bench.place(child=1)
    assert second is not first
    assert second.phase is StopPhase.LIVE


def test_an_id_that_the_venue_has_already_is_the_stop(bench):
    bench.venue.silent = True
    bench.fails(errors.DuplicateClientOrderId, applied=True)
    stop = bench.place()
    assert stop.doubt
    assert stop.phase is StopPhase.LIVE
    assert bench.kinds("outcome.unknown") == []


def test_what_was_taken_and_is_not_seen_is_joined_by_one_more_and_then_looked_up(bench):
    bench.venue.silent = True
    rule = Rule("query_order", errors.UnknownOrder, "-2013")
    bench.venue.rules.append(rule)
    for _ in range(3):
        assert isinstance(bench.place(), StopUnconfirmed)
    assert len(dict.fromkeys(bench.ids())) == len(bench.ids()) == 2
    rule.times = 0
    stop = bench.place()
    assert stop.client_order_id == bench.ids()[-1], "the newest"
    assert len(bench.ids()) == 2


@pytest.mark.parametrize("what", [{"level": "41200"}, {"qty": "0.004"}, "unwanted"])
def test_only_an_intent_for_the_same_goes_out_again(bench, what):
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=4))
    bench.fails(errors.OutcomeUnknown)
    bench.place()
    (stop,) = bench.position.stops.open()
    if what == "unwanted":
        stop.wanted = False
        what = {}
    other = bench.place(**what)
    assert other is not stop
    assert len(dict.fromkeys(bench.ids())) == 2


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"trigger_price": D(41000)}, False),
        ({"qty": D("0.004")}, False),
        ({"qty": D("0.004"), "close_position": True}, True),
        ({"trigger_by": PriceSource.LAST}, False),
        ({"reduce_only": False}, False),
    ],
    ids=str,
)
def test_a_stop_that_is_not_as_it_was_asked_for_is_refused_and_goes_to_the_ledger(
    bench, changes, sound
):
    make = bench.venue._order
    bench.venue._order = lambda *given: msgspec.structs.replace(make(*given), **changes)
    outcome = bench.place()
    assert isinstance(outcome, StopUnconfirmed) is not sound
    assert len(bench.alerts("stop.unsound")) == (not sound)
    (stop,) = bench.position.stops.open()
    assert stop.wanted is sound
    assert [one.severity for one in bench.alerts()] == (not sound) * ["ERROR"]


def test_a_stop_that_ends_at_once_was_not_placed(bench):
    place = bench.venue._place_stop

    def ending(request):
        acked = place(request)
        bench.venue.end(request.client_order_id, OrderStatus.EXPIRED)
        return acked

    bench.venue._place_stop = ending
    assert isinstance(bench.place(seconds=1), StopUnconfirmed)


def test_a_stop_that_triggers_at_once_was_placed(bench):
    place = bench.venue._place_stop
    bench.venue.trigger_fills = False

    def triggering(request):
        acked = place(request)
        bench.venue.trigger(request.client_order_id)
        return acked

    bench.venue._place_stop = triggering
    stop = bench.place(seconds=1)
    assert stop.phase is StopPhase.TRIGGERED
