from decimal import Decimal

import pytest

from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side
from kernel.model.units import HOUR, SECOND, TsNs
from kernel.model.venue import (
    Acked,
    Failure,
    OrderPage,
    PlaceStop,
    PositionPage,
    QueryOpenOrders,
    QueryPositions,
    QuerySymbolConfig,
    SetPositionStop,
    SubmitOrder,
    SymbolConfig,
)
from kernel.store.memory import MemoryBackend
from kernel.store.simulated import SimulatedStore
from scenarios.request_checks import STORM, RequestChecks
from tests.scenarios.worlds import START, SYMBOL, Bench, own_id
from venues.sim.order import SimOrder


class Asked(Bench):
    """Request checks beside the protection checks; the symbol's modes are read back."""

    def __init__(self):
        super().__init__(faults=True)
        self.requests = RequestChecks(
            self.settings, {"binance": self.venue}, SimulatedStore(MemoryBackend()),
            protection=self.checks, violations=self.violations, write_ahead=False,
        )  # fmt: skip
        self.answer(QuerySymbolConfig(symbol=SYMBOL),
                    SymbolConfig(symbol=SYMBOL, leverage=Decimal(5), isolated=True))  # fmt: skip

    def send(self, request, *, at=START + 60 * SECOND):
        self.requests.sent("binance", request, at)

    def answer(self, request, reply, *, at=START + 60 * SECOND):
        self.requests.answered("binance", request, reply, sent_ns=at, now_ns=at)


def entry(client=None, **more):
    given = {"qty": Decimal("0.005"), "side": Side.BUY, "order_type": OrderType.MARKET, **more}
    return SubmitOrder(symbol=SYMBOL, client_order_id=client or own_id(), **given)


def failed(kind, code="x", **more):
    return Failure(kind=kind, code=code, **more)


def test_an_ordinary_entry_breaks_nothing():
    asked = Asked()
    asked.send(entry())
    asked.answer(entry(), Acked())
    assert asked.broken == []


def test_the_same_id_is_sent_once_unless_it_is_proven_unsent():
    asked = Asked()
    asked.send(entry())
    asked.answer(entry(), failed("NotSent"))
    asked.send(entry())
    assert asked.broken == []
    asked.send(entry())
    assert asked.broken == ["I3"]


def test_another_id_for_one_signal_breaks_i3_and_over_a_restart_i15():
    asked = Asked()
    asked.send(entry())
    asked.send(entry(own_id(generation=1)))
    assert asked.broken == ["I3"]
    again = Asked()
    again.send(entry())
    again.send(entry(own_id(epoch=2)))
    assert again.broken == ["I15"]


def test_an_entry_while_an_outcome_is_unknown_breaks_i5():
    asked = Asked()
    asked.send(entry())
    asked.answer(entry(), failed("OutcomeUnknown"))
    asked.send(entry(own_id(wave_ns=START)), at=START + 15 * 60 * SECOND)
    assert asked.broken == ["I5"]


def test_an_entry_on_a_suspect_stream_breaks_i12_until_everything_was_read_anew():
    asked = Asked()
    asked.requests.suspect("binance", START + 50 * SECOND)
    asked.send(entry())
    assert asked.broken == ["I12"]
    calm = Asked()
    calm.requests.suspect("binance", START + 50 * SECOND)
    calm.answer(QueryPositions(), PositionPage(positions=()))
    for kind in (OrderClass.PLAIN, OrderClass.CONDITIONAL):
        calm.answer(QueryOpenOrders(order_class=kind), OrderPage(orders=()))
    calm.send(entry())
    assert calm.broken == []


def test_a_request_during_a_ban_breaks_i13():
    asked = Asked()
    until = TsNs(START + 120 * SECOND)
    asked.answer(QueryPositions(), failed("Throttled", banned=True, retry_at_ns=until))
    asked.send(QueryPositions(), at=until)
    assert asked.broken == []
    asked.send(QueryPositions(), at=until - 1)
    assert asked.broken == ["I13"]


def test_an_entry_while_a_throttled_stop_waits_breaks_i13():
    asked, stop = Asked(), PlaceStop(
        symbol=SYMBOL,
        side=Side.SELL,
        qty=Decimal("0.005"),
        trigger_price=Decimal(41160),
        trigger_by=PriceSource.MARK,
        client_order_id=own_id(Leg.STOP),
    )
    asked.venue.trade(Side.BUY, "0.005")
    asked.send(stop)
    asked.answer(stop, failed("Throttled", "-1015"))
    asked.send(stop)
    asked.send(entry())
    assert "I13" not in asked.broken
    asked.answer(stop, failed("Throttled", "-1015"))
    asked.send(entry(own_id(generation=1)))
    assert "I13" in asked.broken


def test_an_attached_stop_has_a_bucket_of_its_own_that_no_entry_uses():
    asked, stop = Asked(), SetPositionStop(
        symbol=SYMBOL, trigger_price=Decimal(41160), trigger_by=PriceSource.MARK
    )
    asked.venue.trade(Side.BUY, "0.005")
    asked.send(stop)
    asked.answer(stop, failed("Throttled", "10006"))
    asked.send(entry())
    assert "I13" not in asked.broken


def test_an_exit_that_was_to_rest_holds_up_no_entry():
    asked, exit_order = Asked(), SubmitOrder(
        symbol=SYMBOL,
        side=Side.SELL,
        qty=Decimal("0.005"),
        order_type=OrderType.LIMIT,
        client_order_id=own_id(Leg.AGED),
        reduce_only=True,
        price=Decimal(43000),
    )
    asked.venue.trade(Side.BUY, "0.005")
    asked.send(exit_order)
    asked.answer(exit_order, failed("Throttled", "-1003"))
    asked.send(entry())
    assert "I13" not in asked.broken


def test_the_same_order_failing_again_and_again_is_a_storm():
    asked = Asked()
    stop = SetPositionStop(
        symbol=SYMBOL, trigger_price=Decimal(41160), trigger_by=PriceSource.MARK
    )
    for n in range(STORM):
        asked.answer(stop, failed("Rejected", "10001"), at=START + n * SECOND)
    assert asked.broken == []
    asked.answer(stop, failed("Rejected", "10001"), at=START + STORM * SECOND)
    assert asked.broken == ["I14"]


def test_an_entry_after_the_age_of_its_signal_breaks_i16():
    asked = Asked()
    asked.send(entry(), at=START + 900 * SECOND)
    assert asked.broken == []
    late = Asked()
    late.send(entry(), at=START + HOUR)
    assert late.broken == ["I16"]


@pytest.mark.parametrize("qty", ["0.0005", "0.0055", "121"])
def test_a_quantity_against_the_filters_breaks_i18(qty):
    asked = Asked()
    asked.send(entry(qty=Decimal(qty)))
    assert asked.broken == ["I18"]


def test_a_trigger_off_the_grid_breaks_i18():
    asked = Asked()
    stop = PlaceStop(
        symbol=SYMBOL, side=Side.SELL, qty=Decimal("0.005"), trigger_price=Decimal("41160.05"),
        trigger_by=PriceSource.MARK, client_order_id=own_id(Leg.STOP),
    )  # fmt: skip
    asked.send(stop)
    assert asked.broken == ["I18"]


def test_an_entry_before_the_modes_were_read_back_breaks_i19():
    asked = Asked()
    asked.requests.born()
    asked.send(entry())
    assert asked.broken == ["I19"]


def test_the_late_order_of_a_dead_kernel_breaks_no_i19():
    asked = Asked()
    asked.requests.born(buried=1)
    asked.send(entry())
    assert asked.broken == []


def test_an_entry_that_is_not_durable_breaks_i21():
    asked = Asked()
    asked.requests._write_ahead = True
    asked.send(entry())
    assert asked.broken == ["I21"]


def test_a_closing_order_that_could_open_breaks_i4():
    asked = Asked()
    asked.send(entry(own_id(Leg.EXIT), side=Side.SELL, reduce_only=True))
    assert asked.broken == []
    asked.send(entry(own_id(Leg.EXIT, generation=1), side=Side.SELL))
    assert asked.broken == ["I4"]


def test_removing_the_stop_of_an_open_position_breaks_i8():
    asked = Asked()
    asked.venue.trade(Side.BUY, "0.005")
    asked.send(SetPositionStop(symbol=SYMBOL, trigger_price=Decimal(0),
                               trigger_by=PriceSource.MARK))  # fmt: skip
    assert asked.broken == ["I8"]


def test_a_second_resting_exit_for_one_position_is_told():
    asked = Asked()
    limit = {
        "side": Side.SELL, "order_type": OrderType.LIMIT, "price": Decimal(43000),
        "reduce_only": True,
    }  # fmt: skip
    asked.send(entry(own_id(Leg.AGED), **limit))
    assert asked.broken == []
    asked.venue.matching.open.add(
        SimOrder(
            ordinal=1, now_ns=START, symbol=SYMBOL, venue_order_id="7",
            client_order_id=own_id(Leg.AGED),
            order_class=OrderClass.PLAIN, order_type=OrderType.LIMIT, side=Side.SELL,
            qty=Decimal("0.005"), price=Decimal(43000), reduce_only=True,
        )
    )  # fmt: skip
    asked.send(entry(own_id(Leg.AGED, generation=1), **limit))
    assert asked.broken == ["I9"]
