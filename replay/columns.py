"""Delimited text to whole-number columns, exactly and without a loop over rows.

A cell becomes `mantissa / 10**decimals`: no float stands between the text and a price. The
loop runs over character positions, each step works on a whole column. Cells that are not plain
decimals (an exponent, a sign, more than 18 digits) take a slow path one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

type Ints = NDArray[np.int64]
type Bools = NDArray[np.bool_]
type Bytes = NDArray[np.uint8]

MAX_DIGITS = 18
"""Largest count of digits that always fits an int64; a few numbers of 19 fit too."""
_LARGEST = 2**63 - 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_NEWLINE, _COMMA, _POINT, _ZERO, _NINE = 10, 44, 46, 48, 57
_EXACT_FLOAT = 2**53
_POWERS = np.array([float(10**power) for power in range(23)])
"""The powers of ten that a float holds exactly: one division by them rounds once."""


@dataclass(frozen=True, slots=True, eq=False)
class Decimals:
    """A column of exact decimals: value = mantissa / 10**decimals. `bad` marks unreadable cells."""

    mantissa: Ints
    decimals: Ints
    bad: Bools

    def take(self, rows: Ints | Bools) -> Decimals:
        """The column at some rows."""
        return Decimals(self.mantissa[rows], self.decimals[rows], self.bad[rows])

    def text(self, row: int) -> str:
        """One value as a person reads it."""
        if self.bad[row]:
            return "unreadable"
        exact = Decimal(int(self.mantissa[row])).scaleb(-int(self.decimals[row]))
        return format(exact, "f")


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Where the cells of one block of text lie: `start[row, column]` to `stop[row, column]`.

    `line` is the line of each good row, `wrong` lists (line, text) of rows with another number
    of cells. Empty lines are neither.
    """

    text: Bytes
    start: Ints
    stop: Ints
    line: Ints
    wrong: list[tuple[int, str]]
    lines: int

    def cell(self, row: int, column: int) -> str:
        """The text of one cell."""
        return _decode(self.text[self.start[row, column] : self.stop[row, column]])


def _decode(raw: Bytes) -> str:
    return raw.tobytes().decode("utf-8", "replace")


def split(block: bytes, columns: int, line_offset: int) -> Cells:
    """Find the cells of a block that ends with a newline.

    Args:
        block: Text with newlines only (no carriage returns, no quotes).
        columns: Cells that a row must have.
        line_offset: Lines of the file before this block.
    """
    text = np.frombuffer(block, dtype=np.uint8)
    stop_of_row = np.flatnonzero(text == _NEWLINE)
    start_of_row = np.empty_like(stop_of_row)
    start_of_row[:1] = 0
    start_of_row[1:] = stop_of_row[:-1] + 1
    commas = np.flatnonzero(text == _COMMA)
    upto = np.searchsorted(commas, stop_of_row)
    counts = np.diff(upto, prepend=0)
    empty = stop_of_row == start_of_row
    good = (counts == columns - 1) & ~empty
    wrong = [
        (line_offset + int(row) + 1, _decode(text[start_of_row[row] : stop_of_row[row]]))
        for row in np.flatnonzero(~good & ~empty)
    ]
    inner = commas[np.repeat(good, counts)].reshape(-1, columns - 1)
    start = np.column_stack((start_of_row[good], inner + 1))
    stop = np.column_stack((inner, stop_of_row[good]))
    line = np.flatnonzero(good) + (line_offset + 1)
    return Cells(text, start, stop, line, wrong, len(stop_of_row))


def decimals(cells: Cells, column: int) -> Decimals:
    """Parse one column of decimal numbers."""
    start, stop = cells.start[:, column], cells.stop[:, column]
    length = stop - start
    mantissa = np.zeros(len(start), dtype=np.int64)
    places = np.zeros(len(start), dtype=np.int64)
    digits = np.zeros(len(start), dtype=np.int64)
    seen_point = np.zeros(len(start), dtype=np.bool_)
    odd = length > MAX_DIGITS + 1
    width = min(int(length.max(initial=0)), MAX_DIGITS + 1)
    last = len(cells.text) - 1
    for position in range(width):
        inside = position < length
        char = cells.text[np.minimum(start + position, last)]
        is_digit = inside & (char >= _ZERO) & (char <= _NINE)
        is_point = inside & (char == _POINT)
        odd |= (inside & ~is_digit & ~is_point) | (is_point & seen_point)
        value = char.astype(np.int64) - _ZERO
        mantissa = np.where(is_digit, mantissa * 10 + value, mantissa)
        digits += is_digit
        places += is_digit & seen_point
        seen_point |= is_point
    odd |= (digits == 0) | (digits > MAX_DIGITS)
    bad = np.zeros(len(start), dtype=np.bool_)
    for row in np.flatnonzero(odd):
        exact = exact_decimal(cells.cell(int(row), column))
        if exact is None:
            mantissa[row], places[row], bad[row] = 0, 0, True
        else:
            mantissa[row], places[row] = exact
    return Decimals(mantissa, places, bad)


def exact_decimal(text: str) -> tuple[int, int] | None:
    """(mantissa, decimals) of one number; None where it is none or does not fit an int64."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped) is None:
        return None
    sign, figures, exponent = Decimal(stripped).as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, figures)))
    while mantissa and mantissa % 10 == 0 and exponent < 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    if exponent > 0:
        if exponent > MAX_DIGITS:
            return None
        mantissa, exponent = mantissa * 10**exponent, 0
    if mantissa > _LARGEST or -exponent > 2 * MAX_DIGITS:
        return None
    return (-mantissa if sign else mantissa), -exponent


def floats(cells: Cells, column: int) -> tuple[NDArray[np.float64], Bools]:
    """Parse one column to the nearest floats, and a mask of bad cells.

    For volumes only: they may have more digits than an int64, and no decision reads them.
    """
    exact = decimals(cells, column)
    out = exact.mantissa / _POWERS[np.minimum(exact.decimals, 22)]
    bad = exact.bad.copy()
    rough = bad | (np.abs(exact.mantissa) >= _EXACT_FLOAT) | (exact.decimals > 22)
    for row in np.flatnonzero(rough):
        text = cells.cell(int(row), column).strip()
        bad[row] = _NUMBER.fullmatch(text) is None
        out[row] = 0.0 if bad[row] else float(text)
    return out, bad | ~np.isfinite(out)


def flags(cells: Cells, column: int) -> tuple[NDArray[np.int8], Bools]:
    """Parse `true`/`false` (or 1/0) to 1 and 0, and a mask of bad cells."""
    first = cells.text[cells.start[:, column]]
    length = cells.stop[:, column] - cells.start[:, column]
    yes = ((first == ord("t")) | (first == ord("T"))) & (length == 4)
    yes |= (first == ord("1")) & (length == 1)
    no = ((first == ord("f")) | (first == ord("F"))) & (length == 5)
    no |= (first == ord("0")) & (length == 1)
    return yes.astype(np.int8), ~(yes | no)


def sides(cells: Cells, column: int) -> tuple[NDArray[np.int8], Bools]:
    """Parse `Buy`/`Sell` in any letter case to +1 and -1, and a mask of bad cells."""
    first = cells.text[cells.start[:, column]]
    length = cells.stop[:, column] - cells.start[:, column]
    buy = ((first == ord("B")) | (first == ord("b"))) & (length == 3)
    sell = ((first == ord("S")) | (first == ord("s"))) & (length == 4)
    return buy.astype(np.int8) - sell.astype(np.int8), ~(buy | sell)


def text_keys(cells: Cells, column: int) -> Ints:
    """A 63-bit number for each text cell: equal texts give equal numbers (FNV-1a)."""
    start, stop = cells.start[:, column], cells.stop[:, column]
    key = np.full(len(start), 14_695_981_039_346_656_037, dtype=np.uint64)
    prime = np.uint64(1_099_511_628_211)
    last = len(cells.text) - 1
    for position in range(int((stop - start).max(initial=0))):
        inside = start + position < stop
        char = cells.text[np.minimum(start + position, last)].astype(np.uint64)
        key = np.where(inside, (key ^ char) * prime, key)
    return (key >> np.uint64(1)).astype(np.int64)


def clock_minutes(cells: Cells, column: int) -> tuple[Ints, Bools]:
    """Parse `YYYY.MM.DD HH:MM` to minutes since 1970 as the file's clock shows them."""
    start = cells.start[:, column]
    length = cells.stop[:, column] - start
    bad = length != 16
    last = len(cells.text) - 1
    chars = cells.text[np.minimum(start[:, None] + np.arange(16), last)]
    for place, mark in ((4, "."), (7, "."), (10, " "), (13, ":")):
        bad |= chars[:, place] != ord(mark)
    grid = chars.astype(np.int64) - _ZERO
    figures = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15)
    bad |= ((grid[:, figures] < 0) | (grid[:, figures] > 9)).any(axis=1)
    year = grid[:, 0] * 1000 + grid[:, 1] * 100 + grid[:, 2] * 10 + grid[:, 3]
    month, day = grid[:, 5] * 10 + grid[:, 6], grid[:, 8] * 10 + grid[:, 9]
    hour, minute = grid[:, 11] * 10 + grid[:, 12], grid[:, 14] * 10 + grid[:, 15]
    bad |= (month < 1) | (month > 12) | (day < 1) | (hour > 23) | (minute > 59) | (year < 1970)
    months = np.where(bad, 0, (year - 1970) * 12 + month - 1)
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    bad |= day > following - first
    return (first + day - 1) * 1440 + hour * 60 + minute, bad
