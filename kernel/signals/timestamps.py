"""ISO-8601 UTC text and nanoseconds since the epoch, in whole numbers only."""

from __future__ import annotations

import re
from functools import lru_cache

from kernel.model.units import DAY, HOUR, MINUTE, SECOND, TsNs

_UTC = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?Z"
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_YEAR = 1970


@lru_cache(maxsize=64)  # det-ok: a pure function; the lines of a wave name one candle
def parse_utc(text: str) -> TsNs:
    """Nanoseconds of a text such as "2026-01-05T12:45:00Z".

    Raises:
        ValueError: Another form, no such date or time, or a year before 1970.
    """
    match = _UTC.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not of the form 2026-01-05T12:45:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    possible = year >= _FIRST_YEAR and 1 <= month <= 12 and hour < 24 and minute < 60
    if not possible or second >= 60 or not 1 <= day <= days_in_month(year, month):
        raise ValueError(f"{text!r}: no such date or time since {_FIRST_YEAR}")
    fraction = int((match[7] or "").ljust(9, "0"))
    days = _days_before_year(year) + _days_before_month(year, month) + day - 1
    return TsNs(days * DAY + hour * HOUR + minute * MINUTE + second * SECOND + fraction)


def format_utc(ts_ns: int) -> str:
    """Text such as "2026-01-05T12:45:00Z"; what is below a second is cut off."""
    return _format_seconds(ts_ns // SECOND)


@lru_cache(maxsize=64)  # det-ok: a pure function; one wave is named many times
def _format_seconds(seconds: int) -> str:
    ts_ns = seconds * SECOND
    days, rest = divmod(ts_ns, DAY)
    year = _FIRST_YEAR + days // 366  # never too late, corrected upwards
    while _days_before_year(year + 1) <= days:
        year += 1
    days -= _days_before_year(year)
    month = 1
    while days >= (length := _MONTH_DAYS[month - 1] + (month == 2 and _is_leap(year))):
        days -= length
        month += 1
    hour, minute, second = rest // HOUR, rest // MINUTE % 60, rest // SECOND % 60
    return f"{year:04}-{month:02}-{days + 1:02}T{hour:02}:{minute:02}:{second:02}Z"


def days_in_month(year: int, month: int) -> int:
    """Days of a month of the Gregorian calendar."""
    return _MONTH_DAYS[month - 1] + (month == 2 and _is_leap(year))


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_before_year(year: int) -> int:
    """Days from 1970-01-01 to the first day of `year`."""
    last = year - 1
    leaps = last // 4 - last // 100 + last // 400
    return (year - _FIRST_YEAR) * 365 + leaps - 477  # 477 leap days before 1970


def _days_before_month(year: int, month: int) -> int:
    return sum(days_in_month(year, earlier) for earlier in range(1, month))
