"""A plan: the quantity of a position is that of its children together."""

from decimal import Decimal

import pytest

from kernel.model.orders import PositionSide
from kernel.model.rows import ClaimRow
from kernel.model.units import TsNs
from kernel.trade.entry_plan import EntryPlan

D = Decimal


@pytest.mark.parametrize(
    ("children", "qty"), [(("2",), "2"), (("2", "0.5"), "2.5"), (("2", "2", "0.5"), "4.5")]
)
def test_the_quantity_of_a_plan_is_that_of_its_children(children, qty):
    plan = EntryPlan(
        reservation_id="1-1",
        venue="binance",
        symbol="X",
        side=PositionSide.LONG,
        wave_ns=TsNs(1),
        claim=ClaimRow(once_key="k", wave_ns=TsNs(1), claimed_ns=TsNs(1)),
        children=tuple(D(one) for one in children),
        notional=D(200),
        reference_price=D(100),
        expires_ns=TsNs(9),
    )
    assert plan.qty == D(qty)
