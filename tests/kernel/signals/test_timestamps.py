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
