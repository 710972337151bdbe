"""Rounds of kills: each a world of its own, a kernel in a process of its own, drawn SIGKILLs.

A round depends on its fields alone, so rounds run in any number of processes, and one that failed
is run again by its seed and count.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kernel.errors import KernelError, SettingsError, StoreError
from kernel.model.units import SECOND
from kernel.runtime.errors import TaskCrashed
from replay.runs import ReplayResult
from scenarios.child_database import ChildDatabase
from scenarios.invariants import Checker
from scenarios.kill_world import round_plan, venue_of_round
from scenarios.killer import Killer
from scenarios.pool import each
from scenarios.replay_run import Extras, run_replay
from scenarios.restarts import Restarts
from scenarios.stores import MEMORY, backends
from scenarios.world import World

DEATHS_OF_ROUND = 20
DURABLE = ("fsync=off", "full_page_writes=off", "autovacuum=off")
"""The server's process may die at any time, the machine not."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round. `isolate` False: the same in one process, for comparison."""

    seed: int
    deaths: int
    level: str = "sim"
    isolate: bool = True
    store: str = MEMORY
    servers: int = 0
    """Of the deaths so many are the database server's too."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a round.

    `ways` counts the deaths by where they fell; `settled_s` is how long after each start the books
    agreed with the venues, of those that lived so long; `overtaken` died before.
    """

    round: Round
    venue: str
    digest: str = ""
    kills: int = 0
    ways: dict[str, int] = {}
    starts: int = 0
    settled_s: tuple[int, ...] = ()
    overtaken: int = 0
    opened: int = 0
    closed: int = 0
    faults: int = 0
    outages: int = 0
    spooled: int = 0
    """Commits that went into the spool."""
    steps: int = 0
    kept: int = 0
    """Commits that were cut and found whole."""
    lost: int = 0
    """Commits that were cut and not found."""
    compared: int = 0
    """How often the database was compared with what had been answered, row by row."""
    max_unprotected_ms: int = 0
    problems: tuple[str, ...] = ()


def rounds(
    seed: int, count: int, *, level: str = "sim", store: str = MEMORY, servers: int = 0
) -> list[Round]:
    """Rounds that hold `count` deaths in all, each with a seed of its own.

    `servers` of the deaths are the database server's too, an equal share in each round.
    """
    return [
        Round(
            seed=seed + n,
            deaths=(deaths := min(DEATHS_OF_ROUND, count - done)),
            level=level,
            store=store,
            servers=servers * (done + deaths) // count - servers * done // count,
        )
        for n, done in enumerate(range(0, count, DEATHS_OF_ROUND))
    ]


def run_rounds(made: list[Round], *, processes: int = 1) -> Iterator[Judged]:
    """Results in the order of the rounds, as they come in."""
    return each(made, run_round, processes=processes)


def run_round(one: Round) -> Judged:
    """Run and judge a round; never raises for what a kernel does wrong."""
    if one.store == MEMORY:
        return _judged(one, None, None)
    from kernel.store.scratch import scratch_server  # noqa: PLC0415  a round in memory needs none

    try:
        with (
            scratch_server(DURABLE) as server,
            backends(server.address("{}"), isolate=True) as fresh,
        ):
            backend = fresh()
            assert isinstance(backend, ChildDatabase)
            return _judged(one, backend, Killer(server, one.seed))
    except (StoreError, SettingsError) as error:
        words = f"the database server did not work: {error}"
        return Judged(round=one, venue=venue_of_round(one.seed), problems=(words,))


def _judged(one: Round, database: ChildDatabase | None, killer: Killer | None) -> Judged:
    judges: list[Restarts] = []

    def judge(world: World, checker: Checker) -> Restarts:
        judges.append(Restarts(world, checker))
        return judges[0]

    extras = Extras(
        level=one.level,
        deaths=one.deaths,
        isolate=one.isolate,
        watch=judge,
        backend=database,
        killer=killer,
        servers=one.servers,
        outages=True,
    )
    try:
        replayed = run_replay(round_plan(one.seed, one.deaths), extras)
    except (KernelError, TaskCrashed, ArithmeticError, LookupError) as error:
        words = f"the round ended with {type(error).__name__}: {error}"
        return Judged(round=one, venue=venue_of_round(one.seed), problems=(words,))
    starts = judges[0].starts
    ways: dict[str, int] = {}
    for death in replayed.deaths:
        ways[death.how] = ways.get(death.how, 0) + 1
    result = replayed.result
    settled = [start.settled_ns for start in starts if start.settled_ns >= 0]
    return Judged(
        round=one,
        venue=venue_of_round(one.seed),
        digest=result.digest,
        kills=len(replayed.deaths),
        ways=dict(sorted(ways.items())),
        starts=result.kernel_starts,
        settled_s=tuple(-(-span // SECOND) for span in settled),
        overtaken=len(starts) - len(settled),
        opened=result.positions_opened,
        closed=result.positions_closed,
        faults=sum(result.faults_fired.values()),
        outages=replayed.outages,
        spooled=replayed.spooled,
        steps=result.steps,
        kept=0 if database is None else database.kept,
        lost=0 if database is None else database.lost,
        compared=0 if database is None else database.checked,
        max_unprotected_ms=result.max_unprotected_ms,
        problems=tuple(_problems(one, result, len(replayed.deaths))),
    )


def _problems(one: Round, result: ReplayResult, kills: int) -> list[str]:
    problems = list(result.violations)
    more = result.invariant_violations - len(result.violations)
    if more:
        problems.append(f"and {more} more")
    problems += [f"a task crashed: {line}" for line in result.task_crashes]
    if kills < one.deaths:
        problems.append(f"{kills} of {one.deaths} deaths found their moment")
    return problems


def reproduce(one: Round) -> str:
    """The command that runs one round again."""
    level = "" if one.level == "sim" else f" --level {one.level}"
    store = "" if one.store == MEMORY else f" --store {one.store}"
    servers = f" --servers {one.servers}" if one.servers else ""
    return f"python run_sim.py kill --count {one.deaths} --seed {one.seed}{level}{store}{servers}"
