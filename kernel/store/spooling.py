"""The spool before a database: what protects is durable though the database is away.

1. What is spooled is written to the database in its order, before anything else and before a load,
   and is deleted when the database has all of it. A crash between the two writes it again: rows
   replace those of their keys, and nothing newer can have been written meanwhile.
2. No entry is spooled, no claim, and no commit of nothing but events.
3. Rows of a process belong to its run epoch. Where a later process has loaded, they are older than
   what it wrote: they are set aside and told, as are rows that the database refuses for good.
4. The folder knows the highest epoch that was taken. A database that knows less is an earlier state
   (a restored backup, a new one): it begins anew from there, and no epoch is taken twice.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from kernel.errors import RowsRefused, StoreError, StoreFenced
from kernel.model.messages import StoreDone, StoreLoaded
from kernel.model.positions import PositionRow
from kernel.model.rows import ClaimRow, EventRow, Row

if TYPE_CHECKING:
    from kernel.model.rows import StoredState
    from kernel.store.leases import LeaseAsk


class Recovered(NamedTuple):
    """What an earlier process left."""

    payloads: tuple[bytes, ...] = ()
    damage: tuple[str, ...] = ()


class Spool(Protocol):
    """What the data folder keeps for the store. Everything raises `StoreError` where it cannot."""

    def recover(self) -> Recovered:
        """Every whole record, in order; asked once, before anything is appended."""
        ...

    def append(self, payload: bytes) -> None:
        """Make a record durable behind all others."""
        ...

    def clear(self) -> None:
        """Delete all records, for certain."""
        ...

    def set_aside(self, text: str) -> None:
        """Keep for people what the database does not take."""
        ...

    def epoch(self) -> int:
        """The highest run epoch that was noted; 0: none."""
        ...

    def note_epoch(self, epoch: int) -> None:
        """Make this the highest run epoch."""
        ...

    def close(self) -> None:
        """Let another process use it."""
        ...


class MemorySpool:
    """The data folder of a simulated world.

    Attributes:
        full: No record can be appended, nothing be noted.
        aside: What was set aside.
    """

    def __init__(self) -> None:
        self.full = False
        self.aside: list[str] = []
        self._payloads: list[bytes] = []
        self._epoch = 0

    def recover(self) -> Recovered:
        """See `Spool.recover`."""
        return Recovered(tuple(self._payloads))

    def append(self, payload: bytes) -> None:
        """See `Spool.append`."""
        self._demand_room()
        self._payloads.append(payload)

    def clear(self) -> None:
        """See `Spool.clear`."""
        self._payloads.clear()

    def set_aside(self, text: str) -> None:
        """See `Spool.set_aside`."""
        self._demand_room()
        self.aside.append(text)

    def epoch(self) -> int:
        """See `Spool.epoch`."""
        return self._epoch

    def note_epoch(self, epoch: int) -> None:
        """See `Spool.note_epoch`."""
        self._demand_room()
        self._epoch = epoch

    def close(self) -> None:
        """See `Spool.close`."""

    def _demand_room(self) -> None:
        if self.full:
            raise StoreError("the disk is full")


class Spooled(msgspec.Struct, frozen=True, array_like=True):
    """One commit in the spool: the run epoch that it belongs to, and its rows.

    Rows are those of `kernel.model.rows`; a field that a later version adds has its default.
    """

    epoch: int
    rows: tuple[Row, ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Spooled)
_WORDS = msgspec.json.Encoder()


class SpoolQueue:
    """The spooled commits in their order, each with its record on the disk."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: deque[bytes] = deque()
        self._opened = False
        self._clean = True
        self._drained = 0
        self._damage: list[str] = []

    def open(self) -> None:
        """Read what an earlier process left; nothing may be written before that."""
        if self._opened:
            return
        found = self._spool.recover()
        self._waiting.extend(found.payloads)
        self._damage += found.damage
        self._clean = not (found.payloads or found.damage)
        self._opened = True

    def add(self, commit: Spooled) -> None:
        """Make a commit durable behind all others."""
        payload = _ENCODER.encode(commit)
        self._clean = False
        self._spool.append(payload)
        self._waiting.append(payload)

    @property
    def waiting(self) -> int:
        """How many commits the database has not."""
        return len(self._waiting)

    def first(self) -> Spooled | None:
        """The first commit that the database has not; what cannot be read is set aside."""
        while self._waiting:
            try:
                return _DECODER.decode(self._waiting[0])
            except msgspec.MsgspecError as error:
                self._spool.set_aside(f"{error}: {self._waiting[0].hex()}")
                self._damage.append(f"spool: a commit that cannot be read is set aside: {error}")
                self._waiting.popleft()
        return None

    def positions(self) -> tuple[Row, ...]:
        """The positions that wait: rows before them may refer to them, where a backup lacks them.

        Written early they harm nothing, for they come again in their turn.
        """
        found: dict[str, Row] = {}
        for payload in self._waiting:
            with suppress(msgspec.MsgspecError):
                for row in _DECODER.decode(payload).rows:
                    if isinstance(row, PositionRow):
                        found.setdefault(row.position_id, row)
        return tuple(found.values())

    def done(self) -> None:
        """The database has the first one."""
        self._waiting.popleft()
        self._drained += 1

    def refuse(self, rows: tuple[Row, ...], reason: str) -> None:
        """Keep rows for people that the database does not take."""
        words = _WORDS.encode({"reason": reason, "rows": rows}).decode()
        self._spool.set_aside(words)
        self._damage.append(f"{len(rows)} rows are set aside: {reason}")

    def emptied(self) -> None:
        """The database has everything: delete the records."""
        if not self._clean:
            self._spool.clear()
            self._clean = True

    def news(self) -> tuple[int, tuple[str, ...]]:
        """How many commits were drained, and what was found, since this was asked last."""
        told = self._drained, tuple(self._damage)
        self._drained = 0
        self._damage.clear()
        return told


class Database(Protocol):
    """What the spool stands before; see `Backend`."""

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""
        ...

    def load(
        self, now_ns: int, ask: LeaseAsk | None = None, *, least_epoch: int = 1
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
        self._drain()
        seen = self._spool.epoch()
        self._spool.note_epoch(seen)  # on a full disk no epoch is taken in vain
        state = self._database.load(now_ns, ask, least_epoch=seen + 1)
        self._spool.note_epoch(state.epoch)
        self._epoch = state.epoch
        drained, damage = self._queue.news()
        if seen and state.since_ns == now_ns:
            earlier = (
                f"the database knew nothing of run epoch {seen}: a restored backup, or a new one;"
                " positions go by the venues"
            )
            damage = (*damage, earlier)
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
            try:
                self._database.apply(commit.rows, epoch=commit.epoch)
            except StoreFenced as error:
                queue.refuse(commit.rows, str(error))
            except RowsRefused:
                self._write_singly(Spooled(commit.epoch, (*queue.positions(), *commit.rows)))
            queue.done()
        if most is None:
            queue.emptied()

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
            self._queue.add(Spooled(self._epoch, rows))
        except StoreError as error:
            raise StoreError(f"{away}; {error}") from error
