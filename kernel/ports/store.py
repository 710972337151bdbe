"""What must survive a crash, with transaction boundaries.

1. `commit` returns only when all its rows are durable, together; it raises `StoreError` where
   that is not known, and then nothing may be assumed.
2. An entry's rows are then in the database. Others may be in the spool: on the disk beside it,
   until the database takes them, in their order, before anything else.
3. A commit with a `ClaimRow` that exists already writes nothing; its claim is not won.
4. Commits of one kernel are applied in the order in which they were asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from kernel.errors import LeaseHeld, StoreError
from kernel.model.messages import (
    Alert,
    LeaseTold,
    StoreCommit,
    StoreDone,
    StoreFailed,
    StoreLease,
    StoreLoad,
    StoreLoaded,
)
from kernel.model.rows import Row, StoredState
from kernel.model.venue import EffectClass

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox


class Committed(msgspec.Struct, frozen=True, gc=False):
    """Rows are durable, or (not `won`) a claim among them existed and nothing was written.

    `spooled`: why they are in the spool only; "": they are in the database.
    """

    won: bool = True
    spooled: str = ""


class Store(Protocol):
    """The only truth for recovery."""

    async def commit(self, rows: tuple[Row, ...], cls: EffectClass) -> Committed:
        """Make rows durable.

        Raises:
            StoreError: Not known to be durable.
        """
        ...

    async def load(self, terms: LeaseTerms | None = None) -> StoredState:
        """Take the next run epoch, and the lease, and read what is not finished.

        Raises:
            LeaseHeld: Another instance has the lease; nothing was done.
            StoreError: The store did not answer.
        """
        ...

    async def lease(self, terms: LeaseTerms, epoch: int) -> LeaseTold:
        """Renew the lease, or learn who has it.

        Raises:
            StoreError: The store did not answer.
        """
        ...


class LeaseTerms(NamedTuple):
    """Who asks for the lease of which accounts, and for how long; see `StoreLoad`."""

    instance: str
    accounts: tuple[str, ...]
    term_ns: int
    wait_ns: int


class EffectStore:
    """`Store` as effects: what answers is the driver's business (memory, PostgreSQL, journal)."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def commit(self, rows: tuple[Row, ...], cls: EffectClass) -> Committed:
        """See `Store.commit`."""
        key = self._outbox.next_key("commit", "store", str(rows[0].__struct_config__.tag))
        answer = await self._outbox.ask(key, StoreCommit(rows=rows), cls)
        if type(answer) is not StoreDone:
            assert isinstance(answer, StoreFailed)
            raise StoreError(answer.reason)
        self._tell(answer.drained, answer.damage)
        return Committed(all(answer.claimed), answer.spooled)

    async def load(self, terms: LeaseTerms | None = None) -> StoredState:
        """See `Store.load`."""
        key = self._outbox.next_key("load", "store", "all")
        body = StoreLoad() if terms is None else StoreLoad(**terms._asdict())
        answer = await self._outbox.ask(key, body, EffectClass.QUERY)
        if isinstance(answer, StoreFailed):
            raise StoreError(answer.reason)
        if isinstance(answer, LeaseTold):
            raise LeaseHeld(answer.holder)
        assert isinstance(answer, StoreLoaded)
        self._tell(answer.drained, answer.damage)
        return answer.state

    def _tell(self, drained: int, damage: tuple[str, ...]) -> None:
        if drained:
            self._outbox.record("store.drained", "the spool is empty again", commits=drained)
        for sentence in damage:
            self._outbox.record("store.damaged", sentence)
            self._outbox.alert(Alert(severity="ERROR", kind="store.damaged", text=sentence))

    async def lease(self, terms: LeaseTerms, epoch: int) -> LeaseTold:
        """See `Store.lease`."""
        key = self._outbox.next_key("lease", "store", terms.instance)
        body = StoreLease(**terms._asdict(), epoch=epoch)
        answer = await self._outbox.ask(key, body, EffectClass.QUERY)
        if isinstance(answer, StoreFailed):
            raise StoreError(answer.reason)
        assert isinstance(answer, LeaseTold)
        return answer
