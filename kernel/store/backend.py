"""What keeps rows, one call at a time: memory, or PostgreSQL.

1. `apply` writes all rows of a commit or none, and returns when they are durable.
2. A claim that exists refuses its whole commit.
3. Rows are read in the order in which their keys were first written.
4. A row that refers to a position needs it; nothing of a commit without it is written.
5. Event rows are kept apart: the newest so many of so long (`Retention`).
6. Orders that nothing can ask for any more are forgotten so long after their last change, at a
   load.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kernel.model.rows import EventRow, Row, StoredState
from kernel.model.units import DAY, TsNs
from kernel.store.leases import LeaseAsk

if TYPE_CHECKING:
    from kernel.config import Settings

CLAIMS_READ_NS = DAY
"""A start reads the claims and waves of so long; a commit knows all claims."""


class Retention(NamedTuple):
    """How long what is forgotten is kept."""

    events: int = 100_000
    events_ns: int = 90 * DAY
    orders_ns: int = 90 * DAY

    @classmethod
    def of(cls, settings: Settings) -> Retention:
        """As the owner wants it."""
        return cls(
            settings.events_kept, settings.events_kept_days * DAY, settings.orders_kept_days * DAY
        )


class Mark(NamedTuple):
    """How far a database has come: which one it is, and how much was committed.

    A restored backup has the same `first_ns` and fewer commits; another database another one.
    """

    first_ns: int = 0
    """Wall time of its first load ever, for good; 0: it was never loaded, or nobody knows."""
    commits: int = 0


NEW = Mark()


class Backend(Protocol):
    """Keeps rows for one client at a time.

    Attributes:
        retention: How long it keeps what is forgotten.
    """

    retention: Retention

    @property
    def epoch(self) -> int:
        """Run epoch that the last load took; 0 before it."""
        ...

    @property
    def since_ns(self) -> TsNs:
        """Wall time of the first load ever; 0 before it."""
        ...

    @property
    def mark(self) -> Mark:
        """How far it had come when this client heard of it last."""
        ...

    def ask_mark(self) -> Mark:
        """How far it has come by now.

        Raises:
            StoreError: The store did not answer.
        """
        ...

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """Write a commit; the answers to its claims in order, one False: nothing was written.

        Args:
            rows: All of it.
            epoch: The run whose rows they are; 0: that of the last load.

        Raises:
            StoreFenced: A later run has loaded; nothing was written.
            RowsRefused: They will never be taken; nothing was written.
            StoreError: Not known to be durable.
        """
        ...

    def load(
        self,
        now_ns: int,
        ask: LeaseAsk | None = None,
        *,
        least_epoch: int = 1,
        anew: bool = False,
    ) -> StoredState:
        """Take the next run epoch, with it the lease, and read what is not finished at this time.

        A store that knows less than the epoch before `least_epoch`, or of which the caller knows
        that it is an earlier state or another one (`anew`), exists since now.

        Raises:
            LeaseHeld: Another instance has it; nothing was done.
            StoreError: The store did not answer.
        """
        ...

    def lease(self, ask: LeaseAsk, now_ns: int) -> None:
        """Renew the lease of a run; its rule is `kernel.store.leases`.

        Raises:
            LeaseHeld: Another one has it; nothing was done.
            StoreError: The store did not answer.
        """
        ...

    def keep_events(self, rows: tuple[EventRow, ...]) -> None:
        """Keep event rows, outside of every commit.

        Raises:
            StoreError: They are not kept.
        """
        ...

    def events(self) -> tuple[EventRow, ...]:
        """The event rows, oldest first."""
        ...

    def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """One row by the key that its kind names."""
        ...

    def has(self, kind: type[Row], *key: str | int) -> bool:
        """Whether there is a row of this key."""
        ...

    def rows(self, *kinds: type[Row]) -> Iterable[Row]:
        """Every row of these kinds; without any: every row but events."""
        ...

    def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """Hold these rows and no others, as a restored backup does. Without any: a new store.

        `epoch`, `since_ns` and `mark` are the backup's; None: all go on.
        """
        ...

    def close(self) -> None:
        """Nothing is asked any more."""
        ...
