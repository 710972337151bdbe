"""Leverage and margin mode: what the venue shows counts, an answer to "set" does not."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.errors import OutcomeUnknown, Rejected
from kernel.model.units import SECOND
from kernel.model.venue import (
    Done,
    EffectClass,
    QuerySymbolConfig,
    SetLeverage,
    SetMarginMode,
    SymbolConfig,
)
from kernel.trade.symbol_setup import READBACKS, SymbolSetup
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import SYMBOL

READ = QuerySymbolConfig(symbol=SYMBOL)
LEVERAGE = SetLeverage(symbol=SYMBOL, leverage=Decimal(5))
ISOLATED = SetMarginMode(symbol=SYMBOL, isolated=True)


class Account:
    """A symbol's settings on a venue: it takes what it is told, unless it is `stubborn`."""

    def __init__(self, venue="binance", *, leverage=20, isolated=False, **settings: Any):
        self.bench = DeskBench(venue, leverage=5, margin_mode="isolated", **settings)
        self.bench.venue.answer = self
        self.leverage, self.isolated = Decimal(leverage), isolated
        self.stubborn: dict[type, Any] = {}
        self.setup = SymbolSetup(self.bench.services)

    def __call__(self, request):
        if type(request) in self.stubborn:
            return self.stubborn[type(request)]
        if isinstance(request, SetLeverage):
            self.leverage = request.leverage
        elif isinstance(request, SetMarginMode):
            self.isolated = request.isolated
        else:
            return SymbolConfig(symbol=SYMBOL, leverage=self.leverage, isolated=self.isolated)
        return Done()

    def blocked(self, until_ns=60 * SECOND):
        return self.bench.run(self.setup.blocked(self.bench.desk, SYMBOL), until_ns)

    @property
    def asked(self):
        return self.bench.venue.asked


def test_what_stands_already_is_not_set():
    account = Account(leverage=5, isolated=True)
    assert account.blocked() == ""
    assert account.asked == [READ]
    assert account.bench.decided("symbol.ready") == []


@pytest.mark.parametrize(
    ("venue", "leverage", "isolated", "sets"),
    [
        ("binance", 20, False, [ISOLATED, LEVERAGE]),
        ("binance", 5, False, [ISOLATED]),
        ("binance", 20, True, [LEVERAGE]),
        ("bybit", 20, True, [LEVERAGE]),
    ],
)
def test_what_differs_is_set_and_read_back(venue, leverage, isolated, sets):
    account = Account(venue, leverage=leverage, isolated=isolated)
    assert account.blocked(until_ns=0) == ""
    assert account.asked == [READ, *sets, READ]
    assert {cls for _, cls, _ in account.bench.venue.whole} == {EffectClass.QUERY}
    assert {entity for *_, entity in account.bench.venue.whole} == {SYMBOL}
    (told,) = account.bench.decided("symbol.ready")
    assert (told.venue, told.symbol, told.values["leverage"]) == (venue, SYMBOL, "5")
    assert account.bench.alerts() == []


def test_where_the_account_has_one_margin_mode_it_is_not_set_for_a_symbol():
    account = Account("bybit", leverage=5, isolated=False)
    assert account.blocked() == f"{SYMBOL}: the venue shows leverage 5, cross; wanted 5, isolated"
    assert account.asked == [READ] * (1 + READBACKS)


@pytest.mark.parametrize("answer", [Done(), Rejected("binance", "x", "-1", "no")], ids=type)
def test_a_setting_that_does_not_take_blocks_the_symbol_for_the_run_and_is_told_once(answer):
    account = Account(isolated=True)
    account.stubborn[SetLeverage] = answer
    expected = f"{SYMBOL}: the venue shows leverage 20, isolated; wanted 5, isolated"
    assert account.blocked() == expected
    assert account.asked == [READ, LEVERAGE, *[READ] * 3]
    assert account.blocked() == expected
    assert len(account.asked) == 5, "it is remembered"
    (alert,) = account.bench.bodies()
    assert (alert.severity, alert.kind, alert.text) == ("ERROR", "symbol_setup", expected)
    assert (alert.venue, alert.symbol, alert.dedupe) == ("binance", SYMBOL, SYMBOL)


def test_it_is_read_back_a_second_later_and_another_second_later():
    account = Account(isolated=True)
    account.stubborn[SetLeverage] = Done()
    bench = account.bench
    bench.bench.runtime.call_at(2 * SECOND - 1, lambda: setattr(account, "leverage", Decimal(5)))
    assert account.blocked(until_ns=2 * SECOND - 1) is None
    bench.bench.at(2 * SECOND)
    assert len(account.asked) == 5
    assert account.blocked(until_ns=0) == ""
    assert len(account.asked) == 5


def test_what_was_confirmed_is_not_asked_again():
    account = Account()
    assert account.blocked() == ""
    asked = len(account.asked)
    assert account.blocked() == ""
    assert len(account.asked) == asked


def test_a_read_that_fails_blocks_this_entry_only():
    account = Account()
    account.stubborn[QuerySymbolConfig] = OutcomeUnknown("binance", "symbol_config", "timeout")
    assert account.blocked().startswith("leverage and margin mode not confirmed: binance")
    assert account.bench.alerts() == []
    del account.stubborn[QuerySymbolConfig]
    assert account.blocked() == ""


def test_an_unknown_outcome_of_a_setting_blocks_this_entry():
    account = Account(isolated=True)
    account.stubborn[SetLeverage] = OutcomeUnknown("binance", "set_leverage", "timeout")
    assert "not confirmed" in account.blocked()
    assert account.asked == [READ, LEVERAGE]
