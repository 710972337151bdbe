"""Datasets: folders of arrays that can be memory-mapped, each with a manifest.

    OUT/binance/BTCUSDT/candles-1m/      manifest.json, open_time_ns.npy, open.npy, high.npy, …
    OUT/binance/BTCUSDT/candles-1m-mark/
    OUT/binance/BTCUSDT/trades/          manifest.json, ts_ns.npy, px.npy, qty.npy, taker.npy
    OUT/binance/BTCUSDT/funding/         manifest.json, ts_ns.npy, rate.npy

An import writes all of its datasets beside their places first and moves them in only when every
one of them is whole.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from kernel.model.units import text
from replay.layouts import Kind
from replay.manifests import (
    ARRAYS,
    DTYPES,
    FORMAT,
    MANIFEST,
    PRICE_DTYPES,
    Manifest,
    SourceFile,
    array_digest,
    describe,
    series_place,
    series_step,
)
from replay.problems import Problem, Report
from replay.series import CandleSet, FundingSet, QuoteSet, Series, TradeSet
from replay.sources import SourceOptions, read_series


class MarketData:
    """The series of a run, looked up by venue and symbol."""

    def __init__(self, series: list[Series], report: Report) -> None:
        self.series = tuple(sorted(series, key=series_place))
        self.report = report

    @property
    def candles(self) -> tuple[CandleSet, ...]:
        """Every set of candles, last prices and mark prices."""
        return tuple(one for one in self.series if isinstance(one, CandleSet))

    @property
    def trades(self) -> tuple[TradeSet, ...]:
        """Every set of trades."""
        return tuple(one for one in self.series if isinstance(one, TradeSet))

    @property
    def quotes(self) -> tuple[QuoteSet, ...]:
        """Every set of quotes."""
        return tuple(one for one in self.series if isinstance(one, QuoteSet))

    @property
    def funding(self) -> tuple[FundingSet, ...]:
        """Every set of funding settlements."""
        return tuple(one for one in self.series if isinstance(one, FundingSet))

    def digest(self) -> str:
        """One hash over what the series say; the same for an imported and for a direct read."""
        total = blake2b(digest_size=16)
        for one in self.series:
            total.update(repr(series_place(one)).encode())
            total.update(text(series_step(one)).encode())
            for name in ARRAYS[one.kind]:
                total.update(array_digest(getattr(one, name)).encode())
        return total.hexdigest()


def open_data(
    paths: list[Path],
    options: SourceOptions,
    progress: Callable[[Path], None] | None = None,
) -> MarketData:
    """Open imported datasets (mapped) and data files (read now), whatever lies at these paths.

    Raises:
        DataError: With every problem of every file.
    """
    report = Report()
    series: list[Series] = []
    loose: list[Path] = []
    for path in paths:
        below = manifests_below(path)
        if not below:
            loose.append(path)
        for manifest in below:
            one = load(manifest.parent, report)
            if one is not None and _wanted(one, options):
                series.append(one)
    if loose:
        reading = read_series(loose, options, progress)
        series.extend(reading.series)
        report.absorb(reading.report)
    _refuse_twins(series, report)
    report.refuse()
    return MarketData(series, report)


def manifests_below(path: Path) -> list[Path]:
    """The manifests of the datasets at and below a path, sorted; [] where there is none."""
    if not path.is_dir():
        return []
    return sorted(
        found
        for found in path.rglob(MANIFEST)
        if not any(part.startswith(".") for part in found.relative_to(path).parts)
    )


def _wanted(one: Series, options: SourceOptions) -> bool:
    if options.symbols and one.symbol not in options.symbols:
        return False
    return not options.kinds or one.kind in options.kinds


def _refuse_twins(series: list[Series], report: Report) -> None:
    seen: dict[tuple[str, str, str], int] = {}
    for one in series:
        place = series_place(one)
        seen[place] = seen.get(place, 0) + 1
    report.add(
        [
            _problem("two datasets", Path(*place), f"{count} of them", "one", "name only one path")
            for place, count in seen.items()
            if count > 1
        ]
    )


def write_all(
    out: Path,
    series: list[Series],
    sources: dict[tuple[str, str, str], list[SourceFile]],
    treatment: dict[str, str],
    *,
    replace: bool,
) -> list[Path]:
    """Write datasets below `out`: all of them, or none.

    A dataset that is there already and equal is left alone; a different one is refused unless
    `replace`. Returns the folders written.

    Raises:
        DataError: A different dataset is in the way.
    """
    report = Report()
    todo: list[tuple[Series, Manifest, Path]] = []
    for one in series:
        place = series_place(one)
        manifest = describe(one, sources.get(place, []), treatment)
        folder = out.joinpath(*place)
        existing = read_manifest(folder) if folder.exists() else None
        if isinstance(existing, Manifest) and existing.arrays == manifest.arrays:
            continue
        if folder.exists() and not replace:
            value = "holds other data"
            report.add([_problem("dataset exists", folder, value, "a new folder", "--replace")])
        todo.append((one, manifest, folder))
    report.refuse()
    if not todo:
        return []
    out.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".import-", dir=out))
    try:
        for number, (one, manifest, _) in enumerate(todo):
            _write(stage / str(number), one, manifest)
        _move_in(stage, [folder for _, _, folder in todo])
    finally:
        shutil.rmtree(stage)
    return [folder for _, _, folder in todo]


def _move_in(stage: Path, folders: list[Path]) -> None:
    """Move the staged datasets to their places; where one move fails, undo those before it."""
    done: list[tuple[Path, Path]] = []
    try:
        for number, folder in enumerate(folders):
            folder.parent.mkdir(parents=True, exist_ok=True)
            moves = [(stage / str(number), folder)]
            if folder.exists():
                moves.insert(0, (folder, stage / f"{number}.old"))
            for source, target in moves:
                source.rename(target)
                done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _write(folder: Path, one: Series, manifest: Manifest) -> None:
    folder.mkdir()
    for name in ARRAYS[one.kind]:
        path = folder / f"{name}.npy"
        try:
            np.save(path, getattr(one, name), allow_pickle=False)
        except OSError as error:  # numpy tells how many items it wrote, and neither file nor cause
            raise OSError(f"{path}: cannot be written: {error}; is the disk full?") from error
    text_form = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST).write_bytes(text_form + b"\n")


def read_manifest(folder: Path) -> Manifest | Problem:
    """The manifest of one dataset, or why there is none."""
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        return _problem("manifest", path, str(error), "a manifest of an import", "import again")
    if manifest.format != FORMAT:
        return _problem(
            "manifest", path, f"format {manifest.format}", f"format {FORMAT}", "import again"
        )
    return manifest


def load(folder: Path, report: Report, *, verify: bool = False) -> Series | None:
    """Map one dataset. `verify` also compares the arrays with the manifest's hashes."""
    manifest = read_manifest(folder)
    if isinstance(manifest, Problem):
        report.add([manifest])
        return None
    problems: list[Problem] = []
    arrays: dict[str, Any] = {}
    for name in ARRAYS[manifest.kind]:
        path = folder / f"{name}.npy"
        found = _load_array(path, name, manifest)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        arrays[name] = found
        if verify and array_digest(found) != manifest.arrays[name].blake2b:
            problems.append(
                _problem("array", path, "changed", "the values of the import", "import again")
            )
    report.add(problems)
    if problems:
        return None
    report.files += 1
    report.rows += manifest.rows
    if manifest.gaps:
        report.notes.append(f"{folder}: {len(manifest.gaps)} gaps, taken as feed gaps at import")
    return _series(manifest, arrays)


def _load_array(path: Path, name: str, manifest: Manifest) -> Any:
    allowed = DTYPES.get(name, PRICE_DTYPES)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return _problem("array", path, str(error), "an array of an import", "import again")
    if array.dtype.name not in allowed or array.shape != (manifest.rows,):
        return _problem(
            "array",
            path,
            f"{array.dtype.name} {array.shape}",
            f"{' or '.join(allowed)} ({manifest.rows},)",
            "import again",
        )
    return array


def _series(manifest: Manifest, arrays: dict[str, Any]) -> Series:
    step = Decimal(manifest.step)
    if manifest.kind is Kind.CANDLES:
        return CandleSet(
            venue=manifest.venue,
            symbol=manifest.symbol,
            price=manifest.price,
            interval_ns=manifest.interval_ns,
            tick_size=step,
            gaps=manifest.gaps,
            **arrays,
        )
    if manifest.kind is Kind.TRADES:
        return TradeSet(
            venue=manifest.venue,
            symbol=manifest.symbol,
            tick_size=step,
            qty_step=Decimal(manifest.qty_step),
            gaps=manifest.gaps,
            **arrays,
        )
    if manifest.kind is Kind.QUOTES:
        return QuoteSet(
            venue=manifest.venue,
            symbol=manifest.symbol,
            tick_size=step,
            qty_step=Decimal(manifest.qty_step),
            gaps=manifest.gaps,
            **arrays,
        )
    return FundingSet(
        venue=manifest.venue, symbol=manifest.symbol, rate_step=step, gaps=manifest.gaps, **arrays
    )


def _problem(code: str, path: Path, value: str, allowed: str, fix: str) -> Problem:
    return Problem(code=code, file=str(path), line=0, value=value, allowed=allowed, fix=fix)
