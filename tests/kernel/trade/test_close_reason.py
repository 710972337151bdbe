"""The last closing execution says why a position ended."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from kernel.model.ids import Leg, OrderIdParts, client_order_id, symbol_hash
from kernel.model.orders import FillKind, OrderClass, OrderStatus, PositionSide, Side
from kernel.model.positions import CloseReason, TrailingState
from kernel.model.units import TsNs
from kernel.trade.close_reason import ended_by
from tests.kernel.trade.parts import START_TS, Bench, fill, order_row, report

D = Decimal


def ended(*fills, side=PositionSide.LONG, orders=(), level="98", **changes):
    bench = Bench()
    position = bench.position(side)
    position.update(protected_level=D(level), **changes)
    for row, venue_id in orders:
        bench.orders.register(row)
        bench.orders.on_report(
            "binance",
            report(
                row.client_order_id, venue_id, OrderStatus.NEW, START_TS,
                order_class=row.order_class, order_type=row.order_type, side=row.side,
            ),
        )  # fmt: skip
    position.fills.update({one.trade_id: one for one in fills})
    services: Any = SimpleNamespace(orders=bench.orders)
    return ended_by(services, position)


def exit_(trade="x", price="98", at=5, **changes):
    return fill(trade, Side.SELL, "1", price, ts_ns=TsNs(START_TS + at), **changes)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FillKind.LIQUIDATION, CloseReason.LIQUIDATION),
        (FillKind.ADL, CloseReason.ADL),
        (FillKind.SETTLEMENT, CloseReason.SETTLEMENT),
    ],
)
def test_what_the_venue_closed_is_told_by_its_execution(kind, reason):
    assert ended(exit_(kind=kind)) is reason


def test_without_a_closing_execution_nothing_is_known():
    assert ended() is None
    assert ended(fill("e", Side.BUY, "1", "100")) is None
    assert ended(exit_(kind=FillKind.FUNDING)) is None


def test_an_execution_that_the_level_explains_is_a_stop_and_any_other_somebody_elses():
    assert ended(exit_(price="98")) is CloseReason.STOP_LOSS
    assert ended(exit_(price="97.5")) is CloseReason.STOP_LOSS
    assert ended(exit_(price="98.1")) is CloseReason.EXTERNAL


def test_the_last_of_several_decides_and_of_two_at_once_the_one_that_came_later():
    near, far = exit_("a", "98", 5), exit_("b", "99", 6)
    assert ended(near, far) is CloseReason.EXTERNAL
    assert ended(far, near) is CloseReason.EXTERNAL
    same = exit_("c", "98", 6)
    assert ended(far, same) is CloseReason.STOP_LOSS
    assert ended(same, far) is CloseReason.EXTERNAL
    assert ended(far, exit_("f", "98", 9, kind=FillKind.FUNDING)) is CloseReason.EXTERNAL
    entry = fill("e", Side.BUY, "1", "98", ts_ns=TsNs(START_TS + 9))
    assert ended(far, entry) is CloseReason.EXTERNAL


@pytest.mark.parametrize("trailing", TrailingState)
def test_a_stop_is_a_trailing_stop_from_its_activation_on(trailing):
    expected = (
        CloseReason.TRAILING_STOP
        if trailing in (TrailingState.ACTIVE, TrailingState.TRIGGERED)
        else CloseReason.STOP_LOSS
    )
    assert ended(exit_(), trailing=trailing) is expected


@pytest.mark.parametrize("named", ["client_order_id", "venue_order_id"])
@pytest.mark.parametrize(
    ("order_class", "expected"),
    [(OrderClass.PLAIN, None), (OrderClass.CONDITIONAL, CloseReason.STOP_LOSS)],
)
def test_an_order_of_ours_is_known_by_either_id(named, order_class, expected):
    row = order_row("ours", order_class=order_class, side=Side.SELL)
    ids = {"client_order_id": "", "venue_order_id": ""} | {
        named: "ours" if named == "client_order_id" else "v9"
    }
    assert ended(exit_(price="120", **ids), orders=[(row, "v9")]) is expected


@pytest.mark.parametrize(("leg", "expected"), [(Leg.AGED, CloseReason.AGED), (Leg.EXIT, None)])
def test_an_order_that_closes_an_aged_position_says_so_and_any_other_of_ours_nothing(leg, expected):
    symbol = symbol_hash("binance", "BTCUSDT")
    parts = OrderIdParts(epoch=1, wave_minute=1, symbol_hash=symbol, leg=leg, child=0, generation=0)
    name = client_order_id(parts)
    row = order_row(name, side=Side.SELL)
    assert ended(exit_(price="120", client_order_id=name), orders=[(row, "v9")]) is expected


@pytest.mark.parametrize("side", [PositionSide.LONG, PositionSide.SHORT])
def test_without_a_level_no_execution_is_one_of_a_stop(side):
    closing = fill("x", side.exit_side, "1", "98", ts_ns=TsNs(START_TS))
    assert ended(closing, side=side, level="0") is CloseReason.EXTERNAL
