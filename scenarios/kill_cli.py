"""`run_sim.py kill`: kill the kernel's process at drawn points under faults, judge each restart.

Exit codes: 0 every restart was good · 2 usage · 10 a position stood unprotected, books were wrong,
a signal was executed twice, or a process ended that nobody killed.
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
from scenarios.kill import Judged, reproduce, rounds, run_rounds
from scenarios.stores import MEMORY, STORES

OK, USAGE, FAILED = 0, 2, 10
MOST = 1_000_000
MOST_PROCESSES = 256


def register(subparsers: Subparsers) -> None:
    """Add the command `kill`; it leaves its function in `args.func`."""
    parser = subparsers.add_parser("kill", help="SIGKILLs at drawn points, each restart judged")
    parser.add_argument("--count", type=number(1, MOST), default=200, metavar="N",
                        help="SIGKILLs in all, in rounds of 20 (default 200)")  # fmt: skip
    parser.add_argument("--seed", type=number(0, 2**62), default=1, help="of the first round")
    parser.add_argument("--level", choices=LEVELS, default="sim",
                        help="sim: direct; wire: adapters and emulators in bytes")  # fmt: skip
    parser.add_argument("--store", choices=STORES, default=MEMORY,
                        help="postgres: an embedded server; the kernel's process is connected,"
                        " and is killed in commits too")  # fmt: skip
    parser.add_argument("--servers", type=number(0, MOST), default=0, metavar="N",
                        help="with so many of the kills the server dies too")  # fmt: skip
    parser.add_argument("-j", "--jobs", type=number(1, MOST_PROCESSES), default=1, metavar="N",
                        help="rounds at the same time")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(func=cmd_kill)


def number(low: int, high: int) -> Any:
    """The type of an argument that is a whole number in a range."""

    def read(told: str) -> int:
        if not (told.isascii() and told.isdigit() and low <= int(told) <= high):
            raise argparse.ArgumentTypeError(
                f"{told}: must be a whole number from {low} to {high}"
            )
        return int(told)

    return read


def cmd_kill(args: argparse.Namespace) -> int:
    """`kill`: run the rounds, tell what came of them."""
    install_decimal_context()
    problems = []
    if args.servers and args.store == MEMORY:
        problems.append(f"--servers {args.servers}: needs --store postgres")
    if args.servers > args.count:
        problems.append(f"--servers {args.servers}: must be at most --count {args.count}")
    if problems:
        sys.stderr.write("\n".join(problems) + "\n")
        return USAGE
    made = rounds(
        args.seed, args.count, level=args.level, store=args.store, servers=args.servers
    )
    results: list[Judged] = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
    ) as progress:  # fmt: skip
        bar = progress.add_task("kills", total=args.count)
        for result in run_rounds(made, processes=args.jobs):
            results.append(result)
            progress.update(bar, advance=result.round.deaths)
    if args.json:
        sys.stdout.write(json.dumps(summary(results)) + "\n")
    else:
        _tell(results)
    return FAILED if any(result.problems for result in results) else OK


def summary(results: list[Judged]) -> dict[str, Any]:
    """The object that `--json` prints; independent of the number of processes."""
    ways: dict[str, int] = {}
    for result in results:
        for way, count in result.ways.items():
            ways[way] = ways.get(way, 0) + count
    settled = sorted(span for result in results for span in result.settled_s)
    return {
        "kills": sum(result.kills for result in results),
        "ways": dict(sorted(ways.items())),
        "starts": sum(result.starts for result in results),
        "settled": len(settled),
        "settled_median_s": settled[len(settled) // 2] if settled else 0,
        "settled_max_s": settled[-1] if settled else 0,
        "commits_cut": {
            "found": sum(result.kept for result in results),
            "not_found": sum(result.lost for result in results),
        },
        "databases_compared": sum(result.compared for result in results),
        "overtaken": sum(result.overtaken for result in results),
        "positions_opened": sum(result.opened for result in results),
        "positions_closed": sum(result.closed for result in results),
        "faults": sum(result.faults for result in results),
        "outages": sum(result.outages for result in results),
        "commits_spooled": sum(result.spooled for result in results),
        "steps": sum(result.steps for result in results),
        "max_unprotected_ms": max((result.max_unprotected_ms for result in results), default=0),
        "failed": sum(1 for result in results if result.problems),
        "rounds": [
            {
                "seed": result.round.seed,
                "venue": result.venue,
                "kills": result.kills,
                "digest": result.digest,
                "reproduce": reproduce(result.round),
                **({"problems": list(result.problems)} if result.problems else {}),
            }
            for result in results
        ],
    }


def _tell(results: list[Judged]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("", "seed", "venue", "kills", "opened", "faults", "unprotected", "digest"):
        table.add_column(column)
    for result in results:
        mark = "[red]failed[/]" if result.problems else "[green]ok[/]"
        table.add_row(
            mark, str(result.round.seed), result.venue, str(result.kills), str(result.opened),
            str(result.faults), f"{result.max_unprotected_ms} ms", result.digest[:12],
        )  # fmt: skip
    console.print(table)
    for result in results:
        if result.problems:
            console.print(f"\n[red]failed[/] seed {result.round.seed} on {result.venue}")
            for line in (*result.problems, reproduce(result.round)):
                console.print(f"  {line}", markup=False, soft_wrap=True)
    told = summary(results)
    ways = ", ".join(f"{count} {way}" for way, count in told["ways"].items())
    console.print(
        f"\n{told['kills']} kills ({ways}), {told['starts']} starts: after {told['settled']} the"
        f" books agreed with the venues, within {told['settled_median_s']} s (median) and"
        f" {told['settled_max_s']} s (longest); {told['overtaken']} died before.\n"
        f"{_of_the_database(told)}"
        f"{told['positions_opened']} positions opened, {told['positions_closed']} closed,"
        f" {told['faults']} faults met, {told['outages']} outages, in which"
        f" {told['commits_spooled']} commits were spooled; {told['failed']} of {len(results)}"
        " rounds failed.",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _of_the_database(told: dict[str, Any]) -> str:
    compared, cut = told["databases_compared"], told["commits_cut"]
    if not compared:
        return ""
    return (
        f"The database held what had been answered after each of {compared} deaths; of the commits"
        f" that were cut {cut['found']} were found whole and {cut['not_found']} not at all.\n"
    )
