from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import SettingsError
from kernel.model.messages import QuoteRead
from kernel.model.units import TsNs
from venues.sim.grid import Grid
from venues.sim.quotes import QuoteTape, Spread


@given(st.integers(1, 10**7), st.decimals(0, 1000, places=2))
def test_a_modeled_spread_is_never_narrower_than_stated(px, bps):
    bid, ask = Spread(bps).around(px)
    assert 1 <= bid <= px <= ask
    assert bid < ask
    assert (ask - bid) * 10_000 >= px * bps or bid == 1
    assert ask - bid <= px * bps / 10_000 + 2


def test_rounding_goes_outward_to_whole_ticks():
    assert Spread(Decimal(1)).around(420_000) == (419_979, 420_021)
    assert Spread(Decimal(1)).around(50_000) == (49_997, 50_003)
    assert Spread(Decimal(0)).around(50) == (50, 51)
    assert Spread(Decimal(3)).around(1) == (1, 2)


def test_the_book_around_a_price_carries_sizes_and_the_time_of_the_price():
    read = Spread(Decimal(1), Decimal("2.5")).read(Grid(Decimal("0.1")), 420_000, 77)
    assert read == QuoteRead(
        Decimal("41997.9"), Decimal("42002.1"), Decimal("2.5"), Decimal("2.5"), TsNs(77)
    )


def test_a_recorded_quote_is_in_force_until_the_next_and_the_last_of_an_instant_counts():
    tape = QuoteTape(
        [10, 20, 20], [5, 6, 7], [6, 8, 9],
        bid_qty=(Decimal(1), Decimal(2), Decimal(3)), ask_qty=(Decimal(4),),
        tick_size=Decimal("0.5"),
    )
    assert [tape.row_at(ts) for ts in (9, 10, 19, 20, 99)] == [-1, 0, 0, 2, 2]
    bid, ask = Decimal("3.5"), Decimal("4.5")
    assert tape.read(2) == QuoteRead(bid, ask, Decimal(3), Decimal(4), TsNs(20))


def test_every_problem_of_quotes_and_spreads_is_named_at_once():
    with pytest.raises(SettingsError) as caught:
        QuoteTape([2, 1], [5, 0], [5, 6], bid_qty=(), ask_qty=(Decimal(1),), tick_size=Decimal(1))
    assert len(caught.value.problems) == 4
    with pytest.raises(SettingsError) as caught:
        Spread(Decimal(-1), Decimal(0))
    assert len(caught.value.problems) == 2
