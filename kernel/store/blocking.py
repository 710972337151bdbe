"""PostgreSQL as a `Backend`: each call blocks until the database has answered.

For simulations, whose time stands still meanwhile, and for commands. It has an event loop of its
own and belongs to the thread and to the process that made it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kernel.model.units import TsNs
from kernel.store.backend import NEW, Mark, Retention
from kernel.store.postgres import Limits, PostgresStore

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from kernel.model.rows import EventRow, Row, StoredState
    from kernel.store.address import Address
    from kernel.store.leases import Holding, LeaseAsk


class BlockingPostgres:
    """See `Backend`. Nothing is connected before the first call.

    Args:
        address: Where it is; its tables are at the newest revision.
        limits: See `Limits`.
    """

    def __init__(self, address: Address, limits: Limits | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._store = PostgresStore(address, limits, given_time=True)

    @property
    def epoch(self) -> int:
        """See `Backend.epoch`."""
        return self._store.epoch

    @property
    def since_ns(self) -> TsNs:
        """See `Backend.since_ns`."""
        return self._store.since_ns

    @property
    def retention(self) -> Retention:
        """See `Backend`."""
        return self._store.retention

    @retention.setter
    def retention(self, retention: Retention) -> None:
        self._store.retention = retention

    @property
    def mark(self) -> Mark:
        """See `Backend.mark`."""
        return self._store.mark

    def ask_mark(self) -> Mark:
        """See `Backend.ask_mark`."""
        return self._run(self._store.ask_mark())

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""
        return self._run(self._store.apply(rows, epoch=epoch))

    def load(
        self,
        now_ns: int,
        ask: LeaseAsk | None = None,
        *,
        least_epoch: int = 1,
        anew: bool = False,
    ) -> StoredState:
        """See `Backend.load`."""
        return self._run(self._store.load(now_ns, ask, least_epoch=least_epoch, anew=anew))

    def leases(self) -> dict[str, Holding]:
        """See `PostgresStore.leases`."""
        return self._run(self._store.leases())

    def lease(self, ask: LeaseAsk, now_ns: int) -> None:
        """See `Backend.lease`."""
        self._run(self._store.lease(ask, now_ns))

    def keep_events(self, rows: tuple[EventRow, ...]) -> None:
        """See `Backend.keep_events`."""
        self._run(self._store.keep_events(rows))

    def events(self) -> tuple[EventRow, ...]:
        """See `Backend.events`."""
        return self._run(self._store.events())

    def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """See `Backend.get`."""
        return self._run(self._store.get(kind, *key))

    def has(self, kind: type[Row], *key: str | int) -> bool:
        """See `Backend.has`."""
        return self.get(kind, *key) is not None

    def rows(self, *kinds: type[Row]) -> list[Row]:
        """See `Backend.rows`."""
        return self._run(self._store.rows(*kinds))

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """See `Backend.replace`."""
        self._run(self._store.replace(rows, epoch=epoch, since_ns=since_ns, mark=mark))

    def reset(self) -> None:
        """Be a new store that nobody ever loaded."""
        self._run(self._store.reset())

    def close(self) -> None:
        """Give up the connections and the event loop."""
        if not self._loop.is_closed():
            self._run(self._store.close())
            self._loop.close()

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
