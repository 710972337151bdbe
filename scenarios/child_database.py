"""The database of an isolated kernel: its own process asks it, the parent keeps a mirror in memory.

1. A commit falls due at the virtual time at which the store in memory would have completed it; then
   the kernel's process writes it, between two steps, and its answer is delivered.
2. The mirror follows what was answered and must give the same answers: also the same load, row by
   row, after every restart. It is what the checker reads.
3. After a death the database must hold the mirror, and perhaps the one commit that was cut: all of
   it or nothing. Then the mirror becomes what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.errors import InvariantViolation, StoreError
from kernel.store.backend import NEW, Mark, Retention
from kernel.store.memory import MemoryBackend
from scenarios.frames import Applied, Apply, Load, Loaded, Renew

if TYPE_CHECKING:
    from kernel.model.rows import EventRow, Row, StoredState
    from kernel.model.units import TsNs
    from kernel.store.leases import LeaseAsk


class AtDatabase(Protocol):
    """A kernel whose process has a database."""

    def store(self, asked: Apply | Load | Renew) -> Applied | Loaded:
        """See `IsolatedKernel.store`."""

    def die_at_commit(self, asked: Apply, meanwhile: Callable[[], None]) -> None:
        """See `IsolatedKernel.die_at_commit`."""


class Observer(Protocol):
    """Looks into the database from outside of the kernel's process."""

    def rows(self) -> Iterable[Row]:
        """Every row but events, once no dead client works on it any more."""

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """Hold these rows and no others; see `Backend.replace`."""


class ChildDatabase:
    """A `Backend` whose work the kernel's process does.

    Args:
        address: For that process.
        observer: Looks into it after each death.

    Attributes:
        kept: Commits that were cut and found whole.
        lost: Commits that were cut and not found.
        checked: How often the database was compared with the mirror, row by row.
    """

    def __init__(self, address: str, observer: Observer) -> None:
        self.address = address
        self.kept = self.lost = self.checked = 0
        self._observer = observer
        self._mirror = MemoryBackend()
        self._kernel: AtDatabase | None = None
        self._cut: tuple[Row, ...] = ()

    @property
    def epoch(self) -> int:
        """See `Backend.epoch`."""
        return self._mirror.epoch

    @property
    def since_ns(self) -> TsNs:
        """See `Backend.since_ns`."""
        return self._mirror.since_ns

    @property
    def retention(self) -> Retention:
        """See `Backend`: the kernel's process has it from its settings."""
        return self._mirror.retention

    @retention.setter
    def retention(self, retention: Retention) -> None:
        self._mirror.retention = retention

    @property
    def mark(self) -> Mark:
        """See `Backend.mark`."""
        return self._mirror.mark

    def ask_mark(self) -> Mark:
        """See `Backend.ask_mark`: the mirror's, for both count the same commits."""
        return self._mirror.mark

    # ------------------------------------------------------------ lives

    def serve(self, kernel: AtDatabase) -> None:
        """A kernel lives; its process does the work from now on."""
        self._kernel = kernel

    def cut(self, rows: tuple[Row, ...], meanwhile: Callable[[], None]) -> None:
        """Kill the kernel's process while it commits these rows."""
        assert self._kernel is not None
        self._cut = rows
        self._kernel.die_at_commit(Apply(rows), meanwhile)

    def buried(self) -> None:
        """The kernel is dead: see what the database holds.

        Raises:
            InvariantViolation: What was answered is missing, or half of a commit is there.
        """
        self._kernel = None
        cut, self._cut = self._cut, ()
        found = list(self._observer.rows())
        self.checked += 1
        if found == list(self._mirror.rows()):
            self.lost += bool(cut)
            return
        self._mirror.apply(cut)
        if found != list(self._mirror.rows()):
            raise InvariantViolation(difference(found, list(self._mirror.rows())))
        self.kept += 1

    # ------------------------------------------------------------ the port

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""
        told = self._ask(Apply(rows, epoch))
        assert isinstance(told, Applied)
        if self._mirror.apply(rows, epoch=epoch) != told.claimed:
            raise InvariantViolation(f"the database answers {told.claimed} to a commit of {rows}")
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
        mirrored = self._mirror.load(now_ns, ask, least_epoch=least_epoch, anew=anew)
        if mirrored != told.state:
            theirs, ours = (msgspec.to_builtins(one) for one in (told.state, mirrored))
            places = [place for place, one in enumerate(theirs) if one != ours[place]]
            raise InvariantViolation(f"a load gives what was never answered, at {places}")
        return told.state

    def lease(self, ask: LeaseAsk, now_ns: int) -> None:
        """See `Backend.lease`."""
        self._ask(Renew(now_ns=now_ns, ask=ask))
        self._mirror.lease(ask, now_ns)

    def _ask(self, asked: Apply | Load | Renew) -> Applied | Loaded:
        if self._kernel is None:
            raise StoreError("no process has the database")
        return self._kernel.store(asked)

    def keep_events(self, rows: tuple[EventRow, ...]) -> None:
        """See `Backend.keep_events`: beside the kernel, so beside its database too."""
        self._mirror.keep_events(rows)

    def events(self) -> tuple[EventRow, ...]:
        """See `Backend.events`."""
        return self._mirror.events()

    def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """See `Backend.get`."""
        return self._mirror.get(kind, *key)

    def has(self, kind: type[Row], *key: str | int) -> bool:
        """See `Backend.has`."""
        return self._mirror.has(kind, *key)

    def rows(self, *kinds: type[Row]) -> Iterable[Row]:
        """See `Backend.rows`."""
        return self._mirror.rows(*kinds)

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """See `Backend.replace`."""
        held = tuple(rows)
        self._observer.replace(held, epoch=epoch, since_ns=since_ns, mark=mark)
        self._mirror.replace(held, epoch=epoch, since_ns=since_ns, mark=mark)

    def close(self) -> None:
        """See `Backend.close`: connections end with their processes."""


def difference(found: list[Row], mirrored: list[Row]) -> str:
    """What is wrong, by the first row of each kind."""
    known = {repr(row): None for row in mirrored}
    there = {repr(row): None for row in found}
    missing = [row for row in known if row not in there]
    more = [row for row in there if row not in known]
    return (
        f"after a death {len(missing)} rows that were answered are missing"
        f" ({', '.join(missing[:1])}), {len(more)} are there that no commit wrote"
        f" ({', '.join(more[:1])}), or their order differs"
    )
