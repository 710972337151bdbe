"""The store of a simulation: the world's side of `kernel.ports.store`, in virtual time.

1. What keeps the rows is a `Backend`; a commit is applied whole or not at all.
2. A commit is applied when it is *completed*, in the order of submission. What was submitted and
   not completed is lost in a crash, except the first so many that the caller says were applied.
3. Of several clients the one that has loaded last may commit.
4. While it is down, what may be spooled goes into the spool of its client, everything else is
   answered with a failure; while it is stalled, answers come when the stall ends, but whoever waits
   longer than `PATIENCE_NS` is answered as if it were down.
5. Spools outlive crashes as the rows do. While the disk is full they take nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kernel.errors import LeaseHeld, StoreError, StoreFenced
from kernel.model.messages import (
    LeaseTold,
    StoreCommit,
    StoreDone,
    StoreFailed,
    StoreLease,
    StoreLoad,
    StoreLoaded,
)
from kernel.model.units import MS, SECOND
from kernel.store.backend import NEW, Mark
from kernel.store.leases import LeaseAsk
from kernel.store.spool_queue import MemorySpool
from kernel.store.spooling import SpoolingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.model.rows import EventRow, Row
    from kernel.model.units import TsNs
    from kernel.store.backend import Backend

type Cut = Callable[[tuple[Row, ...]], None]
"""Begins to apply a commit whose end nobody waits for."""
type StoreRequest = StoreCommit | StoreLoad | StoreLease
type StoreAnswer = StoreDone | StoreLoaded | StoreFailed | LeaseTold

LATENCY_NS = 1 * MS
PATIENCE_NS = 4 * SECOND
"""As a statement of the database has; see `Limits.statement_ns`."""
FENCED = "another process has loaded since"


class _Window(NamedTuple):
    """A fault in time: [from, until)."""

    kind: str
    from_ns: int
    until_ns: int

    def covers(self, now_ns: int) -> bool:
        return self.from_ns <= now_ns < self.until_ns


class Backup(NamedTuple):
    """A state of the store, for a later `restore`. Without rows: a new store."""

    rows: tuple[Row, ...] = ()
    epoch: int = 0
    since_ns: int = 0
    mark: Mark = NEW


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """A request that is not answered yet. `away`: why the database will not be asked."""

    client: str
    body: StoreRequest
    entry: bool
    away: str


class SimulatedStore:
    """Requests in the order of submission, each with its answer after a virtual delay.

    Args:
        backend: What keeps the rows.
        latency_ns: From a request to its answer.

    Attributes:
        commits: How many were applied.
        refused: How many a claim refused.
        spooled: How many went into a spool.
        failed: How many requests a fault answered.
    """

    def __init__(self, backend: Backend, *, latency_ns: int = LATENCY_NS) -> None:
        self.backend = backend
        self.latency_ns = latency_ns
        self.commits = 0
        self.refused = 0
        self.spooled = 0
        self.failed = 0
        self._pending: dict[str, _Asked] = {}
        self._spools: dict[str, MemorySpool] = {}
        """Client → what its data folder holds."""
        self._clients: dict[str, SpoolingStore] = {}
        self._epochs: dict[str, int] = {}
        """Client → run epoch that it loaded."""
        self._last_due_ns = 0
        self._windows: list[_Window] = []

    @property
    def epoch(self) -> int:
        """Run epoch that the last load took."""
        return self.backend.epoch

    @property
    def since_ns(self) -> TsNs:
        """Wall time of the first load; 0 before it."""
        return self.backend.since_ns

    # ------------------------------------------------------------ faults

    def down(self, from_ns: int, until_ns: int) -> None:
        """The database takes no request of this window."""
        self._windows.append(_Window("down", from_ns, until_ns))

    def stall(self, from_ns: int, until_ns: int) -> None:
        """Answer the requests of this window at its end."""
        self._windows.append(_Window("stall", from_ns, until_ns))

    def gone(self, from_ns: int, until_ns: int) -> None:
        """The database itself is away in this window: the backend fails, nothing is pretended."""
        self._windows.append(_Window("gone", from_ns, until_ns))

    def troubled_until(self, since_ns: int, now_ns: int) -> int:
        """When the last trouble with the database ends that touches this span; 0: none does."""
        return max(
            (
                window.until_ns
                for window in self._windows
                if window.kind != "full" and window.from_ns <= now_ns and window.until_ns > since_ns
            ),
            default=0,
        )

    def waiting(self, client: str = "") -> int:
        """How many commits the spool of a client holds."""
        return self._client(client).waiting

    def fill_disk(self, from_ns: int, until_ns: int) -> None:
        """No spool takes anything in this window."""
        self._windows.append(_Window("full", from_ns, until_ns))

    def crash(
        self,
        applied: int = 0,
        *,
        client: str = "",
        cut: Cut | None = None,
        drained: int = 0,
    ) -> None:
        """A client died: its first so many waiting commits were applied, the rest is lost.

        Of its spool the first `drained` commits were written before. What the database would get
        after all of them is given to `cut`, where there is one.
        """
        if drained:
            with suppress(StoreError):
                self._client(client).drain_some(drained)
        lost = [key for key, asked in self._pending.items() if asked.client == client]
        for place, key in enumerate(lost):
            asked = self._pending.pop(key)
            if not isinstance(asked.body, StoreCommit):
                continue
            if place < applied:
                with suppress(StoreError):
                    self._commit(asked, asked.body.rows)
            elif cut is not None and not asked.away:
                cut(self._client(client).next_rows() or asked.body.rows)
                cut = None
        if not self._pending:
            self._last_due_ns = 0
        self._clients.pop(client, None)

    def snapshot(self) -> Backup:
        """Everything but events."""
        rows = tuple(self.backend.rows())
        return Backup(rows, self.epoch, self.since_ns, self.backend.ask_mark())

    def restore(self, backup: Backup) -> None:
        """Become an earlier state, as a restored backup does; what data folders hold stays."""
        self.backend.replace(
            backup.rows, epoch=backup.epoch, since_ns=backup.since_ns, mark=backup.mark
        )

    # ------------------------------------------------------------ requests

    def submit(
        self, key: str, body: StoreRequest, now_ns: int, *, client: str = "", entry: bool = False
    ) -> int:
        """Take a request of a client; answers when it is due. `complete` it then.

        `entry`: it is an entry's, for which the database alone will do.
        """
        away = ""
        due_ns = max(now_ns + self.latency_ns, self._last_due_ns)
        for window in self._windows:
            if not window.covers(now_ns):
                continue
            if window.kind == "down":
                away = "the store is down"
            elif window.kind == "stall" and window.until_ns > now_ns + PATIENCE_NS:
                away = "no answer in time"
                due_ns = max(due_ns, now_ns + PATIENCE_NS)
            elif window.kind == "stall":
                due_ns = max(due_ns, window.until_ns)
        self._last_due_ns = due_ns
        self._pending[key] = _Asked(client, body, entry, away)
        return due_ns

    def complete(self, key: str, now_ns: int) -> StoreAnswer:
        """Apply a request and give its answer.

        Args:
            key: As submitted; requests are completed in the order of submission.
            now_ns: Wall time.

        Raises:
            KeyError: It was never submitted, or was lost in a crash.
        """
        asked = self._pending[key]
        if self._windows:
            full = any(one.kind == "full" and one.covers(now_ns) for one in self._windows)
            self._spool(asked.client).full = full
        try:
            answer = self._answer(asked, now_ns)
        except LeaseHeld as held:
            answer = LeaseTold(granted=False, holder=held.holder)
        except StoreError as error:
            self.failed += 1
            answer = StoreFailed(reason=str(error))
        del self._pending[key]
        return answer

    def _answer(self, asked: _Asked, now_ns: int) -> StoreAnswer:
        body = asked.body
        if type(body) is StoreCommit:
            return self._commit(asked, body.rows)
        if isinstance(body, StoreLease):
            if asked.away:
                raise StoreError(asked.away)
            self.backend.lease(_ask(body, body.epoch), now_ns)
            return LeaseTold(granted=True)
        assert isinstance(body, StoreLoad)
        ask = _ask(body, 0) if body.instance else None
        loaded = self._client(asked.client).load(now_ns, ask, away=asked.away)
        self._epochs[asked.client] = loaded.state.epoch
        return loaded

    def _commit(self, asked: _Asked, rows: tuple[Row, ...]) -> StoreDone:
        if self._fenced(asked.client):
            raise StoreFenced(FENCED)
        client = self._client(asked.client)
        done = client.commit(rows, entry=asked.entry, away=asked.away)
        if done.spooled:
            self.spooled += 1
        elif all(done.claimed):
            self.commits += 1
        else:
            self.refused += 1
        return done

    def _fenced(self, client: str) -> bool:
        """Whether another client has loaded since this one did."""
        return self._epochs.get(client, self.epoch) != self.epoch

    def _client(self, name: str) -> SpoolingStore:
        """What stands before the database in one life of a client."""
        if name not in self._clients:
            self._clients[name] = SpoolingStore(self.backend, self._spool(name))
        return self._clients[name]

    def _spool(self, name: str) -> MemorySpool:
        if name not in self._spools:
            self._spools[name] = MemorySpool()
        return self._spools[name]

    def take_events(self, rows: tuple[EventRow, ...]) -> bool:
        """Keep event rows, outside of every commit; False: a fault of this time refuses them."""
        if rows and any(
            window.kind != "full" and window.covers(rows[-1].ts_ns) for window in self._windows
        ):
            return False
        try:
            self.backend.keep_events(rows)
        except StoreError:
            return False
        return True

    @property
    def pending(self) -> int:
        """Requests that are not completed."""
        return len(self._pending)

    def rows(self, *kinds: type[Row]) -> Iterable[Row]:
        """See `Backend.rows`."""
        return self.backend.rows(*kinds)

    def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """See `Backend.get`."""
        return self.backend.get(kind, *key)

    def has(self, kind: type[Row], *key: str | int) -> bool:
        """See `Backend.has`."""
        return self.backend.has(kind, *key)


def _ask(body: StoreLoad | StoreLease, epoch: int) -> LeaseAsk:
    return LeaseAsk(body.instance, body.accounts, epoch, body.term_ns, body.wait_ns)
