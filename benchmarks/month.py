"""What a time of trading leaves in the database: rows and bytes of each table.

    python -m benchmarks.month REPLAY-ARGUMENTS [--keep N]

The arguments are those of `run_sim.py replay` (`--data`, `--waves`, `--from`, `--to`, `--set`).
Bytes are those of the tables with their indexes, after `VACUUM FULL`; events are also counted per
row, since they are forgotten: `--keep` (100 000 by default) says how many are kept at most.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

import asyncpg

from kernel.model.messages import Input, StepResult
from kernel.model.units import DAY, SECOND, install_decimal_context
from kernel.store.address import Address
from kernel.store.backend import Retention
from kernel.store.embedded import FAST
from kernel.store.scratch import own_address, own_database, scratch_server
from kernel.watch.events import EventLog
from scenarios.invariants import Checker
from scenarios.replay_cli import add_arguments, plan_of
from scenarios.replay_run import Extras, run_replay
from scenarios.world import World

SIZES = """
    SELECT n.nspname || '.' || c.relname, pg_total_relation_size(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('monitoring', 'fas') AND c.relkind = 'r' ORDER BY 1
"""
EVENTS = "monitoring.events"


class Size(NamedTuple):
    """One table."""

    name: str
    rows: int
    size: int


class Counted:
    """Event rows of a run, those that the store forgets included."""

    def __init__(self, world: World) -> None:
        self.decisions = 0
        self._log = EventLog(world.store)

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        self.decisions += len(result.decisions)
        self._log.step(item, result)

    def born(self, kernel: object) -> None:
        """See `Sink.born`."""
        self._log.born(kernel)

    def died(self, reason: str) -> None:
        """See `Sink.died`."""
        self._log.died(reason)

    def flush(self) -> None:
        """Hand over what waits."""
        self._log.flush()


async def sizes(address: Address) -> list[Size]:
    """Rows and bytes of each table, without what is dead in it."""
    connection = await asyncpg.connect(address.url)
    try:
        await connection.execute("VACUUM FULL")
        return [
            Size(name, await connection.fetchval(f"SELECT count(*) FROM {name}"), size)
            for name, size in await connection.fetch(SIZES)
        ]
    finally:
        await connection.close()


def told(found: Iterable[Size], days: float, decisions: int, keep: int) -> str:
    """A line for each table, and their sum; events as many as a month makes, and as are kept."""
    lines = [f"{'':30}{'rows':>12}{'bytes':>14}{'bytes a row':>13}{'MB in 30 days':>15}"]
    month = kept = 0.0
    for one in found:
        each = one.size / one.rows if one.rows else 0.0
        rows = decisions if one.name == EVENTS else one.rows
        grown = each * rows * 30 / days / 1e6
        month += grown
        kept += min(grown, each * keep / 1e6) if one.name == EVENTS else grown
        lines.append(f"{one.name:30}{one.rows:>12}{one.size:>14}{each:>13.0f}{grown:>15.2f}")
    lines.append(
        f"{days:.1f} days, {decisions} events made; 30 days: {month:.1f} MB,"
        f" with the newest {keep} events {kept:.1f} MB"
    )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Replay, then measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.month")
    add_arguments(parser)
    parser.add_argument("--keep", type=int, default=Retention().events, metavar="N", help="events")
    options = parser.parse_args(arguments)
    install_decimal_context()
    plan = plan_of(options)
    counted: list[Counted] = []

    def count(world: World, _checker: Checker) -> Counted:
        counted.append(Counted(world))
        return counted[0]

    with scratch_server(FAST) as server:
        place = server.address("{}")
        with closing(own_database(place)) as database:
            database.reset()
            result = run_replay(plan, Extras(backend=database, watch=count)).result
            counted[0].flush()
        found = asyncio.run(sizes(own_address(place)))
    days = (plan.end_ns - plan.setup.start_ns) / DAY
    spent = (plan.end_ns - plan.setup.start_ns) // SECOND
    print(told(found, days, counted[0].decisions, options.keep))
    print(
        f"{spent} s of {len(plan.setup.markets)} symbols: {result.signals} signals,"
        f" {result.waves} waves, {result.positions_opened} positions opened"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
