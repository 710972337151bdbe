"""One database of two instances: each process asks it on its own connection, a mirror follows.

1. A commit falls due at its virtual time; then the process of its instance writes it. A process
   that stands still in it answers when it goes on; what the database made of it is looked up
   before anybody else's load counts, and must be all of it or nothing.
2. The mirror follows what was answered, and must give the same rows at every load. It is what the
   checker reads. Whose lease it is, the database alone says.
3. The database fences: rows of a run that another one has followed are in neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.errors import InvariantViolation, StoreError, StoreFenced
from kernel.store.backend import NEW, Mark, Retention
from kernel.store.memory import MemoryBackend
from scenarios.child_database import difference
from scenarios.frames import Applied, Apply, Load, Loaded, Renew
from scenarios.stoppable import Standing, StoppableKernel

if TYPE_CHECKING:
    from kernel.model.rows import EventRow, Row, StoredState
    from kernel.model.units import TsNs
    from kernel.store.leases import LeaseAsk


class Found(Enum):
    """What the database holds of an interrupted commit."""

    WHOLE = "whole"
    NOTHING = "nothing"
    NOTHING_NEW = "nothing new"
    """Its rows stood there before it, as they are: whether it was done cannot be seen."""


class Look(Protocol):
    """Looks into the database beside the instances."""

    def rows(self) -> list[Row]:
        """Every row but events, as it is committed now."""


class SharedDatabase:
    """What both instances see.

    Args:
        look: Into the database.

    Attributes:
        mirror: What the database holds.
        kept: Commits that were interrupted and found whole.
        lost: Commits that were interrupted and not found.
    """

    def __init__(self, look: Look) -> None:
        self.mirror = MemoryBackend()
        self.kept = self.lost = 0
        self._look = look
        self._open: dict[str, tuple[Row, ...]] = {}
        """Instance → rows of the commit in which its process stands still."""
        self._found: dict[str, Found] = {}
        """Instance → what became of that, where it is looked up before the answer."""

    def interrupted(self, name: str, rows: tuple[Row, ...]) -> None:
        """The process of an instance stands still in a commit."""
        self._open[name] = rows
        self._found.pop(name, None)

    def ended(self, name: str) -> Found | None:
        """The commit has an answer; whether it had been found before, None: nobody looked."""
        self._open.pop(name, None)
        return self._found.pop(name, None)

    def settle(self) -> None:
        """Find out what became of interrupted commits; the database can change them no more.

        Raises:
            InvariantViolation: Half of one is there, or something else.
        """
        held = self._look.rows()
        for name, rows in list(self._open.items()):
            mirrored = list(self.mirror.rows())
            if held != mirrored:
                self.mirror.apply(rows)
                self._found[name] = Found.WHOLE
                self.kept += 1
            elif all(row in mirrored for row in rows):
                self._found[name] = Found.NOTHING_NEW
            else:
                self._found[name] = Found.NOTHING
                self.lost += 1
            del self._open[name]
        self.compare(held)

    def compare(self, held: list[Row] | None = None) -> None:
        """The database holds what was answered.

        Raises:
            InvariantViolation: It does not.
        """
        found = self._look.rows() if held is None else held
        mirrored = list(self.mirror.rows())
        if found != mirrored:
            raise InvariantViolation(difference(found, mirrored))


class InstanceDatabase:
    """A `Backend` whose work the process of one instance does.

    Args:
        name: Of the instance.
        shared: What both see.
    """

    def __init__(self, name: str, shared: SharedDatabase) -> None:
        self._name = name
        self._shared = shared
        self._kernel: StoppableKernel | None = None
        self._stands = False
        self._own_epoch = 0

    def serve(self, kernel: StoppableKernel) -> None:
        """A kernel lives; its process does the work from now on."""
        self._kernel, self._stands, self._own_epoch = kernel, False, 0

    @property
    def epoch(self) -> int:
        """See `Backend.epoch`."""
        return self._shared.mirror.epoch

    @property
    def since_ns(self) -> TsNs:
        """See `Backend.since_ns`."""
        return self._shared.mirror.since_ns

    @property
    def mark(self) -> Mark:
        """See `Backend.mark`."""
        return self._shared.mirror.mark

    def ask_mark(self) -> Mark:
        """See `Backend.ask_mark`: the mirror's, for both count the same commits."""
        return self._shared.mirror.mark

    @property
    def retention(self) -> Retention:
        """See `Backend`: the kernel's process has it from its settings."""
        return self._shared.mirror.retention

    @retention.setter
    def retention(self, retention: Retention) -> None:
        self._shared.mirror.retention = retention

    # ------------------------------------------------------------ the port

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""
        shared, interrupted = self._shared, self._stands
        try:
            told = self._ask(Apply(rows, epoch))
        except Standing:
            shared.interrupted(self._name, rows)
            raise
        except StoreFenced:
            if interrupted and shared.ended(self._name) is Found.WHOLE:
                raise InvariantViolation("a commit that was fenced is there") from None
            raise
        except StoreError:
            if interrupted:
                shared.settle()
                shared.ended(self._name)
            raise
        assert isinstance(told, Applied)
        if interrupted:
            found = shared.ended(self._name)
            if found is not None:
                return self._of_another_time(told, rows, found=found)
        whose = epoch or self._own_epoch
        try:
            claimed = shared.mirror.apply(rows, epoch=whose)
        except StoreFenced:
            raise InvariantViolation(
                f"the database takes rows of run epoch {whose}, and {self.epoch} has loaded since"
            ) from None
        if claimed != told.claimed:
            raise InvariantViolation(f"the database answers {told.claimed} to a commit of {rows}")
        return claimed

    def _of_another_time(
        self, told: Applied, rows: tuple[Row, ...], *, found: Found
    ) -> tuple[bool, ...]:
        done = Found.WHOLE if all(told.claimed) else Found.NOTHING
        if found not in (done, Found.NOTHING_NEW):
            raise InvariantViolation(
                f"after a freeze the database answers {told.claimed} to a commit of {rows}"
            )
        return told.claimed

    def load(
        self,
        now_ns: int,
        ask: LeaseAsk | None = None,
        *,
        least_epoch: int = 1,
        anew: bool = False,
    ) -> StoredState:
        """See `Backend.load`."""
        told = self._ask(Load(now_ns=now_ns, ask=ask, least_epoch=least_epoch, anew=anew))
        assert isinstance(told, Loaded)
        self._shared.settle()
        mirrored = self._shared.mirror.load(now_ns, None, least_epoch=least_epoch, anew=anew)
        mirrored = msgspec.structs.replace(mirrored, lease_of=told.state.lease_of)
        if mirrored != told.state:
            theirs, ours = (msgspec.to_builtins(one) for one in (told.state, mirrored))
            places = [place for place, one in enumerate(theirs) if one != ours[place]]
            raise InvariantViolation(f"a load gives what was never answered, at {places}")
        self._own_epoch = told.state.epoch
        return told.state

    def lease(self, ask: LeaseAsk, now_ns: int) -> None:
        """See `Backend.lease`."""
        self._ask(Renew(now_ns=now_ns, ask=ask))

    def _ask(self, asked: Apply | Load | Renew) -> Applied | Loaded:
        """Have the process ask; where it stood still in this, hear the answer."""
        kernel = self._kernel
        if kernel is None:
            raise StoreError("no process has the database")
        stands, self._stands = self._stands, False
        try:
            return kernel.rest_of_store() if stands else kernel.store(asked)
        except Standing:
            self._stands = True
            raise

    def keep_events(self, rows: tuple[EventRow, ...]) -> None:
        """See `Backend.keep_events`."""
        self._shared.mirror.keep_events(rows)

    def events(self) -> tuple[EventRow, ...]:
        """See `Backend.events`."""
        return self._shared.mirror.events()

    def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """See `Backend.get`."""
        return self._shared.mirror.get(kind, *key)

    def has(self, kind: type[Row], *key: str | int) -> bool:
        """See `Backend.has`."""
        return self._shared.mirror.has(kind, *key)

    def rows(self, *kinds: type[Row]) -> Iterable[Row]:
        """See `Backend.rows`."""
        return self._shared.mirror.rows(*kinds)

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """See `Backend.replace`: nobody restores a backup under two instances.

        Raises:
            StoreError: Always.
        """
        raise StoreError("a database of two instances is not exchanged")

    def close(self) -> None:
        """See `Backend.close`: connections end with their processes."""
