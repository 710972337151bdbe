"""The balances a wave begins from: one read a venue, two tries, half a second of patience."""

from decimal import Decimal

import pytest

from kernel.errors import OutcomeUnknown
from kernel.model.orders import BalanceReport, PositionSide
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import EffectClass
from kernel.signals.schedule import CheckWindow
from kernel.trade.wave_balances import WaveBalances
from kernel.trade.wave_record import WaveRecord
from tests.kernel.trade.wave_bench import SYMBOLS, WaveBench

D = Decimal
VENUES = ("binance", "bybit")


class Account:
    """Answers with what is left of its script, after a time."""

    def __init__(self, bench, seconds=0.0, answers=(60,)):
        self.bench, self.seconds, self.answers = bench, seconds, list(answers)
        self.asked = []

    async def ask(self, request, cls, entity):
        self.asked.append((request.__class__.__name__, cls, entity))
        await self.bench.runtime.sleep(int(self.seconds * SECOND))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return BalanceReport(
            asset="USDT", wallet=D(answer + 1), available=D(answer), updated_ns=TsNs(1)
        )


class Balances:
    """The reads of one wave on two venues."""

    def __init__(self, **accounts):
        self.bench = WaveBench(venues=VENUES)
        self.accounts = {name: Account(self.bench, *accounts.get(name, ())) for name in VENUES}
        for name, account in self.accounts.items():
            self.bench.accounts[name].ask = account.ask  # type: ignore[method-assign]
        window = CheckWindow(TsNs(0), TsNs(1), TsNs(0))
        self.ended: list[int] = []
        self.balances = WaveBalances(
            self.bench.services,
            WaveRecord(self.bench.services, window, "feed"),
            lambda: self.ended.append(self.bench.runtime.now()),
        )
        self.returned = []

    def read(self, *venues, until=10.0):
        async def one():
            await self.balances.read(venues)
            self.returned.append(self.bench.runtime.now())

        self.bench.runtime.spawn(one(), "read")
        self.bench.until(until)
        return self

    def room(self, venue, notional=200):
        """Whether a venue's margin ledger lets an entry pass."""
        one = (venue, SYMBOLS[0], PositionSide.LONG, D(notional))
        return self.bench.risk.refusal(*one) != "margin"


@pytest.fixture(autouse=True)
def _ended():
    yield
    WaveBench.close_all()


def test_venues_are_read_at_once_and_each_once_a_wave():
    made = Balances(binance=(0.3,), bybit=(0.4,))
    made.read(*VENUES, until=0)
    assert [account.asked for account in made.accounts.values()] == [
        [("QueryBalance", EffectClass.QUERY, "account")]
    ] * 2
    assert made.balances.is_pending("binance")
    made.bench.until(10)
    assert made.returned == [400 * MS]
    assert made.ended == [300 * MS, 400 * MS]
    assert not made.balances.is_pending("binance")
    made.read(*VENUES)
    assert made.returned == [400 * MS, 10 * SECOND]
    assert [len(account.asked) for account in made.accounts.values()] == [1, 1]


def test_a_ledger_begins_from_what_is_available():
    made = Balances().read("binance", until=0)
    assert made.bench.desk.balance.available == 60
    assert made.room("binance", 200)
    assert not made.room("binance", 300)


@pytest.mark.parametrize(("seconds", "waited"), [(0.499, 499), (0.5, 500), (0.6, 500)])
def test_half_a_second_is_waited_for_a_venue_and_no_longer(seconds, waited):
    made = Balances(binance=(seconds,)).read("binance", until=0.55)
    assert made.returned == [waited * MS]
    assert made.balances.is_pending("binance") is (seconds > 0.55)
    made.bench.until(1)
    assert made.ended == [int(seconds * SECOND)]
    assert not made.balances.is_pending("binance")


def test_what_is_read_for_another_wave_of_calls_is_not_waited_for():
    made = Balances(binance=(5.0,), bybit=(0.1,)).read("binance", until=1)
    made.read("binance", "bybit", until=2)
    assert made.returned == [500 * MS, SECOND + 100 * MS]


ERROR = OutcomeUnknown("binance", "balance", "timeout")


@pytest.mark.parametrize(
    ("answers", "asked", "failed"),
    [((60,), 1, 0), ((ERROR, 60), 2, 1), ((ERROR, ERROR, 60), 2, 2)],
)
def test_a_read_that_failed_is_tried_once_more_and_told(answers, asked, failed):
    made = Balances(binance=(0.0, answers)).read("binance")
    assert len(made.accounts["binance"].asked) == asked
    told = made.bench.kinds("wave.balance")
    assert [one.venue for one in told] == ["binance"] * failed
    assert all("not read: binance balance" in one.cause for one in told)
    assert made.room("binance", 300) is (failed == 2), "without a figure there is no ledger"


def test_without_an_answer_the_ledger_begins_from_the_last_balance_that_is_known():
    made = Balances(binance=(0.0, (ERROR, ERROR)))
    known = BalanceReport(asset="USDT", wallet=D(60), available=D(50), updated_ns=TsNs(1))
    made.bench.desk.hear_balance(known)
    made.read("binance")
    assert made.room("binance", 200)
    assert not made.room("binance", 300)
