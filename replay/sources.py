"""From paths to series: which files belong together, read, joined and judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from replay.checks import Subject, settle_candles, settle_funding, settle_quotes, settle_trades
from replay.frames import read_frames
from replay.importers import ReadOptions, read_table
from replay.layouts import BY_NAME, Kind
from replay.manifests import series_place
from replay.names import BINANCE_STREAM, SUFFIXES, NameParts, parse_name, stem_of
from replay.problems import Problem, Report, Treatment
from replay.series import Series
from replay.tables import Table, join

VENUES = ("binance", "bybit")
BOTH = "both"
"""The same data on each venue; only where they are traded."""


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller says about the sources, what it wants of them and how damage is treated."""

    read: ReadOptions = ReadOptions()
    treatment: Treatment = Treatment()
    venue: str = ""
    """"": from the layout or from a folder or file name that starts with the venue's."""
    symbol: str = ""
    """For one file whose name does not say it."""
    price: str = ""
    """`last` or `mark`; "": mark below a folder named `markPriceKlines`, else last."""
    tick_sizes: dict[str, str] = {}
    """By symbol; "*" for all; found from the data where silent."""
    symbols: tuple[str, ...] = ()
    """Only these; (): all."""
    kinds: tuple[Kind, ...] = ()
    """Only these; (): all."""


type SeriesKey = tuple[str, str, Kind, str, int]
"""(venue, symbol, kind, price, interval)."""


def data_files(paths: list[Path], report: Report) -> list[Path]:
    """The data files at and below these paths, sorted; a path without any is a problem."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(entry for entry in path.rglob("*") if stem_of(entry.name) is not None)
        else:
            below = [path] if path.is_file() else []
        if not below:
            exists = path.exists()
            report.add(
                [
                    Problem(
                        code="no data",
                        file=str(path),
                        line=0,
                        value="a folder without data files" if exists else "does not exist",
                        allowed="files that end in " + ", ".join(SUFFIXES),
                        fix="another path",
                    )
                ]
            )
        found.extend(file for file in below if file not in found)
    return found


class Reading(NamedTuple):
    """What was read. The series of a report with problems must not be used."""

    series: list[Series]
    report: Report
    files: dict[tuple[str, str, str], list[Path]]
    """By `series_place`: the files that each series came from."""


def read_series(
    paths: list[Path],
    options: SourceOptions,
    progress: Callable[[Path], None] | None = None,
) -> Reading:
    """Read every data file at these paths into series, sorted by venue, symbol and kind.

    Files of one (venue, symbol, kind, price, interval) are joined in the order of their first
    row.
    """
    report = Report()
    groups: dict[SeriesKey, list[Table]] = {}
    for path in data_files(paths, report):
        parts = parse_name(path)
        if options.symbols and parts is not None and parts.symbol not in ("", *options.symbols):
            continue
        if options.kinds and parts is not None and parts.kind not in ("", *options.kinds):
            continue
        if progress is not None:
            progress(path)
        report.files += 1
        _read_one(path, parts, options, report, groups)
    series: list[Series] = []
    files: dict[tuple[str, str, str], list[Path]] = {}
    for key in sorted(groups):
        tables = sorted(groups[key], key=lambda table: int(table.time_ns[0]))
        settled = _settle(key, join(tables), options, report)
        if settled is not None:
            series.append(settled)
            files[series_place(settled)] = [Path(table.files[0]) for table in tables]
    return Reading(series, report, files)


def _read_one(
    path: Path,
    parts: NameParts | None,
    options: SourceOptions,
    report: Report,
    groups: dict[SeriesKey, list[Table]],
) -> None:
    said = parts or NameParts()
    if said.layout == BINANCE_STREAM:
        frames = read_frames(path)
        if isinstance(frames, list):
            report.add(frames)
            return
        for (symbol, kind), found in frames.items():
            if _wanted(symbol, kind, options):
                groups.setdefault(("binance", symbol, kind, "last", 0), []).append(found)
        return
    table = read_table(path, parts, options.read)
    if isinstance(table, list):
        report.add(table)
        return
    if options.kinds and table.kind not in options.kinds:
        return
    symbol = options.symbol or said.symbol
    venue = options.venue or BY_NAME[table.layout].venue or said.venue
    missing = []
    if not symbol:
        missing.append(("symbol unknown", "--symbol NAME, or rename the file"))
    if venue not in VENUES:
        missing.append(("venue unknown", "--venue binance or --venue bybit"))
    for code, fix in missing:
        report.add(
            [
                Problem(
                    code=code,
                    file=str(path),
                    line=0,
                    value=path.name,
                    allowed="a name such as binance_um/BTCUSDT-1m-20250504-20250603.csv.gz",
                    fix=fix,
                )
            ]
        )
    if missing:
        report.add(table.problems)
        return
    price = options.price or said.price
    interval_ns = said.interval_ns if table.kind is Kind.CANDLES else 0
    if table.kind is not Kind.CANDLES:
        price = "last"
    groups.setdefault((venue, symbol, table.kind, price, interval_ns), []).append(table)


def _wanted(symbol: str, kind: Kind, options: SourceOptions) -> bool:
    if options.symbols and symbol not in options.symbols:
        return False
    return not options.kinds or kind in options.kinds


def _settle(
    key: SeriesKey, table: Table, options: SourceOptions, report: Report
) -> Series | None:
    venue, symbol, kind, price, interval_ns = key
    sizes = options.tick_sizes
    subject = Subject(
        venue=venue,
        symbol=symbol,
        price=price,
        interval_ns=interval_ns,
        tick_size=sizes.get(symbol, sizes.get("*", "")),
    )
    if kind is Kind.CANDLES:
        return settle_candles(table, subject, options.treatment, report)
    if kind is Kind.TRADES:
        return settle_trades(table, subject, options.treatment, report)
    if kind is Kind.QUOTES:
        return settle_quotes(table, subject, options.treatment, report)
    return settle_funding(table, subject, options.treatment, report)
