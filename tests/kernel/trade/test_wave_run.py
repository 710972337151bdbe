"""One wave, moment by moment: when it looks, what it asks, stores and tells, when it ends.

The check is from second 60 to 180; signals are good until second `age` - 240.
"""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import BalanceReport, Side
from kernel.model.positions import Origin, PositionState
from kernel.model.rows import ClaimRow, WaveRow
from kernel.model.units import MINUTE, SECOND, TsNs
from kernel.signals.timestamps import parse_utc
from kernel.trade.wave_record import Outcome
from tests.kernel.trade.wave_bench import SYMBOLS, WAVE, WaveBench, ranked, signal

D = Decimal
ONE, TWO, THREE = SYMBOLS[:3]
WAVE_NS = parse_utc(WAVE)


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    WaveBench.close_all()


def outcome(row):
    return msgspec.json.decode(row.outcome, type=Outcome)


def opened(bench):
    return [plan.symbol for plan in bench.saga.plans]


def closed(bench):
    return [one.cause for one in bench.kinds("wave.closed")]


def slices(bench):
    return [(one.values["size"], one.values["passed"]) for one in bench.kinds("wave.slice")]


def on(venue, *signals):
    return [msgspec.structs.replace(one, venue=venue) for one in signals]


def ns(second):
    """Exactly one nanosecond after a second, as `until` takes it."""
    return D(second) + D("0.000000001")


class SlowBalance:
    """A balance that takes its time."""

    def __init__(self, bench, venue, seconds):
        self.runtime, self.seconds = bench.runtime, seconds
        bench.accounts[venue].ask = self.ask

    async def ask(self, request, cls, entity):
        await self.runtime.sleep(int(self.seconds * SECOND))
        return BalanceReport(asset="USDT", wallet=D(10_000), available=D(10_000))


# ------------------------------------------------------------------------ what is told and stored


def test_what_was_selected_is_told_with_its_figures():
    bench = WaveBench(max_positions=7).start()
    third = msgspec.structs.replace(signal(THREE), score_month=None)
    bench.until(60).arrive(signal(ONE), signal(TWO, score=-1), third)
    (told,) = bench.kinds("wave.selected")
    assert told.cause == "3 signals"
    assert told.values == {
        "wave": WAVE, "target": "7", "free_slots": "7", "received": "3", "candidates": "2",
        "without_month_score": "1",
    }  # fmt: skip


def test_the_row_of_a_wave_says_what_came_of_it_from_its_list_to_its_end():
    bench = WaveBench(max_positions=2).start()
    bench.saga.script = {ONE: "fail", TWO: 2, THREE: 3}
    bench.until(60).arrive(*ranked(4)).until(200)
    rows = bench.store.all(WaveRow)
    assert [row.state for row in rows] == ["open"] * (len(rows) - 1) + ["closed"]
    first, last = rows[0], rows[-1]
    assert (first.source, first.wave_ns, first.received) == ("feed", WAVE_NS, 4)
    assert first.expected_until_ns == bench.start_ns + 180 * SECOND
    assert (first.opened_ns, first.closed_ns) == (bench.start_ns + 60 * SECOND, 0)
    assert (last.opened_ns, last.closed_ns) == (
        first.opened_ns, bench.start_ns + 63 * SECOND + 500_000_000,
    )  # fmt: skip
    results = [outcome(row) for row in rows]
    assert [(one.tried, one.failed, len(one.active)) for one in results] == [
        (0, 0, 0), (2, 1, 0), (2, 1, 0), (3, 1, 1), (3, 1, 2), (3, 1, 2),
    ]  # fmt: skip
    assert outcome(last).end == "target_reached"


def test_every_drop_is_stored_with_its_reason_and_every_signal_without_one_first():
    bench = WaveBench(stoplist_symbols=(TWO,)).start()
    bench.until(60).arrive(*ranked(2)).until(200)
    assert bench.signal_rows() == {ONE: "", TWO: "stoplist"}


def test_a_wave_of_which_nothing_passed_stores_no_list():
    bench = WaveBench().start()
    bench.until(60).arrive(signal("NOPEUSDT")).until(200)
    assert [row.state for row in bench.store.all(WaveRow)] == ["closed"]
    assert bench.wave_row().opened_ns == 0
    assert closed(bench) == ["no_candidates_left"]


def test_a_wave_that_never_came_is_told_where_it_was_missed():
    bench = WaveBench().start().until(200)
    (told,) = bench.kinds("wave.missing")
    assert told.values == {"wave": WAVE}
    (alert,) = [one.body for one in bench.effects if hasattr(one.body, "severity")]
    assert (alert.severity, alert.dedupe) == ("WARNING", f"wave.missing|{WAVE}")
    assert alert.text == f"no signal of wave {WAVE} until 2026-01-05T12:22:00Z"


def test_a_crash_of_an_entry_is_told_as_its_first():
    bench, told = WaveBench(max_positions=1).start(), []
    bench.services.on_crash = lambda *given: told.append(given)
    bench.saga.script = {ONE: "crash"}
    bench.until(60).arrive(*ranked(1)).until(70)
    ((name, error, failures, position),) = told
    assert (name, str(error), failures, position) == (
        f"wave entry binance {ONE}", "a bug", 1, None,
    )  # fmt: skip


# ------------------------------------------------------------------------ when it looks and ends


def test_a_wave_with_nothing_left_to_try_ends_with_its_check():
    bench = WaveBench().start()
    bench.until(60).arrive(*ranked(2)).until(D("179.999999999"))
    assert bench.runtime.next_deadline() == 180 * SECOND, "it does not look again and again"
    assert closed(bench) == []
    bench.until(180)
    assert closed(bench) == ["no_candidates_left"]


def test_a_wave_whose_signals_expire_inside_its_check_ends_a_moment_later():
    bench = WaveBench(signal_max_age_seconds=360).start()
    bench.until(60).arrive(*ranked(2)).until(120)
    assert closed(bench) == []
    bench.until(ns(120))
    assert closed(bench) == ["expired"]


def test_a_check_that_ends_as_its_signals_expire_left_no_candidates():
    bench = WaveBench(signal_max_age_seconds=420).start()
    bench.until(60).arrive(*ranked(2)).until(180)
    assert closed(bench) == ["no_candidates_left"]


@pytest.mark.parametrize("seconds", [130, 300])
def test_an_entry_under_way_keeps_its_wave_open_whatever_time_it_is(seconds):
    bench = WaveBench(signal_max_age_seconds=480).start()
    bench.saga.script = {ONE: seconds}
    bench.until(60).arrive(*ranked(1)).until(60 + seconds - 1)
    assert closed(bench) == []
    bench.until(60 + seconds)
    assert len(bench.active()) == 1
    assert len(closed(bench)) == 1


def test_the_last_place_is_kept_for_a_signal_that_is_still_to_come():
    bench = WaveBench(max_positions=3).start()
    bench.until(60).arrive(*ranked(2)).until(100)
    assert closed(bench) == []
    bench.arrive(*ranked(3)).until(101)
    assert bench.active() == [ONE, TWO, THREE]
    assert closed(bench) == ["target_reached"]


def test_a_full_account_ends_a_wave_at_once_with_a_target_of_nothing():
    bench = WaveBench(max_positions=1).start()
    bench.services.book.create(position(ONE, wave_ns=1))
    bench.until(60).arrive(*ranked(2)).until(61)
    assert closed(bench) == ["target_reached"]
    assert slices(bench) == []
    assert outcome(bench.wave_row()).target == 0


def test_while_the_store_is_down_the_list_is_tried_every_second_and_each_failure_told():
    bench = WaveBench().start().until(60)
    bench.store.down = True
    bench.arrive(*ranked(1)).until(D("63.5"))
    before = len(bench.kinds("wave.waits"))
    bench.until(D("73.5"))
    told = bench.kinds("wave.waits")
    assert len(told) == before + 10
    assert told[0].cause.startswith("its list is not durable: ")
    bench.store.down = False
    bench.until(80)
    assert opened(bench) == [ONE]
    assert bench.wave_row().opened_ns == bench.start_ns + 60 * SECOND, "of the first try"


def test_a_stop_before_any_signal_ends_the_wave_at_once_and_is_not_told_as_missing():
    bench = WaveBench().start().until(100)
    bench.services.stopping = True
    bench.waves.on_stopping()
    bench.settle()
    assert closed(bench) == ["stopping"]
    assert bench.alerts() == []
    bench.until(400)
    assert len(bench.kinds("wave.expected")) == 1, "and no check begins any more"


def test_signals_that_come_with_a_stop_are_not_validated():
    bench = WaveBench().start().until(100)
    bench.services.stopping = True
    bench.arrive(*ranked(2)).until(101)
    assert slices(bench) == []
    assert bench.drops() == {ONE: "stopping", TWO: "stopping"}


def test_what_comes_while_a_wave_ends_is_filtered_before_it_is_dropped():
    bench = WaveBench(max_positions=1).start()
    commit = bench.store.commit

    async def slow(rows, cls):
        await bench.runtime.sleep(SECOND)
        return await commit(rows, cls)

    bench.store.commit = slow
    bench.until(60).arrive(*ranked(1)).until(D("60.5"))
    bench.services.stopping = True
    bench.arrive(signal(TWO, score=-1)).until(70)
    assert bench.drops() == {ONE: "stopping", TWO: "score_week"}


def test_a_wave_that_has_ended_does_not_end_again():
    bench = WaveBench(max_positions=1).start().until(61)
    (run,) = bench.waves.running.values()
    bench.arrive(*ranked(2)).until(70)
    assert run.ended
    before = len(bench.store.commits)
    bench.runtime.spawn(run.run(), "again")
    bench.until(80)
    assert closed(bench) == ["target_reached"]
    assert len(bench.store.commits) == before


# ------------------------------------------------------------------------ venues


def test_entries_that_are_blocked_until_the_check_ends_are_refused_at_its_last_moment():
    bench = WaveBench().start()
    bench.desk.block_entries("resync")
    bench.until(60).arrive(*ranked(1)).until(D("179.9"))
    assert bench.drops() == {}
    bench.until(180)
    assert bench.drops() == {ONE: "entries_blocked"}


def test_a_blocked_venue_is_looked_at_again_every_second():
    bench = WaveBench(max_positions=1).start()
    bench.desk.block_entries("resync")
    bench.until(60).arrive(*ranked(1)).until(70)
    assert bench.runtime.next_deadline() == 71 * SECOND
    bench.desk.unblock_entries("resync")
    bench.until(D("70.9"))
    assert opened(bench) == []
    bench.until(71)
    assert opened(bench) == [ONE]


def test_a_venue_that_nobody_knows_refuses_its_signals_and_no_others():
    bench = WaveBench().start()
    bench.until(60).arrive(*on("kraken", signal(TWO)), signal(ONE)).until(70)
    assert bench.drops() == {TWO: "unknown_venue"}
    assert opened(bench) == [ONE]
    assert bench.crashes == []


@pytest.mark.parametrize("arrives", [60, 175])
def test_a_venue_whose_balance_is_on_its_way_holds_up_its_own_signals_only(arrives):
    """Also where the answer comes after the check: its signals are good for longer."""
    bench = WaveBench(venues=("binance", "bybit"), max_positions=4).start()
    SlowBalance(bench, "bybit", 9)
    answers_at = arrives + 9
    bench.until(arrives).arrive(*ranked(2), *on("bybit", *ranked(2))).until(answers_at - 1)
    assert [plan.venue for plan in bench.saga.plans] == ["binance"] * 2
    assert closed(bench) == []
    bench.until(answers_at)
    assert [plan.venue for plan in bench.saga.plans][2:] == ["bybit"] * 2
    bench.until(answers_at + 10)
    assert closed(bench) == ["target_reached"]


def test_the_balance_of_a_venue_whose_signals_are_not_needed_is_not_asked():
    bench = WaveBench(venues=("binance", "bybit"), max_positions=3, wave_concurrency=1).start()
    bench.saga.script = dict.fromkeys(SYMBOLS, 10)
    bench.until(60).arrive(*ranked(3)).until(62)
    assert opened(bench) == [ONE]
    bench.arrive(*on("bybit", signal(SYMBOLS[5]))).until(65)
    assert bench.accounts["bybit"].asked == 0, "two are missing, and two passed"
    bench.until(100)
    assert bench.active() == [ONE, TWO, THREE]
    assert bench.accounts["bybit"].asked == 0


def test_while_every_place_is_taken_nothing_is_looked_at():
    """Also where a venue is closed for the moment: only the end of an entry makes a difference."""
    bench = WaveBench(venues=("binance", "bybit"), max_positions=1).start()
    bench.saga.script = {ONE: 50}
    bench.services.desks["bybit"].block_entries("resync")
    bench.until(60).arrive(signal(ONE), *on("bybit", signal(TWO))).until(70)
    assert opened(bench) == [ONE]
    assert bench.runtime.next_deadline() == 110 * SECOND


def test_a_symbol_is_traded_under_the_name_that_its_venue_gives_it():
    bench = WaveBench(stoplist_symbols=("S02/USDT:USDT",)).start()
    wave = [signal("S01/USDT:USDT"), signal(TWO), signal("S03/USDT:USDT", side=Side.SELL)]
    bench.until(60).arrive(*wave, *on("kraken", signal("S04/USDT:USDT"))).until(70)
    assert opened(bench) == [ONE, THREE]
    assert bench.drops() == {TWO: "stoplist", "S04/USDT:USDT": "unknown_venue"}


# ------------------------------------------------------------------------ restarts


class Planned:
    """What a row needs of a plan."""

    venue, side, wave_ns, qty, reference_price = "binance", "LONG", WAVE_NS, D(2), D(100)

    def __init__(self, symbol):
        self.symbol = symbol


def position(symbol, state=PositionState.ACTIVE, wave_ns=WAVE_NS, **changes):
    row = WaveBench().saga.row(Planned(symbol), signal(symbol))
    return msgspec.structs.replace(row, state=state, wave_ns=TsNs(wave_ns), **changes)


def stored(state="open", selected=(), **changes):
    """The row of the wave that a process left at second 70."""
    opened_ns = parse_utc("2026-01-05T12:20:05Z")
    return WaveRow(
        source="feed",
        wave_ns=TsNs(WAVE_NS),
        state=state,
        expected_until_ns=TsNs(0),
        selected=msgspec.json.encode(list(selected)).decode(),
        outcome=msgspec.json.encode(Outcome(**({"target": 3} | changes))).decode(),
        opened_ns=opened_ns,
    )


def restarted(row, *positions, claims=(), second=100, **settings):
    bench = WaveBench(**settings)
    for one in positions:
        bench.services.book.create(one)
    bench.until(second)
    keys = [ClaimRow(once_key=one.once_key, wave_ns=TsNs(0), claimed_ns=TsNs(0)) for one in claims]
    return bench.start(waves=(row,), claims=tuple(keys))


def test_a_wave_goes_on_after_a_restart_with_its_target_and_its_own_positions():
    """One that it knew, one that the crash kept from its row; none of another wave or of nobody."""
    foreign = position(SYMBOLS[4], origin=Origin.FOREIGN, position_id="p4")
    row = stored(selected=ranked(4), active=["p1"], tried=2)
    bench = restarted(
        row,
        position(ONE, position_id="p1"),
        position(TWO, position_id="p2"),
        position(SYMBOLS[6], position_id="p3", wave_ns=WAVE_NS - 15 * MINUTE),
        foreign,
        claims=ranked(2),
        max_positions=10,
    )
    bench.until(110)
    assert opened(bench) == [THREE]
    result = outcome(bench.wave_row())
    assert (result.target, result.active, result.tried) == (3, ["p1", "p2", "binance:S03USDT"], 3)
    assert bench.kinds("wave.selected") == []
    assert bench.wave_row().opened_ns == row.opened_ns
    assert bench.drops() == {SYMBOLS[3]: "target_reached"}


def test_a_wave_that_may_open_nothing_opens_nothing_after_a_restart():
    bench = restarted(stored(target=0, selected=ranked(1)), max_positions=10).until(110)
    assert opened(bench) == []
    assert closed(bench) == ["target_reached"]


def test_the_slices_after_a_restart_are_further_ones():
    """Two are missing: three are validated, not the thirteen of a first slice."""
    row = stored(selected=ranked(14), target=10, active=[f"p{one}" for one in range(8)])
    bench = restarted(row, max_positions=30).until(110)
    assert slices(bench)[0] == ("3", "3")
