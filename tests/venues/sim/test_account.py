"""Money in the account is exact, and margin is what the rules say."""

from decimal import Decimal

from kernel.model.orders import Side
from kernel.model.units import ZERO
from venues.sim.account import Account, AccountRules
from venues.sim.truth import LedgerKind

BTC = "BTCUSDT"
THIRD = Decimal("0.003")


def trade(account: Account, side: Side, qty: str, price: str, now_ns: int = 1) -> Decimal:
    position = account.position(BTC, "BOTH")
    value = Decimal(qty) * Decimal(price)
    booked = account.trade(
        position, side, Decimal(qty), Decimal(price),
        fee=account.fee(value, maker=False), now_ns=now_ns, ref="t",
    )  # fmt: skip
    return booked.realized


def test_from_flat_to_flat_the_profit_is_what_was_sold_minus_what_was_bought() -> None:
    account = Account(AccountRules(taker_fee=ZERO), 0)
    trade(account, Side.BUY, "0.007", "33333.33")
    trade(account, Side.BUY, "0.003", "44444.47")
    for price in ("50000.01", "1.07", "77777.77"):
        trade(account, Side.SELL, "0.003", price)
    trade(account, Side.SELL, "0.001", "60000")
    bought = Decimal("0.007") * Decimal("33333.33") + THIRD * Decimal("44444.47")
    prices = Decimal("50000.01") + Decimal("1.07") + Decimal("77777.77")
    sold = THIRD * prices + Decimal("0.001") * Decimal(60000)
    assert account.cash["REALIZED_PNL"] == sold - bought
    assert account.wallet == Decimal(100_000) + sold - bought
    assert not account.open
    assert account.position_margin == 0


def test_a_trade_through_zero_closes_and_opens() -> None:
    account = Account(AccountRules(), 0)
    trade(account, Side.BUY, "1", "100")
    assert trade(account, Side.SELL, "3", "110", now_ns=7) == 10
    position = account.position(BTC, "BOTH")
    assert (position.qty, position.entry_price) == (Decimal(-2), Decimal(110))
    assert position.opened_ns == 7


def test_adding_keeps_the_time_of_opening_and_averages_the_price() -> None:
    account = Account(AccountRules(), 0)
    trade(account, Side.BUY, "1", "100", now_ns=3)
    trade(account, Side.BUY, "3", "120", now_ns=9)
    position = account.position(BTC, "BOTH")
    assert (position.entry_price, position.opened_ns, position.seq) == (Decimal(115), 3, 2)


def test_isolated_liquidation_comes_from_the_margin_of_the_position() -> None:
    account = Account(AccountRules(leverage=Decimal(10), maintenance_rate=Decimal("0.005")), 0)
    trade(account, Side.BUY, "1", "1000")
    position = account.position(BTC, "BOTH")
    assert account.bankruptcy_price(position) == 900
    assert account.liquidation_price(position) == Decimal("904.52261307")
    account.set_leverage(BTC, Decimal(20))
    assert account.bankruptcy_price(position) == 950
    assert account.position_margin == 50


def test_a_short_is_liquidated_above_its_entry() -> None:
    account = Account(AccountRules(leverage=Decimal(10)), 0)
    trade(account, Side.SELL, "1", "1000")
    price = account.liquidation_price(account.position(BTC, "BOTH"))
    assert 1000 < price < 1100


def test_in_cross_mode_the_whole_wallet_stands_behind_a_position() -> None:
    account = Account(AccountRules(isolated=False, deposit=Decimal(100_000)), 0)
    trade(account, Side.BUY, "1", "1000")
    assert account.liquidation_price(account.position(BTC, "BOTH")) == 0


def test_available_is_the_wallet_without_margins() -> None:
    account = Account(AccountRules(deposit=Decimal(1000), taker_fee=Decimal("0.001")), 0)
    trade(account, Side.BUY, "1", "500")
    assert account.available == Decimal(1000) - Decimal("0.5") - 100
    account.order_margin = Decimal(50)
    assert account.available == Decimal("849.5")


def test_the_ledger_can_be_left_out_but_never_its_sums() -> None:
    account = Account(AccountRules(keep_ledger=False), 0)
    trade(account, Side.BUY, "1", "500")
    assert account.ledger == []
    assert account.cash[LedgerKind.FEE] == Decimal("-0.25")
    assert sum(account.cash.values()) == account.wallet
