"""Commits that wait for a database, in their order, each with its record on the disk.

What keeps the records is a `Spool`: the data folder (`kernel.store.spool`); in a simulation memory.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec

from kernel.errors import StoreError
from kernel.model.positions import PositionRow
from kernel.model.rows import Row
from kernel.store.backend import NEW, Mark


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

    def mark(self) -> Mark:
        """The database that this folder was used with, as far as was noted; `NEW`: none."""
        ...

    def note_mark(self, mark: Mark, *, surely: bool) -> None:
        """Keep that; not `surely`: a crash of the machine may keep an earlier one of it."""
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
        self._mark = NEW

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

    def mark(self) -> Mark:
        """See `Spool.mark`."""
        return self._mark

    def note_mark(self, mark: Mark, *, surely: bool) -> None:
        """See `Spool.note_mark`."""
        if surely:
            self._demand_room()
        self._mark = mark

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
    """One commit in the spool: the run epoch that it belongs to, its rows, and their database.

    Rows are those of `kernel.model.rows`; a field that a later version adds has its default.
    """

    epoch: int
    rows: tuple[Row, ...]
    first_ns: int = 0
    """See `Mark`; 0: nobody knows."""


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
