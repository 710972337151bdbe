"""Durations and exact numbers as people write them in scenario files."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation

from kernel.model.units import DAY, HOUR, MINUTE, MS, SECOND

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MS, "us": 1_000, "ns": 1}
LONGEST_NS = 366 * DAY
"""More is a slip of the pen: its prices fill the memory before the run begins."""
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|d|h|m|s)")


def parse_duration(value: object) -> int:
    """Nanoseconds of "1m30s", "250ms", "2h", or of a bare number of seconds.

    Raises:
        ValueError: Another form, a negative value, parts of a nanosecond, more than a year.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        # pydantic makes a problem of the file of it, which it does not of a TypeError
        raise ValueError(f"{value!r} is no duration: write 90, 1m30s or 2h")  # noqa: TRY004
    text = str(value).strip()
    with suppress(InvalidOperation):
        return _whole(Decimal(text) * SECOND, text)
    end, total = 0, Decimal(0)
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        total += Decimal(part[1]) * _UNITS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError(f"{text!r} is no duration: write 90, 1m30s, 250ms or 2h")
    return _whole(total, text)


def _whole(ns: Decimal, text: str) -> int:
    if not ns.is_finite() or ns < 0 or ns != ns.to_integral_value():
        raise ValueError(f"{text!r}: a duration is 0 or more, in whole nanoseconds")
    if ns > LONGEST_NS:
        raise ValueError(f"{text!r}: a duration is at most {LONGEST_NS // DAY}d")
    return int(ns)


def duration_text(ns: int) -> str:
    """The shortest text that `parse_duration` reads back: "1m30s"."""
    if ns == 0:
        return "0s"
    parts = []
    for unit, size in _UNITS.items():
        count, ns = divmod(ns, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def exact(value: object) -> Decimal:
    """A number of a file as an exact decimal.

    Raises:
        ValueError: It is none, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f"{value!r} is no number")  # noqa: TRY004
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is no number") from error
    if not number.is_finite():
        raise ValueError(f"{value!r} is not finite")
    return number
