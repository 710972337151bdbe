"""What an earlier process may have placed for a position is looked for before a stop is placed."""

from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType, Side
from tests.kernel.fakes import D, Placed
from tests.kernel.sync.test_recovery import Bench, order_row, row
from tests.kernel.sync.whole import order_report, own_id


def test_a_stop_that_no_row_tells_of_is_found_before_another_is_placed():
    bench = Bench()
    name = own_id(Leg.STOP, minute=row().wave_minute)
    stop = order_report(
        name, side=Side.SELL, order_class=OrderClass.CONDITIONAL,
        order_type=OrderType.STOP_MARKET, reduce_only=True, trigger_price=D(41200),
        trigger_by=bench.settings.stop_source,
    )  # fmt: skip
    bench.venue.orders[name] = Placed(stop)
    bench.load(row(), order_row(status=OrderStatus.FILLED))
    assert bench.protect().done
    assert bench.position().row.protected_level == 41200
    assert [one.trigger_price for one in bench.venue.stops()] == [D(41200)]
    assert bench.crashes == []
