"""Which executions made a position, walked back from what the venue shows now."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import Fill, FillKind, PositionSide, Side
from kernel.model.units import ZERO, TsNs
from kernel.sync.origin import since_flat

MOVES = st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(1, 5)), max_size=12)


def fill(number: int, side: Side, qty: int, kind: FillKind = FillKind.TRADE) -> Fill:
    return Fill(
        symbol="BTCUSDT",
        trade_id=str(number),
        venue_order_id=str(number),
        client_order_id="",
        side=side,
        qty=Decimal(qty),
        price=Decimal(100),
        kind=kind,
        ts_ns=TsNs(number),
    )


@given(MOVES)
def test_the_executions_since_flat_make_the_position_and_none_before_them_does(
    moves: list[tuple[Side, int]],
) -> None:
    fills = [fill(number, side, qty) for number, (side, qty) in enumerate(moves)]
    held, begins = ZERO, 0
    for number, one in enumerate(fills):
        before, held = held, held + one.qty * one.side.sign
        if before == 0:
            begins = number
        elif before * held < 0:
            begins = -1  # turned round: one execution belongs to two positions
        if begins == -1 and held == 0:
            begins = number + 1
    if held > 0:
        expected = () if begins == -1 else tuple(fills[begins:])
        assert since_flat(fills, PositionSide.LONG, held) == expected


def test_funding_made_nothing() -> None:
    entry = fill(1, Side.BUY, 2)
    paid = fill(2, Side.BUY, 2, FillKind.FUNDING)
    assert since_flat([entry, paid], PositionSide.LONG, Decimal(2)) == (entry,)


def test_where_executions_are_missing_nobody_can_say() -> None:
    assert since_flat([fill(1, Side.BUY, 1)], PositionSide.LONG, Decimal(2)) == ()


@pytest.mark.parametrize(
    ("moves", "qty", "since"),
    [
        ("B2", 2, 0),
        ("B1 B1", 2, 0),
        ("B1 S1 B2", 2, 2),
        ("B3 S1", 2, 0),
        ("B2 S2 B1 B2 S1", 2, 2),
        ("B3", 2, None),
        ("S1 B3", 2, None),
        ("B1", 2, None),
        ("", 2, None),
    ],
)
def test_the_executions_since_flat_are_all_of_them_and_no_more(
    moves: str, qty: int, since: int | None
) -> None:
    sides = {"B": Side.BUY, "S": Side.SELL}
    fills = [fill(n, sides[m[0]], int(m[1:])) for n, m in enumerate(moves.split())]
    expected = () if since is None else tuple(fills[since:])
    assert since_flat(fills, PositionSide.LONG, Decimal(qty)) == expected
