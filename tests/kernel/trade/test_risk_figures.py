"""Limits: what each position, reservation and lock counts for, to the cent and to the instant."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.messages import PriceRead
from kernel.model.orders import OrderStatus, PositionReport, PositionSide, PriceSource, Side
from kernel.model.positions import CloseReason, PositionState
from kernel.model.rows import LockRow, StoredState, SwitchRow
from kernel.model.units import DAY, HOUR, MINUTE, SECOND, TsNs
from kernel.trade.risk import Reservation
from tests.kernel.trade.parts import fill, order_row
from tests.kernel.trade.test_risk import LONG, SHORT, bench_of, close, position, reserve
from tests.kernel.trade.wave_bench import SYMBOLS, WaveBench

D = Decimal
FIRST, SECOND_SYMBOL, THIRD = SYMBOLS[:3]


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    WaveBench.close_all()


def marks(bench, **prices):
    """Marks by symbol, 0 for the others; how often each source was asked."""
    asked = []

    def last(venue, symbol, source):
        asked.append((symbol, source))
        return PriceRead(D(prices.get(symbol, 0)), TsNs(1))

    bench.quotes.last = last
    return asked


def reported(bench, symbol, qty, *, mark="0", entry="0", side=LONG, desk=None):
    (desk or bench.desk).hear_position(
        PositionReport(
            symbol=symbol, side=side, qty=D(qty), mark_price=D(mark), entry_price=D(entry),
            updated_ns=TsNs(1),
        )
    )  # fmt: skip


# ------------------------------------------------------------------------ exposure


@pytest.mark.parametrize("state", ["PENDING_ENTRY", "ENTRY_PLACED", "PENDING_SL", "ROLLBACK"])
def test_until_it_is_active_the_whole_of_a_position_counts(state):
    bench = bench_of()
    position(bench, FIRST, qty="0.5", state=PositionState(state), intended_qty=D(3))
    assert bench.risk.exposure() == 300


def test_more_than_was_intended_counts_as_it_filled():
    bench = bench_of()
    position(bench, FIRST, qty="4", state=PositionState.PENDING_SL, intended_qty=D(3))
    assert bench.risk.exposure() == 400


def test_without_a_mark_the_entry_price_counts():
    bench = bench_of()
    marks(bench)
    position(bench, FIRST, qty="2", entry_price=D(70))
    assert bench.risk.exposure() == 140


@pytest.mark.parametrize(
    ("mark", "told", "entry", "value"),
    [("30", "50", "70", 120), ("0", "50", "70", 200), ("0", "0", "70", 280)],
)
def test_a_foreign_position_counts_by_the_best_price_that_is_known(mark, told, entry, value):
    bench = bench_of()
    marks(bench, **{FIRST: told})
    reported(bench, FIRST, "4", mark=mark, entry=entry)
    assert bench.risk.exposure() == value


def test_where_nothing_is_reserved_a_small_position_counts_as_it_is():
    bench = bench_of()
    position(bench, FIRST, qty="0.001")
    assert bench.risk.exposure() == D("0.1")


def test_a_position_of_the_book_that_the_venue_reports_too_counts_once():
    bench = bench_of()
    position(bench, FIRST, qty="2")
    before = bench.risk.exposure()
    reported(bench, FIRST, "2", mark="100")
    assert bench.risk.exposure() == before > 0


def test_what_a_venue_reports_as_flat_counts_for_nothing():
    bench = bench_of(max_positions=3)
    reported(bench, FIRST, "4", mark="50", side=PositionSide.FLAT)
    reported(bench, SECOND_SYMBOL, "0", mark="50")
    assert bench.risk.free_slots() == 3
    assert bench.risk.exposure() == 0


def test_a_price_is_read_once_an_instant_and_anew_at_the_next():
    bench = bench_of()
    position(bench, FIRST)
    asked = marks(bench, **{FIRST: 100})
    assert [bench.risk.exposure() for _ in range(2)] == [200, 200]
    assert asked == [(FIRST, PriceSource.MARK)]
    marks(bench, **{FIRST: 90})
    assert bench.risk.exposure() == 200
    bench.until(1)
    assert bench.risk.exposure() == 180


def test_a_price_that_is_zero_is_read_once_too():
    bench = bench_of()
    asked = marks(bench)
    position(bench, FIRST)
    bench.risk.exposure()
    bench.risk.exposure()
    assert len(asked) == 1


def test_a_reservation_that_is_more_than_its_position_counts_in_its_place():
    bench = bench_of()
    reserve(bench, FIRST, "300")
    reserve(bench, SECOND_SYMBOL, "1000")
    position(bench, FIRST, qty="2")
    assert bench.risk.exposure() == 1300


def test_a_reservation_on_another_venue_is_not_the_symbols_here():
    bench = WaveBench(venues=("binance", "bybit"))
    for venue in ("binance", "bybit"):
        bench.risk.note_available(venue, D(100_000), D(100_000))
    bench.risk.reserve("bybit", FIRST, LONG, D(500))
    position(bench, FIRST, qty="2")
    assert bench.risk.exposure() == 700


# ------------------------------------------------------------------------ slots and sides


def test_the_cap_of_a_side_counts_positions_and_reservations_of_that_side_alone():
    bench = bench_of(max_positions_per_side=2)
    position(bench, FIRST, side=SHORT)
    reserve(bench, SECOND_SYMBOL, side=SHORT)
    reserve(bench, THIRD)
    assert isinstance(reserve(bench, SYMBOLS[3]), Reservation)
    assert reserve(bench, SYMBOLS[4]) == "max_positions_per_side"
    assert reserve(bench, SYMBOLS[4], side=SHORT) == "max_positions_per_side"


def test_reservations_are_numbered_in_the_process_that_made_them():
    bench = bench_of()
    made = [reserve(bench, symbol).reservation_id for symbol in SYMBOLS[:2]]
    assert made == ["1-1", "1-2"]


def test_what_is_under_way_is_told_by_venue():
    bench = WaveBench(venues=("binance", "bybit"))
    for venue in ("binance", "bybit"):
        bench.risk.note_available(venue, D(100_000), D(100_000))
    made = bench.risk.reserve("binance", FIRST, LONG, D(200))
    assert isinstance(made, Reservation)
    bench.risk.reserve("binance", SECOND_SYMBOL, LONG, D(200))
    bench.risk.reserve("bybit", THIRD, LONG, D(200))
    assert bench.risk.under_way("binance") == 2
    assert bench.risk.under_way("bybit") == 1
    assert bench.risk.reserved("binance") == [FIRST, SECOND_SYMBOL]
    bench.risk.opened(made.reservation_id)
    assert bench.risk.under_way("binance") == 1
    assert bench.risk.reserved("bybit") == [THIRD]


def test_what_was_proven_is_doubtful_no_more_and_what_is_unknown_never_was():
    bench = bench_of()
    made = reserve(bench, FIRST)
    bench.risk.doubtful("nobody's")
    bench.risk.doubtful(made.reservation_id)
    bench.risk.opened(made.reservation_id)
    assert bench.risk.reserved("binance") == []


def test_a_doubt_lasts_while_the_book_or_an_order_shows_the_symbol():
    bench = bench_of()
    made = reserve(bench, FIRST)
    bench.risk.doubtful(made.reservation_id)
    held = position(bench, FIRST)
    assert bench.risk.reserved("binance") == [FIRST]
    close(bench, held, "0")
    assert bench.risk.reserved("binance") == []


# ------------------------------------------------------------------------ margin


def test_the_last_cent_of_the_margin_may_be_used():
    bench = bench_of(available="40.2")
    assert isinstance(reserve(bench, FIRST), Reservation)
    assert reserve(bench_of(available="40.1"), FIRST) == "margin"


def test_what_one_venue_binds_is_not_the_others():
    bench = WaveBench(venues=("binance", "bybit"))
    for venue in ("binance", "bybit"):
        bench.risk.note_available(venue, D(1000), D(1000))
    bench.risk.reserve("bybit", FIRST, LONG, D(200))
    bench.risk.note_available("binance", D("40.2"), D(1000))
    assert isinstance(reserve(bench, SECOND_SYMBOL), Reservation)


# ------------------------------------------------------------------------ locks


def test_a_lock_is_said_stored_and_shown():
    bench = bench_of()
    until = TsNs(bench.runtime.ts() + HOUR)
    bench.risk.lock("binance", FIRST, "ADL", until)
    bench.settle()
    row = LockRow(venue="binance", symbol=FIRST, reason="ADL", until_ns=until)
    assert bench.risk.locks() == [row]
    assert bench.store.all(LockRow) == [row]
    (said,) = bench.kinds("entries.locked")
    assert (said.venue, said.symbol, said.cause) == ("binance", FIRST, "ADL")


@pytest.mark.parametrize(("more", "taken"), [(-1, False), (0, False), (1, True)])
def test_a_lock_is_replaced_by_a_longer_one_alone(more, taken):
    bench = bench_of()
    until = TsNs(bench.runtime.ts() + HOUR)
    bench.risk.lock("binance", FIRST, "first", until)
    assert bench.risk.lock("binance", FIRST, "second", TsNs(until + more)) is taken
    assert bench.risk.locks()[0].reason == ("second" if taken else "first")


def test_the_end_of_a_lock_is_said_and_stored_once():
    bench = bench_of()
    bench.risk.lock("binance", FIRST, "ADL", TsNs(bench.runtime.ts() + HOUR))
    bench.until(60)
    bench.risk.unlock("binance", FIRST, "settled")
    bench.risk.unlock("binance", FIRST, "again")
    bench.risk.unlock("binance", SECOND_SYMBOL, "never")
    bench.settle()
    assert [one.cause for one in bench.kinds("entries.unlocked")] == ["settled"]
    assert bench.store.all(LockRow)[-1].until_ns == bench.runtime.ts()
    assert len(bench.store.all(LockRow)) == 2
    assert bench.risk.entry_block("binance", FIRST) == ""


def test_a_lock_that_ran_out_is_none_and_a_shorter_one_may_follow():
    bench = bench_of()
    bench.risk.lock("binance", FIRST, "first", TsNs(bench.runtime.ts() + MINUTE))
    bench.until(60)
    assert bench.risk.locks() == []
    assert bench.risk.lock("binance", FIRST, "second", TsNs(bench.runtime.ts() + SECOND))
    bench.until(61)
    assert bench.risk.entry_block("binance", FIRST) == ""
    bench.risk.unlock("binance", FIRST, "late")
    bench.settle()
    assert bench.kinds("entries.unlocked") == [], "it ended by itself"


@pytest.mark.parametrize(("late", "locked"), [(1, True), (0, False), (-1, False)])
def test_a_fact_locks_from_its_own_time_on(late, locked):
    """Told a day late it locks nothing (SPEC §9)."""
    bench = bench_of()
    at = TsNs(bench.runtime.ts() - DAY + late)
    bench.risk.forced("binance", fill("t1", Side.SELL, "1", "9", symbol=FIRST, ts_ns=at))
    assert bool(bench.risk.locks()) is locked
    bench.settle()
    assert len(bench.kinds("entries.locked")) == locked


# ------------------------------------------------------------------------ operator and switches


def test_an_operator_stops_entries_and_lets_them_go_on():
    bench = bench_of()
    bench.risk.pause("")
    assert bench.risk.entry_block("binance", FIRST) == "paused: operator"
    bench.risk.pause("news")
    assert bench.risk.entry_block("binance", FIRST) == "paused: news"
    bench.risk.resume()
    assert bench.risk.entry_block("binance", FIRST) == ""
    bench.settle()
    assert [one.cause for one in bench.kinds("entries.paused")] == ["operator", "news"]
    assert [one.cause for one in bench.kinds("entries.resumed")] == ["operator"]


def test_while_a_stop_was_commanded_there_are_no_entries():
    bench = bench_of()
    bench.services.stopping = True
    assert bench.risk.entry_block("binance", FIRST) == "stopping"


def losing_stops(bench, count):
    for symbol in SYMBOLS[:count]:
        close(bench, position(bench, symbol), "-1")
    bench.settle()


def test_tripped_switches_count_anew_after_an_operator_resumed():
    bench = bench_of(max_consecutive_stops=2)
    losing_stops(bench, 2)
    assert bench.risk.entry_block("binance", FIRST).startswith("locked")
    bench.risk.resume()
    bench.settle()
    assert bench.risk.entry_block("binance", FIRST) == ""
    assert bench.store.all(SwitchRow)[-1].losing_stops == 0
    losing_stops(bench, 1)
    assert bench.risk.entry_block("binance", FIRST) == ""


def test_counts_are_stored_after_each_end_and_come_back():
    bench = bench_of(max_consecutive_stops=2)
    losing_stops(bench, 1)
    (row,) = bench.store.all(SwitchRow)
    assert row.losing_stops == 1
    after = bench_of(max_consecutive_stops=2)
    after.risk.restore(StoredState(epoch=1, switches=row))
    held = position(after, SYMBOLS[4])
    close(after, held, "-1")
    assert after.risk.entry_block("binance", FIRST).startswith("locked")


def test_without_a_switch_nothing_is_counted_in_the_store():
    bench = bench_of()
    losing_stops(bench, 2)
    bench.risk.resume()
    bench.settle()
    assert bench.store.all(SwitchRow) == []


def test_a_switch_that_trips_says_how_long_and_only_once():
    bench = bench_of(max_consecutive_stops=1)
    losing_stops(bench, 2)
    (alert,) = [one.body for one in bench.effects if getattr(one.body, "kind", "") == "kill_switch"]
    assert alert.severity == "CRITICAL"
    assert alert.text.endswith("until an operator resumes")
    by_day = bench_of(daily_loss_limit_usd=1)
    losing_stops(by_day, 2)
    texts = [
        one.body.text for one in by_day.effects if getattr(one.body, "kind", "") == "kill_switch"
    ]
    assert len(texts) == 1
    assert texts[0].endswith("until its time is over")


def test_only_what_filled_cools_its_symbol_down():
    bench = bench_of(symbol_cooldown_minutes=5)
    never = position(bench, FIRST, qty="0")
    close(bench, never, "0", CloseReason.ROLLBACK)
    assert bench.risk.locks() == []
    close(bench, position(bench, FIRST), "0")
    assert bench.risk.locks()[0].until_ns == bench.runtime.ts() + 5 * MINUTE
    without = bench_of(symbol_cooldown_minutes=0)
    close(without, position(without, FIRST), "0")
    assert without.risk.locks() == []
    without.settle()
    assert without.kinds("entries.locked") == []


# ------------------------------------------------------------------------ the symbol's lock


def test_who_did_not_get_the_lock_of_a_symbol_lets_nobody_in():
    bench = bench_of(lock_timeout=30)
    got = []

    async def keep():
        async with bench.risk.hold("binance", FIRST):
            await bench.runtime.sleep(100 * SECOND)

    async def one_hold_twice():
        hold = bench.risk.hold("binance", FIRST)
        async with hold as held:
            got.append(held)
        bench.runtime.spawn(keep(), "test")
        await bench.runtime.sleep(SECOND)
        async with hold as held:
            got.append(held)
        async with bench.risk.hold("binance", FIRST) as held:
            got.append(held)

    bench.runtime.spawn(one_hold_twice(), "test")
    bench.until(90)
    assert got == [True, False, False]


def test_a_doubt_settled_on_one_symbol_leaves_the_others():
    bench = bench_of(max_positions=5)
    row = msgspec.structs.replace(order_row("wk1-1-aaaaaa-E0-0"), symbol=FIRST)
    order = bench.services.orders.register(row)
    for symbol in (FIRST, SECOND_SYMBOL):
        bench.risk.doubtful(reserve(bench, symbol).reservation_id)
    assert bench.risk.reserved("binance") == [FIRST]
    bench.services.orders.conclude(order, OrderStatus.REJECTED, "proven absent")
    assert bench.risk.reserved("binance") == []
