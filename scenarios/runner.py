"""Runs scenarios by name or glob and tells what came of them.

Each job is (scenario, venue, level, seed) and depends on nothing else, so results are the same for
any number of processes. Exit codes: 0 all passed; 2 usage or files; 10 a scenario or an invariant
failed; 11 one could not run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from kernel.errors import SettingsError
from scenarios.assembly import problems_of
from scenarios.files import BOTH, SUITES, Entry, field_problems, read_suite, read_suites
from scenarios.pool import each
from scenarios.results import ERROR, FAILED, PASSED, Outputs, Result, run_entry
from scenarios.schema import VENUES
from scenarios.stores import backends

OK, USAGE, SCENARIO_FAILED, COULD_NOT_RUN = 0, 2, 10, 11


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an entry of a suite; `seed` None: the scenario's own."""

    entry: Entry
    venue: str
    level: str
    seed: int | None = None
    isolate: bool = False
    """The kernel in a process of its own."""
    server: str = ""
    """Of its store, as `store_server` gives it; "": memory."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which scenarios to run. Empty: all."""

    names: tuple[str, ...] = ()
    venues: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    level: str = "sim"
    seed: int | None = None
    isolate: bool = False
    folder: Path = SUITES


def choose(choice: Choice) -> list[Job]:
    """The jobs of a choice, in the order of the suites.

    Raises:
        SettingsError: A suite is wrong, or a name fits nothing.
    """
    entries, names = _entries(choice)
    problems = [
        f"{name}: no scenario has this name; list them with: run_sim.py scenario --list"
        for name in names
        if not any(_named(entry, name) for entry in entries)
    ]
    if problems:
        raise SettingsError(problems)
    jobs = []
    for entry in entries:
        if names and not any(_named(entry, name) for name in names):
            continue
        if choice.tags and not any(tag in entry.tags for tag in choice.tags):
            continue
        jobs += [
            Job(
                entry=entry, venue=venue, level=choice.level, seed=choice.seed,
                isolate=choice.isolate,
            )
            for venue in entry.venues
            if not choice.venues or venue in choice.venues
            if choice.level in entry.levels
        ]
    return jobs


def _entries(choice: Choice) -> tuple[list[Entry], list[str]]:
    """Suites of the folder, or the files that stand among the names."""
    files = [name for name in choice.names if name.endswith((".yaml", ".yml"))]
    names = [name for name in choice.names if name not in files]
    if not files:
        return read_suites(choice.folder), names
    entries: list[Entry] = []
    problems: list[str] = []
    for file in files:
        try:
            entries += read_suite(Path(file))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems + field_problems(entries))
    return entries, names


def _named(entry: Entry, name: str) -> bool:
    return fnmatchcase(entry.name, name) or entry.name.startswith(f"{name}/")


def check(jobs: list[Job]) -> list[str]:
    """Every problem of the files that the jobs stand in, without running them."""
    problems: list[str] = []
    for job in jobs:
        if job.venue not in (*VENUES, BOTH):
            allowed = ", ".join((*VENUES, BOTH))
            problems.append(f"{job.entry.name}: venues: {job.venue!r} must be one of {allowed}")
            continue
        try:
            scenario = job.entry.scenario(job.venue)
        except SettingsError as error:
            found = list(error.problems)
        else:
            folder = job.entry.path.parent
            found = [
                f"{job.entry.path.name}: {line}"
                for line in problems_of(scenario, job.venue, folder)
            ]
        problems += [line for line in found if line not in problems]
    return problems


def run_job(job: Job, outputs: Outputs | None = None) -> Result:
    """Run one job; called in any process.

    Raises:
        SettingsError: A file of `outputs` cannot be written.
    """
    with backends(job.server, isolate=job.isolate) as fresh:
        return run_entry(
            job.entry, job.venue, level=job.level, seed=job.seed, outputs=outputs,
            isolate=job.isolate, fresh=fresh,
        )  # fmt: skip


def run_all(jobs: list[Job], *, processes: int = 1) -> Iterator[Result]:
    """Results in the order of the jobs, as they come in."""
    return each(jobs, run_job, processes=processes)


# ---------------------------------------------------------------- telling


def reproduce(result: Result, commit: str) -> str:
    """The command that runs one job again."""
    level = "" if result.level == "sim" else f" --level {result.level}"
    isolate = " --isolate" if result.isolate else ""
    line = (
        f"python run_sim.py scenario {which(result.name, result.file)} --venue {result.venue}"
        f" --seed {result.seed}{level}{isolate}"
    )
    return f"{line}  # commit {commit}" if commit else line


def which(name: str, file: str) -> str:
    """The arguments that name one scenario: its file as well, where it is not one of ours."""
    return f"{shlex.quote(file)} {name}" if file else name


def exit_code(results: list[Result]) -> int:
    """What the whole run comes to."""
    states = [result.status for result in results]
    if ERROR in states:
        return COULD_NOT_RUN
    return SCENARIO_FAILED if FAILED in states else OK


def summary(results: list[Result], commit: str) -> dict[str, Any]:
    """The object that `--json` prints; independent of the number of processes."""
    whole = blake2b(digest_size=16)
    for result in results:
        whole.update(f"{result.name}|{result.venue}|{result.level}|{result.digest}\n".encode())
    return {
        "passed": sum(1 for result in results if result.status == PASSED),
        "failed": sum(1 for result in results if result.status == FAILED),
        "errors": sum(1 for result in results if result.status == ERROR),
        "digest": whole.hexdigest(),
        "scenarios": [
            {
                "name": result.name,
                "venue": result.venue,
                "level": result.level,
                "status": result.status,
                "digest": result.digest,
                "max_unprotected_ms": result.max_unprotected_ms,
                "reproduce": reproduce(result, commit),
                **({"problems": list(result.problems)} if result.problems else {}),
            }
            for result in results
        ],
    }


def json_text(results: list[Result], commit: str) -> str:
    """`summary` as one line of JSON."""
    return json.dumps(summary(results, commit), ensure_ascii=False)
