"""A desk: why entries are forbidden, what the venue said last, when its stream is doubted."""

from decimal import Decimal

import pytest

from kernel.model.orders import BalanceReport, PositionReport, PositionSide
from kernel.model.units import MINUTE, SECOND, TsNs
from kernel.model.venue import VenueNotice
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import START_TS, SYMBOL
from tests.kernel.trade.wave_bench import instrument

D = Decimal


def report(qty="1", side=PositionSide.LONG, **changes):
    fields = {"symbol": SYMBOL, "side": side, "qty": D(qty), "updated_ns": TsNs(5)}
    return PositionReport(**(fields | changes))


def test_a_new_desk_knows_nothing_and_forbids_nothing():
    desk = DeskBench("bybit").desk
    assert desk.name == "bybit"
    assert desk.entries_allowed
    flags = (desk.instruments_loaded, desk.filters_doubtful, desk.hedge_mode, desk.stream_up)
    assert (*flags, desk.on_probation) == (False,) * 5
    assert (desk.stream_up_ts_ns, desk.stream_generation, desk.resynced_mono_ns) == (0, 0, 0)
    assert desk.closely_until_ns == 0
    assert desk.balance is None


def test_entries_are_forbidden_until_each_reason_is_lifted():
    made = DeskBench()
    desk = made.desk
    for reason in ("stream", "resync", "stream"):
        desk.block_entries(reason)
    assert desk.block_reasons == ("stream", "resync")
    desk.unblock_entries("stream")
    desk.unblock_entries("stream")
    assert not desk.entries_allowed
    desk.unblock_entries("resync")
    assert desk.entries_allowed
    assert [one.cause for one in made.decided("entries.blocked")] == ["stream", "resync"]
    told = [(one.cause, one.values["left"]) for one in made.decided("entries.unblocked")]
    assert told == [("stream", "resync"), ("resync", "")]


def test_a_stream_that_breaks_three_times_in_ten_minutes_is_watched_closely_for_ten_more():
    made = DeskBench()
    desk, told = made.desk, []
    desk.on_close_watch = lambda: told.append(made.bench.runtime.now())
    lost = []
    for at in (0, 1 * MINUTE, 10 * MINUTE, 11 * MINUTE - 1):
        made.bench.at(at)
        lost.append(desk.hear_stream_loss())
    assert lost == [False, False, False, True], "the first was ten minutes ago"
    assert desk.closely_until_ns == 21 * MINUTE - 1
    assert told == [11 * MINUTE - 1]


def test_a_venue_is_watched_closely_for_as_long_as_is_asked():
    made = DeskBench()
    made.bench.at(5)
    made.desk.watch_closely(7)
    assert made.desk.closely_until_ns == 12


def suspected(*asks, up_since=START_TS):
    """Reconnects after `suspect` was called at these (monotonic, of what happened) times."""
    made = DeskBench()
    made.desk.stream_up, made.desk.stream_up_ts_ns = True, TsNs(up_since)
    for at, happened in asks:
        made.bench.at(at)
        made.desk.suspect(TsNs(START_TS + happened))
    return made


def test_news_that_the_stream_should_have_told_connects_it_anew():
    made = suspected((SECOND, 1))
    assert made.venue.reconnects == ["a read shows what the stream did not tell"]
    assert made.desk.suspected_mono_ns == SECOND
    (decided,) = made.decided("stream.suspect")
    assert decided.values["happened_ns"] == str(START_TS + 1)


def test_news_of_the_first_instant_of_a_process_is_enough():
    assert len(suspected((0, 1)).venue.reconnects) == 1


def test_news_from_before_the_stream_was_up_is_no_suspicion():
    assert suspected((SECOND, 0)).venue.reconnects == []
    assert len(suspected((SECOND, 1)).venue.reconnects) == 1
    made = DeskBench()
    made.desk.suspect(TsNs(START_TS + 1))
    assert made.venue.reconnects == [], "it is not connected"


def test_a_stream_is_torn_down_once_a_minute_at_most():
    first = 5 * SECOND
    early = suspected((first, 1), (first + 60 * SECOND - 1, 1))
    assert len(early.venue.reconnects) == 1
    assert early.desk.suspected_mono_ns == first
    assert len(suspected((first, 1), (first + 60 * SECOND, 1)).venue.reconnects) == 2


def test_a_symbol_is_found_in_either_spelling_and_never_cut_out_of_a_name():
    desk = DeskBench().desk
    desk.instruments = {
        "1000PEPEUSDT": instrument("1000PEPEUSDT", base="1000PEPE"),
        "PEPEUSDT": instrument("PEPEUSDT", base="PEPE"),
        "A/B": instrument("A/B", base="OTHER"),
        "X": instrument("X", base="A/B"),
    }
    assert desk.symbol_of("PEPEUSDT") == "PEPEUSDT"
    assert desk.symbol_of("PEPE/USDT:USDT") == "PEPEUSDT"
    assert desk.symbol_of("1000PEPE/USDT:USDT") == "1000PEPEUSDT"
    assert desk.symbol_of("DOGE/USDT:USDT") == "DOGE/USDT:USDT"
    assert desk.symbol_of("DOGEUSDT") == "DOGEUSDT"
    assert desk.symbol_of("A/B") == "A/B", "a name that it has is its own"


def test_an_older_position_report_is_not_kept():
    desk = DeskBench().desk
    assert desk.hear_position(report("2"))
    assert not desk.hear_position(report("3", updated_ns=TsNs(4)))
    assert desk.reported[(SYMBOL, "BOTH")].qty == 2
    assert desk.hear_position(report("3"))
    assert desk.reported[(SYMBOL, "BOTH")].qty == 3
    assert desk.hear_position(report("9", symbol="ETHUSDT", updated_ns=TsNs(1)))


@pytest.mark.parametrize(
    ("given", "is_shown"),
    [
        (report("1"), True),
        (report("1", PositionSide.SHORT), True),
        (report("1", PositionSide.FLAT), False),
        (report("0"), False),
        (report("1", symbol="ETHUSDT"), False),
    ],
)
def test_a_position_is_shown_where_the_venue_said_last_that_it_has_one(given, is_shown):
    desk = DeskBench().desk
    desk.hear_position(given)
    assert desk.shown(SYMBOL) is (given if is_shown else None)


def test_a_position_on_either_leg_is_shown():
    desk = DeskBench().desk
    flat, held = report("0", hedge_leg="LONG"), report("1", PositionSide.SHORT, hedge_leg="SHORT")
    desk.hear_position(flat)
    desk.hear_position(held)
    assert desk.shown(SYMBOL) is held


def test_an_older_balance_is_not_kept():
    desk = DeskBench().desk

    def balance(wallet, at):
        return BalanceReport(asset="USDT", wallet=D(wallet), available=D(1), updated_ns=TsNs(at))

    assert desk.hear_balance(balance(1, 5))
    assert not desk.hear_balance(balance(2, 4))
    assert desk.balance == balance(1, 5)
    assert desk.hear_balance(balance(3, 5))
    assert desk.balance == balance(3, 5)


def test_notices_are_counted_by_kind():
    desk = DeskBench().desk
    for kind in ("malformed", "margin_call", "malformed"):
        desk.hear_notice(VenueNotice(kind=kind))
    assert desk.notices == {"malformed": 2, "margin_call": 1}
