"""The stop owner against a scripted venue with stops attached to positions."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderStatus, PriceSource
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND, ZERO
from tests.kernel.fakes import Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench(venue_names=("bybit",)).protection()
    yield made
    assert made.crashes == []


def protect(bench, position, seconds=40):
    task = bench.spawn(bench.stops.protect(position))
    bench.run(bench.runtime.now() + seconds * SECOND)
    assert task.done
    return task.result()


def test_the_first_stop_is_set_in_one_call_and_read_back(bench):
    position = bench.filled()
    assert protect(bench, position) is True
    held = bench.venue.held["BTCUSDT"]
    assert (held.stop, held.stop_by) == (D(41160), PriceSource.MARK)
    assert len(bench.venue.requests("position_stop")) == 1
    assert position.row.protected_level == D(41160)


def test_not_modified_is_success(bench):
    position = bench.filled()
    bench.venue.held["BTCUSDT"].stop = D(41160)
    assert protect(bench, position) is True
    assert position.stops.verified


def test_a_stop_that_the_position_does_not_show_is_not_confirmed(bench):
    position = bench.filled()
    original = bench.venue.position_report

    def without_stop(symbol):
        report = original(symbol)
        return msgspec.structs.replace(report, stop_price=ZERO)

    bench.venue.position_report = without_stop
    assert protect(bench, position) is False


def test_zero_position_while_executions_prove_a_fill_is_not_an_attempt(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("position_stop", errors.NoPositionYet, "10001", times=20))
    assert protect(bench, position) is True
    assert len(bench.venue.requests("position_stop")) == 21


def test_zero_position_because_it_was_liquidated_is_found_out_by_executions(bench):
    position = bench.protected()
    held = bench.venue.held["BTCUSDT"]
    held.stop = ZERO
    bench.venue.silent = True
    bench.venue.fire_attached("BTCUSDT")
    bench.venue.silent = False
    bench.spawn(bench.stops.ensure(position, "test"))
    position.stops.expose(bench.runtime.now())
    bench.run(bench.runtime.now() + 30 * SECOND)
    assert position.state is PositionState.CLOSED
    assert bench.venue.requests("submit") == []


def test_an_unknown_outcome_is_read_back_and_not_repeated_where_it_was_applied(bench):
    position = bench.filled()
    bench.venue.rules.append(
        Rule("position_stop", errors.OutcomeUnknown, "10016", applied=True, times=1)
    )
    assert protect(bench, position) is True
    assert len(bench.venue.requests("position_stop")) == 1


def test_wrong_side_with_a_confirming_price_closes_at_market(bench):
    position = bench.filled()
    task = bench.spawn(bench.stops.protect(position))
    bench.at(5 * MS, lambda: bench.price("41000"))
    bench.run(20 * SECOND)
    assert task.result() is False
    assert bench.venue.held == {}
    assert position.row.close_reason == CloseReason.ALREADY_THROUGH


def test_moving_is_one_call(bench):
    position = bench.protected()
    before = len(bench.venue.sent)
    task = bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 3 * SECOND)
    assert task.result() is True
    assert bench.venue.held["BTCUSDT"].stop == D(41500)
    assert len(bench.venue.sent) == before + 1


def test_a_stop_that_somebody_removed_is_set_again_at_once(bench):
    position = bench.protected()
    bench.run(bench.runtime.now() + SECOND)
    bench.venue.held["BTCUSDT"].stop = ZERO
    bench.venue._say_position("BTCUSDT")
    lost = bench.runtime.now()
    bench.run(lost + 2 * SECOND)
    assert bench.venue.held["BTCUSDT"].stop == D(41160)
    assert position.stops.verified
    assert bench.venue.requests("position_stop")[-1][0] - lost < 200 * MS


def test_a_tighter_stop_that_somebody_set_is_kept_and_becomes_the_level(bench):
    position = bench.protected()
    bench.run(bench.runtime.now() + SECOND)
    bench.venue.held["BTCUSDT"].stop = D(41300)
    bench.venue._say_position("BTCUSDT")
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert bench.venue.held["BTCUSDT"].stop == D(41300)
    assert position.row.protected_level == D(41300)


def test_a_looser_stop_that_somebody_set_is_moved_back_to_the_level(bench):
    position = bench.protected()
    bench.run(bench.runtime.now() + SECOND)
    bench.venue.held["BTCUSDT"].stop = D(40000)
    bench.venue._say_position("BTCUSDT")
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert bench.venue.held["BTCUSDT"].stop == D(41160)
    assert position.row.protected_level == D(41160)


def test_the_attached_order_is_known_and_its_fill_ends_the_position(bench):
    position = bench.protected()
    bench.price("41160")
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.STOP_LOSS
    assert bench.services.orders.open_orders() == []


def test_an_attached_order_that_ends_with_quantity_left_is_set_again(bench):
    position = bench.protected()
    bench.run(bench.runtime.now() + SECOND)
    held = bench.venue.held["BTCUSDT"]
    bench.venue._say_attached("BTCUSDT", OrderStatus.CANCELED)
    held.stop, held.stop_id = ZERO, ""
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert bench.venue.held["BTCUSDT"].stop == D(41160)
    assert position.stops.verified
    assert position.state is PositionState.ACTIVE
