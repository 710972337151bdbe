"""Results count to the last cent and nanosecond; a switch trips there, not beside."""

from decimal import Decimal
from itertools import count

import pytest

from kernel.config import Settings
from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason, Origin, PositionRow, PositionState
from kernel.model.units import DAY, MINUTE, SECOND, TsNs
from kernel.trade.kill_switches import UNTIL_RESUMED, KillSwitches

D = Decimal
NUMBERS = count()
NOW = TsNs(20_000 * DAY + 12 * 60 * MINUTE)
CENT = D("0.01")
BY_STOP = (
    CloseReason.STOP_LOSS,
    CloseReason.TRAILING_STOP,
    CloseReason.ALREADY_THROUGH,
    CloseReason.UNPROTECTED,
    CloseReason.LIQUIDATION,
)


def row(net="-1", reason=CloseReason.STOP_LOSS, **changes):
    given = {
        "position_id": f"p{next(NUMBERS)}",
        "venue": "binance",
        "symbol": "AAAUSDT",
        "side": PositionSide.LONG,
        "state": PositionState.CLOSED,
        "intended_qty": D(1),
        "filled_qty": D(1),
        "realized_pnl": D(net),
        "close_reason": reason.value,
        "opened_ns": NOW,
    }
    return PositionRow(**(given | changes))


def switches(wallet="1000", **settings):
    made = KillSwitches(Settings(**settings))
    made.note_wallet("binance", D(wallet))
    return made


@pytest.mark.parametrize("reason", CloseReason)
def test_these_reasons_are_stops_and_no_other_is(reason):
    counted = switches(max_consecutive_stops=1).ended(row("-1", reason), NOW)
    assert bool(counted) is (reason in BY_STOP)


def test_only_a_profit_ends_a_row_of_losing_stops():
    kept = switches(max_consecutive_stops=2)
    assert kept.ended(row("-1"), NOW) == []
    assert kept.ended(row("-9", CloseReason.AGED), NOW) == []
    (trip,) = kept.ended(row("0"), NOW)
    assert (trip.reason, trip.until_ns) == ("2 losing stops in a row", UNTIL_RESUMED)
    ended = switches(max_consecutive_stops=2)
    ended.ended(row("-1"), NOW)
    ended.ended(row("0.01", CloseReason.AGED), NOW)
    assert ended.ended(row("-1"), NOW) == []


def test_a_position_that_never_filled_or_is_not_ours_does_not_count():
    one = switches(max_consecutive_stops=1)
    assert one.ended(row(filled_qty=D(0)), NOW) == []
    assert one.ended(row(origin=Origin.FOREIGN), NOW) == []
    assert one.ended(row(), NOW)


def test_the_daily_loss_trips_at_the_limit_and_not_a_cent_before():
    day = switches(daily_loss_limit_usd=D(100))
    assert day.ended(row("-99.99"), NOW) == []
    (trip,) = day.ended(row("-0.01"), NOW)
    assert trip.reason == "daily loss 100.00 of at most 100 USD"
    assert trip.until_ns == 20_001 * DAY


def test_the_day_is_new_with_its_first_nanosecond():
    day = switches(daily_loss_limit_usd=D(100))
    assert day.ended(row("-99"), TsNs(20_001 * DAY - 1)) == []
    assert day.loss_today(TsNs(20_001 * DAY - 1), [row("-1")]) is not None
    assert day.loss_today(TsNs(20_001 * DAY), []) is None
    assert day.ended(row("-99"), TsNs(20_001 * DAY)) == []


def test_a_day_begins_at_nothing_also_in_the_first_one_of_all():
    day = switches(daily_loss_limit_usd=D(100))
    assert day.ended(row("-100"), TsNs(SECOND)) != []
    assert switches(daily_loss_limit_usd=D(100)).ended(row("-99.5"), TsNs(SECOND)) == []


def test_what_living_positions_realised_counts_if_they_were_opened_today():
    day, midnight = switches(daily_loss_limit_usd=D(100)), TsNs(20_000 * DAY)
    before = row("-100", opened_ns=TsNs(midnight - 1))
    assert day.loss_today(NOW, [before]) is None
    assert day.loss_today(NOW, [row("-100", opened_ns=midnight)]) is not None
    assert day.loss_today(NOW, [row("-60"), row("-40"), before]) is not None


def test_drawdown_is_the_fall_from_the_best_in_percent_of_the_best():
    drawn = switches("900", max_drawdown_percent=D(10))
    assert drawn.ended(row("100", CloseReason.AGED), NOW) == []
    assert drawn.ended(row("-99.99", CloseReason.AGED), NOW) == []
    (trip,) = drawn.ended(row("-0.01", CloseReason.AGED), NOW)
    assert (trip.reason, trip.until_ns) == ("drawdown of at least 10 percent", UNTIL_RESUMED)


def test_drawdown_begins_at_nothing_and_with_the_first_figure_of_each_venue():
    drawn = switches("500", max_drawdown_percent=D(10))
    drawn.note_wallet("bybit", D(500))
    drawn.note_wallet("bybit", D(5))
    assert drawn.ended(row("-99.99", CloseReason.AGED), NOW) == []
    assert drawn.ended(row("-0.01", CloseReason.AGED), NOW)


@pytest.mark.parametrize("wallet", ["0", "-5"])
def test_without_money_there_is_no_drawdown(wallet):
    drawn = switches(wallet, max_drawdown_percent=D(10))
    assert drawn.ended(row("1", CloseReason.AGED), NOW) == []
    assert drawn.ended(row("-9", CloseReason.AGED), NOW) == []


def test_the_smallest_wallet_has_a_drawdown():
    drawn = switches("1", max_drawdown_percent=D(10))
    assert drawn.ended(row("-0.1", CloseReason.AGED), NOW)


def test_a_stop_leaves_the_guard_when_its_window_has_passed():
    window = 10 * MINUTE
    guard = switches(stop_guard_count=2, stop_guard_window_minutes=10)
    assert guard.ended(row("5", CloseReason.TRAILING_STOP), NOW) == []
    assert guard.ended(row("-5", CloseReason.AGED), TsNs(NOW + 1)) == []
    (trip,) = guard.ended(row(), TsNs(NOW + window - 1))
    assert trip.reason == "2 stops inside the guard's window"
    assert trip.until_ns == NOW + 2 * window - 1
    late = switches(stop_guard_count=2, stop_guard_window_minutes=10)
    late.ended(row(), NOW)
    assert late.ended(row(), TsNs(NOW + window)) == []


def test_after_an_operator_resumed_everything_but_the_day_counts_anew():
    both = {"max_consecutive_stops": 2, "stop_guard_count": 3, "max_drawdown_percent": D(10)}
    resumed = switches("1000", stop_guard_window_minutes=10, **both)
    resumed.ended(row("-50"), NOW)
    resumed.resumed()
    resumed.note_wallet("binance", D(400))
    assert resumed.ended(row("-39.99"), NOW) == []
    (stops,) = resumed.ended(row("0"), NOW)
    assert stops.reason == "2 losing stops in a row"
    trips = resumed.ended(row("-0.01"), NOW)
    assert [trip.reason.split(" ")[0] for trip in trips] == ["drawdown", "3", "3"]


def test_an_operator_does_not_forgive_the_loss_of_the_day():
    day = switches(daily_loss_limit_usd=D(100))
    day.ended(row("-100"), NOW)
    day.resumed()
    assert day.loss_today(NOW, []) is not None


def test_zero_switches_each_of_them_off():
    off = switches("10")
    assert [off.ended(row("-5"), NOW) for _ in range(50)] == [[]] * 50


def test_a_position_that_ends_twice_counts_once():
    one = switches(max_consecutive_stops=2)
    lost = row("-1")
    assert one.ended(lost, NOW) == []
    assert one.ended(lost, NOW) == []
    again = switches(max_consecutive_stops=2)
    again.restore(one.row())
    assert again.ended(lost, NOW) == []
    assert again.ended(row("-1"), NOW)


def test_what_was_counted_comes_back_from_its_row():
    one = switches(max_drawdown_percent=D(10), stop_guard_count=2)
    one.ended(row("50", CloseReason.AGED), NOW)
    one.ended(row("-99.99"), NOW)
    again = KillSwitches(Settings(max_drawdown_percent=D(10), stop_guard_count=2))
    again.restore(one.row())
    assert again.row() == one.row()
    assert len(again.ended(row("-5.01"), TsNs(NOW + 1))) == 2


def test_the_loss_of_the_day_goes_on_after_a_restart():
    one = switches(daily_loss_limit_usd=D(100))
    assert one.ended(row("-60"), NOW) == []
    again = switches(daily_loss_limit_usd=D(100))
    again.restore(one.row())
    assert again.ended(row("-39.99"), NOW) == []
    assert again.ended(row("-0.01"), NOW)


def test_the_last_sixty_four_that_ended_count_once_and_the_row_grows_no_further():
    one = switches(daily_loss_limit_usd=D(100))
    names = [f"ended{number}" for number in range(65)]
    for name in names:
        one.ended(row("-1", position_id=name), NOW)
    assert one.row().counted == tuple(names[1:])
    one.ended(row("-50", position_id=names[1]), NOW)
    assert one.loss_today(NOW, []) is None


@pytest.mark.parametrize(
    "setting",
    [
        {"daily_loss_limit_usd": D(1)},
        {"max_drawdown_percent": D(1)},
        {"max_consecutive_stops": 1},
        {"stop_guard_count": 1},
    ],
    ids=lambda one: next(iter(one)),
)
def test_each_count_alone_switches_counting_on(setting):
    assert KillSwitches(Settings(**setting)).any_on is True
    assert KillSwitches(Settings()).any_on is False
