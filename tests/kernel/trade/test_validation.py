"""One signal against its venue: the first thing that is against it, in the SPEC's order."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.messages import PriceRead
from kernel.model.orders import PositionReport, PositionSide, Side
from kernel.model.units import DAY, HOUR, TsNs
from kernel.trade.sizing import Sized
from kernel.trade.validation import Refusal, Validator, position_side
from tests.kernel.trade.parts import order_row
from tests.kernel.trade.wave_bench import SYMBOLS, Saga, WaveBench, instrument, signal

D = Decimal
ONE = SYMBOLS[0]


@pytest.fixture
def bench():
    made = WaveBench()
    made.risk.note_available("binance", D(100_000), D(100_000))
    yield made
    WaveBench.close_all()


def check(bench, one=None):
    return Validator(bench.services).check(one or signal(ONE))


def reason(bench, one=None):
    verdict = check(bench, one)
    return verdict.reason if isinstance(verdict, Refusal) else ""


def set_filters(bench, **changes):
    bench.desk.instruments[ONE] = instrument(ONE, **changes)


def report(side, qty):
    return PositionReport(symbol=ONE, side=side, qty=D(qty), updated_ns=TsNs(1))


def open_position(bench, symbol=ONE):
    bench.until(60).start()
    plan_signal = signal(symbol)
    bench.arrive(plan_signal).until(65)


def test_a_good_signal_is_sized(bench):
    verdict = check(bench)
    assert isinstance(verdict, Sized)
    assert verdict.qty == D("1.999")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (msgspec.structs.replace(signal(ONE), venue="kraken"), "unknown_venue"),
        (signal("NOPEUSDT"), "unknown_symbol"),
    ],
)
def test_what_is_not_known_is_refused(bench, one, expected):
    assert reason(bench, one) == expected


def test_a_symbol_that_does_not_trade_is_refused(bench):
    set_filters(bench, trading=False)
    assert reason(bench) == "not_trading"


@pytest.mark.parametrize(
    ("ahead", "expected"), [(DAY - HOUR, "delisting"), (DAY - 1, "delisting"), (DAY, "")]
)
def test_a_delisting_in_the_next_day_is_refused(bench, ahead, expected):
    set_filters(bench, delist_ns=TsNs(bench.runtime.ts() + ahead))
    assert reason(bench) == expected


def test_a_position_of_ours_is_in_the_way_on_both_sides(bench):
    open_position(bench)
    assert check(bench) == Refusal("position_open", "ACTIVE")
    assert check(bench, signal(ONE, side=Side.SELL)) == Refusal("position_open", "ACTIVE")


def test_a_position_that_only_the_venue_knows_is_in_the_way(bench):
    bench.desk.hear_position(report(PositionSide.SHORT, 1))
    assert reason(bench) == "position_on_venue"
    bench.desk.hear_position(report(PositionSide.FLAT, 0))
    assert reason(bench) == ""


def test_an_order_that_is_not_proven_terminal_is_in_the_way(bench):
    row = msgspec.structs.replace(order_row("wk1-1-aaaaaa-S0-0"), symbol=ONE)
    bench.services.orders.register(row)
    assert reason(bench) == "order_unsettled"
    assert reason(bench, signal(SYMBOLS[1])) == ""


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [
        ("99", "101", ""),
        ("98.99", "101", "spread"),
        ("0", "101", "no_quote"),
        ("101", "99", "no_quote"),
    ],
)
def test_the_spread_is_limited(bench, bid, ask, expected):
    bench.quotes.special[ONE] = (D(bid), D(ask))
    assert reason(bench) == expected


def test_a_size_below_the_venues_minimum_is_refused(bench):
    set_filters(bench, min_notional=D(500))
    assert reason(bench) == "below_venue_min_notional"


@pytest.mark.parametrize(("tick", "expected"), [("0.66", ""), ("0.67", "tick_too_coarse")])
def test_three_ticks_must_fit_between_entry_and_stop(bench, tick, expected):
    """At 100.01 the stop is 2.0002 away."""
    set_filters(bench, tick_size=D(tick))
    assert reason(bench) == expected


def test_locks_pauses_blocks_and_a_stop_forbid_entries(bench):
    bench.risk.lock("binance", ONE, "liquidated", TsNs(bench.runtime.ts() + HOUR))
    assert check(bench) == Refusal("entries_locked", "locked: liquidated")
    bench.risk.unlock("binance", ONE, "test")
    bench.risk.pause("lunch")
    assert check(bench) == Refusal("entries_locked", "paused: lunch")
    bench.risk.resume()
    bench.desk.block_entries("resync")
    assert check(bench) == Refusal("entries_blocked", "resync")
    bench.desk.unblock_entries("resync")
    bench.services.stopping = True
    assert check(bench) == Refusal("entries_locked", "stopping")


def test_a_saga_of_the_bench_holds_the_symbol_while_it_runs(bench):
    """What `Waves` relies on: the position exists from the first await of the saga."""
    bench.saga.script[ONE] = 30
    open_position(bench)
    assert isinstance(bench.saga, Saga)
    assert reason(bench) == "position_open"


def test_three_ticks_may_fit_exactly(bench):
    """At 150 the stop is 3 away."""
    bench.quotes.special[ONE] = (D(150), D(150))
    set_filters(bench, tick_size=D(1))
    assert reason(bench) == ""


def test_without_a_price_of_the_series_that_triggers_stops_there_is_no_entry(bench):
    bench.quotes.last = lambda venue, symbol, source: PriceRead(D(0), TsNs(0))
    assert check(bench) == Refusal("no_trigger_price", "MARK")


def test_limits_of_the_account_and_caps_of_the_venue_refuse(bench):
    bench.desk.traits = msgspec.structs.replace(bench.desk.traits, conditional_cap=1)
    assert check(bench) == Refusal("order_cap", "1 conditional orders of 1")
    full = WaveBench(max_exposure_usd=250)
    full.risk.note_available("binance", D(100_000), D(100_000))
    assert reason(full) == ""
    full.risk.reserve("binance", SYMBOLS[1], PositionSide.LONG, D(100))
    assert check(full) == Refusal("max_exposure", "199.91999")


def test_on_probation_there_is_one_entry_at_a_time(bench):
    bench.desk.on_probation = True
    assert reason(bench) == ""
    bench.risk.reserve("binance", SYMBOLS[1], PositionSide.LONG, D(10))
    assert reason(bench) == "venue_on_probation"
    bench.desk.on_probation = False
    assert reason(bench) == ""


def test_the_side_of_a_signal_is_that_of_its_position():
    assert position_side(signal(ONE, side=Side.BUY)) is PositionSide.LONG
    assert position_side(signal(ONE, side=Side.SELL)) is PositionSide.SHORT


def test_what_no_price_can_help_is_hopeless(bench):
    def is_hopeless(one):
        return Validator(bench.services).is_hopeless(one)

    assert not is_hopeless(signal(ONE))
    assert is_hopeless(msgspec.structs.replace(signal(ONE), venue="kraken"))
    assert is_hopeless(signal("NOPEUSDT"))
    bench.desk.hear_position(report(PositionSide.SHORT, 1))
    assert is_hopeless(signal(ONE))
    bench.desk.hear_position(report(PositionSide.FLAT, 0))
    bench.quotes.special[ONE] = (D(1), D(2))
    assert not is_hopeless(signal(ONE)), "a price may"
    set_filters(bench, trading=False)
    assert is_hopeless(signal(ONE))
