"""What is not known yet is kept, found by each of its ids, and given away once."""

import pytest

from kernel.model.orders import OrderClass, OrderStatus, Side
from kernel.trade import parking
from kernel.trade.parking import Parking
from tests.kernel.trade.parts import fill, report

PLAIN = OrderClass.PLAIN


def told(client="c", venue_id="v", status=OrderStatus.NEW):
    return report(client, venue_id, status, 5)


def execution(trade, client="c"):
    return fill(trade, Side.BUY, "1", "100", client_order_id=client)


def test_the_newest_report_of_an_order_is_kept_and_no_other():
    kept = Parking()
    assert kept.report("binance", told()) is None
    later = told(status=OrderStatus.FILLED)
    assert kept.report("binance", later) is None
    assert kept.known("binance", told()) == later
    assert kept.known("bybit", told()) is None
    assert kept.reports("binance") == [later]
    assert kept.reports("bybit") == []


def test_a_report_is_taken_once_by_its_venue_id():
    kept = Parking()
    kept.report("binance", told())
    assert kept.take_report(("binance", OrderClass.CONDITIONAL, "v")) is None
    assert kept.take_report(("binance", PLAIN, "v")) == told()
    assert kept.take_report(("binance", PLAIN, "v")) is None
    assert kept.take_client(("binance", "c")) == (None, ())


def test_a_client_id_that_was_taken_does_not_name_a_later_order():
    """Another order under the same venue id, of which no client id is known."""
    kept = Parking()
    kept.report("binance", told())
    kept.take_report(("binance", PLAIN, "v"))
    kept.report("binance", told(client=""))
    assert kept.take_client(("binance", "c")) == (None, ())
    assert kept.take_client(("binance", "")) == (None, ())


def test_report_and_executions_are_taken_together_by_the_client_id():
    kept = Parking()
    kept.report("binance", told())
    assert kept.fill("binance", execution("1")) == (True, None)
    assert kept.fill("binance", execution("1")) == (False, None)
    assert kept.fill("binance", execution("2")) == (True, None)
    assert kept.take_client(("bybit", "c")) == (None, ())
    assert kept.take_client(("binance", "c")) == (told(), (execution("1"), execution("2")))
    assert kept.take_client(("binance", "c")) == (None, ())
    assert kept.reports("binance") == []


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(parking, "PARKED_LIMIT", 2)
    return Parking()


def test_too_many_reports_drop_the_oldest_and_say_so(small):
    first, second, third = (told(f"c{n}", f"v{n}") for n in range(3))
    assert small.report("binance", first) is None
    assert small.report("binance", second) is None
    assert small.report("binance", third) == first
    assert small.take_client(("binance", "c0")) == (None, ())
    assert small.reports("binance") == [second, third]
    small.report("binance", told("", "v0"))
    assert small.take_client(("binance", "c0")) == (None, ()), "the dropped id names nothing"


def test_too_many_executions_drop_the_oldest_and_say_so(small):
    assert small.fill("binance", execution("1", "a")) == (True, None)
    assert small.fill("binance", execution("2", "b")) == (True, None)
    assert small.fill("binance", execution("3", "b")) == (True, execution("1", "a"))
    assert small.fill("binance", execution("4", "b")) == (True, execution("2", "b"))
    assert small.take_client(("binance", "b")) == (None, (execution("3", "b"), execution("4", "b")))


def test_what_was_taken_makes_room(small):
    small.fill("binance", execution("1", "a"))
    small.fill("binance", execution("2", "a"))
    small.take_client(("binance", "a"))
    assert small.fill("binance", execution("3", "b")) == (True, None)
    assert small.fill("binance", execution("4", "b")) == (True, None)
    assert small.fill("binance", execution("5", "b")) == (True, execution("3", "b"))


def test_what_was_dropped_makes_no_more_room_than_it_took(small):
    for number in range(4):
        small.fill("binance", execution(str(number), "a"))
    small.take_client(("binance", "a"))
    assert small.fill("binance", execution("5", "b")) == (True, None)
    assert small.fill("binance", execution("6", "b")) == (True, None)
    assert small.fill("binance", execution("7", "b")) == (True, execution("5", "b"))
