"""`run_sim.py replay`: waves over recorded prices, through the whole kernel.

Exit codes: 0 ok · 2 usage, settings or data · 10 an invariant failed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
from pydantic import SecretStr

from kernel.config import Settings
from kernel.errors import SettingsError
from kernel.model.units import install_decimal_context
from kernel.signals.timestamps import format_utc, parse_utc
from replay.data_cli import (
    Subparsers,
    add_recipe_options,
    add_source_options,
    recipe,
    source_options,
)
from replay.datasets import open_data
from replay.journal import Header
from replay.outputs import path_problem, shared_paths
from replay.outside import code_hash, commit_of, python_build, seconds
from replay.problems import LayoutError
from replay.progress import file_progress
from replay.report import Report
from replay.report_html import write_report
from replay.runs import ReplayResult
from replay.timeline import Timeline
from replay.waves import SignalRow
from replay.waves_source import hidden, recorded_waves
from scenarios.composition import LEVELS
from scenarios.durations import exact, parse_duration
from scenarios.kernels import KernelLost
from scenarios.replay_run import Extras, Replayed, run_replay
from scenarios.replay_setup import ReplayOptions, ReplayPlan, plan_replay
from scenarios.replay_swarm import with_swarm
from scenarios.replay_text import figures, summary
from scenarios.report_build import build_report
from scenarios.stores import MEMORY, STORES, backends, store_server
from venues.sim.bars import PATHS

OK, BAD_INPUT, VIOLATED = 0, 2, 10
OUTPUTS = ("journal", "report", "timeline")
GENERATE = "generate:"
SWARM = "swarm:"
PROFILES: dict[str, dict[str, str]] = {
    "full": {},
    "parity": {
        "protection_bulk_seconds": "0",
        "stop_check_interval_seconds": "0",
        "sync_interval_seconds": "0",
        "signal_idle_request_interval_seconds": "0",
        "guard_enabled": "false",
        "max_position_age_hours": "720",
        "performance_snapshot_minutes": "0",
    },
}
"""`full`: every rule at its interval. `parity`: without the periodic checks and polls."""


def register(subparsers: Subparsers) -> None:
    """Add the command `replay`; it leaves its function in `args.func`."""
    add_arguments(subparsers.add_parser("replay", help="waves over recorded prices"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Put the arguments of `replay` on a parser."""
    parser.add_argument(
        "--data", nargs="+", type=Path, required=True, metavar="PATH",
        help="files, folders or imported datasets",
    )  # fmt: skip
    parser.add_argument(
        "--waves", nargs="+", default=[f"{GENERATE}1"], metavar="FILE|db:|generate:SEED",
        help="recorded signals (.jsonl, or db:ADDRESS), or generated from closed candles",
    )  # fmt: skip
    parser.add_argument("--from", dest="start", default="", metavar="UTC", help="2025-05-04T00:00Z")
    parser.add_argument("--to", dest="end", default="", metavar="UTC")
    parser.add_argument("--journal", type=Path, metavar="F", help="write every step to this file")
    parser.add_argument("--report", type=Path, metavar="F", help="write one HTML page")
    parser.add_argument("--timeline", type=Path, metavar="F", help="write one fact a line; - is"
                        " the terminal")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--details", action="store_true", help="with --json: every figure")
    parser.add_argument("--faults", default="", metavar="swarm:SEED", help="one fault an hour")
    parser.add_argument("--crashes", type=int, default=0, metavar="N", help="crash-restarts")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="full")
    parser.add_argument("--level", choices=LEVELS, default="sim",
                        help="sim: direct; wire: adapters and emulators in bytes")  # fmt: skip
    parser.add_argument("--store", choices=STORES, default=MEMORY,
                        help="memory, or an embedded PostgreSQL; same decisions")  # fmt: skip
    parser.add_argument("--isolate", action="store_true",
                        help="the kernel in a process of its own; crashes kill it")  # fmt: skip
    parser.add_argument("--path", choices=PATHS, default="close-rule", help="of candles")
    parser.add_argument("--dense", action="store_true", help="evaluate every price (slow)")
    parser.add_argument("--spread-bps", default="1", metavar="X", help="where no quotes are")
    parser.add_argument("--slippage-bps", default="0", metavar="X")
    parser.add_argument("--market-fill", choices=("last", "next"), default="last",
                        help="of market orders: at the last price, or at the next one")  # fmt: skip
    parser.add_argument("--feed-candle", default="0", metavar="1m",
                        help="the kernel sees closed candles only; 0: every price")  # fmt: skip
    parser.add_argument("--deposit", default="100000", metavar="USD", help="on each venue")
    parser.add_argument("--instruments", type=Path, metavar="CSV",
                        help="symbol,tick_size,lot_size[,min_order_size]")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting; may be repeated")  # fmt: skip
    parser.add_argument(
        "--env-file", type=Path, metavar="F", help="settings, NAME=VALUE a line"
    )
    add_source_options(parser, both=True)
    add_recipe_options(parser)
    parser.set_defaults(func=cmd_replay)


def cmd_replay(args: argparse.Namespace) -> int:
    """`replay`: run it, print its figures."""
    install_decimal_context()
    try:
        plan = plan_of(args)
        result = _run(args, plan)
    except SettingsError as error:
        for line in error.problems:
            sys.stderr.write(f"{line}\n")
        return BAD_INPUT
    except KernelLost as error:
        sys.stderr.write(f"{error}\n")
        return VIOLATED
    if args.json:
        told = msgspec.structs.asdict(result) if args.details else result.contract()
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        sys.stdout.write(summary(plan, result))
        if args.journal:
            sys.stdout.write(f"journal   {args.journal}: journal replay checks it bit for bit\n")
        if args.report:
            sys.stdout.write(f"report    {args.report}\n")
    return VIOLATED if result.invariant_violations or result.task_crashes else OK


def settings_of(args: argparse.Namespace) -> Settings:
    """Settings from the profile, then `--env-file`, then `--set`.

    Raises:
        SettingsError: Every problem at once.
    """
    values = {name.upper(): value for name, value in PROFILES[args.profile].items()}
    problems: list[str] = []
    lines = [(f"--set {told}", told) for told in args.set]
    if args.env_file is not None:
        try:
            told = args.env_file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError([f"{args.env_file}: cannot be read: {error}"]) from error
        lines = [
            (f"{args.env_file}:{number}", line)
            for number, line in enumerate(told, start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ] + lines
    for place, line in lines:
        name, equals, value = line.partition("=")
        if equals:
            values[name.strip().upper()] = value.strip()
        else:
            problems.append(f"{place}: must be NAME=VALUE")
    try:
        settings = Settings.load(values)
    except SettingsError as error:
        raise SettingsError(problems + list(error.problems)) from error
    if problems:
        raise SettingsError(problems)
    return settings


def plan_of(args: argparse.Namespace) -> ReplayPlan:
    """What the arguments of `replay` ask for.

    Raises:
        SettingsError: With every problem.
    """
    problems: list[str] = []

    def tried[T](make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except SettingsError as error:
            problems.extend(error.problems)
        except LayoutError as error:
            problems.append(error.problem("waves").sentence())
        return otherwise

    settings = tried(lambda: settings_of(args), None)
    options = tried(lambda: _options(args), None)
    chosen = tried(lambda: recipe(args), None)
    if args.crashes < 0:
        problems.append(f"--crashes {args.crashes}: must be 0 or more")
    named = [name for name in args.waves if not name.startswith(GENERATE)]
    if named and len(named) < len(args.waves):
        problems.append("--waves: give recorded signals or generate:SEED, not both")
    nothing: tuple[list[SignalRow] | None, str] = (None, "")
    rows, note = tried(lambda: recorded_waves(named, args.env_file), nothing) if named else nothing
    if rows == []:
        names = ", ".join(map(hidden, args.waves))
        problems.append(f"--waves {names}: holds no signal; give one a line, or {GENERATE}SEED")
    problems += _unwritable(args)
    swarm = tried(lambda: _seed(args.faults, SWARM, "--faults"), None) if args.faults else None
    if problems:  # what is there is not read for nothing: it may be much
        missing = [path for path in args.data if not path.exists()]
        problems += [f"--data {path}: does not exist; give another path" for path in missing]
        raise SettingsError(problems)
    assert settings is not None
    assert options is not None
    with file_progress(args.data, quiet=args.json) as progress:
        data = open_data(args.data, source_options(args), progress)
    try:
        plan = plan_replay(settings, data, rows, options, chosen)
    except LayoutError as error:
        raise SettingsError([error.problem("waves").sentence()]) from error
    if note:
        plan.notes = (*plan.notes, note)
    if swarm is not None:
        with_swarm(plan, swarm)
    return plan


def _options(args: argparse.Namespace) -> ReplayOptions:
    problems: list[str] = []
    numbers: dict[str, Decimal] = {}
    for name, low, high in (
        ("spread_bps", 0, 1000), ("slippage_bps", 0, 1000), ("deposit", 1, 10**12),
    ):  # fmt: skip
        told = getattr(args, name)
        try:
            numbers[name] = exact(told)
            if "_" in told or not low <= numbers[name] <= high:
                raise ValueError("out of range")
        except ValueError:
            flag = name.replace("_", "-")
            problems.append(f"--{flag} {told}: must be a number from {low} to {high}")
    feed_candle_ns = 0
    try:
        feed_candle_ns = parse_duration(args.feed_candle)
    except ValueError as error:
        problems.append(f"--feed-candle {args.feed_candle}: {error}")
    times = {}
    for name, flag in (("start", "--from"), ("end", "--to")):
        told = getattr(args, name)
        try:
            times[name] = parse_utc(_full_time(told)) if told else 0
        except ValueError:
            problems.append(f"{flag} {told}: must be a UTC time such as 2025-05-04T16:00:00Z")
    if 0 < times.get("end", 0) <= times.get("start", 0):
        problems.append("--from: is not before --to; exchange them, or leave one out")
    if args.seed and args.seed < 0:
        problems.append(f"--seed {args.seed}: must be a whole number from 0")
    seed = 1
    if args.waves[0].startswith(GENERATE):
        try:
            seed = _seed(args.waves[0], GENERATE, "--waves")
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return ReplayOptions(
        venue=args.venue,
        from_ns=times["start"],
        to_ns=times["end"],
        path=args.path,
        dense=args.dense,
        seed=args.seed or seed,
        steps_file=args.instruments,
        market_fill=args.market_fill,
        feed_candle_ns=feed_candle_ns,
        **numbers,
    )


def without_secrets(arguments: list[str]) -> list[str]:
    """The arguments as a report may show them: values of secret settings are hidden."""
    shown = []
    for argument in arguments:
        flag = argument[: argument.find("=") + 1] if argument.startswith("--") else ""
        name, equals, _ = argument.removeprefix(flag).partition("=")
        field = Settings.model_fields.get(name.strip().lower())
        secret = equals and field is not None and field.annotation is SecretStr
        shown.append(f"{flag}{name}=(hidden)" if secret else hidden(argument))
    return shown


def _full_time(told: str) -> str:
    """`2025-05-04`, `2025-05-04T16:00Z` and `2025-05-04T16:00:00` are understood as UTC."""
    day, _, clock = told.removesuffix("Z").partition("T")
    clock = clock or "00:00:00"
    return f"{day}T{clock}{':00' if clock.count(':') == 1 else ''}Z"


def _seed(told: str, prefix: str, flag: str) -> int:
    number = told.removeprefix(prefix)
    if not told.startswith(prefix) or not (number.isascii() and number.isdigit()):
        raise SettingsError([f"{flag} {told}: must be {prefix}SEED, a whole number from 0"])
    return int(number)


def _unwritable(args: argparse.Namespace) -> list[str]:
    found = [path_problem(f"--{name}", getattr(args, name)) for name in OUTPUTS]
    outputs = {f"--{name}": getattr(args, name) for name in OUTPUTS}
    return [line for line in found if line] + shared_paths(outputs)


def header_of(plan: ReplayPlan, name: str, *, level: str = "sim") -> Header:
    """The journal header of a replay."""
    settings = plan.settings
    return Header(
        commit=commit_of(),
        code=code_hash(level=level),
        python=python_build(),
        level=level,
        venues=tuple(plan.setup.setups),
        seed=plan.seed,
        settings=settings.canonical_json(),
        settings_hash=settings.settings_hash(),
        name=name,
        instruments_hash=plan.instruments_hash,
    )


def _run(args: argparse.Namespace, plan: ReplayPlan) -> ReplayResult:
    timeline = Timeline()
    extras = Extras(
        journal=args.journal,
        header=header_of(plan, f"replay {format_utc(plan.setup.start_ns)}", level=args.level),
        level=args.level,
        deaths=args.crashes,
        isolate=args.isolate,
        seconds=seconds,
        collect=args.report is not None,
        sinks=(timeline,) if args.timeline else (),
    )
    with (
        store_server(args.store) as server,
        backends(server, isolate=args.isolate) as fresh,
        run_progress(quiet=args.json) as progress,
    ):
        extras.progress, extras.backend = progress, fresh()
        replayed = run_replay(plan, extras)
    if args.timeline:
        _write_lines(args.timeline, timeline.lines())
    if args.report is not None:
        reproduce = shlex.join(without_secrets(sys.argv[1:]))
        write_report(args.report, report_of(plan, replayed, reproduce=reproduce))
    return replayed.result


def report_of(plan: ReplayPlan, replayed: Replayed, *, title: str = "", reproduce: str) -> Report:
    """The page about a replay that collected what it needs."""
    assert replayed.collector is not None
    result = replayed.result
    venues = ", ".join(plan.setup.setups)
    report = build_report(
        title or f"Replay on {venues}, {format_utc(plan.setup.start_ns)[:10]}",
        replayed.collector,
        replayed.checker,
        markets=plan.setup.markets,
        settings=plan.settings,
        start_ns=plan.setup.start_ns,
        end_ns=plan.end_ns,
    )
    report.figures = figures(plan, result)
    report.notes = [*plan.notes, f"journal digest {result.digest}, state {result.state_digest}"]
    report.reproduce = f"run_sim.py {reproduce}"
    return report


def _write_lines(path: Path, lines: list[str]) -> None:
    body = "\n".join(lines) + "\n"
    if str(path) == "-":
        sys.stdout.write(body)
        return
    try:
        path.write_text(body, "utf-8")
    except OSError as error:
        raise SettingsError([f"--timeline {path}: cannot be written: {error}"]) from error


@contextmanager
def run_progress(*, quiet: bool) -> Iterator[Callable[[float], None] | None]:
    """A function to call with the share of the run that is done; None where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal pays for it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=1.0)
        yield lambda share: bar.update(task, completed=share)
