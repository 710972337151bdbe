"""Sets of stops: what is done again and what not, what stays, what a cancel asks."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderClass, OrderStatus, Side
from kernel.model.units import MS, SECOND
from kernel.model.venue import Acked, CancelOrder, PlaceStop
from kernel.trade.stop_orders import StopsCrowded, split_qty
from tests.kernel.fakes import INSTRUMENT, Rule
from tests.kernel.trade.parts import fill
from tests.kernel.trade.sets import ENTRY, Sets, at_cap, refuse_cancels, sent_stop, show

D = Decimal


@pytest.fixture
def bench():
    made = Sets()
    made.open()
    yield made
    assert made.crashes == []


@pytest.mark.parametrize(
    ("qty", "parts"),
    [
        ("0.3", ["0.3"]),
        ("100", ["100"]),
        ("100.001", ["50.001", "50"]),
        ("250", ["83.334", "83.334", "83.332"]),
    ],
)
def test_a_quantity_is_split_into_as_few_parts_as_may_be(qty, parts):
    assert split_qty(INSTRUMENT, D(qty)) == [D(part) for part in parts]


def test_less_than_one_is_a_part_too():
    small = msgspec.structs.replace(INSTRUMENT, max_market_qty=D(1))
    assert split_qty(small, D("1.5")) == [D("0.75"), D("0.75")]


# ---------------------------------------------------------------- made again


def test_the_first_cancel_that_is_not_proven_is_asked_again_after_a_second(bench):
    bench.establish()
    refuse_cancels(bench)
    bench.establish("41500", seconds=0.3)
    for _ in range(16):
        bench.result(bench.style.discard(bench.position), 0.25)
    first, second, third = bench.cancels()
    assert SECOND <= second - first < 1500 * MS
    assert 2 * SECOND <= third - second < 2500 * MS


def test_beside_an_old_set_that_may_live_the_new_one_is_confirmed_again(bench):
    bench.establish()
    refuse_cancels(bench)
    bench.establish("41500", seconds=0.3)
    bench.position.changed.clear()
    assert bench.establish("41500", seconds=0.3) is None
    assert bench.asked() == [], "no room is needed, nothing is replaced, no cancel is due"
    assert bench.position.changed.is_set, "its keeper goes after the old one"


def test_where_nothing_is_to_be_cancelled_nobody_is_woken(bench):
    bench.establish()
    bench.position.changed.clear()
    assert bench.establish() is None
    assert not bench.position.changed.is_set


# ---------------------------------------------------------------- what stays


def joined(bench, **changes):
    """A second live stop in the set, as a read showed it."""
    (stop,) = bench.position.stops.open()
    another = bench.position.stops.add(sent_stop(bench))
    another.order.report = msgspec.structs.replace(
        stop.order.report, client_order_id=another.client_order_id, **changes
    )
    return stop, another


def test_a_stop_that_closes_all_and_another_one_are_one_too_many(bench):
    bench.establish()
    show(bench, close_position=True, qty=D("0.002"))
    joined(bench, close_position=False, qty=D("0.003"))
    assert len(bench.style.covering(bench.position, D(41160))) == 2
    assert not bench.style.fits(bench.position, D(41160), D(ENTRY))


def test_of_two_stops_that_close_all_the_first_stays(bench):
    bench.establish()
    show(bench, close_position=True)
    stop, another = joined(bench)
    assert bench.establish() is None
    assert (stop.wanted, another.wanted) == (True, False)


def grown():
    """From one part of the most that may be to two."""
    bench = Sets()
    bench.open(qty="90")
    bench.establish()
    bench.position.apply_fill(fill("more", Side.BUY, "90", "42000"))
    return bench


def test_of_a_position_that_grows_by_a_part_the_stop_that_stands_stays():
    bench = grown()
    assert bench.establish() is None
    assert bench.asked() == ["PlaceStop"]
    assert bench.shown() == [("41160", "90"), ("41160", "90")]


def test_at_the_cap_a_stop_that_is_to_stay_is_not_cancelled_for_another():
    bench = grown()
    at_cap(bench, 2)
    assert isinstance(bench.establish(), errors.TooManyOpenOrders)
    assert bench.shown() == [("41160", "90")]
    assert bench.cancels() == []


def test_at_the_cap_the_gap_begins_with_the_proven_cancel_whoever_tells_of_it(bench):
    bench.establish()
    at_cap(bench, 2)
    bench.venue.silent = True
    assert bench.establish("41500") is None
    assert bench.position.stops.gap_ns >= 300 * MS


# ---------------------------------------------------------------- a move confirmed late


def late(bench, level="41500", qty=ENTRY):
    """A move that the venue took and showed too late; the next one is refused."""
    bench.establish()
    another = bench.position.stops.add(sent_stop(bench, level, qty))
    bench.venue.apply(
        PlaceStop(
            symbol="BTCUSDT",
            side=Side.SELL,
            qty=D(qty),
            trigger_price=D(level),
            trigger_by=another.order.row.trigger_by,
            client_order_id=another.client_order_id,
        )
    )
    bench.venue.rules.append(Rule("place_stop", errors.Rejected, "-1"))
    refuse_cancels(bench)
    outcome = bench.establish("41700")
    assert isinstance(outcome, errors.Rejected | StopsCrowded)
    return another


def test_a_move_that_a_look_up_confirms_is_the_level_and_the_old_stop_goes(bench):
    another = late(bench)
    position = bench.position
    assert position.row.protected_level == 41500
    assert position.stops.confirmed == 41500
    (old,) = position.stops.to_cancel()
    assert old.level == 41160
    assert another.wanted


def test_a_tighter_stop_of_a_part_is_not_the_level(bench):
    late(bench, qty="0.002")
    position = bench.position
    assert position.row.protected_level == 41160
    assert position.stops.confirmed == 41160
    assert position.stops.to_cancel() == []


def test_a_stop_that_was_sent_and_is_seen_says_nothing_of_lists(bench):
    late(bench)
    assert bench.position.stops.list_lied_ns is None


# ---------------------------------------------------------------- what a cancel asks


def unwanted(bench):
    bench.establish()
    (stop,) = bench.position.stops.open()
    stop.wanted = False
    return stop


def test_a_cancel_names_the_order_by_both_ids_and_its_class(bench):
    stop = unwanted(bench)
    bench.result(bench.style.discard(bench.position))
    ((_, request),) = bench.venue.requests("cancel")
    assert request == CancelOrder(
        symbol="BTCUSDT",
        order_class=OrderClass.CONDITIONAL,
        client_order_id=stop.client_order_id,
        venue_order_id=stop.order.row.venue_order_id,
    )
    assert request.venue_order_id


def test_a_cancel_that_is_refused_is_followed_by_one_look(bench):
    stop = unwanted(bench)
    refuse_cancels(bench)
    bench.result(bench.style.discard(bench.position))
    assert bench.asked() == ["CancelOrder", "QueryOrder"]
    assert not stop.order.terminal


def test_a_cancel_that_is_refused_because_it_ended_unseen_is_proven_by_the_look(bench):
    stop = unwanted(bench)
    bench.venue.silent = True
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.result(bench.style.discard(bench.position))
    assert bench.asked() == ["CancelOrder", "QueryOrder"]
    assert stop.order.terminal


def test_a_cancel_that_does_nothing_is_followed_by_one_look_after_its_wait(bench):
    stop = unwanted(bench)
    bench.venue._cancel = lambda request: Acked(client_order_id=request.client_order_id)
    stop.order.changed.set()
    bench.result(bench.style.discard(bench.position))
    assert bench.asked() == ["CancelOrder", "QueryOrder"]
    assert not stop.order.terminal
