"""Each closing order is recorded before it is sent, and only what is definite ends it."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg, leg_of
from kernel.model.orders import OrderClass, OrderStatus, OrderType, Side
from kernel.model.positions import PositionState
from kernel.model.units import MS, SECOND
from kernel.model.venue import EffectClass
from kernel.trade.exit_orders import ExitOrders
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench()
    made.venue.rests = (OrderType.MARKET, OrderType.LIMIT)
    made.venue.silent = True
    made.run(100 * SECOND)
    return made


def send(bench, position, **how):
    task = bench.spawn(ExitOrders(bench.services).send(position, D("0.002"), cause="why", **how))
    bench.run(bench.runtime.now() + SECOND)
    return task.result()


def test_an_order_is_recorded_with_its_position_before_it_is_sent(bench):
    position = bench.filled()
    seen: list[str] = []
    submit = bench.venue._submit

    def noted(request):
        seen.extend(type(row).__name__ for row in bench.store.rows[-2:])
        return submit(request)

    bench.venue._submit = noted
    order = send(bench, position)
    assert seen == ["OrderRow", "PositionRow"]
    row = order.row
    assert (row.order_class, row.order_type, row.side) == (
        OrderClass.PLAIN, OrderType.MARKET, Side.SELL,
    )  # fmt: skip
    assert (row.qty, row.price, row.reduce_only) == (D("0.002"), 0, True)
    assert row.created_ns == row.updated_ns == WALL + 100 * SECOND
    assert row.venue_order_id != ""
    assert leg_of(row.client_order_id) is Leg.EXIT
    ((_, request),) = bench.venue.requests("submit")
    assert request.reduce_only
    (said,) = bench.kinds("exit.submitted")
    assert (said.cause, said.client_order_id) == ("why", row.client_order_id)
    assert "price" not in said.values


def test_a_child_and_a_price_are_its_own(bench):
    position = bench.filled()
    order = send(bench, position, child=3, price=D(43000), leg=Leg.AGED)
    assert (order.row.order_type, order.row.price) == (OrderType.LIMIT, 43000)
    ((_, request),) = bench.venue.requests("submit")
    assert (request.order_type, request.price) == (OrderType.LIMIT, 43000)
    assert leg_of(request.client_order_id) is Leg.AGED
    assert request.client_order_id.split("-")[3].endswith("3")
    assert bench.kinds("exit.submitted")[0].values["price"] == "43000"


def test_an_entry_that_is_rolled_back_closes_under_a_leg_of_its_own(bench):
    position = bench.filled()
    position.transition(PositionState.ROLLBACK, "test")
    assert leg_of(send(bench, position).client_order_id) is Leg.ROLLBACK


def test_an_order_that_is_alone_is_the_first_child(bench):
    order = send(bench, bench.filled())
    assert order.client_order_id.split("-")[3] == "X0"


def test_who_asks_why_it_was_refused_sends_the_same(bench):
    attempt = ExitOrders(bench.services).attempt(bench.filled(), D("0.002"), cause="why")
    task = bench.spawn(attempt)
    bench.run(bench.runtime.now() + SECOND)
    order, refusal = task.result()
    assert refusal is None
    assert order.client_order_id.split("-")[3] == "X0"
    assert (order.row.order_type, order.row.price) == (OrderType.MARKET, 0)


def test_in_hedge_mode_an_order_names_the_leg_that_it_closes(bench):
    row = msgspec.structs.replace(bench.filled().row, position_id="hedged", hedge_leg="LONG")
    send(bench, bench.services.book.create(row))
    ((_, request),) = bench.venue.requests("submit")
    assert request.position_side == "LONG"


def test_where_entries_are_blocked_a_close_goes_out(bench):
    position = bench.filled()
    bench.services.desks["binance"].block_entries("test")
    assert send(bench, position).row.venue_order_id
    assert bench.venue.classes[-1] is EffectClass.EXIT


@pytest.mark.parametrize("error", [errors.OutcomeUnknown, errors.DuplicateClientOrderId])
def test_what_may_have_been_placed_is_not_ended(bench, error):
    position = bench.filled()
    bench.venue.rules.append(Rule("submit", error, "t"))
    order = send(bench, position)
    assert order.row.status is OrderStatus.NEW
    assert order.row.intent_open
    assert order.row.venue_order_id == ""


@pytest.mark.parametrize(
    ("error", "given", "told"),
    [
        (errors.Rejected, False, False),
        (errors.FilterViolation, False, True),
        (errors.ReduceOnlyRefused, True, False),
    ],
)
def test_a_definite_refusal_ends_it(bench, error, given, told):
    position = bench.filled()
    bench.venue.rules.append(Rule("submit", error, "-1"))
    order = send(bench, position)
    assert (order is not None) is given
    (known,) = [
        one for one in bench.services.orders.of_position(position.id) if one.row.reduce_only
    ]
    assert known.row.status is OrderStatus.REJECTED
    assert [alert.severity for alert in bench.alerts("exit.refused")] == told * ["ERROR"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_cancel_asks_under_our_id_and_proves_nothing(bench, fails):
    position = bench.filled()
    order = send(bench, position)
    if fails:
        bench.venue.rules.append(Rule("cancel", errors.UnknownOrder, "-2011"))
    bench.spawn(ExitOrders(bench.services).cancel(order))
    bench.run(bench.runtime.now() + 100 * MS)
    ((_, request),) = bench.venue.requests("cancel")
    assert request.client_order_id == order.client_order_id
    assert (request.order_class, request.symbol) == (OrderClass.PLAIN, "BTCUSDT")
    assert not order.terminal
