"""The stores that every test of the conformance suite runs on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from kernel.store.address import Address
from kernel.store.backend import Backend
from kernel.store.blocking import BlockingPostgres
from kernel.store.embedded import EmbeddedServer
from kernel.store.memory import MemoryBackend
from kernel.store.postgres import Limits
from kernel.store.scratch import own_database

STORES = ("memory", "postgres")


@contextmanager
def opened(name: str, request) -> Iterator[Backend]:
    """An empty store of this name."""
    if name == "memory":
        yield MemoryBackend()
        return
    server: EmbeddedServer = request.getfixturevalue("postgres")
    database = own_database(server.address("{}"))
    database.reset()
    try:
        yield database
    finally:
        database.close()


def another(backend: Backend, limits: Limits | None = None) -> BlockingPostgres:
    """A second client of the database of a backend, as another process has it."""
    assert isinstance(backend, BlockingPostgres)
    return BlockingPostgres(address_of(backend), limits)


def address_of(backend: Backend) -> Address:
    """Where its database is."""
    assert isinstance(backend, BlockingPostgres)
    return backend._store._address


def ask(address: Address, *statements: str) -> list:
    """What statements give, on a connection of their own."""

    async def run() -> list:
        connection = await asyncpg.connect(address.url, timeout=5)
        try:
            return [await connection.fetch(one) for one in statements]
        finally:
            await connection.close()

    return asyncio.run(run())[-1]


@contextmanager
def reader(address: Address, query: str) -> Iterator[None]:
    """Somebody who has asked something and whose transaction stays open."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(address.url, timeout=5))
    try:
        loop.run_until_complete(connection.execute(f"BEGIN; {query}"))
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()
