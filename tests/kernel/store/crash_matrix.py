"""The crash matrix: each call of the store, its process or its server killed at each point of it.

    python -m tests.kernel.store.crash_matrix [ROUNDS]

A call is killed before it says anything, inside its transaction, before it commits, with COMMIT
sent and no answer read, with the answer read, and after it has returned. The process dies by
SIGKILL; the server by `pg_ctl stop -m immediate` or by SIGKILL of its first process. Then the
database is asked: all of the call, or nothing; all of it where it had returned; nothing where it
had not sent COMMIT.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from asyncpg.connection import Connection

from kernel.errors import StoreError
from kernel.store.address import Address
from kernel.store.blocking import BlockingPostgres
from kernel.store.embedded import EmbeddedServer, kill_server
from tests.kernel.store.rows import claim, event, fill, order, position
from tests.kernel.store.stores import ask

POINTS = ("before", "begun", "written", "committing", "committed", "returned")
CALLS = ("commit", "entry", "refused", "load", "events")
DEATHS = ("process", "server stopped", "server killed")
NOTHING, ALL, EITHER = ("nothing",), ("all",), ("nothing", "all")
MAY: dict[str, tuple[str, ...]] = {
    "before": NOTHING, "begun": NOTHING, "written": NOTHING, "committing": EITHER,
    "committed": ALL, "returned": ALL,
}  # fmt: skip
"""What may be there after a death at this point."""
NOW = 10**18


class Case(NamedTuple):
    """One death in one call."""

    call: str
    point: str
    death: str


class Outcome(NamedTuple):
    """What was found: "all", "nothing" or "part" of the call; whether it had returned."""

    case: Case
    found: str
    returned: bool

    @property
    def allowed(self) -> bool:
        """Whether the port allows it."""
        case = self.case
        if case.call == "refused":
            return self.found == "nothing"
        if case.call == "events" and case.death != "process":
            return self.found != "part"  # they may be lost with the server
        if self.returned:
            return self.found == "all"
        return self.found in MAY[case.point]


@contextmanager
def trapped(point: str, act: Callable[[], None]) -> Iterator[None]:
    """`act` happens once, when a transaction of this process comes to a point."""
    plain = Connection.execute
    left = [act]

    def fire(here: str) -> None:
        if here == point and left:
            left.pop()()

    async def execute(self, query, *args, **more):
        word = query.strip().rstrip(";").upper()
        if word.startswith("BEGIN"):
            fire("before")
        if word == "COMMIT":
            fire("written")
            if point == "committing" and left:
                answer = asyncio.ensure_future(plain(self, query, *args, **more))
                await asyncio.sleep(0)  # it is in the socket now
                fire("committing")
                return await answer
        answer = await plain(self, query, *args, **more)
        if word.startswith("BEGIN"):
            fire("begun")
        if word == "COMMIT":
            fire("committed")
        return answer

    Connection.execute = execute
    try:
        yield
    finally:
        Connection.execute = plain


# ------------------------------------------------------------------------ calls


def prepare(store: BlockingPostgres) -> None:
    """What is durable before each case."""
    store.reset()
    store.load(NOW)
    store.apply((position("old"), claim("taken")))


def make(call: str, store: BlockingPostgres) -> None:
    """The call itself."""
    rows = (position("p"), order("c", "p"), fill("t", "p"))
    if call == "commit":
        store.apply(rows)
    elif call == "entry":
        store.apply((claim("free"), *rows))
    elif call == "refused":
        store.apply((claim("taken"), *rows))
    elif call == "load":
        store.load(NOW + 1)
    else:
        store.keep_events((event(1), event(2)))


def found(call: str, address: Address) -> str:
    """How much of the call is there."""
    if call == "load":
        return "all" if ask(address, "SELECT epoch FROM monitoring.store")[0][0] == 2 else "nothing"
    tables = {"events": ["monitoring.events"]}.get(
        call, ["monitoring.orders_cache", "monitoring.trades"]
    )
    counts = [ask(address, f"SELECT count(*) FROM {table}")[0][0] for table in tables]
    if call in ("commit", "entry", "refused"):
        counts.append(ask(address, "SELECT count(*) FROM monitoring.positions")[0][0] - 1)
    if call in ("entry", "refused"):
        extra = ask(address, "SELECT count(*) FROM monitoring.claims")[0][0] - 1
        counts += [extra] if call == "entry" else []
        assert call == "entry" or extra == 0
    whole = 2 if call == "events" else 1
    if all(count == whole for count in counts):
        return "all"
    return "part" if any(counts) else "nothing"


# ------------------------------------------------------------------------ deaths


def run_case(case: Case, server: EmbeddedServer, address: Address) -> Outcome:
    """Prepare, let it die, ask what is there; a new process can load and write then."""
    store = BlockingPostgres(address)
    prepare(store)
    if case.death == "process":
        returned = _process_dies(case, address)
    else:
        returned = _server_dies(case, server, store)
    store.close()
    outcome = Outcome(case, found(case.call, address), returned)
    later = BlockingPostgres(address)
    state = later.load(NOW + 2)
    assert {row.position_id for row in state.positions} >= {"old"}
    assert later.apply((claim("later"), position("new"))) == (True,)
    assert later.apply((claim("taken"),)) == (False,)
    later.close()
    return outcome


def _server_dies(case: Case, server: EmbeddedServer, store: BlockingPostgres) -> bool:
    def die() -> None:
        if case.death == "server stopped":
            server.stop_immediately()
        else:
            kill_server(server)

    returned = False
    try:
        with trapped(case.point, die):
            make(case.call, store)
        returned = True
        if case.point == "returned":
            die()
    except StoreError:
        pass
    if server.running():  # the point is not on the way of this call
        die()
    server.restart()
    return returned


def _process_dies(case: Case, address: Address) -> bool:
    """A fork of this process makes the call with a connection of its own and is killed in it."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            _live_and_die(case, address, writes)
        except BaseException:  # nothing of the parent may run in the child
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        returned = pipe.read() == b"returned"
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{case}: the child ended by itself"
    return returned


def _live_and_die(case: Case, address: Address, told: int) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    store = BlockingPostgres(address)
    if case.call != "load":
        store.rows()  # connected, as in the middle of a life
    with trapped(case.point, die):
        make(case.call, store)
    os.write(told, b"returned")
    die()


def all_cases() -> list[Case]:
    """Every death at every point of every call; a refused commit is rolled back."""
    return [
        Case(call, point, death)
        for death in DEATHS
        for call in CALLS
        for point in POINTS
        if call != "refused" or point in ("before", "begun", "returned")
    ]


def table(outcomes: list[Outcome]) -> str:
    """What was found, counted: a line for each death and call, a column for each point."""
    counts = Counter((one.case, one.found) for one in outcomes)
    lines = [f"{'':24}" + "".join(f"{point:>18}" for point in POINTS)]
    for death in DEATHS:
        for call in CALLS:
            cells = []
            for point in POINTS:
                case = Case(call, point, death)
                told = [
                    f"{counts[(case, what)]} {what}"
                    for what in ("all", "nothing", "part")
                    if counts[(case, what)]
                ]
                cells.append(f"{', '.join(told) or '-':>18}")
            lines.append(f"{death:15} {call:8}" + "".join(cells))
    wrong = [one for one in outcomes if not one.allowed]
    lines.append(f"{len(outcomes)} deaths, {len(wrong)} with a loss beyond what the port allows")
    return "\n".join(lines + [str(one) for one in wrong])


def main(rounds: int) -> int:
    """Run the matrix on a server of its own."""
    from kernel.store.scratch import make_database, scratch_server

    with scratch_server() as server:
        address = make_database(server, "matrix")
        outcomes = [
            run_case(case, server, address) for _ in range(rounds) for case in all_cases()
        ]
    print(table(outcomes))
    return 0 if all(one.allowed for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
