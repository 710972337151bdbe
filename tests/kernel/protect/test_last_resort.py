"""Protection of last resort: verify the stop by a fresh read, else close."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderStatus
from kernel.model.positions import Origin
from kernel.model.units import MINUTE, SECOND, ZERO
from kernel.protect.last_resort import LastResort
from tests.kernel.fakes import Bench, Rule

D = Decimal


@pytest.fixture(params=["binance", "bybit"])
def bench(request):
    made = Bench(venue_names=(request.param,)).protection()
    made.last_resort = LastResort(made.services)
    yield made
    assert made.crashes == []


def abandoned(bench):
    """A protected position whose own tasks do nothing any more."""
    position = bench.protected()
    bench.stops.settle = lambda position: None
    bench.stops.ensure = None
    bench.stops._keeper._act = _nothing
    return position


async def _nothing(position, watch):
    return False


def lose_stop(bench):
    bench.venue.silent = True
    if bench.venue.traits.name == "bybit":
        bench.venue.held["BTCUSDT"].stop = ZERO
    else:
        (stop,) = bench.venue.stops()
        bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)


def test_a_verified_stop_is_left_alone_and_the_position_handed_back(bench):
    position = abandoned(bench)
    task = bench.spawn(bench.last_resort.take_over(position))
    bench.run(bench.runtime.now() + SECOND)
    assert bench.last_resort.holds(position)
    assert position.frozen
    bench.run(bench.runtime.now() + 2 * MINUTE)
    assert task.done
    assert not position.frozen
    assert bench.venue.requests("submit") == []
    assert bench.venue.held


def test_without_a_stop_the_position_is_closed_reduce_only(bench):
    position = abandoned(bench)
    lose_stop(bench)
    bench.spawn(bench.last_resort.take_over(position))
    bench.run(bench.runtime.now() + 2 * SECOND)
    assert bench.venue.held == {}
    ((_, order),) = bench.venue.requests("submit")
    assert order.reduce_only


def test_reads_that_fail_for_ten_seconds_count_as_no_stop(bench):
    position = abandoned(bench)
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, "timeout"))
    start = bench.runtime.now()
    bench.spawn(bench.last_resort.take_over(position))
    bench.run(start + 9 * SECOND)
    assert bench.venue.requests("submit") == []
    bench.run(start + 20 * SECOND)
    assert bench.venue.held == {}


def test_a_refused_close_is_tried_again(bench):
    position = abandoned(bench)
    lose_stop(bench)
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "timeout", times=2))
    bench.spawn(bench.last_resort.take_over(position))
    bench.run(bench.runtime.now() + 30 * SECOND)
    assert bench.venue.held == {}


def test_it_is_told_as_critical(bench):
    position = abandoned(bench)
    bench.spawn(bench.last_resort.take_over(position))
    bench.run(bench.runtime.now() + SECOND)
    (alert,) = bench.alerts("position.last_resort")
    assert alert.severity == "CRITICAL"


def test_what_belongs_to_somebody_else_is_handed_back_and_never_closed(bench):
    position = abandoned(bench)
    position.update(origin=next(one for one in Origin if one is not Origin.OURS))
    lose_stop(bench)
    task = bench.spawn(bench.last_resort.take_over(position))
    bench.run(bench.runtime.now() + 2 * MINUTE)
    assert task.done
    assert bench.venue.requests("submit") == []


@pytest.mark.parametrize(("leg", "sides"), [("LONG", ["LONG"]), ("SHORT", [])])
def test_a_leg_of_a_hedge_account_is_closed_with_its_side_and_no_other(bench, leg, sides):
    position = abandoned(bench)
    lose_stop(bench)
    gateway = bench.services.desks[position.venue].gateway
    asked = gateway.positions

    async def one_leg(symbol, **how):
        return tuple(
            msgspec.structs.replace(row, hedge_leg="LONG") for row in await asked(symbol, **how)
        )

    gateway.positions = one_leg
    position.update(hedge_leg=leg)
    position.leg = leg
    bench.spawn(bench.last_resort.take_over(position))
    bench.run(bench.runtime.now() + SECOND)
    assert [order.position_side for _, order in bench.venue.requests("submit")][:1] == sides
