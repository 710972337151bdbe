"""What each request costs, as the venues' documents say."""

from decimal import Decimal

import pytest

from kernel.errors import Throttled
from kernel.model import venue
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side
from kernel.model.traits import TRAITS
from kernel.model.units import SECOND, TsNs
from kernel.trade.budgets import cost, entry_cost, exhausted, limits

D = Decimal
BINANCE, BYBIT = TRAITS["binance"], TRAITS["bybit"]
SUBMIT = venue.SubmitOrder(
    symbol="X", side=Side.BUY, qty=D(1), order_type=OrderType.MARKET, client_order_id="a"
)
STOP = venue.PlaceStop(
    symbol="X",
    side=Side.SELL,
    qty=D(1),
    trigger_price=D(1),
    trigger_by=PriceSource.MARK,
    client_order_id="b",
)
ATTACHED = venue.SetPositionStop(symbol="X", trigger_price=D(1), trigger_by=PriceSource.MARK)
CANCEL = venue.CancelOrder(symbol="X", order_class=OrderClass.PLAIN)
ORDER = venue.QueryOrder(symbol="X", surface=venue.OrderSurface.PLAIN)
OPEN = venue.QueryOpenOrders(order_class=OrderClass.PLAIN)
LEVERAGE = venue.SetLeverage(symbol="X", leverage=D(5))
MARGIN = venue.SetMarginMode(symbol="X", isolated=True)


@pytest.mark.parametrize(
    ("request_", "on_binance", "on_bybit"),
    [
        (SUBMIT, {"orders": 1, "queries": 1}, {"create": 1, "queries": 1}),
        (STOP, {"orders": 1, "queries": 1}, {"create": 1, "queries": 1}),
        (ATTACHED, {"queries": 1}, {"trading_stop": 1, "queries": 1}),
        (CANCEL, {"queries": 1}, {"cancel": 1, "queries": 1}),
        (LEVERAGE, {"queries": 1}, {"set_leverage": 1, "queries": 1}),
        (MARGIN, {"queries": 1}, {"set_margin": 1, "queries": 1}),
        (ORDER, {"queries": 1}, {"orders_asked": 1, "queries": 1}),
        (venue.QueryPositions(), {"queries": 5}, {"positions_asked": 1, "queries": 1}),
        (
            venue.QuerySnapshot(),
            {"queries": 85},
            {"positions_asked": 1, "orders_asked": 2, "queries": 3},
        ),
        (OPEN, {"queries": 40}, {"orders_asked": 1, "queries": 1}),
        (
            venue.QueryOpenOrders(order_class=OrderClass.PLAIN, symbol="X"),
            {"queries": 1},
            {"orders_asked": 1, "queries": 1},
        ),
        (venue.QueryServerTime(), {"queries": 1}, {"queries": 1}),
        (venue.QueryBalance(), {"queries": 5}, {"balance_asked": 1, "queries": 1}),
        (venue.QueryAccountConfig(), {"queries": 5}, {"queries": 1}),
        (venue.QuerySymbolConfig(symbol="X"), {"queries": 5}, {"queries": 1}),
        (venue.QueryInstruments(), {"queries": 1}, {"queries": 1}),
        (
            venue.QueryExecutions(symbol="X"),
            {"queries": 5},
            {"executions_asked": 1, "queries": 1},
        ),
        (venue.QueryFunding(since_ns=TsNs(1)), {"queries": 30}, {"queries": 1}),
    ],
    ids=str,
)
def test_a_request_costs(request_, on_binance, on_bybit):
    assert dict(cost(BINANCE, request_)) == on_binance
    assert dict(cost(BYBIT, request_)) == on_bybit


def test_an_entry_costs_what_its_order_its_stop_and_its_close_cost():
    entry, protection = entry_cost(BINANCE)
    assert entry == cost(BINANCE, SUBMIT)
    assert dict(protection) == {"orders": 2, "queries": 2}
    entry, protection = entry_cost(BYBIT)
    assert entry == cost(BYBIT, SUBMIT)
    assert dict(protection) == {"create": 1, "trading_stop": 1, "queries": 2}


def test_an_endpoint_that_places_stops_as_orders_pays_for_both():
    made = TRAITS["bybit"].__class__(
        **{name: getattr(BYBIT, name) for name in BYBIT.__struct_fields__}
        | {"stop_style": BINANCE.stop_style}
    )
    entry, protection = entry_cost(made)
    assert dict(entry) == {"create": 1, "queries": 1}
    assert dict(protection) == {"create": 2, "queries": 2}


def test_the_windows_a_venue_begins_with():
    assert limits(BINANCE) == {"queries": (1200, 60 * SECOND), "orders": (50, 10 * SECOND)}
    trade = (BYBIT.orders_per_window, BYBIT.order_window_ns)
    asked = (BYBIT.queries_per_endpoint, SECOND)
    assert limits(BYBIT) == {
        "queries": (BYBIT.queries_per_window, BYBIT.query_window_ns),
        "create": trade,
        "cancel": trade,
        "trading_stop": trade,
        "set_leverage": trade,
        "set_margin": trade,
        "orders_asked": asked,
        "executions_asked": asked,
        "positions_asked": asked,
        "balance_asked": asked,
    }


def test_which_bucket_is_empty_when_a_venue_throttles():
    orders = Throttled("too many", request="submit", code="-1015")
    weight = Throttled("too many", request="submit", code="-1003")
    assert exhausted(BINANCE, SUBMIT, orders) == "orders"
    assert exhausted(BINANCE, SUBMIT, weight) == "queries"
    assert exhausted(BINANCE, CANCEL, orders) == "queries"
    assert exhausted(BYBIT, SUBMIT, weight) == "create"
    assert exhausted(BYBIT, ATTACHED, weight) == "trading_stop"
    assert exhausted(BYBIT, OPEN, weight) == "orders_asked"
    assert exhausted(BYBIT, venue.QueryServerTime(), weight) == "queries"
