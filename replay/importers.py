"""Files of market data to raw tables: what is written in them, with the line of every row.

Nothing is judged here except whether a row can be read; `replay.checks` judges the rest. Text is
read in blocks, so that a file may be larger than memory; the columns of one symbol are not.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernel.model.units import DAY, MINUTE, MS
from replay import columns, parquet
from replay.columns import Bools, Cells, Decimals, Ints
from replay.layouts import (
    BY_NAME,
    EARLIEST_S,
    LATEST_S,
    UNIT_EXPONENT,
    Layout,
    TimeUnit,
    find_layout,
    unit_of,
)
from replay.names import NameParts
from replay.problems import LayoutError, Problem
from replay.tables import Table, join

BLOCK_BYTES = 32 * 1024 * 1024
_BROKEN_ARCHIVE = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile)


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller knows about files and the files do not say. "" and None: find out."""

    layout: str = ""
    time_unit: str = ""
    clock_offset_hours: int | None = None
    """Hours by which the file's clock is ahead of UTC, where its layout does not state it."""


def read_table(path: Path, parts: NameParts | None, options: ReadOptions) -> Table | list[Problem]:
    """Read one file; only problems where nothing of it can be used."""
    reader = _Reader(path, parts, options)
    try:
        if path.name.endswith(".parquet"):
            return reader.read(parquet.blocks(path))
        with _open(path) as stream:
            return reader.read(_blocks(stream))
    except _BROKEN_ARCHIVE as error:
        reader.problem("broken archive", str(error) or "ends too early", "a whole file")
    except OSError as error:
        reader.problem("unreadable file", error.strerror or str(error), "a readable file")
    except LayoutError as error:
        reader.problem(error.code, error.value, error.allowed, error.fix)
    return reader.problems


def _open(path: Path) -> io.BufferedIOBase:
    if path.name.endswith(".gz"):
        return gzip.open(path)
    if path.name.endswith(".zip"):
        archive = zipfile.ZipFile(path)
        members = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(members) != 1:
            raise LayoutError(
                "archive", f"{len(members)} csv files inside", "exactly one", "unpack it first"
            )
        return io.BufferedReader(archive.open(members[0]))  # type: ignore[type-var]
    return path.open("rb")


def _blocks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """Blocks of whole lines, with plain newlines and neither quotes nor a byte order mark."""
    rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
    while True:
        piece = stream.read(BLOCK_BYTES)
        if not piece:
            break
        rest += piece
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield _plain(rest[:cut])
            rest = rest[cut:]
    if rest:
        yield _plain(rest + b"\n")


def _plain(block: bytes) -> bytes:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    return block.replace(b'"', b"") if b'"' in block else block


def table_of_rows(path: Path, layout: Layout, rows: list[str], lines: list[int]) -> Table:
    """A table from rows of text that were found at these lines of a file."""
    reader = _Reader(path, None, ReadOptions())
    cells = columns.split(("\n".join(rows) + "\n").encode(), len(layout.roles), 0)
    table = reader.parse(cells, layout)
    table.line = np.array(lines, dtype=np.int64)[table.line - 1]
    table.problems = reader.problems
    return table


class _Reader:
    """Reads the blocks of one file into one table."""

    def __init__(self, path: Path, parts: NameParts | None, options: ReadOptions) -> None:
        self.path = path
        self.parts = parts or NameParts()
        self.options = options
        self.problems: list[Problem] = []
        self.parsed: list[Table] = []
        self.unit: TimeUnit | None = None

    def problem(
        self, code: str, value: str, allowed: str, fix: str = "fetch it again", *, line: int = 0
    ) -> None:
        self.problems.append(
            Problem(
                code=code,
                file=str(self.path),
                line=line,
                value=value[:120],
                allowed=allowed,
                fix=fix,
            )
        )

    def read(self, blocks: Iterator[bytes]) -> Table | list[Problem]:
        layout: Layout | None = None
        lines = 0
        try:
            for block in blocks:
                body = block
                if layout is None:
                    layout, has_header = self._layout(block)
                    if has_header:
                        cut = block.index(b"\n") + 1
                        body, lines = block[cut:], 1
                cells = columns.split(body, len(layout.roles), lines)
                lines += cells.lines
                self._wrong_rows(cells, layout)
                self.parsed.append(self.parse(cells, layout))
        except _BROKEN_ARCHIVE as error:
            self.problem(
                "broken archive", str(error) or "ends too early", "a whole file", line=lines
            )
        if layout is None or not any(len(table) for table in self.parsed):
            if not self.problems:
                self.problem("empty file", "no rows", "at least one row")
            return self.problems
        table = join(self.parsed)
        table.problems = self.problems
        return table

    def _layout(self, block: bytes) -> tuple[Layout, bool]:
        first = block[: block.index(b"\n")].decode("utf-8", "replace")
        found, has_header = find_layout(first, self.parts.kind)
        if self.options.layout:
            forced = BY_NAME[self.options.layout]
            return forced, has_header or not re.match(r"[0-9.\-]", first)
        if found is None:
            raise LayoutError(
                "unknown layout",
                first[:120],
                "one of " + ", ".join(BY_NAME),
                "--layout NAME, or rename the columns",
            )
        return found, has_header

    def _wrong_rows(self, cells: Cells, layout: Layout) -> None:
        for line, text in cells.wrong:
            self.problem(
                "malformed row",
                f"{text.count(',') + 1} cells: {text}",
                f"{len(layout.roles)} cells ({layout.name})",
                "repair the row, or --malformed drop",
                line=line,
            )

    def parse(self, cells: Cells, layout: Layout) -> Table:
        rows = len(cells.line)
        numbers: dict[str, Decimals] = {}
        floats: dict[str, NDArray[np.float64]] = {}
        marks: dict[str, NDArray[np.int8]] = {}
        ids: Ints | None = None
        bad = np.zeros(rows, dtype=np.bool_)
        time_ns = np.zeros(rows, dtype=np.int64)

        def refuse(mask: Bools, column: int, role: str, allowed: str) -> None:
            for row in np.flatnonzero(mask & ~bad):
                self.problem(
                    "malformed row",
                    f"{role} {cells.cell(int(row), column)!r}",
                    allowed,
                    "repair the row, or --malformed drop",
                    line=int(cells.line[row]),
                )
            np.logical_or(bad, mask, out=bad)

        for column, role in enumerate(layout.roles):
            if role == "time":
                time_ns = self._time(cells, column, layout, refuse)
            elif role == "volume":
                floats[role], wrong = columns.floats(cells, column)
                refuse(wrong, column, role, "a number")
            elif role == "side":
                marks["taker"], wrong = columns.sides(cells, column)
                refuse(wrong, column, role, "Buy or Sell")
            elif role == "buyer_is_maker":
                maker, wrong = columns.flags(cells, column)
                marks["taker"] = (1 - 2 * maker).astype(np.int8)
                refuse(wrong, column, role, "true or false")
            elif role == "text_id":
                ids = columns.text_keys(cells, column)
            elif role:
                number = columns.decimals(cells, column)
                refuse(number.bad, column, role, "a decimal number of at most 18 digits")
                if role == "id":
                    ids = number.mantissa
                else:
                    numbers[role] = number
        table = Table(
            kind=layout.kind,
            layout=layout.name,
            files=[str(self.path)],
            file=np.zeros(rows, dtype=np.int64),
            line=cells.line,
            time_ns=time_ns,
            numbers=numbers,
            floats=floats,
            marks=marks,
            ids=ids,
            ids_count="id" in layout.roles and layout.name.startswith("binance"),
        )
        return table.take(~bad) if bad.any() else table

    def _time(
        self,
        cells: Cells,
        column: int,
        layout: Layout,
        refuse: Callable[[Bools, int, str, str], None],
    ) -> Ints:
        """Times in ns. Rows outside the years 2009 to 2099 of the file's unit are refused."""
        if layout.units == (TimeUnit.TEXT,):
            minutes, bad = columns.clock_minutes(cells, column)
            refuse(bad, column, "time", "YYYY.MM.DD HH:MM")
            return (minutes - 60 * self._clock_offset(layout)) * MINUTE
        if layout.units == (TimeUnit.DAY_MS,):
            return self._time_of_day(cells, column, layout, refuse)
        number = columns.decimals(cells, column)
        refuse(number.bad, column, "time", "a number")
        if self.unit is None:
            self.unit = self._find_unit(number, layout, cells)
        exponent = UNIT_EXPONENT[self.unit]
        whole = number.mantissa // 10 ** np.minimum(number.decimals, columns.MAX_DIGITS)
        least, most = EARLIEST_S * 10 ** (9 - exponent), LATEST_S * 10 ** (9 - exponent)
        outside = ~number.bad & ((whole < least) | (whole >= most))
        refuse(outside, column, "time", f"{least} to {most} ({self.unit}, 2009 to 2099)")
        power = exponent - number.decimals
        up = 10 ** np.clip(power, 0, columns.MAX_DIGITS)
        down = 10 ** np.clip(-power, 0, columns.MAX_DIGITS)
        return np.where(outside | number.bad, 0, number.mantissa) * up // down

    def _time_of_day(
        self,
        cells: Cells,
        column: int,
        layout: Layout,
        refuse: Callable[[Bools, int, str, str], None],
    ) -> Ints:
        if not self.parts.day_ns:
            raise LayoutError(
                "day unknown",
                self.path.name,
                "a name such as bybit-BTCUSDT-1m-trade-20221213.csv.gz",
                "rename the file",
            )
        number = columns.decimals(cells, column)
        outside = (number.mantissa < 0) | (number.mantissa >= DAY // MS) | (number.decimals > 0)
        refuse(number.bad | outside, column, "time", f"0 to {DAY // MS - 1} (ms of the day)")
        return number.mantissa * MS + (self.parts.day_ns + layout.shift_ns)

    def _clock_offset(self, layout: Layout) -> int:
        if self.options.clock_offset_hours is None:
            raise LayoutError(
                "clock not stated",
                f"{layout.name} files do not say their time zone",
                "a whole number of hours ahead of UTC",
                "--clock-offset-hours 0 (or 3 where the archive runs on UTC+3)",
            )
        return self.options.clock_offset_hours

    def _find_unit(self, number: Decimals, layout: Layout, cells: Cells) -> TimeUnit:
        whole = number.mantissa // 10 ** np.minimum(number.decimals, columns.MAX_DIGITS)
        allowed = (TimeUnit(self.options.time_unit),) if self.options.time_unit else layout.units
        seen = [unit_of(int(value)) for value in whole[~number.bad][:1000]]
        for unit in allowed:
            if unit in seen:
                return unit
        other = next((unit for unit in seen if unit is not None), None)
        if other is None:
            return allowed[0]
        names = " or ".join(allowed)
        raise LayoutError(
            "wrong time unit",
            f"time {cells.cell(0, layout.roles.index('time'))} looks like {other}",
            f"{names} ({layout.name})",
            f"--time-unit {other}",
        )
