"""`run_sim.py data import | check | waves`: market data on the command line.

Exit codes: 0 ok, 2 bad input or bad data (every problem is named; nothing is half-written).
`--json` prints one object on stdout and nothing else.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Protocol, get_args, get_type_hints

import msgspec

from kernel.model.units import text
from replay.datasets import MarketData, load, manifests_below, open_data, write_all
from replay.importers import ReadOptions
from replay.judge import time_text
from replay.layouts import BY_NAME, UNIT_EXPONENT, Kind
from replay.manifests import file_digest, series_place, series_step
from replay.momentum import Recipe, generate
from replay.problems import DataError, LayoutError, Report, Treatment
from replay.progress import file_progress
from replay.series import CandleSet, Series
from replay.sources import BOTH, VENUES, SourceOptions, read_series
from replay.waves import check_waves, write_waves

OK, BAD_INPUT = 0, 2


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""
        ...


def register(subparsers: Subparsers) -> None:
    """Add the command `data`; each of its commands leaves its function in `args.func`."""
    data = subparsers.add_parser("data", help="import and check market data and waves")
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")

    into = commands.add_parser("import", help="read data files into mapped datasets")
    into.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    into.add_argument("--out", required=True, type=Path, help="folder of the datasets")
    into.add_argument("--replace", action="store_true", help="replace datasets that differ")
    add_source_options(into)
    add_output_options(into)
    into.set_defaults(func=cmd_import)

    check = commands.add_parser("check", help="list everything that is wrong with data or waves")
    check.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="data files, datasets, waves (.jsonl)"
    )
    add_source_options(check)
    add_output_options(check)
    check.set_defaults(func=cmd_check)

    waves = commands.add_parser("waves", help="generate waves from closed candles")
    waves.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="candles or datasets")
    waves.add_argument("--out", required=True, type=Path, help="file to write (.jsonl, .jsonl.gz)")
    add_source_options(waves)
    add_recipe_options(waves)
    add_output_options(waves)
    waves.set_defaults(func=cmd_waves)


def add_source_options(parser: argparse.ArgumentParser, *, both: bool = False) -> None:
    """Flags that say what files hold and how damage is treated; `source_options` reads them.

    `both`: "both" is a venue too, for those who trade the same data on each.
    """
    group = parser.add_argument_group("what the files hold")
    group.add_argument("--venue", choices=(*VENUES, BOTH) if both else VENUES, default="",
                       help="where paths do not say")  # fmt: skip
    group.add_argument("--symbol", default="", help="where the file name does not say")
    group.add_argument("--symbols", default="", metavar="A,B", help="only these symbols")
    group.add_argument(
        "--kind",
        action="append",
        default=[],
        type=Kind,
        choices=tuple(Kind),
        help="only this kind; may be repeated",
    )
    group.add_argument("--price", choices=("last", "mark"), default="", help="of the candles")
    group.add_argument("--layout", choices=tuple(BY_NAME), default="", help="where not found")
    units = [unit.value for unit in UNIT_EXPONENT]
    group.add_argument("--time-unit", choices=units, default="", help="unit of the times")
    group.add_argument("--clock-offset-hours", type=int, help="the files' clock ahead of UTC")
    group.add_argument(
        "--tick-size", action="append", default=[], metavar="[SYMBOL=]X", help="else found"
    )
    treat = parser.add_argument_group("how damage is treated (default: refuse)")
    for name, hint in get_type_hints(Treatment).items():
        treat.add_argument(f"--{name.replace('_', '-')}", choices=get_args(hint), default="refuse")


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Flags of generated waves; `recipe` reads them."""
    group = parser.add_argument_group("generated waves")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--quantile", type=int, default=75, help="0-100: how rare a move must be")
    group.add_argument("--max-signals", type=int, default=0, help="in one wave; 0: no limit")
    group.add_argument(
        "--fewest", type=int, default=16, help="grid times before the first signal (2 or more)"
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Flags of what is printed."""
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--limit", type=int, default=50, help="problems printed; 0: all")


def source_options(args: argparse.Namespace) -> SourceOptions:
    """The options that `add_source_options` put on the command line."""
    sizes: dict[str, str] = {}
    for told in args.tick_size:
        symbol, equals, size = told.rpartition("=")
        sizes[symbol if equals else "*"] = size
    names = list(get_type_hints(Treatment))
    return SourceOptions(
        read=ReadOptions(
            layout=args.layout,
            time_unit=args.time_unit,
            clock_offset_hours=args.clock_offset_hours,
        ),
        treatment=Treatment(**{name: getattr(args, name) for name in names}),
        venue=VENUES[0] if args.venue == BOTH else args.venue,
        symbol=args.symbol,
        price=args.price,
        tick_sizes=sizes,
        symbols=tuple(filter(None, args.symbols.split(","))),
        kinds=tuple(args.kind),
    )


def recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that `add_recipe_options` put on the command line.

    Raises:
        LayoutError: A number out of its range.
    """
    if not 0 <= args.quantile <= 100 or args.max_signals < 0 or args.fewest < 2:
        raise LayoutError(
            "recipe",
            f"--quantile {args.quantile} --max-signals {args.max_signals} --fewest {args.fewest}",
            "quantile 0 to 100, max-signals 0 or more, fewest 2 or more",
            "other numbers",
        )
    return Recipe(quantile=args.quantile, max_signals=args.max_signals, fewest=args.fewest)


def cmd_import(args: argparse.Namespace) -> int:
    """`data import`: read, judge, write all datasets or none."""
    options = source_options(args)
    with file_progress(args.paths, quiet=args.json) as progress:
        series, report, files = read_series(args.paths, options, progress)
    written: list[Path] = []
    if report.ok:
        sources = {place: [file_digest(path) for path in files[place]] for place in files}
        treatment = msgspec.to_builtins(options.treatment)
        try:
            written = write_all(args.out, series, sources, treatment, replace=args.replace)
        except DataError as error:
            report.absorb(error.report)
    extra = {"written": [str(path) for path in written]}
    _print(args, report, series if report.ok else [], extra=extra)
    if report.ok and not args.json:
        kept = len(series) - len(written)
        _say(f"{len(written)} datasets written below {args.out}, {kept} unchanged")
    return OK if report.ok else BAD_INPUT


def cmd_check(args: argparse.Namespace) -> int:
    """`data check`: everything that is wrong, in one go."""
    series, report = check(args.paths, source_options(args), quiet=args.json)
    _print(args, report, series)
    return OK if report.ok else BAD_INPUT


def cmd_waves(args: argparse.Namespace) -> int:
    """`data waves`: generate waves from candles and write them."""
    rows = 0
    data = MarketData([], Report())
    try:
        data = open_data(args.paths, source_options(args))
        candles = [one for one in data.candles if one.price == "last"]
        rows = write_waves(args.out, generate(args.seed, candles, recipe(args)))
    except DataError as error:
        data.report.absorb(error.report)
    except LayoutError as error:
        data.report.add([error.problem(str(args.paths[0]))])
    _print(args, data.report, list(data.series), extra={"signals": rows})
    if data.report.ok and not args.json:
        _say(f"{rows} signals written to {args.out}")
    return OK if data.report.ok else BAD_INPUT


def check(
    paths: list[Path], options: SourceOptions, *, quiet: bool = True
) -> tuple[list[Series], Report]:
    """Check data files, datasets (with their hashes) and files of waves at these paths."""
    report = Report()
    series: list[Series] = []
    loose: list[Path] = []
    for path in paths:
        below = manifests_below(path)
        if path.name.endswith((".jsonl", ".jsonl.gz")):
            report.absorb(check_waves([path], options.treatment)[1])
        elif below:
            loaded = [load(found.parent, report, verify=True) for found in below]
            series.extend(one for one in loaded if one is not None)
        else:
            loose.append(path)
    if loose:
        with file_progress(loose, quiet=quiet) as progress:
            reading = read_series(loose, options, progress)
        series.extend(reading.series)
        report.absorb(reading.report)
    return series, report


def _say(line: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(line + "\n")


def _print(
    args: argparse.Namespace,
    report: Report,
    series: list[Series],
    *,
    extra: dict[str, Any] | None = None,
) -> None:
    if args.json:
        whole = {
            "ok": report.ok,
            **msgspec.to_builtins(report),
            "series": [_summary(one) for one in series],
            **(extra or {}),
        }
        _say(msgspec.json.encode(whole).decode())
        return
    for one in series:
        line = _summary(one)
        _say(
            f"{line['venue']:8} {line['symbol']:14} {line['name']:16} {line['rows']:>10} rows  "
            f"{line['first']} to {line['end']}  step {line['step']}  {line['gaps']} gaps"
        )
    for note in report.notes:
        _say(f"note: {note}")
    shown = report.problems[: args.limit or None]
    for problem in shown:
        _say(problem.sentence(), error=True)
    if len(shown) < len(report.problems):
        more = len(report.problems) - len(shown)
        _say(f"and {more} more problems (--limit 0 shows all)", error=True)
    verdict = "no problems" if report.ok else f"{len(report.problems)} problems"
    _say(f"{report.files} files, {report.rows} rows, {verdict}")


def _summary(one: Series) -> dict[str, Any]:
    venue, symbol, name = series_place(one)
    return {
        "venue": venue,
        "symbol": symbol,
        "name": name,
        "rows": len(one),
        "first": time_text(one.first_ns),
        "end": time_text(one.end_ns),
        "step": text(series_step(one)),
        "gaps": len(one.gaps),
        "missing": sum(gap.missing for gap in one.gaps),
        "interval_ns": one.interval_ns if isinstance(one, CandleSet) else 0,
    }
