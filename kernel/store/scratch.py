"""Databases for simulations: a server of their own in a temporary folder, gone with its maker.

Nothing here ever touches a database with which anybody trades. Each process that asks gets one
database, made from a template, and empties it before each run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg

from kernel.errors import StoreError
from kernel.model.units import MS
from kernel.store.address import Address
from kernel.store.blocking import BlockingPostgres
from kernel.store.embedded import FAST, EmbeddedServer
from kernel.store.failures import FAILURES, told

PREFIX = "wave-kernel-"
TEMPLATE = "template_run"
OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
"""
SILENT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'ClientRead' AND xact_start IS NOT NULL
        AND (state LIKE 'idle in transaction%'
            OR query_start > clock_timestamp() - $1 * interval '1 ms')
"""
ALONE_PAUSE_S = 0.002
ALONE_TRIES = 5_000
_MADE = (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError)


@contextmanager
def scratch_server(options: tuple[str, ...] = FAST) -> Iterator[EmbeddedServer]:
    """A server in a temporary folder, with a template that has every table.

    Raises:
        StoreError: It cannot be started.
    """
    clear_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    server = EmbeddedServer(folder, options=options)
    try:
        server.start()
        make_database(server, TEMPLATE, template="template1")
        from kernel.store.migrate import upgrade  # noqa: PLC0415  workers need none of it

        upgrade(Address(server.address(TEMPLATE)))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def clear_abandoned() -> None:
    """End the servers of simulations that were killed, with their folders: nobody else would."""
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        if (folder / "data" / "PG_VERSION").is_file():
            with suppress(StoreError, OSError):
                EmbeddedServer(folder).clear_abandoned()


def make_database(server: EmbeddedServer, name: str, *, template: str = TEMPLATE) -> Address:
    """A database that nobody uses yet; one of this name that exists stays as it is.

    Raises:
        StoreError: The server does not answer.
    """
    _make(Address(server.address()), name, template)
    return Address(server.address(name))


def own_database(server: str) -> BlockingPostgres:
    """The database of this process on a server, which `scratch_server` has started.

    Args:
        server: Its address, with `{}` for the name of the database.

    Raises:
        StoreError: The server does not answer.
    """
    return BlockingPostgres(own_address(server))


def own_address(server: str) -> Address:
    """Where the database of this process is; it is made if need be. See `own_database`."""
    name = f"run_{os.getpid()}"
    _make(Address(server.format("postgres")), name, TEMPLATE)
    return Address(server.format(name))


def wait_until_alone(address: Address) -> None:
    """Wait until nobody is connected any more: what a dead client had sent is done or undone.

    Raises:
        StoreError: The server does not answer, or somebody stays.
    """
    _wait_for_none(address, OTHERS, "somebody else stays connected")


def wait_until_let_go(address: Address, silence_ns: int) -> None:
    """Wait until the server has ended every transaction whose client says nothing.

    One that stands still in the middle of a batch it does not end; a start will, once it is silent
    for so long: wait until then.

    Raises:
        StoreError: The server does not answer, or does not do it.
    """
    words = "a transaction of a silent client stays open"
    _wait_for_none(address, SILENT, words, silence_ns // MS)


def _wait_for_none(address: Address, query: str, words: str, *given: int) -> None:
    async def wait() -> None:
        connection = await asyncpg.connect(address.url, timeout=10)
        try:
            for _ in range(ALONE_TRIES):
                if not await connection.fetchval(query, *given):
                    return
                await asyncio.sleep(ALONE_PAUSE_S)
        finally:
            await connection.close()
        raise StoreError(f"database {address.told}: {words}")

    try:
        asyncio.run(wait())
    except FAILURES as error:
        raise StoreError(told(error, address)) from None


def _id(name: str) -> str:
    """A name in a statement, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _make(address: Address, name: str, template: str) -> None:
    async def create() -> None:
        connection = await asyncpg.connect(address.url, timeout=10)
        try:
            known = "SELECT 1 FROM pg_database WHERE datname = $1"
            if await connection.fetchval(known, name) is None:
                await connection.execute(f"CREATE DATABASE {_id(name)} TEMPLATE {_id(template)}")
        finally:
            await connection.close()

    try:
        asyncio.run(create())
    except _MADE:
        return
    except FAILURES as error:
        raise StoreError(told(error, address)) from None
