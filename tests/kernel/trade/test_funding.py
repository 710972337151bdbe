"""What makes two tellings of a payment of funding one, and which full hours lie between times."""

from decimal import Decimal

import pytest

from kernel.model.orders import BalanceReport, FillKind, Side
from kernel.model.units import HOUR, MINUTE, MS, SECOND, TsNs
from kernel.trade.funding import full_hours, funding_id, of_balance, of_ledger, since_hour
from tests.kernel.trade.parts import fill

HOUR_NS = 500_000 * HOUR


@pytest.mark.parametrize("apart_ns", [-MINUTE, -15 * SECOND, 0, 1, 15 * SECOND, MINUTE])
def test_a_payment_near_its_full_hour_is_that_hours(apart_ns):
    assert funding_id(HOUR_NS + apart_ns) == f"funding-{HOUR_NS // MS}"


@pytest.mark.parametrize("apart_ns", [-MINUTE - MS, MINUTE + MS, HOUR // 2])
def test_a_payment_far_from_a_full_hour_has_its_own_time(apart_ns):
    assert funding_id(HOUR_NS + apart_ns) == f"funding-{(HOUR_NS + apart_ns) // MS}"


def test_the_balance_and_the_ledger_tell_of_the_same_payment():
    told = BalanceReport(
        asset="USDT",
        wallet=Decimal(100),
        available=Decimal(100),
        reason="FUNDING_FEE",
        change=Decimal("-0.3"),
        symbol="BTCUSDT",
        updated_ns=TsNs(HOUR_NS + 3 * SECOND),
    )
    row = fill("9689322393", Side.BUY, "0", "0", kind=FillKind.FUNDING, ts_ns=TsNs(HOUR_NS))
    paid = of_balance(told)
    assert (paid.fee, paid.kind, paid.qty) == (Decimal("0.3"), FillKind.FUNDING, 0)
    assert paid.trade_id == of_ledger(row).trade_id
    assert (paid.side, paid.qty, paid.price) == (row.side, row.qty, row.price)
    assert paid.ts_ns == told.updated_ns


@pytest.mark.parametrize(
    ("after", "through", "hours"),
    [
        (0, HOUR, [HOUR]),
        (-1, 0, [0]),
        (0, HOUR - 1, []),
        (HOUR, HOUR, []),
        (1, 3 * HOUR, [HOUR, 2 * HOUR, 3 * HOUR]),
        (HOUR, 0, []),
    ],
)
def test_full_hours_behind_a_time(after, through, hours):
    assert [hour - HOUR_NS for hour in full_hours(HOUR_NS + after, HOUR_NS + through)] == hours


def test_a_time_belongs_to_the_full_hour_before_it():
    assert since_hour(HOUR_NS + HOUR - 1) == since_hour(HOUR_NS) == HOUR_NS
