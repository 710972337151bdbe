"""Writes rows to the store, in order, one commit at a time.

1. Rows that wait are written together, the newest of each key: an upsert of an older one is lost
   work. The order of commits is the order in which they were asked.
2. An entry's rows are a commit of their own and are tried once. While the store fails, entries
   are refused at once.
3. What is asked for inside an operation (`held`) and nobody waits for is written together when the
   operation ends or somebody waits, at the latest `HOLD_NS` later.
4. Everything else is kept and tried again until it is durable; protection never waits for it
   longer than `STORE_WAIT_MS`.
5. Rows that the store could only spool are durable, and the store is failing all the same: no
   entries until the database takes rows again.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kernel.errors import StoreError
from kernel.model.messages import Alert
from kernel.model.rows import EventRow, Row, row_key
from kernel.model.units import MS, SECOND, MonoNs, TsNs
from kernel.model.venue import EffectClass
from kernel.runtime.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.config import Settings
    from kernel.ports.outbox import Outbox
    from kernel.ports.store import Store
    from kernel.runtime.primitives import Future
    from kernel.runtime.scheduler import Runtime
    from kernel.runtime.timers import TimerHandle

COMMIT_TIMEOUT_NS = 5 * SECOND
"""A commit without an answer for so long counts as failed."""
RETRY_NS = (SECOND // 5, SECOND // 2, SECOND, 2 * SECOND, 5 * SECOND)
PROBE_NS = 2 * SECOND
HOLD_NS = SECOND // 4
"""Rows that nobody waits for are not kept longer for the end of an operation."""
EVENTS_LIMIT = 10_000
"""Event rows that are kept through an outage; losing one loses no protection."""


class _Batch:
    """Rows that are written together."""

    __slots__ = ("done", "due", "entry", "rows", "urgent")

    def __init__(self, *, entry: Future[bool] | None = None) -> None:
        self.rows: dict[str, Row] = {}
        self.entry = entry
        self.done: list[Future[bool]] = []
        self.urgent = False
        self.due = False
        """Its hold has ended: what joins it later keeps it no longer."""


class StoreWriter:
    """The one writer of one kernel.

    Attributes:
        failing: The last commit failed or was spooled; entries are refused.
        volatile: Rows that protect are in memory only: neither database nor spool takes them.
        on_health: Told when `failing` changes.
    """

    def __init__(
        self, runtime: Runtime, outbox: Outbox, settings: Settings, store: Store
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._store = store
        self._wait_ns = settings.store_wait_ms * MS
        self._queue: deque[_Batch] = deque()
        self._wake = runtime.event()
        self._idle = runtime.event()
        self._idle.set()
        self._events = 0
        self._holds = 0
        self._hold_ends: TimerHandle | None = None
        self.failing = False
        self.volatile = False
        self.on_health: Callable[[bool], None] = _ignore

    # ------------------------------------------------------------ asking

    def persist(self, rows: tuple[Row, ...]) -> None:
        """Write rows behind."""
        if rows:
            self._open_batch(rows)

    @contextmanager
    def held(self) -> Iterator[None]:
        """An operation: its rows that nobody waits for are written together, at its end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                self._end_hold()

    async def commit_protect(self, rows: tuple[Row, ...]) -> bool:
        """See `Services.commit_protect`."""
        done: Future[bool] = self._runtime.future()
        batch = self._open_batch(rows)
        batch.urgent = True
        batch.done.append(done)
        self._end_hold()
        try:
            with self._runtime.timeout(self._wait_ns):
                await done
        except TimedOut:
            self._outbox.record("store.late", "protective act goes out before its row is durable")
            return False
        return True

    async def commit_entry(self, rows: tuple[Row, ...]) -> bool:
        """See `Services.commit_entry`."""
        if self.failing:
            raise StoreError("the store does not answer: no entries")
        done: Future[bool] = self._runtime.future()
        batch = _Batch(entry=done)
        self._add(batch, rows)
        self._queue.append(batch)
        self._end_hold()
        return await done

    async def drain(self, timeout_ns: int) -> bool:
        """Wait until everything is durable; False: not within this time."""
        try:
            with self._runtime.timeout(timeout_ns):
                await self._idle.wait()
        except TimedOut:
            return False
        return True

    @property
    def waiting(self) -> int:
        """Rows that are not durable yet, those of the running commit excluded."""
        return sum(len(batch.rows) for batch in self._queue)

    def _open_batch(self, rows: tuple[Row, ...]) -> _Batch:
        """The last batch of the queue that still takes rows, with these added."""
        if not self._queue or self._queue[-1].entry is not None:
            self._queue.append(_Batch())
        batch = self._queue[-1]
        self._add(batch, rows)
        self._idle.clear()
        if not self._holds:
            self._wake.set()
        elif self._hold_ends is None and len(self._queue) == 1 and not batch.due:
            due = MonoNs(self._runtime.now() + HOLD_NS)
            self._hold_ends = self._runtime.call_at(due, self._end_hold)
        return batch

    def _end_hold(self) -> None:
        """Write what is kept; rows that are asked for later begin another wait."""
        if self._hold_ends is not None:
            self._hold_ends.cancel()
            self._hold_ends = None
        if self._queue:
            self._queue[-1].due = True
            self._idle.clear()
            self._wake.set()

    def _add(self, batch: _Batch, rows: tuple[Row, ...]) -> None:
        for row in rows:
            if type(row) is EventRow:
                if self._events >= EVENTS_LIMIT:
                    continue
                self._events += 1
            batch.rows[row_key(row)] = row

    # ------------------------------------------------------------ writing

    async def run(self) -> None:
        """Write for ever; supervised by the kernel."""
        while True:
            while not self._queue or self._hold_ends is not None:
                if not self._queue:
                    self._idle.set()
                self._wake.clear()
                await self._rest()
            batch = self._queue.popleft()
            if batch.entry is not None:
                await self._write_entry(batch, batch.entry)
            else:
                await self._write_behind(batch)

    async def _rest(self) -> None:
        """Wait for rows. While the store fails an event row is written, to see when it is back."""
        if not self.failing:
            await self._wake.wait()
        elif not await self._wake.wait_until(self._runtime.now() + PROBE_NS):
            self.persist((_probe(self._runtime.ts()),))

    async def _write_entry(self, batch: _Batch, done: Future[bool]) -> None:
        try:
            done.set_result(await self._commit(batch, EffectClass.ENTRY))
        except StoreError as error:
            self._failed(error)
            done.set_error(error)

    async def _write_behind(self, batch: _Batch) -> None:
        cls = EffectClass.PROTECT if batch.urgent else EffectClass.QUERY
        attempt = 0
        while True:
            try:
                await self._commit(batch, cls)
            except StoreError as error:
                self._failed(error)
                self._refuse_entries(error)
                if all(isinstance(row, EventRow) for row in batch.rows.values()):
                    self._count_events(batch)
                    return  # a probe: what protects must not wait behind it
                self._only_in_memory(error)
                await self._runtime.sleep(RETRY_NS[min(attempt, len(RETRY_NS) - 1)])
                attempt += 1
                continue
            for future in batch.done:
                future.set_result(True)
            return

    async def _commit(self, batch: _Batch, cls: EffectClass) -> bool:
        rows = tuple(batch.rows.values())
        try:
            with self._runtime.timeout(COMMIT_TIMEOUT_NS):
                committed = await self._store.commit(rows, cls)
        except TimedOut:
            raise StoreError("no answer from the store") from None
        self._count_events(batch)
        self._durable_again()
        if committed.spooled:
            error = StoreError(committed.spooled)
            self._failed(error)
            self._refuse_entries(error)
        else:
            self._recovered()
        return committed.won

    def _count_events(self, batch: _Batch) -> None:
        if self._events:
            self._events -= sum(isinstance(row, EventRow) for row in batch.rows.values())

    def _refuse_entries(self, error: StoreError) -> None:
        """Entries behind a batch that fails are refused now, not when the store is back."""
        waiting = [batch for batch in self._queue if batch.entry is not None]
        for batch in waiting:
            self._queue.remove(batch)
            if batch.entry is not None:
                batch.entry.set_error(error)

    def _failed(self, error: StoreError) -> None:
        if self.failing:
            return
        self.failing = True
        self._outbox.record("store.failing", str(error))
        self._outbox.alert(
            Alert(
                severity="ERROR",
                kind="store.failing",
                text=f"the store does not commit ({error}): no entries, protection goes on",
                dedupe="store.failing",
            )
        )
        self.on_health(True)

    def _only_in_memory(self, error: StoreError) -> None:
        if self.volatile:
            return
        self.volatile = True
        self._outbox.record("store.volatile", str(error))
        self._outbox.alert(
            Alert(
                severity="CRITICAL",
                kind="store.volatile",
                text=f"neither database nor disk takes what protects ({error}): it goes on from"
                " memory, and what is not stored is lost with the process",
                dedupe="store.volatile",
            )
        )

    def _durable_again(self) -> None:
        if self.volatile:
            self.volatile = False
            self._outbox.record("store.kept", "what protects is durable again")

    def _recovered(self) -> None:
        if self.failing:
            self.failing = False
            self._outbox.record("store.recovered", "a commit is durable again")
            self.on_health(False)


def _probe(ts_ns: TsNs) -> EventRow:
    return EventRow(
        ts_ns=ts_ns,
        kind="store.probe",
        venue="",
        symbol="",
        position_id="",
        client_order_id="",
        cause="the last commit failed",
        values="{}",
    )


def _ignore(_failing: bool) -> None:  # noqa: FBT001 - a callback's argument
    """Before the kernel is wired nobody is told."""
