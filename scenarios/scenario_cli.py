"""`run_sim.py scenario`: run scenarios, tell what came of them.

A progress bar on stderr where it is a terminal; the table or `--json` on stdout.
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path
from typing import Protocol

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from kernel.errors import SettingsError
from replay.outputs import path_problem, shared_paths, write_whole
from scenarios.composition import LEVELS
from scenarios.files import BOTH
from scenarios.junit import junit_tree
from scenarios.results import FAILED, PASSED, Outputs, Result
from scenarios.runner import (
    OK,
    USAGE,
    Choice,
    Job,
    check,
    choose,
    exit_code,
    json_text,
    reproduce,
    run_all,
    run_job,
    which,
)
from scenarios.schema import VENUES
from scenarios.stores import MEMORY, STORES, store_server

MAX_JOBS = 256
LARGEST_SEED = 2**63 - 1
ONE_RUN = (
    ("journal", "its journal, for: run_sim.py journal"),
    ("report", "its HTML page"),
    ("timeline", "its facts as text, one a line"),
)
"""Options that make a file about one run."""


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""


def register(subparsers: Subparsers, *, commit: str) -> None:
    """Add the command `scenario`.

    Args:
        subparsers: Of the program.
        commit: Of this checkout, for the lines that reproduce a run; "" where it is not known.
    """
    parser = subparsers.add_parser("scenario", help="run scenarios against the simulated venues")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="names, globs, suites or .yaml files; none: everything")  # fmt: skip
    parser.add_argument("--venue", choices=(*VENUES, BOTH), action="append", default=[],
                        help="only on this venue (repeatable)")  # fmt: skip
    parser.add_argument("--tag", action="append", default=[], help="only with this tag")
    parser.add_argument("--level", choices=LEVELS, default="sim",
                        help="sim: direct; wire: adapters and emulators in bytes")  # fmt: skip
    parser.add_argument("--isolate", action="store_true",
                        help="each kernel in a process of its own; crashes kill it")  # fmt: skip
    parser.add_argument("--store", choices=STORES, default=MEMORY,
                        help="memory, or an embedded PostgreSQL; same decisions")  # fmt: skip
    parser.add_argument("--seed", type=_seed, help="instead of the scenarios' own seeds")
    parser.add_argument("-j", "--jobs", type=_jobs, default=1, metavar="N", help="processes")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write a JUnit file")
    for name, what in ONE_RUN:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE",
                            help=f"of one run: also write {what}")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="only list what would run")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(func=lambda args: run(args, commit))


def _jobs(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_JOBS:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 1 to {MAX_JOBS}")
    return int(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_SEED):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 0 to {LARGEST_SEED}")
    return int(text)


def run(args: argparse.Namespace, commit: str) -> int:
    """Run what the arguments ask for; the exit code."""
    try:
        jobs = choose(
            Choice(
                names=tuple(args.names),
                venues=tuple(args.venue),
                tags=tuple(args.tag),
                level=args.level,
                seed=args.seed,
                isolate=args.isolate,
            )
        )
        problems = check(jobs)
    except SettingsError as error:
        problems, jobs = list(error.problems), []
    if not problems and not jobs:
        problems = ["nothing to run: no scenario fits names, venue, tag and level"]
    if len(jobs) > 1:
        problems += [
            f"--{name} is about one run, {len(jobs)} were chosen: add a name and --venue"
            for name, _ in ONE_RUN
            if getattr(args, name) is not None
        ]
    found = [path_problem(f"--{name}", getattr(args, name)) for name, _ in ONE_RUN]
    if args.junit is not None and args.junit.is_dir():
        found.append(f"--junit {args.junit}: is a folder; give a file in it")
    problems += [line for line in found if line]
    problems += shared_paths(
        {f"--{name}": getattr(args, name) for name in (*dict(ONE_RUN), "junit")}
    )
    if problems:
        for line in problems:
            print(line, file=sys.stderr)  # noqa: T201 - the command line
        return USAGE
    if args.list:
        for job in jobs:
            print(f"{job.entry.name} [{job.venue}]")  # noqa: T201 - the command line
        return OK
    try:
        with store_server(args.store) as server:
            placed = [msgspec.structs.replace(job, server=server) for job in jobs]
            results = _run(placed, args)
        _write(results, args, commit)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command line
        return USAGE
    return exit_code(results)


def _run(jobs: list[Job], args: argparse.Namespace) -> list[Result]:
    console = Console(stderr=True)
    results: list[Result] = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, disable=not sys.stderr.isatty(), transient=True,
    ) as progress:  # fmt: skip
        bar = progress.add_task("scenarios", total=len(jobs))
        made = [_run_one(jobs[0], args)] if len(jobs) == 1 else ()
        for result in made or run_all(jobs, processes=args.jobs):
            results.append(result)
            progress.update(bar, advance=1, description=result.name)
    return results


def _run_one(job: Job, args: argparse.Namespace) -> Result:
    named = which(job.entry.name, job.entry.file)
    outputs = Outputs(
        journal=args.journal,
        report=args.report,
        timeline=args.timeline,
        reproduce=f"run_sim.py scenario {named} --venue {job.venue}",
    )
    return run_job(job, outputs)


def _write(results: list[Result], args: argparse.Namespace, commit: str) -> None:
    if args.junit is not None:
        body = BytesIO()
        junit_tree(results, commit).write(body, encoding="utf-8", xml_declaration=True)
        try:
            write_whole(args.junit, body.getvalue())
        except OSError as error:
            raise SettingsError([f"--junit {args.junit}: cannot be written: {error}"]) from error
    if args.json:
        print(json_text(results, commit))  # noqa: T201 - the command line
        return
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("", "scenario", "venue", "unprotected", "digest"):
        table.add_column(column)
    for result in results:
        mark = "[green]ok[/]" if result.status == PASSED else f"[red]{result.status}[/]"
        table.add_row(
            mark, result.name, result.venue, f"{result.max_unprotected_ms} ms", result.digest[:12]
        )
    console.print(table)
    for result in results:
        if result.status == PASSED:
            continue
        console.print(f"\n[red]{result.status}[/] {result.name} on {result.venue}: {result.title}")
        for line in result.problems:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        for line in result.story:
            console.print(f"    {line}", markup=False, soft_wrap=True, highlight=False)
        console.print(f"  {reproduce(result, commit)}", markup=False, soft_wrap=True)
    failed = sum(1 for result in results if result.status == FAILED)
    errors = len(results) - failed - sum(1 for one in results if one.status == PASSED)
    passed = len(results) - failed - errors
    console.print(f"\n{passed} passed, {failed} failed, {errors} could not run")
