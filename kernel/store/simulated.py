"""The store of a simulation: the world's side of `kernel.ports.store`, in virtual time.

1. What keeps the rows is a `Backend`; a commit is applied whole or not at all.
2. A commit is applied when it is *completed*, in the order of submission. What was submitted and
   not completed is lost in a crash, except the first so many that the caller says were applied.
3. While it is down, commits and loads are answered with a failure and change nothing; while it
   is stalled, answers come when the stall ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kernel.errors import StoreError
from kernel.model.messages import StoreCommit, StoreDone, StoreFailed, StoreLoad, StoreLoaded
from kernel.model.units import MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.model.rows import EventRow, Row
    from kernel.model.units import TsNs
    from kernel.store.backend import Backend

type StoreAnswer = StoreDone | StoreLoaded | StoreFailed

LATENCY_NS = 1 * MS


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
        self._pending: dict[str, StoreCommit | StoreLoad] = {}
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

    def crash(self, applied: int = 0) -> None:
        """Its client died: the first so many waiting commits were applied, the rest is lost."""
        for key in list(self._pending)[:applied]:
            body = self._pending[key]
            if isinstance(body, StoreCommit) and key not in self._doomed:
                self._apply(body.rows)
        self._pending.clear()
        self._doomed.clear()
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

    def submit(self, key: str, body: StoreCommit | StoreLoad, now_ns: int) -> int:
        """Take a request; answers when it is due. `complete` it then."""
        due_ns = max(now_ns + self.latency_ns, self._last_due_ns)
        for window in self._windows:
            if not window.covers(now_ns):
                continue
            if window.kind == "stall":
                due_ns = max(due_ns, window.until_ns)
            else:
                self._doomed[key] = "the store is down"
        self._last_due_ns = due_ns
        self._pending[key] = body
        return due_ns

    def complete(self, key: str, now_ns: int) -> StoreAnswer:
        """Apply a request and give its answer.

        Args:
            key: As submitted; requests are completed in the order of submission.
            now_ns: Wall time.

        Raises:
            KeyError: It was never submitted, or was lost in a crash.
        """
        body = self._pending.pop(key)
        reason = self._doomed.pop(key, "")
        if reason:
            self.failed += 1
            return StoreFailed(reason=reason)
        try:
            if isinstance(body, StoreLoad):
                return StoreLoaded(state=self.backend.load(now_ns))
            return StoreDone(claimed=self._apply(body.rows))
        except StoreError as error:
            self.failed += 1
            return StoreFailed(reason=str(error))

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
