"""The orders of an entry: settled once, looked up without harm, ended by proof."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.orders import OrderClass, OrderStatus
from kernel.model.units import SECOND
from kernel.model.venue import EffectClass
from kernel.trade.entry_orders import all_terminal, ended, reported
from tests.kernel.fakes import Rule
from tests.kernel.trade.opening import Sending

D = Decimal
NEW, PARTLY, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
CANCELED, REJECTED = OrderStatus.CANCELED, OrderStatus.REJECTED


@pytest.fixture
def bench():
    return Sending()


# ---------------------------------------------------------------- settling


def test_an_order_is_settled_once_whoever_asks(bench):
    _, (order, other) = bench.entry("0.002", "0.003")
    first = bench.spawn(bench.orders.settle(order))
    bench.after(0.3)
    second = bench.spawn(bench.orders.settle(order))
    third = bench.spawn(bench.orders.settle(other))
    bench.after(0.5)
    assert [one for _, one in bench.settled] == [order, other]
    assert (first.done, second.done) == (False, False)
    bench.after(0.3)
    assert (first.done, second.done, third.done) == (True, True, False)
    bench.after(1)
    bench.spawn(bench.orders.settle(order))
    bench.after(0.1)
    assert len(bench.settled) == 3, "not proven yet: it is settled anew"


def test_what_has_ended_needs_no_settling(bench):
    _, (order,) = bench.entry("0.005")
    bench.reports(order, CANCELED)
    bench.result(bench.orders.settle(order), 1)
    assert bench.settled == []


def test_a_settling_that_crashed_lets_nobody_wait(bench):
    _, (order,) = bench.entry("0.005")
    failed = []

    async def crash(one):
        await bench.runtime.sleep(SECOND)
        raise errors.OutcomeUnknown("binance", "query_order", "t")

    bench.settle = crash

    async def first():
        try:
            await bench.orders.settle(order)
        except errors.OutcomeUnknown:
            failed.append(bench.ms)

    bench.spawn(first())
    second = bench.result(bench.orders.settle(order), 2)
    assert failed == [1000]
    assert second == (None, 1000)


# ---------------------------------------------------------------- looking up


def test_a_child_is_looked_up_as_urgently_as_an_exit(bench):
    _, (order,) = bench.entry("0.005")
    assert bench.result(bench.orders.look_up(order), 1) == (None, 20)
    ((_, request),) = bench.venue.requests("query_order")
    assert request.client_order_id == order.client_order_id
    assert bench.venue.classes == [EffectClass.EXIT]


def test_a_child_that_is_being_settled_is_not_looked_up(bench):
    _, (order,) = bench.entry("0.005")
    bench.spawn(bench.orders.settle(order))
    bench.after(0.1)
    bench.result(bench.orders.look_up(order), 0.5)
    assert bench.when("query_order") == []
    bench.after(1)
    bench.result(bench.orders.look_up(order), 0.5)
    assert len(bench.when("query_order")) == 1


@pytest.mark.parametrize(
    ("call", "kind"), [("look_up", "query_order"), ("read_executions", "executions")]
)
def test_no_answer_changes_nothing_and_is_waited_for_as_long_as_protection_waits(bench, call, kind):
    _, (order,) = bench.entry("0.005")
    bench.venue.rules.append(Rule(kind, delay_ns=60 * SECOND))
    assert bench.result(getattr(bench.orders, call)(order), 20) == (None, 3000)
    bench.venue.rules[:] = [Rule(kind, errors.Rejected, "-1")]
    assert bench.result(getattr(bench.orders, call)(order), 1) is not None


def test_the_executions_of_one_child_are_read_by_its_ids_and_booked(bench):
    position, (order,) = bench.entry("0.005")
    bench.services.orders.acked(order, "77")
    bench.fills(order, "0.002")
    known = next(iter(position.fills.values()))
    bench.venue.fills = [known, bench.another(known, "more", "0.001")]
    bench.result(bench.orders.read_executions(order), 1)
    ((_, request),) = bench.venue.requests("executions")
    assert (request.symbol, request.client_order_id) == ("BTCUSDT", order.client_order_id)
    assert request.venue_order_id == "77"
    assert bench.venue.classes == [EffectClass.EXIT]
    assert position.qty == D("0.003")


# ---------------------------------------------------------------- ending


def test_a_child_is_cancelled_and_looked_up_until_it_has_ended(bench):
    position, (order,) = bench.entry("0.005")
    bench.send(position, [order], 0.1)
    bench.venue.silent = True
    bench.began = bench.runtime.now()
    assert bench.result(bench.orders.end(order), 5) == (None, 80)
    ((_, request),) = bench.venue.requests("cancel")
    row = order.row
    assert (request.client_order_id, request.venue_order_id) == (row.client_order_id, "1001")
    assert (request.symbol, request.order_class) == ("BTCUSDT", OrderClass.PLAIN)
    assert bench.venue.classes[-2] is EffectClass.PROTECT
    assert row.status is CANCELED
    assert bench.settled == []


def test_a_cancel_that_fails_is_tried_five_times_and_then_the_child_is_settled(bench):
    position, (order,) = bench.entry("0.005")
    bench.send(position, [order], 0.1)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111"))
    bench.began = bench.runtime.now()
    bench.result(bench.orders.end(order), 20)
    tries = [at for at in bench.when("cancel") if at >= 0]
    assert tries == [0, 260, 720, 1580, 3240]
    assert [(at, one) for at, one in bench.settled] == [(8300, order)]


def test_executions_that_lack_are_read_without_another_cancel(bench):
    position, (order,) = bench.entry("0.005")
    bench.reports(order, FILLED, "0.005", "42000")
    bench.venue.rules.append(Rule("executions", times=2, empty=True))
    bench.fills(order, "0.002")
    known = next(iter(position.fills.values()))
    bench.venue.fills = [known, bench.another(known, "rest", "0.003")]
    assert bench.result(bench.orders.end(order), 20) == (None, 680)
    assert bench.when("cancel") == []
    assert bench.when("query_order") == []


def test_what_ended_meanwhile_is_not_cancelled_again(bench):
    position, (order,) = bench.entry("0.005")
    bench.send(position, [order], 0.1)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111"))
    bench.began = bench.runtime.now()
    bench.later(150, lambda: bench.reports(order, CANCELED))
    assert bench.result(bench.orders.end(order), 5) == (None, 260)
    assert len([at for at in bench.when("cancel") if at >= 0]) == 1


def test_what_is_proven_never_placed_is_not_cancelled(bench):
    position, _ = bench.entry()
    order = bench.child(position, "0.005", intent_open=False)
    assert bench.result(bench.orders.end(order), 5) == (None, 0)
    assert bench.when("cancel") == []


def test_only_what_has_not_ended_is_given_up_one_after_the_other(bench):
    position, children = bench.entry("0.001", "0.002", "0.003")
    bench.send(position, children, 0.2)
    bench.reports(children[1], CANCELED)
    bench.began = bench.runtime.now()
    assert bench.result(bench.orders.give_up(children), 5)[1] == 160
    cancelled = [one.client_order_id for _, one in bench.venue.requests("cancel")]
    assert cancelled == [children[0].client_order_id, children[2].client_order_id]


# ---------------------------------------------------------------- what is known of children


@pytest.mark.parametrize(
    ("status", "intent_open", "over"),
    [(NEW, True, False), (NEW, False, True), (CANCELED, True, True), (CANCELED, False, True)],
)
def test_an_order_is_over_by_its_status_or_by_proof(bench, status, intent_open, over):
    position, _ = bench.entry()
    order = bench.child(position, "0.005", status=status, intent_open=intent_open)
    other = bench.child(position, "0.005", 1, status=CANCELED, intent_open=False)
    assert ended(order) is over
    assert all_terminal([order]) is over
    assert all_terminal([other, order]) is over
    assert all_terminal([])


def test_an_order_whose_executions_lack_has_not_ended(bench):
    _, (order,) = bench.entry("0.005")
    bench.reports(order, FILLED, "0.005", "42000")
    assert not ended(order)
    assert all_terminal([order])
    bench.fills(order, "0.005")
    assert ended(order)


def test_what_reports_tell_is_summed_over_the_children(bench):
    _, children = bench.entry("0.002", "0.003")
    assert reported(children) == 0
    bench.reports(children[0], PARTLY, "0.001", "42000")
    bench.reports(children[1], FILLED, "0.003", "42000")
    assert reported(children) == D("0.004")
