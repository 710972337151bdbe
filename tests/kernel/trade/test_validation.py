"""One signal against its venue: the first thing that is against it, in the SPEC's order."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import PositionReport, PositionSide, Side
from kernel.model.units import DAY, HOUR, TsNs
from kernel.trade.sizing import Sized
from kernel.trade.validation import Refusal, Validator
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


@pytest.mark.parametrize(("ahead", "expected"), [(DAY - HOUR, "delisting"), (DAY + HOUR, "")])
def test_a_delisting_in_the_next_day_is_refused(bench, ahead, expected):
    set_filters(bench, delist_ns=TsNs(bench.runtime.ts() + ahead))
    assert reason(bench) == expected


def test_a_position_of_ours_is_in_the_way_on_both_sides(bench):
    open_position(bench)
    assert reason(bench) == "position_open"
    assert reason(bench, signal(ONE, side=Side.SELL)) == "position_open"


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
