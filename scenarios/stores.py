"""What keeps the rows of a run: memory, or PostgreSQL (`--store`).

The database is loaded by who asks for it alone: a run on memory imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from kernel.errors import SettingsError, StoreError
from kernel.store.backend import NEW, Backend, Mark
from kernel.store.memory import MemoryBackend
from scenarios.child_database import ChildDatabase

if TYPE_CHECKING:
    from kernel.model.rows import Row
    from kernel.store.blocking import BlockingPostgres

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
def backends(server: str, *, isolate: bool = False) -> Iterator[MakeBackend]:
    """Backends on a server of `store_server`, one after the other; "": in memory.

    With `isolate` the process of the kernel is the one that is connected.

    Raises:
        SettingsError: The server does not answer.
    """
    if not server:
        yield MemoryBackend
        return
    from kernel.store.scratch import own_address, own_database  # noqa: PLC0415  see above

    if isolate:
        url = own_address(server).url
        yield lambda: _of_the_child(url)
        return
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


def _of_the_child(url: str) -> Backend:
    """An empty database for the processes of one run's kernels."""
    observer = _Observer(url)
    observer.reset()
    return ChildDatabase(url, observer)


class _Observer:
    """See `Observer`; connected for as long as one look takes."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self) -> list[Row]:
        """See `Observer.rows`."""
        from kernel.store.address import Address  # noqa: PLC0415  see above
        from kernel.store.scratch import wait_until_alone  # noqa: PLC0415

        wait_until_alone(Address(self._url))
        with closing(self._opened()) as database:
            return list(database.rows())

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """See `Observer.replace`."""
        with closing(self._opened()) as database:
            database.replace(rows, epoch=epoch, since_ns=since_ns, mark=mark)

    def reset(self) -> None:
        """Be a new store that nobody ever loaded."""
        with closing(self._opened()) as database:
            database.reset()

    def _opened(self) -> BlockingPostgres:
        from kernel.store.address import Address  # noqa: PLC0415  see above
        from kernel.store.blocking import BlockingPostgres  # noqa: PLC0415

        return BlockingPostgres(Address(self._url))
