"""`run_sim.py freeze`: two instances on one account, the one that has the lease is frozen.

Exit codes: 0 no venue looked at a request of an old holder and every invariant held · 2 usage ·
10 a round failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from kernel.model.units import install_decimal_context
from replay.data_cli import Subparsers
from scenarios.instances import FreezeRound, Outcome, freeze_rounds, run_freezes
from scenarios.kill_cli import number
from scenarios.kill_world import venue_of_round
from scenarios.pool import each

OK, FAILED = 0, 10
MOST = 1_000_000


def register(subparsers: Subparsers) -> None:
    """Add the command `freeze`; it leaves its function in `args.func`."""
    parser = subparsers.add_parser("freeze", help="two instances, one frozen at drawn points")
    parser.add_argument("--count", type=number(1, MOST), default=100, metavar="N",
                        help="freezes in all, in rounds of 10 (default 100)")  # fmt: skip
    parser.add_argument("--seed", type=number(0, 2**62), default=1, help="of the first round")
    parser.add_argument("-j", "--jobs", type=number(1, 256), default=1, metavar="N",
                        help="rounds at the same time")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(func=cmd_freeze)


def cmd_freeze(args: argparse.Namespace) -> int:
    """`freeze`: run the rounds, tell what came of them."""
    install_decimal_context()
    rounds = freeze_rounds(args.seed, args.count)
    results = list(zip(rounds, each(rounds, run_freezes, processes=args.jobs), strict=True))
    told = summary(results)
    if args.json:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        _tell(results, told)
    return FAILED if told["failed"] else OK


def summary(results: list[tuple[FreezeRound, Outcome]]) -> dict[str, Any]:
    """The object that `--json` prints; independent of the number of processes."""
    figures = ("freezes", "takeovers", "superseded", "requests", "opened")
    return {
        **{name: sum(getattr(made, name) for _, made in results) for name in figures},
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
    return f"python run_sim.py freeze --count {one.freezes} --seed {one.seed}"


def _tell(results: list[tuple[FreezeRound, Outcome]], told: dict[str, Any]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("", "seed", "venue", "freezes", "takeovers", "requests", "opened", "digest"):
        table.add_column(column)
    for one, made in results:
        mark = "[red]failed[/]" if made.problems else "[green]ok[/]"
        figures = (made.freezes, made.takeovers, made.requests, made.opened)
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
        f"\n{told['freezes']} freezes, {told['takeovers']} takeovers, {told['superseded']} holders"
        f" ended; the venues looked at {told['requests']} requests, {told['opened']} positions;"
        f" {told['failed']} of {len(results)} rounds failed.",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
