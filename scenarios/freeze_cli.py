"""`run_sim.py freeze`: two instances on one account, the one that has the lease is frozen.

Exit codes: 0 no venue looked at a request of an old holder and every invariant held · 2 usage ·
10 a round failed · 130, 143 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from kernel.model.units import install_decimal_context
from replay.data_cli import Subparsers
from scenarios.composition import LEVELS
from scenarios.instances import FreezeRound, Outcome, freeze_rounds, run_freezes
from scenarios.kill_cli import number
from scenarios.kill_world import venue_of_round
from scenarios.pool import each
from scenarios.real_freezes import FENCE, GUARDS, run_real_freezes
from scenarios.stoppable import end_in_order
from scenarios.stores import MEMORY, POSTGRES, STORES

OK, USAGE, FAILED = 0, 2, 10
MOST = 1_000_000
FIGURES = (
    "freezes", "takeovers", "superseded", "requests", "untimely", "late", "overlaps", "opened",
)  # fmt: skip


def register(subparsers: Subparsers) -> None:
    """Add the command `freeze`; it leaves its function in `args.func`."""
    parser = subparsers.add_parser("freeze", help="two instances, one frozen at drawn points")
    parser.add_argument("--count", type=number(1, MOST), default=100, metavar="N",
                        help="freezes in all, in rounds of 10 (default 100)")  # fmt: skip
    parser.add_argument("--seed", type=number(0, 2**62), default=1, help="of the first round")
    parser.add_argument("--real", action="store_true",
                        help="each instance a process of its own, stopped by SIGSTOP")  # fmt: skip
    parser.add_argument("--store", choices=STORES, default=None,
                        help="with --real: postgres (default), where each process has a connection"
                        " of its own to an embedded server and is stopped in commits too; or"
                        " memory")  # fmt: skip
    parser.add_argument("--level", choices=LEVELS, default="sim",
                        help="sim: direct; wire: adapters and emulators in bytes")
    parser.add_argument("--without", choices=GUARDS, action="append", default=[],
                        help="with --real: switch a guard off, to see what it is for")  # fmt: skip
    parser.add_argument("-j", "--jobs", type=number(1, 256), default=1, metavar="N",
                        help="rounds at the same time")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(func=cmd_freeze)


def cmd_freeze(args: argparse.Namespace) -> int:
    """`freeze`: run the rounds, tell what came of them."""
    install_decimal_context()
    problems = _problems(args)
    if problems:
        sys.stderr.write("\n".join(problems) + "\n")
        return USAGE
    kind = FreezeRound(
        seed=0, freezes=0, real=args.real, level=args.level, without=tuple(args.without),
        store=args.store or (POSTGRES if args.real else MEMORY),
    )  # fmt: skip
    rounds = freeze_rounds(args.seed, args.count, kind)
    work = run_real_freezes if args.real else run_freezes
    results: list[tuple[FreezeRound, Outcome]] = []
    end_in_order()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
    ) as progress:  # fmt: skip
        bar = progress.add_task("freezes", total=args.count)
        for one, made in zip(rounds, each(rounds, work, processes=args.jobs), strict=True):
            results.append((one, made))
            progress.update(bar, advance=one.freezes)
    told = summary(results)
    if args.json:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        _tell(results, told)
    return FAILED if told["failed"] else OK


def _problems(args: argparse.Namespace) -> list[str]:
    given = [("--store", args.store), ("--without", args.without)]
    problems = [f"{name}: needs --real" for name, value in given if value and not args.real]
    if FENCE in args.without and args.store == MEMORY:
        problems.append(f"--without {FENCE}: needs --store {POSTGRES}")
    return problems


def summary(results: list[tuple[FreezeRound, Outcome]]) -> dict[str, Any]:
    """The object that `--json` prints; independent of the number of processes."""
    points: dict[str, int] = {}
    for _, made in results:
        for point, count in made.points.items():
            points[point] = points.get(point, 0) + count
    return {
        **{name: sum(getattr(made, name) for _, made in results) for name in FIGURES},
        "points": dict(sorted(points.items())),
        "commits_interrupted": {
            "found": sum(made.interrupted[0] for _, made in results),
            "not_found": sum(made.interrupted[1] for _, made in results),
        },
        "failed": sum(1 for _, made in results if made.problems),
        "rounds": [
            {
                "seed": one.seed,
                "venue": venue_of_round(one.seed),
                "freezes": made.freezes,
                "digest": made.digest,
                "reproduce": reproduce(one),
                **({"problems": list(made.problems)} if made.problems else {}),
            }
            for one, made in results
        ],
    }


def reproduce(one: FreezeRound) -> str:
    """The command that runs one round again."""
    level = "" if one.level == "sim" else f" --level {one.level}"
    real = ""
    if one.real:
        store = "" if one.store == POSTGRES else f" --store {one.store}"
        real = f" --real{store}" + "".join(f" --without {name}" for name in one.without)
    return f"python run_sim.py freeze --count {one.freezes} --seed {one.seed}{real}{level}"


def _tell(results: list[tuple[FreezeRound, Outcome]], told: dict[str, Any]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("", "seed", "venue", "freezes", "takeovers", "requests", "untimely", "overlaps",
                   "opened", "digest"):  # fmt: skip
        table.add_column(column)
    for one, made in results:
        mark = "[red]failed[/]" if made.problems else "[green]ok[/]"
        figures = (made.freezes, made.takeovers, made.requests, made.untimely, made.overlaps,
                   made.opened)  # fmt: skip
        table.add_row(
            mark, str(one.seed), venue_of_round(one.seed), *map(str, figures), made.digest[:12]
        )
    console.print(table)
    for one, made in results:
        if made.problems:
            console.print(f"\n[red]failed[/] seed {one.seed}")
            for line in (*made.problems, reproduce(one)):
                console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print(
        f"\n{told['freezes']} freezes{_points(told)}, {told['takeovers']} takeovers,"
        f" {told['superseded']} holders ended; the venues looked at {told['requests']} requests and"
        f" refused {told['untimely']} for their timestamps, {told['late']} of them of old"
        f" holders;\n{told['overlaps']} requests of an old holder were looked at after the new"
        f" one's first{_commits(told)};\n{told['opened']} positions; {told['failed']} of"
        f" {len(results)} rounds failed.",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _commits(told: dict[str, Any]) -> str:
    cut = told["commits_interrupted"]
    if not cut["found"] and not cut["not_found"]:
        return ""
    return (
        f"; of the commits in which one stood still for long {cut['found']} were found whole and"
        f" {cut['not_found']} not at all"
    )


def _points(told: dict[str, Any]) -> str:
    points = ", ".join(f"{count} {point}" for point, count in told["points"].items())
    return f" ({points})" if points else ""
