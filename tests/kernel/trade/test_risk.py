"""Limits count what is open, pending and doubtful; reservations end only by proof."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import FillKind, OrderStatus, PositionReport, PositionSide, Side
from kernel.model.positions import CloseReason, Origin, PositionRow, PositionState
from kernel.model.rows import LockRow, StoredState
from kernel.model.units import DAY, HOUR, MINUTE, SECOND, TsNs
from kernel.trade.risk import Reservation
from tests.kernel.trade.parts import fill, order_row
from tests.kernel.trade.wave_bench import SYMBOLS, WaveBench

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    WaveBench.close_all()


def bench_of(available=100_000, **settings):
    bench = WaveBench(**settings)
    bench.risk.note_available("binance", D(available), D(available))
    return bench


def position(bench, symbol, qty="2", side=LONG, state=PositionState.ACTIVE, **changes):
    row = PositionRow(
        position_id=f"p{symbol}{bench.services.book.ended}",
        venue="binance",
        symbol=symbol,
        side=side,
        state=state,
        intended_qty=D(qty),
        filled_qty=D(qty),
        entry_price=D(100),
        opened_ns=bench.runtime.ts(),
    )
    return bench.services.book.create(msgspec.structs.replace(row, **changes))


def reserve(bench, symbol, notional="200", side=LONG):
    return bench.risk.reserve("binance", symbol, side, D(notional))


def close(bench, held, net, reason=CloseReason.STOP_LOSS):
    row = held.row
    held.update(closed_qty=row.filled_qty, realized_pnl=D(net), close_reason=reason.value)
    held.transition(PositionState.CLOSED, "test")


# ------------------------------------------------------------------------ slots and exposure


def test_positions_and_reservations_take_slots():
    bench = bench_of(max_positions=3)
    position(bench, SYMBOLS[0])
    assert bench.risk.free_slots() == 2
    assert isinstance(reserve(bench, SYMBOLS[1]), Reservation)
    assert bench.risk.free_slots() == 1


def test_a_reservation_and_its_position_are_one():
    bench = bench_of(max_positions=3)
    made = reserve(bench, SYMBOLS[0])
    position(bench, SYMBOLS[0], qty="0", state=PositionState.PENDING_ENTRY, intended_qty=D(2))
    assert bench.risk.free_slots() == 2
    assert bench.risk.exposure() == 200
    bench.risk.opened(made.reservation_id)
    assert bench.risk.exposure() == 200


def test_what_may_still_fill_counts_as_filled():
    bench = bench_of()
    position(bench, SYMBOLS[0], qty="0.5", state=PositionState.ENTRY_PLACED, intended_qty=D(3))
    assert bench.risk.exposure() == 300
    position(bench, SYMBOLS[1], qty="0.5", state=PositionState.ACTIVE, intended_qty=D(3))
    assert bench.risk.exposure() == 350


def test_foreign_positions_count_in_the_book_and_on_the_venue():
    bench = bench_of(max_positions=3)
    position(bench, SYMBOLS[0], origin=Origin.FOREIGN)
    bench.desk.hear_position(
        PositionReport(
            symbol=SYMBOLS[1], side=SHORT, qty=D(4), mark_price=D(50), updated_ns=TsNs(1)
        )
    )
    assert bench.risk.free_slots() == 1
    assert bench.risk.exposure() == 400
    assert reserve(bench, SYMBOLS[1]) == "position_open"


def test_exposure_is_checked_with_what_is_reserved():
    bench = bench_of(max_exposure_usd=450)
    assert isinstance(reserve(bench, SYMBOLS[0]), Reservation)
    assert isinstance(reserve(bench, SYMBOLS[1]), Reservation)
    assert reserve(bench, SYMBOLS[2]) == "max_exposure"
    assert isinstance(reserve(bench, SYMBOLS[2], "50"), Reservation)


def test_a_symbol_is_reserved_once():
    bench = bench_of()
    reserve(bench, SYMBOLS[0])
    assert reserve(bench, SYMBOLS[0], side=SHORT) == "position_open"


def test_the_cap_of_a_side_holds():
    bench = bench_of(max_positions_per_side=2)
    position(bench, SYMBOLS[0])
    assert isinstance(reserve(bench, SYMBOLS[1]), Reservation)
    assert reserve(bench, SYMBOLS[2]) == "max_positions_per_side"
    assert isinstance(reserve(bench, SYMBOLS[2], side=SHORT), Reservation)


# ------------------------------------------------------------------------ ends of reservations


def test_proof_of_absence_frees_everything():
    bench = bench_of(available=50, max_positions=1)
    made = reserve(bench, SYMBOLS[0])
    assert reserve(bench, SYMBOLS[1]) == "max_positions"
    bench.risk.absent(made.reservation_id)
    assert isinstance(reserve(bench, SYMBOLS[1]), Reservation)


def test_a_doubtful_reservation_stays_until_nothing_is_left_on_the_symbol():
    bench = bench_of(max_positions=1)
    made = reserve(bench, SYMBOLS[0])
    row = msgspec.structs.replace(order_row("wk1-1-aaaaaa-E0-0"), symbol=SYMBOLS[0])
    order = bench.services.orders.register(row)
    bench.risk.doubtful(made.reservation_id)
    assert bench.risk.free_slots() == 0
    bench.services.orders.conclude(order, OrderStatus.REJECTED, "proven absent")
    assert bench.risk.free_slots() == 1


def test_ending_a_reservation_twice_changes_nothing():
    bench = bench_of(available=100)
    made = reserve(bench, SYMBOLS[0])
    for _ in range(2):
        bench.risk.absent(made.reservation_id)
    for symbol in SYMBOLS[1:3]:
        assert isinstance(reserve(bench, symbol), Reservation)
    assert reserve(bench, SYMBOLS[3]) == "margin"


# ------------------------------------------------------------------------ margin


def test_margin_is_notional_by_leverage_and_the_cost_of_both_ways():
    assert bench_of(leverage=5).risk.margin_of(D(200)) == D("40.2")


def test_one_balance_is_not_spent_twice():
    bench = bench_of(available=100)
    assert isinstance(reserve(bench, SYMBOLS[0]), Reservation)
    assert isinstance(reserve(bench, SYMBOLS[1]), Reservation)
    assert reserve(bench, SYMBOLS[2]) == "margin"


def test_a_new_balance_does_not_forget_what_is_pending():
    bench = bench_of(available=100)
    reserve(bench, SYMBOLS[0])
    reserve(bench, SYMBOLS[1])
    bench.risk.note_available("binance", D(100), D(100))
    assert reserve(bench, SYMBOLS[2]) == "margin"


def test_without_a_balance_there_is_no_entry():
    assert WaveBench().risk.reserve("binance", SYMBOLS[0], LONG, D(200)) == "balance_unknown"


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "opened", "absent", "doubtful", "balance"]), st.integers(0, 7)
    ),
    max_size=40,
)


@given(ACTS)
def test_whatever_happens_no_limit_is_passed(acts):
    bench = bench_of(available=170, max_positions=4, max_exposure_usd=650)
    made: dict[int, Reservation] = {}
    for act, number in acts:
        if act == "reserve":
            got = reserve(bench, SYMBOLS[number])
            if isinstance(got, Reservation):
                made[number] = got
        elif act == "balance":
            bench.risk.note_available("binance", D(170), D(170))
        elif number in made:
            if act == "opened":
                position(bench, SYMBOLS[number])
            getattr(bench.risk, act)(made.pop(number).reservation_id)
        assert bench.risk.free_slots() >= 0
        assert bench.risk.exposure() <= 650
        assert len(made) * D("40.2") <= 170
    WaveBench.close_all()


# ------------------------------------------------------------------------ the symbol's lock


def test_an_entry_waits_for_its_symbol_only_so_long():
    bench = bench_of(lock_timeout=30)
    got = []

    async def keep():
        async with bench.risk.hold("binance", SYMBOLS[0]) as held:
            got.append(("first", held, bench.runtime.now()))
            await bench.runtime.sleep(100 * SECOND)

    async def wait(name, symbol):
        async with bench.risk.hold("binance", symbol) as held:
            got.append((name, held, bench.runtime.now()))

    for coroutine in (keep(), wait("same", SYMBOLS[0]), wait("other", SYMBOLS[1])):
        bench.runtime.spawn(coroutine, "test")
    bench.until(99)
    assert got == [("first", True, 0), ("other", True, 0), ("same", False, 30 * SECOND)]
    bench.runtime.spawn(wait("again", SYMBOLS[0]), "test")
    bench.until(120)
    assert got[-1] == ("again", True, 100 * SECOND)


# ------------------------------------------------------------------------ locks


def test_a_lock_ends_at_its_time_and_is_only_ever_made_longer():
    bench = bench_of()
    now = bench.runtime.ts()
    assert bench.risk.lock("binance", SYMBOLS[0], "long", TsNs(now + 2 * MINUTE))
    assert not bench.risk.lock("binance", SYMBOLS[0], "short", TsNs(now + MINUTE))
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == "locked: long"
    assert bench.risk.entry_block("binance", SYMBOLS[1]) == ""
    bench.until(120)
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == ""
    assert bench.risk.locks() == []


def test_a_lock_of_a_venue_covers_its_symbols_and_no_others():
    bench = bench_of()
    bench.risk.lock("binance", "", "maintenance", TsNs(bench.runtime.ts() + HOUR))
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == "locked: maintenance"
    assert bench.risk.entry_block("bybit", SYMBOLS[0]) == ""


def test_locks_are_durable_and_come_back():
    bench = bench_of()
    until = TsNs(bench.runtime.ts() + HOUR)
    bench.risk.lock("binance", SYMBOLS[0], "ADL", until)
    bench.settle()
    rows = tuple(bench.store.all(LockRow))
    assert rows == (LockRow(venue="binance", symbol=SYMBOLS[0], reason="ADL", until_ns=until),)
    again = bench_of()
    again.risk.restore(StoredState(epoch=2, locks=rows))
    assert again.risk.entry_block("binance", SYMBOLS[0]) == "locked: ADL"


# ------------------------------------------------------------------------ kill switches


def blocked(bench):
    return bench.risk.entry_block("binance", SYMBOLS[30])


def test_the_daily_loss_stops_entries_until_the_utc_day_ends():
    bench = bench_of(daily_loss_limit_usd=100)
    close(bench, position(bench, SYMBOLS[0], fees=D(1)), "-60")
    assert blocked(bench) == ""
    close(bench, position(bench, SYMBOLS[1], fees=D(1)), "-38", CloseReason.AGED)
    assert "daily loss 100" in blocked(bench)
    bench.settle()
    assert bench.alerts() == ["kill_switch"]
    to_midnight = DAY - bench.start_ns % DAY
    bench.until(to_midnight // SECOND - 1)
    assert blocked(bench)
    bench.until(to_midnight // SECOND)
    assert blocked(bench) == ""


def test_what_an_open_position_has_realised_today_counts():
    bench = bench_of(daily_loss_limit_usd=100)
    position(bench, SYMBOLS[0], realized_pnl=D(-100))
    assert "daily loss" in blocked(bench)


def test_what_ended_without_all_of_its_executions_counts_with_what_is_known():
    bench = bench_of(daily_loss_limit_usd=100)
    held = position(bench, SYMBOLS[0], realized_pnl=D(-100))
    held.transition(PositionState.CLOSED, "test")
    assert "daily loss" in blocked(bench)


def test_consecutive_losing_stops_need_an_operator():
    bench = bench_of(max_consecutive_stops=2)
    close(bench, position(bench, SYMBOLS[0]), "-1")
    close(bench, position(bench, SYMBOLS[1]), "5", CloseReason.TRAILING_STOP)
    close(bench, position(bench, SYMBOLS[2]), "-1")
    assert blocked(bench) == ""
    close(bench, position(bench, SYMBOLS[3]), "-1")
    assert "2 losing stops" in blocked(bench)
    bench.until(3 * 86_400)
    assert blocked(bench)
    bench.risk.resume()
    assert blocked(bench) == ""


def test_the_stop_guard_counts_inside_its_window():
    bench = bench_of(stop_guard_count=2, stop_guard_window_minutes=10)
    close(bench, position(bench, SYMBOLS[0]), "-1")
    bench.until(601)
    close(bench, position(bench, SYMBOLS[1]), "-1")
    assert blocked(bench) == ""
    bench.until(700)
    close(bench, position(bench, SYMBOLS[2]), "3")
    assert "2 stops" in blocked(bench)
    bench.until(1301)
    assert blocked(bench) == ""


def test_drawdown_counts_from_the_best_result():
    bench = bench_of(available=1000, max_drawdown_percent=10)
    close(bench, position(bench, SYMBOLS[0]), "100", CloseReason.TRAILING_STOP)
    close(bench, position(bench, SYMBOLS[1]), "-109")
    assert blocked(bench) == ""
    close(bench, position(bench, SYMBOLS[2]), "-1")
    assert "drawdown" in blocked(bench)


def test_a_symbol_cools_down_after_a_close():
    bench = bench_of(symbol_cooldown_minutes=15)
    close(bench, position(bench, SYMBOLS[0]), "1")
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == "locked: cool-down"
    assert blocked(bench) == ""
    bench.until(15 * 60)
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == ""


def test_what_is_off_or_not_ours_or_never_filled_trips_nothing():
    off = bench_of()
    close(off, position(off, SYMBOLS[0]), "-10000")
    assert blocked(off) == ""
    bench = bench_of(max_consecutive_stops=1, symbol_cooldown_minutes=5)
    close(bench, position(bench, SYMBOLS[0], origin=Origin.FOREIGN), "-1")
    never = position(bench, SYMBOLS[1], qty="0", state=PositionState.PENDING_ENTRY)
    never.transition(PositionState.ROLLED_BACK, "never filled")
    assert blocked(bench) == ""
    assert bench.risk.entry_block("binance", SYMBOLS[1]) == ""


@pytest.mark.parametrize("kind", [FillKind.LIQUIDATION, FillKind.ADL, FillKind.SETTLEMENT])
def test_a_symbol_is_locked_for_a_day_after_the_venue_closed_a_position(kind):
    bench = bench_of()
    held = position(bench, SYMBOLS[0])
    act = fill("t1", Side.SELL, "2", "90", symbol=SYMBOLS[0], kind=kind)
    held.apply_fill(act)
    bench.risk.forced("binance", msgspec.structs.replace(act, ts_ns=bench.runtime.ts()))
    close(bench, held, "-20", CloseReason.LIQUIDATION)
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == f"locked: {kind.value.lower()}"
    bench.until(86_400)
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == ""


@pytest.mark.parametrize(("hours", "locked"), [(2, "locked: adl"), (1, ""), (0, "")])
def test_how_long_a_symbol_is_locked_after_the_venue_closed_a_position_is_a_setting(hours, locked):
    bench = bench_of(fact_lock_hours=hours)
    held = position(bench, SYMBOLS[0])
    act = fill("t1", Side.SELL, "2", "90", symbol=SYMBOLS[0], kind=FillKind.ADL)
    held.apply_fill(act)
    bench.risk.forced("binance", msgspec.structs.replace(act, ts_ns=bench.runtime.ts()))
    close(bench, held, "-20", CloseReason.ADL)
    bench.until(3_600)
    assert bench.risk.entry_block("binance", SYMBOLS[0]) == locked
