"""The last execution on each symbol, and what the venue forced."""

import pytest

from kernel.model.orders import FillKind, Side
from kernel.model.units import TsNs
from kernel.trade.executed import Executed
from tests.kernel.trade.parts import SYMBOL, fill


def at(ts_ns: int, kind: FillKind = FillKind.TRADE, **changes):
    return fill(f"t{ts_ns}", Side.BUY, "1", "100", kind=kind, ts_ns=TsNs(ts_ns), **changes)


def test_the_newest_execution_on_a_symbol_counts_in_whatever_order_they_come():
    executed = Executed()
    for one in (at(5), at(9), at(7), at(3, symbol="ETHUSDT")):
        executed.hear("binance", one)
    executed.hear("bybit", at(11))
    assert executed.on_venue("binance") == ((SYMBOL, 9), ("ETHUSDT", 3))
    assert executed.on_venue("bybit") == ((SYMBOL, 11),)
    assert executed.on_venue("kraken") == ()


def test_funding_is_no_execution():
    executed = Executed()
    executed.hear("binance", at(5, FillKind.FUNDING))
    assert executed.on_venue("binance") == ()


@pytest.mark.parametrize("kind", FillKind)
def test_what_the_venue_forced_is_told_and_nothing_else(kind):
    executed, told = Executed(), []
    executed.on_forced = lambda venue, one: told.append((venue, one.kind))
    executed.hear("binance", at(5, kind))
    forced = kind in (FillKind.LIQUIDATION, FillKind.ADL, FillKind.SETTLEMENT)
    assert told == ([("binance", kind)] if forced else [])
