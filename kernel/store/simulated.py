"""The store of a simulation: the world's side of `kernel.ports.store`, in virtual time.

1. What keeps the rows is a `Backend`; a commit is applied whole or not at all.
2. A commit is applied when it is *completed*, in the order of submission. What was submitted and
   not completed is lost in a crash, except the first so many that the caller says were applied.
3. Of several clients the one that has loaded last may commit.
4. While it is down, commits and loads are answered with a failure and change nothing; while it
   is stalled, answers come when the stall ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kernel.errors import LeaseHeld, StoreError
from kernel.model.messages import (
    LeaseTold,
    StoreCommit,
    StoreDone,
    StoreFailed,
    StoreLease,
    StoreLoad,
    StoreLoaded,
)
from kernel.model.units import MS
from kernel.store.leases import LeaseAsk

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
FENCED = "another process has loaded since"


class _Window(NamedTuple):
    """A fault in time: [from, until)."""

    kind: str
    from_ns: int
    until_ns: int

    def covers(self, now_ns: int) -> bool:
        return self.from_ns <= now_ns < self.until_ns


class SimulatedStore:
    """Requests in the order of submission, each with its answer after a virtual delay.

    Args:
        backend: What keeps the rows.
        latency_ns: From a request to its answer.

    Attributes:
        commits: How many were applied.
        refused: How many a claim refused.
        failed: How many requests a fault answered.
    """

    def __init__(self, backend: Backend, *, latency_ns: int = LATENCY_NS) -> None:
        self.backend = backend
        self.latency_ns = latency_ns
        self.commits = 0
        self.refused = 0
        self.failed = 0
        self._pending: dict[str, tuple[str, StoreRequest]] = {}
        """Key → whose it is, the request."""
        self._epochs: dict[str, int] = {}
        """Client → run epoch that it loaded."""
        self._doomed: dict[str, str] = {}
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
        """Answer every request of this window with a failure."""
        self._windows.append(_Window("down", from_ns, until_ns))

    def stall(self, from_ns: int, until_ns: int) -> None:
        """Answer the requests of this window at its end."""
        self._windows.append(_Window("stall", from_ns, until_ns))

    def crash(self, applied: int = 0, *, client: str = "", cut: Cut | None = None) -> None:
        """A client died: its first so many waiting commits were applied, the rest is lost.

        The one after them is given to `cut`, where there is one.
        """
        lost = [key for key, (whose, _) in self._pending.items() if whose == client]
        for place, key in enumerate(lost):
            _, body = self._pending.pop(key)
            doomed = self._doomed.pop(key, "")
            if not isinstance(body, StoreCommit) or doomed:
                continue
            if place < applied:
                self._apply(body.rows)
            elif cut is not None:
                cut(body.rows)
                cut = None
        if not self._pending:
            self._last_due_ns = 0

    def snapshot(self) -> tuple[Row, ...]:
        """Everything but events, for a later `restore`."""
        return tuple(self.backend.rows())

    def restore(self, rows: Iterable[Row]) -> None:
        """Become an earlier state, as a restored backup does. The epoch goes on.

        Without any rows it is a new store.
        """
        self.backend.replace(rows)

    # ------------------------------------------------------------ requests

    def submit(self, key: str, body: StoreRequest, now_ns: int, *, client: str = "") -> int:
        """Take a request of a client; answers when it is due. `complete` it then."""
        due_ns = max(now_ns + self.latency_ns, self._last_due_ns)
        for window in self._windows:
            if not window.covers(now_ns):
                continue
            if window.kind == "stall":
                due_ns = max(due_ns, window.until_ns)
            else:
                self._doomed[key] = "the store is down"
        self._last_due_ns = due_ns
        self._pending[key] = (client, body)
        return due_ns

    def complete(self, key: str, now_ns: int) -> StoreAnswer:
        """Apply a request and give its answer.

        Args:
            key: As submitted; requests are completed in the order of submission.
            now_ns: Wall time.

        Raises:
            KeyError: It was never submitted, or was lost in a crash.
        """
        client, body = self._pending.pop(key)
        reason = self._doomed.pop(key, "")
        if isinstance(body, StoreCommit) and self._epochs.get(client, self.epoch) != self.epoch:
            reason = FENCED
        if reason:
            self.failed += 1
            return StoreFailed(reason=reason)
        try:
            return self._answer(client, body, now_ns)
        except LeaseHeld as held:
            return LeaseTold(granted=False, holder=held.holder)
        except StoreError as error:
            self.failed += 1
            return StoreFailed(reason=str(error))

    def _answer(self, client: str, body: StoreRequest, now_ns: int) -> StoreAnswer:
        match body:
            case StoreCommit():
                return StoreDone(claimed=self._apply(body.rows))
            case StoreLease():
                self.backend.lease(_ask(body, body.epoch), now_ns)
                return LeaseTold(granted=True)
            case StoreLoad():
                state = self.backend.load(now_ns, _ask(body, 0) if body.instance else None)
                self._epochs[client] = state.epoch
                return StoreLoaded(state=state)

    def take_events(self, rows: tuple[EventRow, ...]) -> bool:
        """Keep event rows, outside of every commit; False: a fault of this time refuses them."""
        if rows and any(window.covers(rows[-1].ts_ns) for window in self._windows):
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

    def _apply(self, rows: tuple[Row, ...]) -> tuple[bool, ...]:
        claimed = self.backend.apply(rows)
        if all(claimed):
            self.commits += 1
        else:
            self.refused += 1
        return claimed


def _ask(body: StoreLoad | StoreLease, epoch: int) -> LeaseAsk:
    return LeaseAsk(body.instance, body.accounts, epoch, body.term_ns, body.wait_ns)
