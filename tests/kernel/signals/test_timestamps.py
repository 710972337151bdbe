"""UTC text in whole numbers, compared with the standard library."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.units import SECOND
from kernel.signals.timestamps import format_utc, parse_utc

SECONDS = st.integers(0, 13_569_465_599)  # to the end of 2399


@given(SECONDS)
def test_reading_and_writing_agree_with_the_calendar(seconds):
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert parse_utc(text) == seconds * SECOND
    assert format_utc(seconds * SECOND) == text


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
    ],
)
def test_fractions_are_exact(text, ns):
    assert parse_utc(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-05 12:45:00Z",
        "2026-01-05T12:45:00",
        "2026-01-05T12:45:00+00:00",
        "2026-01-05T12:45Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-05T24:00:00Z",
        "2026-01-05T12:60:00Z",
        "2026-01-05T12:45:60Z",
        "1969-12-31T23:59:59Z",
        "2026-01-05T12:45:00.Z",
        "٢٠٢٦-01-05T12:45:00Z",
        "2026-01-05T12:45:00Z\n",
    ],
)
def test_other_forms_and_impossible_times_are_refused(text):
    with pytest.raises(ValueError, match=r"2026|1969|form|''|since"):
        parse_utc(text)


@pytest.mark.parametrize(
    "seen",
    [
        *((year, month, 1) for year in (1970, 1999, 2000, 2026, 2100, 2101) for month in (1, 2, 3)),
        *((2027, month, 1) for month in range(4, 13)),
        *((2028, month, 1) for month in range(1, 13)),
        (1999, 12, 31), (2000, 2, 29), (2000, 12, 31), (2024, 2, 29), (2026, 1, 31),
        (2026, 2, 28), (2026, 3, 31), (2026, 4, 30), (2096, 2, 29), (2100, 2, 28), (2100, 12, 31),
        (2200, 3, 1), (2399, 12, 31), (2400, 2, 29), (2400, 12, 31), (9999, 12, 31),
    ],
)  # fmt: skip
def test_the_calendar_is_the_gregorian_one(seen):
    year, month, day = seen
    moment = datetime(year, month, day, 23, 59, 58, tzinfo=UTC)
    text = f"{year:04}-{month:02}-{day:02}T23:59:58Z"
    ns = int(moment.timestamp()) * SECOND
    assert (parse_utc(text), format_utc(ns), format_utc(ns + SECOND - 1)) == (ns, text, text)


@pytest.mark.parametrize(
    "text",
    [
        *("2100-02-29", "2023-02-29", "2026-04-31", "2026-02-30", "2024-02-30"),
        *("2026-01-32", "2026-12-32"),
    ],
)
def test_a_day_that_its_month_does_not_have_is_refused(text):
    with pytest.raises(ValueError, match="no such date"):
        parse_utc(f"{text}T00:00:00Z")


@pytest.mark.parametrize("clock", ["00:00:00", "23:00:00", "00:59:00", "00:00:59", "10:11:12"])
def test_the_time_of_day_is_kept(clock):
    hour, minute, second = (int(part) for part in clock.split(":"))
    ns = (hour * 3600 + minute * 60 + second) * SECOND
    assert (parse_utc(f"1970-01-01T{clock}Z"), format_utc(ns)) == (ns, f"1970-01-01T{clock}Z")
