"""What both codecs need to read bytes: numbers, times, rows that fail one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation

import msgspec

from kernel.model.messages import HttpReply
from kernel.model.units import MS, ZERO, TsNs, canonical
from kernel.model.venue import VenueNotice

BAD_ROW = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""What the conversion of one row may raise; anything else is a bug of ours."""

_RAW_LIMIT = 400
_EMPTY = ("", "None", "null")
"""Texts by which venues say "no number"."""


class Symbolic(msgspec.Struct, frozen=True, gc=False):
    """The least that can be read of a row: whose it is."""

    symbol: str = ""


class BadRow(msgspec.Struct, frozen=True, gc=False):
    """A row that could not be read.

    Attributes:
        symbol: Whose row it is; "": not even that could be read.
        raw: Its first characters, for people.
    """

    symbol: str
    raw: str

    def notice(self) -> VenueNotice:
        """The event that tells of it."""
        return VenueNotice(kind="malformed", symbol=self.symbol, raw=self.raw)


def number(value: str | None) -> Decimal:
    """A wire number as a canonical decimal; absent or empty: zero.

    Raises:
        ValueError: It is no finite number.
    """
    if value is None or value in _EMPTY:
        return ZERO
    try:
        return canonical(Decimal(value))
    except InvalidOperation:
        raise ValueError(f"not a number: {value!r}") from None


def millis(value: int | str | None) -> TsNs:
    """Wire milliseconds as nanoseconds; absent or empty: 0.

    Raises:
        ValueError: It is no whole number.
    """
    return TsNs(int(value or 0) * MS)


def read_rows[W, T](
    rows: Iterable[msgspec.Raw], decode: Callable[[msgspec.Raw], W], convert: Callable[[W], T]
) -> tuple[list[T], list[BadRow]]:
    """Read rows one at a time: a bad one costs nobody but itself."""
    good: list[T] = []
    bad: list[BadRow] = []
    for row in rows:
        try:
            good.append(convert(decode(row)))
        except BAD_ROW:
            bad.append(bad_row(bytes(row)))
    return good, bad


def bad_row(raw: bytes) -> BadRow:
    """What is left of a row that could not be read."""
    try:
        symbol = msgspec.json.decode(raw, type=Symbolic).symbol
    except msgspec.MsgspecError:
        symbol = ""
    return BadRow(symbol, clip(raw))


def clip(raw: bytes) -> str:
    """The first characters of a body, for people."""
    return raw[:_RAW_LIMIT].decode(errors="replace")


def header(reply: HttpReply, name: str) -> str:
    """A header of an answer; "": it has none. `name` in lower case."""
    for found, value in reply.headers:
        if found.lower() == name:
            return value
    return ""
