"""Tapes on disk: a folder of mappable columns with the index saved beside them.

    tape.json        format, tick size, kind, rows; of bars also length and path
    ts.npy px.npy                                  ticks
    open_ns.npy open.npy high.npy low.npy close.npy    bars
    index_min.npy index_max.npy                    the upper levels of the index, smallest last

Columns are mapped, not read: a run touches only the pages that it looks at. A folder of another
format can have the index alone (`save_index`, `attach_index`).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from kernel.errors import SettingsError
from kernel.model.units import text
from venues.sim.bars import BarTape
from venues.sim.bars import Path as BarPath
from venues.sim.index import FANOUT, Pyramid, index_of, lows_and_highs
from venues.sim.tape import Column, Tape

FORMAT = 1
TICK_COLUMNS = ("ts", "px")
BAR_COLUMNS = ("open_ns", "open", "high", "low", "close")
_HALVES = ("index_min", "index_max")


class TapeHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What `tape.json` says; `bar_ns` 0: ticks."""

    format: int
    rows: int
    tick_size: str
    bar_ns: int = 0
    path: str = "close-rule"


def save_tape(folder: Path, tape: Tape | BarTape) -> None:
    """Write the columns and the index; the header comes last, so a torn folder has none."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(tape, Tape):
        columns = dict(zip(TICK_COLUMNS, (tape.ts_column, tape.px_column), strict=True))
        header = TapeHeader(format=FORMAT, rows=len(tape), tick_size=text(tape.tick_size))
    else:
        columns = dict(zip(BAR_COLUMNS, tape.columns, strict=True))
        header = TapeHeader(
            format=FORMAT,
            rows=len(tape),
            tick_size=text(tape.tick_size),
            bar_ns=tape.bar_ns,
            path=tape.path,
        )
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", values)
    save_index(folder, tape)
    (folder / "tape.json").write_bytes(msgspec.json.encode(header))


def load_tape(folder: Path) -> Tape | BarTape:
    """Map a saved tape and its index.

    Raises:
        SettingsError: A file is missing, of another format, or does not fit the others.
    """
    header = _header(folder)
    names = BAR_COLUMNS if header.bar_ns else TICK_COLUMNS
    columns = [_mapped(folder / f"{name}.npy") for name in names]
    problems = [
        f"{folder / name}.npy: {len(values)} rows, tape.json says {header.rows}; save it again"
        for name, values in zip(names, columns, strict=True)
        if len(values) != header.rows
    ]
    if problems:
        raise SettingsError(problems)
    tick_size = Decimal(header.tick_size)
    tape: Tape | BarTape
    if header.bar_ns:
        path = cast("BarPath", header.path)
        tape = BarTape(
            *columns, bar_ns=header.bar_ns, tick_size=tick_size, path=path, checked=True
        )
    else:
        tape = Tape(columns[0], columns[1], tick_size, checked=True)
    attach_index(folder, tape)
    return tape


def save_index(folder: Path, tape: Tape | BarTape) -> None:
    """Write the index of a tape into a folder, building it first if need be."""
    for name, levels in zip(_HALVES, index_of(tape).levels, strict=True):
        empty = np.empty(0, lows_and_highs(tape)[0].dtype)
        np.save(folder / f"{name}.npy", np.concatenate(levels) if levels else empty)


def attach_index(folder: Path, tape: Tape | BarTape) -> bool:
    """Map a saved index, where the folder has one.

    Returns:
        False where it has none: the index is built at first use.

    Raises:
        SettingsError: The index is not one of these columns.
    """
    files = [folder / f"{name}.npy" for name in _HALVES]
    if not all(file.exists() for file in files):
        return False
    low, high = lows_and_highs(tape)
    halves = []
    for file, base, lowest in zip(files, (low, high), (True, False), strict=True):
        levels = _split(_mapped(file), len(base))
        if levels is None or not _fits(levels, base, lowest=lowest):
            raise SettingsError([f"{file}: is not the index of these prices; delete it"])
        halves.append(levels)
    tape.index = Pyramid(low, high, (halves[0], halves[1]))
    return True


def _split(joined: Column, rows: int) -> list[Column] | None:
    levels, start = [], 0
    while rows > FANOUT:
        rows = -(-rows // FANOUT)
        levels.append(joined[start : start + rows])
        start += rows
    return levels if start == len(joined) else None


def _fits(levels: list[Column], base: Column, *, lowest: bool) -> bool:
    # A sample: reading everything would cost what mapping saves. The first, the last and some
    # groups between them, on every level.
    pick = np.min if lowest else np.max
    below = base
    for level in levels:
        for i in (*range(0, len(level), max(len(level) // 8, 1)), len(level) - 1):
            if pick(below[i * FANOUT : (i + 1) * FANOUT]) != level[i]:
                return False
        below = level
    return True


def _header(folder: Path) -> TapeHeader:
    file = folder / "tape.json"
    try:
        header = msgspec.json.decode(file.read_bytes(), type=TapeHeader)
    except FileNotFoundError:
        raise SettingsError([f"{file}: is missing; the folder holds no whole tape"]) from None
    except msgspec.DecodeError as error:
        raise SettingsError([f"{file}: {error}"]) from None
    if header.format != FORMAT:
        raise SettingsError([f"{file}: format {header.format}, this version reads {FORMAT}"])
    return header


def _mapped(file: Path) -> Column:
    try:
        values = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SettingsError([f"{file}: {error}"]) from None
    return cast("Column", values)
