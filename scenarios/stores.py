"""What keeps the rows of a run: memory, or PostgreSQL (`--store`).

The database is loaded by who asks for it alone: a run on memory imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernel.errors import SettingsError, StoreError
from kernel.store.backend import Backend
from kernel.store.memory import MemoryBackend

type MakeBackend = Callable[[], Backend]
"""Gives an empty backend, for one run; the one before it is used no more."""

MEMORY, POSTGRES = "memory", "postgres"
STORES = (MEMORY, POSTGRES)


@contextmanager
def store_server(choice: str) -> Iterator[str]:
    """What `backends` needs to know, in any process, as long as this lasts.

    Raises:
        SettingsError: The server cannot be started.
    """
    if choice == MEMORY:
        yield ""
        return
    from kernel.store.scratch import scratch_server  # noqa: PLC0415  see above

    try:
        with scratch_server() as server:
            yield server.address("{}")
    except StoreError as error:
        raise SettingsError([f"--store {choice}: {error}"]) from error


@contextmanager
def backends(server: str) -> Iterator[MakeBackend]:
    """Backends on a server of `store_server`, one after the other; "": in memory.

    Raises:
        SettingsError: The server does not answer.
    """
    if not server:
        yield MemoryBackend
        return
    from kernel.store.scratch import own_database  # noqa: PLC0415  see above

    try:
        database = own_database(server)
    except StoreError as error:
        raise SettingsError([f"--store {POSTGRES}: {error}"]) from error

    def emptied() -> Backend:
        database.reset()
        return database

    try:
        yield emptied
    finally:
        database.close()
