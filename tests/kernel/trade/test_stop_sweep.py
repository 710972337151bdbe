"""At the cap on conditional orders our orphans go; what anybody wants or may want stays."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg, OrderIdParts, client_order_id, symbol_hash
from kernel.model.orders import (
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.rows import OrderRow
from kernel.model.units import SECOND, TsNs
from kernel.trade.stop_sweep import sweep
from tests.kernel.fakes import Bench, Placed, Rule

D = Decimal
OTHER = "ETHUSDT"


def our_id(generation, symbol="BTCUSDT"):
    return client_order_id(
        OrderIdParts(
            epoch=1,
            wave_minute=1,
            symbol_hash=symbol_hash("binance", symbol),
            leg=Leg.STOP,
            child=0,
            generation=generation,
        )
    )


class Swept:
    """A venue with stops on its list."""

    def __init__(self):
        self.bench = Bench().protection()

    def lists(self, name, symbol="BTCUSDT", side=Side.SELL):
        """The venue shows this stop, whoever placed it."""
        self.bench.venue.number += 1
        report = OrderReport(
            symbol=symbol,
            venue_order_id=str(self.bench.venue.number),
            client_order_id=name,
            order_class=OrderClass.CONDITIONAL,
            order_type=OrderType.STOP_MARKET,
            side=side,
            status=OrderStatus.NEW,
            qty=D("0.005"),
            trigger_price=D(41000),
            trigger_by=PriceSource.MARK,
            reduce_only=True,
            updated_ns=TsNs(self.bench.runtime.ts()),
        )
        self.bench.venue.orders[name] = Placed(report)
        return report

    def sweep(self, seconds=5):
        task = self.bench.spawn(sweep(self.bench.services, "binance"))
        self.bench.run(self.bench.runtime.now() + seconds * SECOND)
        assert task.done
        return [one.client_order_id for one in self.bench.kinds("stop.swept")]

    def cancelled(self):
        return [request.client_order_id for _, request in self.bench.venue.requests("cancel")]


def test_a_stop_of_ours_on_a_flat_symbol_is_cancelled_and_a_foreign_one_is_not():
    made = Swept()
    for name, symbol in ((our_id(1), "BTCUSDT"), ("web_1", "BTCUSDT"), (our_id(2, OTHER), OTHER)):
        made.lists(name, symbol)
    assert made.sweep() == [our_id(1), our_id(2, OTHER)]
    assert made.cancelled() == [our_id(1), our_id(2, OTHER)]
    assert [one.client_order_id for one in made.bench.venue.stops()] == ["web_1"]
    assert made.bench.kinds("cancel.settled") == [], "each was proven terminal at once"


def test_a_stop_on_a_symbol_where_the_venue_shows_a_position_is_about_to_be_taken_up():
    made = Swept()
    made.lists(our_id(1))
    made.bench.venue.open("BTCUSDT", PositionSide.LONG, "0.005", "42000")
    desk = made.bench.services.desks["binance"]
    desk.hear_position(made.bench.venue.position_report("BTCUSDT"))
    assert made.sweep() == []


def test_the_stop_of_a_position_stays_and_one_that_it_does_not_want_goes():
    made = Swept()
    position = made.bench.protected()
    (stop,) = made.bench.venue.stops()
    assert made.sweep() == []
    kept = position.stops.find(stop.client_order_id)
    kept.wanted = False
    assert made.sweep() == [stop.client_order_id]


@pytest.mark.parametrize(("verified", "swept"), [(True, True), (False, False)])
def test_a_stop_that_nobody_knows_stays_until_the_position_has_one_that_was_proven(verified, swept):
    made = Swept()
    if verified:
        made.bench.protected()
    else:
        made.bench.filled()
    made.lists(our_id(7))
    assert made.sweep() == ([our_id(7)] if swept else [])


def test_a_stop_of_another_position_goes_although_the_present_one_has_none_yet():
    made = Swept()
    made.bench.filled()
    report = made.lists(our_id(7))
    made.bench.services.orders.register(
        msgspec.structs.replace(row_of(report), position_id="an older one")
    )
    assert made.sweep() == [our_id(7)]


def test_a_stop_of_the_present_position_that_was_proven_by_nobody_stays():
    made = Swept()
    position = made.bench.filled()
    report = made.lists(our_id(7))
    made.bench.services.orders.register(
        msgspec.structs.replace(row_of(report), position_id=position.id)
    )
    assert made.sweep() == []


def row_of(report):
    return OrderRow(
        venue="binance",
        client_order_id=report.client_order_id,
        symbol=report.symbol,
        position_id="",
        order_class=report.order_class,
        order_type=report.order_type,
        side=report.side,
        qty=report.qty,
        reduce_only=True,
        trigger_price=report.trigger_price,
    )


def test_a_cancel_that_is_not_proven_is_gone_after_in_the_background():
    made = Swept()
    made.lists(our_id(1))
    made.bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout", times=1))
    made.sweep(60)
    assert made.cancelled() == [our_id(1)] * 2
    assert made.bench.venue.stops() == []
    (settled,) = made.bench.kinds("cancel.settled")
    assert settled.client_order_id == our_id(1)


def test_so_is_that_of_a_stop_that_the_position_on_its_symbol_knows_nothing_of():
    made = Swept()
    made.bench.protected()
    made.lists(our_id(7))
    made.bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout", times=1))
    made.sweep(60)
    assert made.cancelled() == [our_id(7)] * 2
    assert len(made.bench.venue.stops()) == 1


def test_a_cancel_that_the_stop_owner_goes_after_is_left_to_it():
    made = Swept()
    position = made.bench.protected()
    (stop,) = made.bench.venue.stops()
    kept = position.stops.find(stop.client_order_id)
    kept.wanted = False
    made.bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout", times=1))
    made.sweep(1)
    assert not made.bench.services.cancels.holds("binance", stop.client_order_id)


def test_a_list_that_cannot_be_read_cancels_nothing():
    made = Swept()
    made.lists(our_id(1))
    made.bench.venue.rules.append(Rule("open_orders", errors.OutcomeUnknown, "timeout"))
    raised = []

    async def one():
        try:
            await sweep(made.bench.services, "binance")
        except errors.VenueError as error:
            raised.append(error)

    made.bench.spawn(one())
    made.bench.run(30 * SECOND)
    assert len(raised) == 1
    assert made.cancelled() == []
