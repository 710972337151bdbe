"""The spool before a database: what protects is durable though the database is away.

1. What is spooled is written to the database in its order, before anything else and before a load,
   and is deleted when the database has all of it. A crash between the two writes it again: rows
   replace those of their keys, and nothing newer can have been written meanwhile.
2. No entry is spooled, no claim, and no commit of nothing but events.
3. Rows of a process belong to its run epoch. Where a later process has loaded, they are older than
   what it wrote: they are set aside and told, as are rows that the database refuses for good.
4. The folder knows the highest epoch that was taken, which database it was, and how many commits
   that had. One that knows less is an earlier state (a restored backup, a new one), though it be of
   the run that goes on: it begins anew from there, and no epoch is taken twice.
5. Rows that were spooled for another database are set aside.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from kernel.errors import RowsRefused, StoreError, StoreFenced
from kernel.model.messages import StoreDone, StoreLoaded
from kernel.model.rows import ClaimRow, EventRow, Row
from kernel.store.backend import Mark
from kernel.store.spool_queue import Spool, Spooled, SpoolQueue

if TYPE_CHECKING:
    from kernel.model.rows import StoredState
    from kernel.store.leases import LeaseAsk


class Database(Protocol):
    """What the spool stands before; see `Backend`."""

    @property
    def mark(self) -> Mark:
        """See `Backend.mark`."""
        ...

    def ask_mark(self) -> Mark:
        """See `Backend.ask_mark`."""
        ...

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""
        ...

    def load(
        self,
        now_ns: int,
        ask: LeaseAsk | None = None,
        *,
        least_epoch: int = 1,
        anew: bool = False,
    ) -> StoredState:
        """See `Backend.load`."""
        ...


class SpoolingStore:
    """A database and the spool before it, for one kernel after the other.

    Args:
        database: Where rows are to be.
        spool: Where they wait.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool
        self._queue = SpoolQueue(spool)
        self._epoch = 0
        self._first_ns: int | None = None
        """Of the database that this process works with, see `Mark`; None: not asked yet."""

    def commit(self, rows: tuple[Row, ...], *, entry: bool, away: str = "") -> StoreDone:
        """Make rows durable.

        Args:
            rows: Of one commit.
            entry: They are an entry's: the database alone will do.
            away: Why the database is not asked; "": it is.

        Raises:
            StoreError: Not known to be durable.
        """
        self._queue.open()
        claimed: tuple[bool, ...] = ()
        if not away:
            try:
                self._drain()
                claimed = self._write(rows, entry=entry)
                self._note()
            except (StoreFenced, RowsRefused):
                raise
            except StoreError as error:
                away = str(error)
        if away:
            self._spool_rows(rows, entry=entry, away=away)
        drained, damage = self._queue.news()
        return StoreDone(claimed=claimed, spooled=away, drained=drained, damage=damage)

    def load(
        self, now_ns: int, ask: LeaseAsk | None = None, *, away: str = ""
    ) -> StoreLoaded:
        """Write what is spooled, take the next run epoch, read what is not finished.

        Raises:
            LeaseHeld: Another instance has the lease.
            StoreError: The database did not answer, or the folder cannot be used.
        """
        if away:
            raise StoreError(away)
        self._queue.open()
        noted, found = self._spool.mark(), self._database.ask_mark()
        self._first_ns = found.first_ns
        earlier = _earlier(noted, found)
        self._drain()
        seen = self._spool.epoch()
        self._spool.note_epoch(seen)  # on a full disk no epoch is taken in vain
        state = self._database.load(now_ns, ask, least_epoch=seen + 1, anew=bool(earlier))
        self._spool.note_epoch(state.epoch)
        self._epoch, self._first_ns = state.epoch, self._database.mark.first_ns
        self._note(surely=True)
        drained, damage = self._queue.news()
        if seen and state.since_ns == now_ns:
            words = earlier or f"the database knew nothing of run epoch {seen}"
            damage = (
                *damage, f"{words}: a restored backup, or another one; positions go by the venues"
            )  # fmt: skip
        return StoreLoaded(state=state, drained=drained, damage=damage)

    @property
    def waiting(self) -> int:
        """How many commits are spooled."""
        self._queue.open()
        return self._queue.waiting

    def drain_some(self, count: int) -> None:
        """Write the first so many spooled commits and no more: the process dies meanwhile.

        Their records stay on the disk, for they are deleted all at once.

        Raises:
            StoreError: The database did not take one.
        """
        self._queue.open()
        self._drain(count)

    def next_rows(self) -> tuple[Row, ...]:
        """What the database gets before anything else; (): nothing waits for it."""
        self._queue.open()
        commit = self._queue.first()
        return commit.rows if commit else ()

    def close(self) -> None:
        """Let another process use the spool."""
        self._spool.close()

    # ------------------------------------------------------------ inside

    def _note(self, *, surely: bool = False) -> None:
        """Keep how far the database has come; a commit does not fail where that cannot be kept."""
        if surely:
            self._spool.note_mark(self._database.mark, surely=True)
            return
        with suppress(StoreError):
            self._spool.note_mark(self._database.mark, surely=False)

    def _write(self, rows: tuple[Row, ...], *, entry: bool) -> tuple[bool, ...]:
        try:
            return self._database.apply(rows)
        except RowsRefused:
            if entry:
                raise
            self._write_singly(Spooled(0, rows))
            return ()

    def _drain(self, most: int | None = None) -> None:
        queue = self._queue
        while (commit := queue.first()) is not None:
            if most is not None:
                if most == 0:
                    return
                most -= 1
            self._drain_one(commit)
            queue.done()
        if most is None:
            queue.emptied()

    def _drain_one(self, commit: Spooled) -> None:
        queue = self._queue
        if commit.first_ns and self._first_ns not in (None, commit.first_ns):
            queue.refuse(commit.rows, "they were spooled for another database")
            return
        # What this process spooled goes to the database that it loaded, and to no other.
        epoch = 0 if commit.epoch == self._epoch else commit.epoch
        try:
            self._database.apply(commit.rows, epoch=epoch)
        except StoreFenced as error:
            queue.refuse(commit.rows, str(error))
        except RowsRefused:
            self._write_singly(Spooled(epoch, (*queue.positions(), *commit.rows)))

    def _write_singly(self, commit: Spooled) -> None:
        """Rows of a commit that is refused as a whole: those that it can take, it gets."""
        for row in commit.rows:
            try:
                self._database.apply((row,), epoch=commit.epoch)
            except RowsRefused as error:
                self._queue.refuse((row,), str(error))

    def _spool_rows(self, rows: tuple[Row, ...], *, entry: bool, away: str) -> None:
        kinds = [type(row) for row in rows]
        if entry or ClaimRow in kinds or all(kind is EventRow for kind in kinds):
            raise StoreError(away)
        try:
            self._queue.add(Spooled(self._epoch, rows, self._first_ns or 0))
        except StoreError as error:
            raise StoreError(f"{away}; {error}") from error


def _earlier(noted: Mark, found: Mark) -> str:
    """Why a database is another one than a folder knows, or an earlier state; "": it is neither."""
    if not noted.first_ns:
        return ""
    if found.first_ns != noted.first_ns:
        return "the database is not the one that this data folder was used with"
    if found.commits < noted.commits:
        return f"the database has {found.commits} of the {noted.commits} commits that were made"
    return ""
