"""What must survive a crash, with transaction boundaries.

1. `commit` returns only when all its rows are durable, together; it raises `StoreError` where
   that is not known, and then nothing may be assumed.
2. A commit with a `ClaimRow` that exists already writes nothing and answers False.
3. Commits of one kernel are applied in the order in which they were asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.errors import StoreError
from kernel.model.messages import StoreCommit, StoreDone, StoreFailed, StoreLoad, StoreLoaded
from kernel.model.rows import Row, StoredState
from kernel.model.venue import EffectClass

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox


class Store(Protocol):
    """The only truth for recovery."""

    async def commit(self, rows: tuple[Row, ...], cls: EffectClass) -> bool:
        """Make rows durable; False: a claim among them existed, nothing was written.

        Raises:
            StoreError: Not known to be durable.
        """
        ...

    async def load(self) -> StoredState:
        """Take the next run epoch and read what is not finished.

        Raises:
            StoreError: The store did not answer.
        """
        ...


class EffectStore:
    """`Store` as effects: what answers is the driver's business (memory, PostgreSQL, journal)."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def commit(self, rows: tuple[Row, ...], cls: EffectClass) -> bool:
        """See `Store.commit`."""
        key = self._outbox.next_key("commit", "store", str(rows[0].__struct_config__.tag))
        answer = await self._outbox.ask(key, StoreCommit(rows=rows), cls)
        if isinstance(answer, StoreFailed):
            raise StoreError(answer.reason)
        assert isinstance(answer, StoreDone)
        return all(answer.claimed)

    async def load(self) -> StoredState:
        """See `Store.load`."""
        key = self._outbox.next_key("load", "store", "all")
        answer = await self._outbox.ask(key, StoreLoad(), EffectClass.QUERY)
        if isinstance(answer, StoreFailed):
            raise StoreError(answer.reason)
        assert isinstance(answer, StoreLoaded)
        return answer.state
