"""Waves, through the real parts and a scripted entry saga."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import Side
from kernel.model.rows import ClaimRow, SignalRow, WaveRow
from kernel.model.units import SECOND, TsNs
from kernel.signals.timestamps import parse_utc
from kernel.signals.wire import Flaw
from kernel.trade.wave_record import Outcome
from tests.kernel.trade.wave_bench import SYMBOLS, WAVE, WaveBench, instrument, ranked, signal

D = Decimal


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    WaveBench.close_all()


def outcome(bench):
    return msgspec.json.decode(bench.wave_row().outcome, type=Outcome)


def opened(bench):
    return [plan.symbol for plan in bench.saga.plans]


def test_the_owners_example_8_of_13_pass_then_14_to_16_are_validated_then_10_are_open():
    bench = WaveBench().start()
    for symbol in SYMBOLS[3:8]:
        bench.quotes.special[symbol] = (D(97), D(103))  # a spread of 6 %
    bench.until(60).arrive(*ranked(20)).until(100)
    slices = [(one.values["size"], one.values["passed"]) for one in bench.kinds("wave.slice")]
    assert slices == [("13", "8"), ("3", "3")]
    assert len(bench.active()) == 10
    assert bench.active() == [*SYMBOLS[0:3], *SYMBOLS[8:15]]
    drops = bench.drops()
    assert [drops[symbol] for symbol in SYMBOLS[3:8]] == ["spread"] * 5
    assert [drops[symbol] for symbol in SYMBOLS[15:20]] == ["target_reached"] * 5
    assert outcome(bench).dropped == {"spread": 5, "target_reached": 5}


def test_a_failed_open_is_replaced_by_the_next_candidate():
    bench = WaveBench(max_positions=3).start()
    bench.saga.script = {SYMBOLS[0]: "fail", SYMBOLS[2]: "fail"}
    bench.until(60).arrive(*ranked(8)).until(70)
    assert bench.active() == [SYMBOLS[1], SYMBOLS[3], SYMBOLS[4]]
    assert outcome(bench).tried == 5
    assert outcome(bench).failed == 2
    assert bench.drops()[SYMBOLS[0]] == "entry_failed"


def test_a_crashed_entry_ends_nothing_but_itself():
    bench = WaveBench(max_positions=3).start()
    bench.saga.script = {SYMBOLS[1]: "crash"}
    bench.until(60).arrive(*ranked(8)).until(70)
    assert len(bench.active()) == 3
    assert len(bench.crashes) == 1
    assert bench.drops()[SYMBOLS[1]] == "entry_crashed"


def test_at_most_so_many_entries_at_a_time():
    bench = WaveBench(wave_concurrency=3).start()
    bench.until(60).arrive(*ranked(20)).until(100)
    assert len(bench.active()) == 10
    assert bench.saga.most_busy == 3


def test_the_list_is_durable_before_the_first_entry_and_the_claim_before_each():
    bench = WaveBench(max_positions=2, signal_buffer_percent=0).start()
    bench.until(60).arrive(*ranked(3)).until(70)
    kinds = [
        (type(row).__name__, getattr(row, "state", ""))
        for rows in bench.store.commits
        for row in rows
        if isinstance(row, (WaveRow, ClaimRow))
    ]
    assert kinds[0] == ("WaveRow", "open")
    assert kinds[1:3] == [("ClaimRow", ""), ("ClaimRow", "")]
    assert kinds[-1] == ("WaveRow", "closed")
    first = next(row for row in bench.store.all(WaveRow))
    assert SYMBOLS[0] in first.selected
    assert SYMBOLS[1] in first.selected


def test_without_a_store_nothing_is_entered_and_the_wave_goes_on_when_it_is_back():
    bench = WaveBench(max_positions=2).start()
    bench.until(60)
    bench.store.down = True
    bench.arrive(*ranked(4)).until(90)
    assert opened(bench) == []
    bench.store.down = False
    bench.until(100)
    assert len(bench.active()) == 2


def test_without_a_store_until_the_signals_expire_the_wave_ends_with_reasons():
    bench = WaveBench(max_positions=2).start()
    bench.until(60)
    bench.store.down = True
    bench.arrive(*ranked(2)).until(900)
    assert opened(bench) == []
    assert bench.drops() == {SYMBOLS[0]: "expired", SYMBOLS[1]: "expired"}
    assert bench.kinds("wave.closed")[0].cause == "expired"


def test_a_refused_claim_is_not_tried_again():
    bench = WaveBench(max_positions=1).start()
    bench.store.claims[signal(SYMBOLS[0]).once_key] = None
    bench.until(60).arrive(*ranked(2)).until(70)
    assert bench.active() == [SYMBOLS[1]]


def test_signals_that_came_before_the_check_are_used_at_its_start():
    bench = WaveBench().start()
    bench.until(30).arrive(*ranked(2)).until(59)
    assert opened(bench) == []
    bench.until(61)
    assert opened(bench) == list(SYMBOLS[:2])


def test_signals_that_arrive_while_the_check_is_on_join():
    bench = WaveBench().start()
    bench.until(60).arrive(*ranked(2)).until(100)
    bench.arrive(*ranked(4)).until(110)
    assert sorted(bench.active()) == list(SYMBOLS[:4])


def test_the_last_instant_of_the_check_belongs_to_it():
    bench = WaveBench().start().until(179.999)
    bench.runtime.set_time(180 * SECOND, bench.start_ns + 180 * SECOND)
    bench.arrive(*ranked(1)).until(190)
    assert bench.active() == [SYMBOLS[0]]


def test_a_late_signal_is_recorded_and_not_traded_and_alerts_once_a_wave():
    bench = WaveBench().start()
    bench.until(181).arrive(*ranked(2)).until(300)
    assert opened(bench) == []
    assert bench.drops() == {SYMBOLS[0]: "late", SYMBOLS[1]: "late"}
    assert bench.signal_rows() == {SYMBOLS[0]: "late", SYMBOLS[1]: "late"}
    assert bench.alerts().count("signal.late") == 1


def test_a_wave_that_never_comes_alerts_and_closes_nothing():
    bench = WaveBench().start().until(200)
    assert [one.cause for one in bench.kinds("wave.closed")] == ["missing"]
    assert bench.alerts() == ["wave.missing"]
    assert bench.wave_row().state == "closed"


def test_signals_of_other_waves_are_recorded_and_not_traded():
    bench = WaveBench().start().until(70)
    bench.arrive(signal(SYMBOLS[0], wave="2026-01-05T09:00:00Z")).until(100)
    assert bench.drops() == {SYMBOLS[0]: "not_expected"}
    assert bench.signal_rows() == {SYMBOLS[0]: "not_expected"}
    assert "signal.late" not in bench.alerts()


def test_malformed_items_are_recorded_with_their_raw_text():
    bench = WaveBench().start().until(70)
    bench.arrive(flaws=(Flaw("no symbol", '{"x":1}', 0),)).until(71)
    (row,) = bench.store.all(SignalRow)
    assert row.raw == '{"x":1}'
    assert row.drop_reason == "malformed: no symbol"


def test_every_signal_of_a_wave_ends_with_a_position_or_a_reason():
    bench = WaveBench(max_positions=3, stoplist_symbols=(SYMBOLS[5],)).start()
    bench.saga.script = {SYMBOLS[1]: "fail"}
    wave = [*ranked(12), signal("NOPEUSDT"), signal(SYMBOLS[7], score=-1)]
    bench.until(60).arrive(*wave).until(100)
    result = outcome(bench)
    assert len(result.active) + sum(result.dropped.values()) == len(wave)
    assert len(result.active) == 3


def test_the_target_is_what_slots_leave_and_a_full_account_opens_nothing():
    bench = WaveBench(max_positions=2).start()
    bench.until(60).arrive(*ranked(2)).until(100)
    later = [signal(SYMBOLS[9], wave="2026-01-05T12:15:00Z")]
    bench.until(960).arrive(*later).until(1000)
    assert len(bench.active()) == 2
    assert bench.drops()[SYMBOLS[9]] == "target_reached"


def test_two_venues_share_the_target_and_read_each_balance_once():
    bench = WaveBench(venues=("binance", "bybit"), max_positions=4).start()
    wave = ranked(3) + [msgspec.structs.replace(one, venue="bybit") for one in ranked(3)]
    bench.until(60).arrive(*wave).until(100)
    assert len(bench.active()) == 4
    assert [account.asked for account in bench.accounts.values()] == [1, 1]


def test_no_entry_after_the_signals_age():
    """The candle closed at 12:15; 360 s later is 12:21:00, in the middle of the check."""
    bench = WaveBench(signal_max_age_seconds=360, wave_concurrency=1).start()
    bench.saga.script = {SYMBOLS[0]: 100}
    bench.until(60).arrive(*ranked(3)).until(300)
    assert bench.active() == [SYMBOLS[0]]
    assert bench.drops()[SYMBOLS[1]] == "expired"


def test_entries_blocked_for_a_moment_do_not_cost_the_wave():
    """A resync at the wrong second ends inside the check."""
    bench = WaveBench(max_positions=2).start()
    bench.desk.block_entries("resync")
    bench.until(60).arrive(*ranked(3)).until(65)
    assert opened(bench) == []
    bench.desk.unblock_entries("resync")
    bench.until(70)
    assert len(bench.active()) == 2


def test_entries_blocked_until_the_check_ends_drop_the_wave():
    bench = WaveBench(max_positions=2).start()
    bench.desk.block_entries("resync")
    bench.until(60).arrive(*ranked(2)).until(200)
    assert bench.drops() == {SYMBOLS[0]: "entries_blocked", SYMBOLS[1]: "entries_blocked"}


def test_one_blocked_venue_does_not_hold_up_the_other():
    bench = WaveBench(venues=("binance", "bybit"), max_positions=4).start()
    bench.desk.block_entries("resync")
    wave = ranked(2) + [msgspec.structs.replace(one, venue="bybit") for one in ranked(2)]
    bench.until(60).arrive(*wave).until(65)
    assert [plan.venue for plan in bench.saga.plans] == ["bybit", "bybit"]


def test_a_stop_ends_the_wave_and_lets_running_entries_finish():
    bench = WaveBench(wave_concurrency=2).start()
    bench.saga.script = dict.fromkeys(SYMBOLS, 5)
    bench.until(60).arrive(*ranked(6)).until(62)
    bench.services.stopping = True
    bench.waves.on_stopping()
    bench.until(120)
    assert len(bench.active()) == 2
    assert bench.drops()[SYMBOLS[3]] == "stopping"
    assert bench.waves.running == {}


def test_an_opposite_signal_for_an_open_symbol_is_dropped():
    bench = WaveBench().start()
    bench.until(60).arrive(*ranked(1)).until(100)
    later = signal(SYMBOLS[0], side=Side.SELL, wave="2026-01-05T12:15:00Z")
    bench.until(960).arrive(later).until(1000)
    assert bench.drops() == {SYMBOLS[0]: "position_open"}
    assert bench.accounts["binance"].asked == 1  # nothing is asked for what cannot be entered


def test_a_late_opposite_signal_takes_the_waiting_line_with_it():
    """Nobody can say which side was meant; what is open stays open."""
    bench = WaveBench(wave_concurrency=1).start()
    bench.saga.script = dict.fromkeys(SYMBOLS, 5)
    bench.until(60).arrive(*ranked(3)).until(62)
    bench.arrive(signal(SYMBOLS[0], side=Side.SELL), signal(SYMBOLS[2], side=Side.SELL))
    bench.until(100)
    assert bench.active() == [SYMBOLS[0], SYMBOLS[1]]
    assert bench.drops()[SYMBOLS[2]] == "conflicting_sides"


# ------------------------------------------------------------------------ starts and restarts


def crashed(bench):
    """What a start reads after the process of this bench died now."""
    waves = {row.wave_ns: row for row in bench.store.all(WaveRow)}
    return {
        "waves": tuple(waves.values()),
        "claims": tuple(
            ClaimRow(once_key=key, wave_ns=TsNs(0), claimed_ns=TsNs(0))
            for key in bench.store.claims
        ),
    }


def restarted(bench, second, state, positions=(), **settings):
    """A new process at this second of the old one's time, with the old claims and positions."""
    again = WaveBench(**settings)
    again.store.claims = dict(bench.store.claims)
    for row in positions:
        again.services.book.create(row)
    again.until(second)
    return again.start(**state)


def test_a_restart_inside_the_check_goes_on_with_the_stored_list_and_never_tries_twice():
    settings = {"max_positions": 4, "wave_concurrency": 1}
    bench = WaveBench(**settings).start()
    bench.saga.script = {SYMBOLS[0]: "fail"}
    bench.until(60).arrive(*ranked(6)).until(61.6)
    assert opened(bench) == list(SYMBOLS[:4])
    live = [position.row for position in bench.services.book.open()]
    assert len(live) == 3
    again = restarted(bench, 100, crashed(bench), live, **settings).until(150)
    assert sorted(again.active()) == list(SYMBOLS[1:5])
    assert opened(again) == [SYMBOLS[4]]


def test_a_restart_after_the_check_closes_the_open_wave():
    settings = {"max_positions": 4, "wave_concurrency": 1}
    bench = WaveBench(**settings).start()
    bench.until(60).arrive(*ranked(6)).until(60.6)
    again = restarted(bench, 200, crashed(bench), **settings).until(250)
    assert opened(again) == []
    assert again.wave_row().state == "closed"


def test_a_closed_wave_is_not_begun_again_by_a_restart_inside_its_check():
    bench = WaveBench(max_trades_per_15min=2, max_positions=8).start()
    bench.until(60).arrive(*ranked(6)).until(70)
    assert bench.wave_row().state == "closed"
    again = restarted(bench, 80, crashed(bench), max_trades_per_15min=2, max_positions=8)
    again.arrive(*ranked(6)).until(150)
    assert opened(again) == []
    assert set(again.drops().values()) == {"wave_closed"}


def test_a_restart_before_anything_was_stored_begins_the_check_anew():
    bench = restarted(WaveBench(), 100, {})
    bench.arrive(*ranked(2)).until(110)
    assert len(bench.active()) == 2


def test_claims_of_the_day_are_never_tried_again():
    claim = ClaimRow(once_key=signal(SYMBOLS[0]).once_key, wave_ns=TsNs(0), claimed_ns=TsNs(0))
    bench = WaveBench().start(claims=(claim,))
    bench.until(60).arrive(*ranked(2)).until(70)
    assert bench.active() == [SYMBOLS[1]]
    assert bench.drops()[SYMBOLS[0]] == "already_tried"


def test_old_signals_sent_again_after_a_restart_do_not_alert_as_late():
    bench = restarted(WaveBench(), 300, {})
    bench.arrive(*ranked(2)).until(310)
    assert bench.alerts() == []
    assert set(bench.drops().values()) == {"not_expected"}


# ------------------------------------------------------------------------ clock and checks


def test_each_check_of_the_hour_watches_for_its_own_wave():
    bench = WaveBench("2026-01-05T12:00:00Z").start().until(3600)
    waves = [one.values["wave"] for one in bench.kinds("wave.expected")]
    assert waves == [
        "2026-01-05T11:45:00Z",
        "2026-01-05T12:00:00Z",
        "2026-01-05T12:15:00Z",
        "2026-01-05T12:30:00Z",
    ]


def test_a_clock_that_jumps_into_a_check_begins_it():
    bench = WaveBench("2026-01-05T12:10:00Z").start()
    bench.start_ns += 601 * SECOND
    bench.runtime.set_time(SECOND, bench.start_ns + SECOND)
    bench.waves.on_clock_step()
    bench.settle()
    assert [one.values["wave"] for one in bench.kinds("wave.expected")] == [WAVE]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 30])
def test_never_more_than_the_target(count):
    bench = WaveBench(max_positions=50).start()
    bench.until(60).arrive(*ranked(count)).until(200)
    assert len(bench.active()) == min(count, 10)


def test_limits_hold_across_a_wave():
    """Exposure for three positions of 200 USD: the fourth is refused, whoever comes next too."""
    bench = WaveBench(max_exposure_usd=650).start()
    bench.until(60).arrive(*ranked(8)).until(200)
    assert len(bench.active()) == 3
    assert set(bench.drops().values()) == {"max_exposure"}


def test_margin_is_reserved_entry_by_entry():
    """One balance for three entries of 40 USD margin and costs."""
    bench = WaveBench(available=125).start()
    bench.until(60).arrive(*ranked(8)).until(200)
    assert len(bench.active()) == 3
    assert set(bench.drops().values()) == {"margin"}


def test_a_symbol_with_a_coarse_tick_is_left_out():
    bench = WaveBench(max_positions=2).start()
    bench.desk.instruments[SYMBOLS[0]] = instrument(SYMBOLS[0], tick_size=D(1))
    bench.until(60).arrive(*ranked(3)).until(100)
    assert bench.drops()[SYMBOLS[0]] == "tick_too_coarse"
    assert len(bench.active()) == 2
    assert parse_utc(WAVE) == bench.wave_row().wave_ns


def test_a_bug_in_a_wave_is_told_and_the_wave_goes_on():
    bench = WaveBench(max_positions=2).start()
    quote, bugs = bench.quotes.quote, [RuntimeError("a bug")]

    def broken(venue, symbol):
        if bugs:
            raise bugs.pop()
        return quote(venue, symbol)

    bench.quotes.quote = broken
    bench.until(60).arrive(*ranked(4)).until(100)
    assert [name for name, _ in bench.crashes] == [f"wave {WAVE}"]
    assert bench.active() == list(SYMBOLS[:2])
    assert bench.wave_row().state == "closed"
