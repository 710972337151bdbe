"""The stop watch against a scripted venue."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderStatus
from kernel.model.positions import PositionState
from kernel.model.units import MINUTE, SECOND, ZERO
from tests.kernel.fakes import Bench, Rule

D = Decimal
PASSED = (20, 300)
"""Seconds before something changes: no verification was passed yet, or several."""


def make(venue="binance"):
    bench = Bench(venue_names=(venue,)).protection()
    bench.services.supervise("stop check", bench.stop_check.run)
    return bench


@pytest.fixture
def bench():
    made = make()
    yield made
    assert made.crashes == []


def wait(bench, seconds):
    bench.run(bench.runtime.now() + seconds * SECOND)


def conditional(request):
    return request.order_class.value == "CONDITIONAL"


def test_nothing_is_read_while_no_position_is_open(bench):
    bench.run(10 * MINUTE)
    assert bench.venue.sent == []


def test_an_open_position_is_read_in_bulk_every_fifteen_seconds(bench):
    bench.protected()
    start = bench.runtime.now()
    bench.run(start + 10 * MINUTE)
    reads = [at for at, _ in bench.venue.requests("positions") if at > start]
    assert len(reads) == 40
    assert bench.venue.requests("place_stop")[1:] == []


def test_reading_ends_with_the_position(bench):
    bench.protected()
    bench.price("41160")
    wait(bench, 60)
    before = len(bench.venue.sent)
    bench.run(bench.runtime.now() + 10 * MINUTE)
    assert len(bench.venue.sent) == before


def test_a_stop_that_vanished_silently_is_replaced_and_the_old_one_probed(bench):
    position = bench.protected()
    wait(bench, 20)
    (old,) = bench.venue.stops()
    bench.venue.silent = True
    bench.venue.end(old.client_order_id, OrderStatus.CANCELED)
    bench.venue.silent = False
    lost = bench.runtime.now()
    wait(bench, 20)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41160)]
    assert bench.venue.requests("place_stop")[-1][0] - lost <= 16 * SECOND
    wait(bench, 60)
    assert position.stops.doubtful() == []
    assert position.stops.to_cancel() == []
    assert len(bench.services.orders.open_orders()) == 1


def test_a_live_stop_that_a_read_misses_is_joined_by_another_and_then_cancelled(bench):
    position = bench.protected()
    wait(bench, 20)
    (old,) = bench.venue.stops()
    forgotten = Rule(
        "query_order",
        errors.UnknownOrder,
        "-2013",
        when=lambda request: request.client_order_id == old.client_order_id,
    )
    unknown = Rule(
        "cancel",
        errors.UnknownOrder,
        "-2011",
        when=lambda request: request.client_order_id == old.client_order_id,
    )
    whole = bench.venue._open

    def without_old(request):
        page = whole(request)
        kept = tuple(o for o in page.orders if o.client_order_id != old.client_order_id)
        return type(page)(orders=kept)

    bench.venue._open = without_old
    bench.venue.rules += [forgotten, unknown]
    bench.run(bench.runtime.now() + 30 * MINUTE)
    assert position.state is PositionState.ACTIVE
    assert bench.venue.held
    assert len(bench.venue.stops()) == 2
    bench.venue._open = whole
    bench.venue.rules.clear()
    bench.run(bench.runtime.now() + 3 * MINUTE)
    (left,) = bench.venue.stops()
    assert left.client_order_id != old.client_order_id
    assert bench.venue.requests("submit") == []


def test_of_two_stops_that_were_hidden_for_a_while_one_is_kept_and_no_third_is_placed(bench):
    position = bench.protected()
    wait(bench, 20)
    bench.venue.rules += [
        Rule("open_orders", empty=True, when=conditional),
        Rule("query_order", errors.UnknownOrder, "-2013"),
        Rule("cancel", errors.UnknownOrder, "-2011"),
    ]
    bench.run(bench.runtime.now() + 3 * MINUTE)
    most = len(bench.venue.stops())
    bench.venue.rules.clear()
    bench.run(bench.runtime.now() + 3 * MINUTE)
    assert most <= 2
    assert len(bench.venue.requests("place_stop")) == 2
    assert len(bench.venue.stops()) == 1
    assert position.state is PositionState.ACTIVE


def test_a_list_that_omits_conditionals_never_closes_a_position_nor_piles_up_stops(bench):
    position = bench.protected()
    wait(bench, 20)
    bench.venue.rules.append(Rule("open_orders", empty=True, when=conditional))
    bench.run(bench.runtime.now() + 10 * MINUTE)
    assert position.state is PositionState.ACTIVE
    assert bench.venue.requests("submit") == []
    assert 1 <= len(bench.venue.stops()) <= 2
    assert len(bench.venue.requests("place_stop")) <= 3


def test_a_failed_read_changes_nothing(bench):
    position = bench.protected()
    wait(bench, 20)
    bench.venue.rules.append(Rule("open_orders", errors.OutcomeUnknown, "timeout"))
    before = len(bench.venue.requests("place_stop"))
    bench.run(bench.runtime.now() + 5 * MINUTE)
    assert position.stops.verified
    assert len(bench.venue.requests("place_stop")) == before
    assert bench.kinds("stop.unchecked")


def test_an_empty_position_list_closes_nothing(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("positions", empty=True))
    bench.run(bench.runtime.now() + 5 * MINUTE)
    assert position.state is PositionState.ACTIVE
    assert bench.venue.requests("submit") == []
    assert len(bench.venue.stops()) == 1


@pytest.mark.parametrize("passed", PASSED)
def test_a_larger_position_on_the_venue_is_covered_after_the_full_verification(bench, passed):
    bench.protected()
    wait(bench, passed)
    bench.venue.silent = True
    bench.venue.held["BTCUSDT"].qty = D("0.009")
    bench.venue.held["BTCUSDT"].updated_ns = bench.runtime.ts()
    wait(bench, 75)
    assert sum(stop.qty for stop in bench.venue.stops()) >= D("0.009")


@pytest.mark.parametrize("passed", PASSED)
def test_a_liquidation_price_that_came_near_tightens_the_stop(bench, passed):
    position = bench.protected()
    wait(bench, passed)
    bench.venue.held["BTCUSDT"].liquidation = D(41500)
    bench.venue.held["BTCUSDT"].updated_ns = bench.runtime.ts()
    wait(bench, 75)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41708)]
    assert position.row.protected_level == D(41708)


@pytest.mark.parametrize("passed", PASSED)
def test_an_attached_stop_that_vanished_silently_is_set_again(passed):
    bench = make("bybit")
    bench.protected()
    wait(bench, passed)
    bench.venue.held["BTCUSDT"].stop = ZERO
    bench.venue.held["BTCUSDT"].updated_ns = bench.runtime.ts()
    wait(bench, 20)
    assert bench.venue.held["BTCUSDT"].stop == D(41160)
    assert bench.crashes == []


def test_a_coarser_tick_is_seen_by_a_verification_that_passed_before(bench):
    bench.protected()
    wait(bench, 300)
    desk = bench.services.desks["binance"]
    coarse = msgspec.structs.replace(desk.instruments["BTCUSDT"], tick_size=D(7))
    desk.instruments["BTCUSDT"] = coarse
    bench.venue.held["BTCUSDT"].liquidation = D(41500)
    bench.venue.held["BTCUSDT"].updated_ns = bench.runtime.ts()
    wait(bench, 75)
    assert [stop.trigger_price % 7 for stop in bench.venue.stops()] == [0]
