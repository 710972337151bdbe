"""The exit ladder against a scripted venue."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import FillKind, OrderClass, PositionSide
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.model.venue import PositionPage
from tests.kernel.fakes import Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench().protection()
    yield made
    assert made.crashes == []


def close(bench, position, reason=CloseReason.OPERATOR, seconds=30):
    task = bench.spawn(bench.exits.close(position, reason, "test"))
    bench.run(bench.runtime.now() + seconds * SECOND)
    return task


def submits(bench):
    return [request for _, request in bench.venue.requests("submit")]


def test_a_close_is_one_reduce_only_market_order_and_ends_flat_and_clean(bench):
    position = bench.protected()
    assert close(bench, position).result() is True
    (order,) = submits(bench)
    assert order.reduce_only
    assert order.side is position.side.exit_side
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.OPERATOR
    assert bench.venue.stops() == []
    assert bench.services.orders.open_orders() == []


def test_the_stop_stays_until_flat(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.Rejected, "110007", times=2))
    bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "test"))
    bench.run(bench.runtime.now() + 300 * MS)
    assert bench.venue.held
    assert len(bench.venue.stops()) == 1
    bench.run(bench.runtime.now() + 30 * SECOND)
    assert bench.venue.held == {}
    assert bench.venue.stops() == []


def test_a_second_close_joins_the_first(bench):
    position = bench.protected()
    first = bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "one"))
    second = bench.spawn(bench.exits.close(position, CloseReason.GUARD, "two"))
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert (first.result(), second.result()) == (True, True)
    assert len(submits(bench)) == 1


def test_a_refused_close_is_a_question_and_leads_to_a_read(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.ReduceOnlyRefused, "-2022", times=1))
    assert close(bench, position).result() is True
    assert bench.venue.held == {}
    assert len(submits(bench)) == 2


def test_a_refused_close_of_a_flat_position_is_proven_by_read_and_executions(bench):
    position = bench.protected()
    bench.venue.silent = True
    (stop,) = bench.venue.stops()
    bench.venue.trigger(stop.client_order_id)
    assert close(bench, position).result() is True
    assert position.qty == 0
    assert position.state is PositionState.CLOSED


def test_an_unknown_outcome_that_was_applied_is_not_closed_twice(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "timeout", applied=True))
    assert close(bench, position).result() is True
    assert len(submits(bench)) == 1


def test_an_unknown_outcome_that_was_not_applied_is_tried_again_after_a_read(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "timeout", times=1))
    assert close(bench, position, seconds=60).result() is True
    kinds = [type(request).__name__ for _, request in bench.venue.sent]
    first = kinds.index("SubmitOrder")
    second = kinds.index("SubmitOrder", first + 1)
    assert "QueryPositions" in kinds[first:second]
    assert len(submits(bench)) == 2


def test_a_close_is_split_by_the_market_maximum(bench):
    position = bench.protected(qty="250")
    assert close(bench, position).result() is True
    parts = [order.qty for order in submits(bench)]
    assert sum(parts) == D(250)
    assert max(parts) <= D(100)


def test_a_ladder_that_fails_alerts_critical_and_goes_on_until_flat(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.Rejected, "-1111", times=8))
    task = close(bench, position, seconds=10)
    alerts = bench.alerts("exit.not_flat")
    assert alerts
    assert {alert.severity for alert in alerts} == {"CRITICAL"}  # det-ok: a test
    bench.run(bench.runtime.now() + 300 * SECOND)
    assert task.result() is False
    assert bench.venue.held == {}
    assert position.state is PositionState.CLOSED


def test_identical_failing_closes_are_bounded_by_growing_pauses(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.Rejected, "-1111"))
    close(bench, position, seconds=120)
    assert 6 <= len(submits(bench)) <= 16


def test_a_lagging_position_read_does_not_close_twice(bench):
    position = bench.protected()
    original = bench.venue.position_report
    stale = original("BTCUSDT")
    bench.venue._positions = lambda request: msgspec.structs.replace(
        _page(original, stale, bench), next_cursor=""
    )
    assert close(bench, position, seconds=40).result() is True
    assert len(submits(bench)) == 1


def _page(original, stale, bench):
    closed = [at for at, request in bench.venue.requests("submit")]
    shows_old = closed and bench.runtime.now() - closed[0] < 3 * SECOND
    if shows_old or "BTCUSDT" in bench.venue.held:
        return PositionPage(positions=(stale,))
    return PositionPage(positions=())


def test_a_failed_read_is_never_flat(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, "timeout"))
    task = close(bench, position, seconds=60)
    assert position.state is PositionState.CLOSING
    bench.venue.rules.clear()
    bench.run(bench.runtime.now() + 120 * SECOND)
    assert position.state is PositionState.CLOSED
    assert task.done


def test_an_end_that_no_execution_tells_of_takes_reads_that_agree_for_45_seconds(bench):
    position = bench.protected()
    del bench.venue.held["BTCUSDT"]
    started = bench.runtime.now()
    assert close(bench, position, seconds=70).result() is True
    reads = [at for at, _ in bench.venue.requests("positions") if at >= started]
    assert reads[-1] - reads[0] >= 45 * SECOND
    assert bench.alerts("exit.unexplained")


def test_a_liquidation_is_booked_as_one(bench):
    position = bench.protected()
    venue = bench.venue
    (stop,) = venue.stops()
    bench.price("41500")
    original = venue._say

    def as_liquidation(event):
        if hasattr(event, "trade_id"):
            event = msgspec.structs.replace(event, kind=FillKind.LIQUIDATION)
            venue.fills[-1] = event
        original(event)

    venue._say = as_liquidation
    child = msgspec.structs.replace(
        stop,
        order_class=OrderClass.PLAIN,
        venue_order_id="9",
        client_order_id="autoclose-1",
    )
    venue._fill("autoclose-1", child, D("0.005"))
    bench.run(bench.runtime.now() + 20 * SECOND)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.LIQUIDATION
    assert venue.stops() == []


def test_a_close_of_what_never_was_active_is_left_to_its_saga(bench):
    position = bench.filled()
    assert close(bench, position, CloseReason.ROLLBACK).result() is True
    assert position.state is PositionState.ROLLBACK
    assert bench.venue.held == {}
    assert submits(bench)[0].client_order_id.split("-")[3].startswith("R")


def test_a_short_is_closed_by_buying(bench):
    position = bench.protected(side=PositionSide.SHORT)
    assert close(bench, position).result() is True
    assert submits(bench)[0].side.value == "BUY"
    assert bench.venue.held == {}


def test_a_stop_whose_cancel_is_not_proven_is_swept_after_the_close(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("cancel", errors.UnknownOrder, "-2011", times=7))
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=12))
    assert close(bench, position, seconds=20).result() is True
    assert position.state is PositionState.CLOSED
    assert bench.alerts("leftovers")
    bench.run(bench.runtime.now() + 120 * SECOND)
    assert bench.venue.stops() == []
    assert bench.services.orders.open_orders() == []
