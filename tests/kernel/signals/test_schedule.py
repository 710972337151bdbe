"""The owner's wave timing: critical, so every minute of the hour is written out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings
from kernel.model.units import DAY, HOUR, MINUTE, SECOND
from kernel.signals.schedule import CANDLE_NS, WaveSchedule, close_of
from kernel.signals.timestamps import format_utc, parse_utc

NOON = parse_utc("2026-01-05T12:00:00Z")
SCHEDULE = WaveSchedule.of(Settings())


def on(schedule, ts_ns):
    """The check that is on; one must be."""
    window = schedule.window_at(ts_ns)
    assert window is not None
    return window


EXPECTED = {
    **dict.fromkeys(range(16), "2026-01-05T11:45:00Z"),
    **dict.fromkeys(range(16, 31), "2026-01-05T12:00:00Z"),
    **dict.fromkeys(range(31, 46), "2026-01-05T12:15:00Z"),
    **dict.fromkeys(range(46, 60), "2026-01-05T12:30:00Z"),
}


@pytest.mark.parametrize("minute", range(60))
@pytest.mark.parametrize("second", [0, 59])
def test_the_expected_wave_follows_the_owners_table(minute, second):
    now = NOON + minute * MINUTE + second * SECOND
    assert format_utc(SCHEDULE.expected_wave(now)) == EXPECTED[minute]


def test_the_first_hour_of_a_day_expects_the_last_candle_of_the_day_before():
    midnight = parse_utc("2026-03-01T00:00:00Z")
    assert format_utc(SCHEDULE.expected_wave(midnight + 6 * MINUTE)) == "2026-02-28T23:45:00Z"


@pytest.mark.parametrize(
    ("minute", "wave"),
    [
        (6, "2026-01-05T11:45:00Z"),
        (20, "2026-01-05T12:00:00Z"),
        (35, "2026-01-05T12:15:00Z"),
        (50, "2026-01-05T12:30:00Z"),
    ],
)
def test_each_check_expects_the_candle_that_closed_last(minute, wave):
    window = SCHEDULE.next_window(NOON + minute * MINUTE - 1)
    assert window.start_ns == NOON + minute * MINUTE
    assert window.end_ns == window.start_ns + 120 * SECOND
    assert format_utc(window.wave_ns) == wave
    closed_ago = window.start_ns - close_of(window.wave_ns)
    assert 5 * MINUTE <= closed_ago <= 8 * MINUTE


def test_a_check_includes_both_its_ends():
    start = NOON + 20 * MINUTE
    assert SCHEDULE.window_at(start - 1) is None
    assert on(SCHEDULE, start).start_ns == start
    assert on(SCHEDULE, start + 120 * SECOND).start_ns == start
    assert SCHEDULE.window_at(start + 120 * SECOND + 1) is None


def test_what_a_check_expects_is_fixed_at_its_start():
    """A long check that runs into the next quarter still watches for its own wave."""
    schedule = WaveSchedule(check_minutes=(14,), duration_ns=900 * SECOND)
    during = on(schedule, NOON + 20 * MINUTE)
    assert format_utc(during.wave_ns) == "2026-01-05T11:45:00Z"
    assert format_utc(schedule.expected_wave(NOON + 20 * MINUTE)) == "2026-01-05T12:00:00Z"


def test_a_check_of_the_hour_before_still_runs_after_the_hour():
    schedule = WaveSchedule(check_minutes=(0, 59), duration_ns=60 * SECOND)
    assert on(schedule, NOON - 30 * SECOND).start_ns == NOON - MINUTE
    schedule = WaveSchedule(check_minutes=(30, 59), duration_ns=300 * SECOND)
    assert on(schedule, NOON + 2 * MINUTE).start_ns == NOON - MINUTE


def test_where_two_checks_meet_the_later_one_is_on():
    schedule = WaveSchedule(check_minutes=(6, 8), duration_ns=120 * SECOND)
    assert on(schedule, NOON + 8 * MINUTE).start_ns == NOON + 8 * MINUTE


@given(st.integers(0, 4 * DAY))
def test_the_next_check_is_the_earliest_one_after_now(offset):
    now = NOON + offset
    window = SCHEDULE.next_window(now)
    assert now < window.start_ns <= now + HOUR
    assert window.start_ns % MINUTE == 0
    between = range(now - now % MINUTE + MINUTE, window.start_ns, MINUTE)
    assert [
        at for at in between if SCHEDULE.window_at(at) and at % HOUR // MINUTE in (6, 20, 35, 50)
    ] == []


@given(st.integers(0, 1000))
def test_every_wave_has_one_check(quarter):
    wave = NOON + quarter * CANDLE_NS
    window = SCHEDULE.window_of(wave)
    assert window is not None
    assert window.wave_ns == wave
    assert SCHEDULE.window_at(window.start_ns + MINUTE) == window


def test_a_wave_that_no_check_expects_has_none():
    schedule = WaveSchedule(check_minutes=(6,))
    assert schedule.window_of(NOON) is None
    assert schedule.window_of(NOON + 45 * MINUTE) is not None


def test_the_schedule_is_set_by_settings():
    schedule = WaveSchedule.of(Settings(wave_check_minutes=(7,), wave_check_duration_seconds=180))
    assert schedule.next_window(NOON).start_ns == NOON + 7 * MINUTE
    assert schedule.next_window(NOON).end_ns == NOON + 10 * MINUTE


def test_a_check_contains_its_ends_and_nothing_else():
    window = on(SCHEDULE, NOON + 20 * MINUTE)
    moments = (window.start_ns - 1, window.start_ns, window.end_ns, window.end_ns + 1)
    assert [window.contains(ns) for ns in moments] == [False, True, True, False]


def test_the_last_check_of_the_hour_before_is_the_one_that_still_runs():
    schedule = WaveSchedule(duration_ns=900 * SECOND)
    assert on(schedule, NOON + 2 * MINUTE).start_ns == NOON - 10 * MINUTE


def test_a_mapping_that_ends_before_the_hour_expects_nothing_after_it():
    schedule = WaveSchedule(mapping=((15, -15),))
    with pytest.raises(AssertionError, match="ends before minute 20"):
        schedule.expected_wave(NOON + 20 * MINUTE)
