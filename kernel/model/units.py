"""Units: exact decimals for money, whole nanoseconds for time.

One canonical text form everywhere: no exponent, no trailing zeros, no negative zero.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from functools import lru_cache
from typing import NewType

type Price = Decimal
"""Quote currency per base unit."""
type Qty = Decimal
"""Base units, always positive; the direction is a side."""
type Usd = Decimal
"""Quote currency (USDT or USDC)."""
type Bps = Decimal
"""1 bps = 0.01 %."""

TsNs = NewType("TsNs", int)
"""Wall time, nanoseconds since the Unix epoch (UTC)."""
MonoNs = NewType("MonoNs", int)
"""Monotonic time of one kernel, nanoseconds; never goes back."""

US = 1_000
MS = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)


def install_decimal_context() -> None:
    """Set the one decimal context of this process: 28 digits, mixing with floats trapped."""
    context = decimal.getcontext()
    context.prec = 28
    context.rounding = decimal.ROUND_HALF_EVEN
    context.traps[decimal.FloatOperation] = True
    context.traps[decimal.InvalidOperation] = True
    context.traps[decimal.DivisionByZero] = True


def canonical(value: Decimal) -> Decimal:
    """The same number with neither exponent nor trailing zeros, so that its text is canonical.

    Raises:
        ValueError: The number is not finite.
    """
    if not value.is_finite():
        raise ValueError(f"not a finite number: {value}")
    if not value:
        return ZERO
    reduced = value.normalize()
    if "E+" in str(reduced):  # a positive exponent; much cheaper than `as_tuple`
        return reduced.quantize(ONE)
    return reduced


@lru_cache(maxsize=4096)  # det-ok: a pure function; prices and quantities come again and again
def text(value: Decimal) -> str:
    """Canonical text, as it goes on the wire and into the journal.

    Raises:
        ValueError: The number is not finite.
    """
    if value and value.is_finite():
        plain = str(value.normalize())
        if "E" not in plain:  # nearly always; `format` costs more than all before it
            return plain
    return format(canonical(value), "f")


def printable(told: str) -> str:
    """A text on one line: line breaks, control and formatting characters are escaped."""
    if told.isprintable():
        return told
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in told
    )
