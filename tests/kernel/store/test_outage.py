"""The spool before a real PostgreSQL: servers that stop, locks, deadlocks, kills, a full disk."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from kernel.errors import StoreError
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND
from kernel.store.blocking import BlockingPostgres
from kernel.store.postgres import Limits
from kernel.store.spool import FileSpool
from kernel.store.spooling import SpoolingStore
from tests.conventions.tree import ROOT
from tests.kernel.store.rows import claim, fill, order, position
from tests.kernel.store.stores import address_of, another, ask, opened

NOW = 10**18
SHORT = Limits(statement_ns=600 * MS, connect_ns=10 * SECOND)
LIVE, CLOSING, CLOSED = PositionState.ACTIVE, PositionState.CLOSING, PositionState.CLOSED


class Outage:
    """One process: a store on PostgreSQL, its spool on the disk."""

    def __init__(self, backend: BlockingPostgres, folder: Path) -> None:
        self.backend = backend
        self.folder = folder
        self.database = another(backend, SHORT)
        self.store = SpoolingStore(self.database, FileSpool(folder))

    def again(self) -> "Outage":
        """The next process, after this one died."""
        self.close()
        return Outage(self.backend, self.folder)

    def write(self, *rows, entry: bool = False):
        return self.store.commit(rows, entry=entry)

    def state(self) -> PositionState | None:
        row = self.backend.get(PositionRow, "p")
        return row.state if isinstance(row, PositionRow) else None

    def files(self) -> list[str]:
        return [path.name for path in sorted(self.folder.glob("*.spool"))]

    def close(self) -> None:
        self.store.close()
        self.database.close()


@pytest.fixture(name="process")
def one_process(request, tmp_path) -> Iterator[Outage]:
    with opened("postgres", request) as backend:
        assert isinstance(backend, BlockingPostgres)
        process = Outage(backend, tmp_path / "spool")
        process.store.load(NOW)
        yield process
        process.close()


@contextmanager
def session(process: Outage) -> Iterator["Session"]:
    """Another session on the same database."""
    other = Session(address_of(process.backend).url)
    try:
        yield other
    finally:
        other.end()


class Session:
    """Statements of somebody else, each on one connection with a loop of its own."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(asyncpg.connect(url))

    def __call__(self, *statements: str) -> None:
        for statement in statements:
            self._loop.run_until_complete(self._connection.execute(statement))

    def later(self, *statements: str) -> Thread:
        """Run them beside the test."""
        thread = Thread(target=self, args=statements)
        thread.start()
        return thread

    def end(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


def test_a_server_that_is_stopped_costs_entries_only_and_gets_the_rest_when_it_is_back(
    process, postgres
):
    process.write(position("p", LIVE))
    postgres.stop_immediately()
    try:
        for state in (CLOSING, CLOSED):
            assert "database" in process.write(position("p", state), order("x", "p")).spooled
        with pytest.raises(StoreError):
            process.write(claim("c"), order("e", "p"), entry=True)
        assert process.files()
    finally:
        postgres.restart()
    answer = process.write(order("y", "p"))
    assert (answer.spooled, answer.drained) == ("", 2)
    assert process.state() is CLOSED
    assert process.files() == []


def test_a_start_without_a_server_waits_and_then_finds_what_was_spooled(process, postgres):
    process.write(position("p", LIVE))
    postgres.stop_immediately()
    try:
        process.write(position("p", CLOSING))
        later = process.again()
        with pytest.raises(StoreError):
            later.store.load(NOW)
    finally:
        postgres.restart()
    loaded = later.store.load(NOW)
    assert [row.state for row in loaded.state.positions] == [CLOSING]
    assert (loaded.drained, loaded.state.epoch) == (1, 2)
    later.close()


def test_a_connection_that_is_cut_loses_nothing(process):
    process.write(position("p", LIVE))
    ask(
        address_of(process.backend),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    process.write(position("p", CLOSING))
    process.write(position("p", CLOSED))
    assert process.state() is CLOSED
    assert process.files() == []


def test_rows_that_somebody_else_has_locked_are_spooled_after_the_time_out(process):
    process.write(position("p", LIVE))
    with session(process) as other:
        other("BEGIN", "UPDATE monitoring.positions SET symbol = symbol")
        assert "55P03" in process.write(position("p", CLOSING)).spooled
        assert process.state() is LIVE
        other("ROLLBACK")
    assert process.write(position("p", CLOSED)).drained == 1
    assert process.state() is CLOSED


def test_a_statement_that_takes_too_long_is_spooled(process):
    process.write(position("p", LIVE))
    ask(address_of(process.backend), *slowly("pg_sleep(3)"))
    try:
        assert "57014" in process.write(position("p", CLOSING)).spooled
    finally:
        ask(address_of(process.backend), *QUICK)
    process.write(order("x", "p"))
    assert process.state() is CLOSING


def test_a_deadlock_is_tried_again(process):
    patient = BlockingPostgres(address_of(process.backend), Limits(statement_ns=5 * SECOND))
    store = SpoolingStore(patient, FileSpool(process.folder.parent / "patient"))
    store.load(NOW)
    store.commit((position("p", LIVE), order("x", "p")), entry=False)
    with session(process) as other:
        other("SET deadlock_timeout = '20s'", "BEGIN")
        other("UPDATE monitoring.orders_cache SET symbol = 'theirs'")
        thread = other.later(
            "SELECT pg_sleep(0.3)",  # until the commit holds the position and waits for the order
            "UPDATE monitoring.positions SET symbol = 'theirs'",
            "COMMIT",
        )
        answer = store.commit((position("p", CLOSING), order("x", "p", qty=7)), entry=False)
        thread.join(timeout=20)
    assert answer.spooled == ""
    assert process.state() is CLOSING
    row = process.backend.get(OrderRow, "binance", "x")
    assert isinstance(row, OrderRow)
    assert (row.qty, row.symbol) == (7, "BTCUSDT")
    store.close()
    patient.close()


def test_a_serialisation_failure_is_tried_again(process):
    process.write(position("p", LIVE))
    ask(
        address_of(process.backend),
        "CREATE SEQUENCE tries",
        *slowly("1 FROM (SELECT CASE WHEN nextval('tries') < 3 THEN fail_40001() END) f"),
    )
    try:
        assert process.write(position("p", CLOSED)).spooled == ""
    finally:
        ask(address_of(process.backend), *QUICK, "DROP SEQUENCE tries")
    assert process.state() is CLOSED


def slowly(what: str) -> tuple[str, ...]:
    """Statements after which each write to a position does this first."""
    failing = "BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = '40001'; END"
    first = f"BEGIN PERFORM {what}; RETURN NEW; END"
    return (
        f"CREATE OR REPLACE FUNCTION fail_40001() RETURNS int LANGUAGE plpgsql AS $${failing}$$",
        f"CREATE FUNCTION before_write() RETURNS trigger LANGUAGE plpgsql AS $${first}$$",
        """CREATE TRIGGER slow BEFORE UPDATE ON monitoring.positions
           FOR EACH ROW EXECUTE FUNCTION before_write()""",
    )


QUICK = (
    "DROP TRIGGER IF EXISTS slow ON monitoring.positions",
    "DROP FUNCTION IF EXISTS before_write",
)


def test_a_reference_to_what_a_backup_lacks_is_set_aside_and_the_rest_is_written(process):
    answer = process.write(position("p", LIVE), fill("1", "nobody"), order("x", "p"))
    assert "nobody" in (process.folder / "refused").read_text()
    assert [one[:18] for one in answer.damage] == ["1 rows are set asi"]
    assert process.state() is LIVE
    assert process.backend.get(OrderRow, "binance", "x") is not None


def test_a_database_that_another_process_has_loaded_gets_nothing_of_an_earlier_one(process):
    process.store.commit((position("p", LIVE),), entry=False, away="not asked")
    other = another(process.backend)
    other.load(NOW)
    other.apply((position("p", CLOSED),))
    other.close()
    later = process.again()
    loaded = later.store.load(NOW)
    assert process.state() is CLOSED
    assert "another process has started" in loaded.damage[0]
    later.close()


def test_a_full_disk_beside_a_database_that_is_away_is_told(process):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(StoreError, match=r"not asked; spool .* cannot take a record"):
            process.store.commit((position("p", LIVE),), entry=False, away="not asked")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    process.store.commit((position("p", CLOSED),), entry=False, away="not asked")
    process.write(order("x", "p"))
    assert process.state() is CLOSED


KILLED_BEFORE_IT_IS_DELETED = """
import os, signal, sys
from pathlib import Path
from kernel.store.address import Address
from kernel.store.blocking import BlockingPostgres
from kernel.store.spool import FileSpool
from kernel.store.spooling import SpoolingStore
from kernel.model.positions import PositionState
from tests.kernel.store.rows import position
url, folder = sys.argv[1:]
spool = FileSpool(Path(folder))
store = SpoolingStore(BlockingPostgres(Address(url)), spool)
store.load(1)
for state in (PositionState.ACTIVE, PositionState.CLOSING):
    store.commit((position("p", state),), entry=False, away="not asked")
spool.clear = lambda: os.kill(os.getpid(), signal.SIGKILL)
store.commit((position("q"),), entry=False)
"""


def test_a_kill_between_commit_and_delete_writes_the_same_again(process):
    url, folder = address_of(process.backend).url, process.folder.parent / "killed"
    done = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_IT_IS_DELETED, url, str(folder)],
        cwd=ROOT, timeout=60, check=False, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr.decode()
    assert process.state() is CLOSING
    later = Outage(process.backend, folder)
    loaded = later.store.load(NOW + 1)
    assert (loaded.drained, loaded.damage) == (2, ())
    assert process.state() is CLOSING
    assert process.backend.get(PositionRow, "q") is None
    later.close()
