"""What every part of the kernel is built with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.model.messages import Alert
from kernel.trade.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractContextManager

    from kernel.config import Settings
    from kernel.model.rows import Row
    from kernel.ports.outbox import Outbox
    from kernel.ports.prices import JournaledPrices
    from kernel.ports.store import Store
    from kernel.runtime.core import Task
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.book import Position, PositionBook
    from kernel.trade.cancel_ledger import CancelLedger
    from kernel.trade.desk import VenueDesk
    from kernel.trade.orders import OrderRegistry
    from kernel.trade.risk import Risk
    from kernel.trade.watches import Watches
    from kernel.trade.writer import StoreWriter

type Crash = Callable[[str, BaseException, int, Position | None], None]
"""(task, error, failures so far, whose task it was)."""


class Services:
    """The shared parts of one kernel; no part makes another one for itself.

    Attributes:
        epoch: Run epoch of this process, from the store; 0 before it answered.
        stopping: A stop was commanded: nothing new begins.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        outbox: Outbox,
        settings: Settings,
        store: Store,
        prices: JournaledPrices,
        book: PositionBook,
        orders: OrderRegistry,
        watches: Watches,
        writer: StoreWriter,
    ) -> None:
        self.runtime = runtime
        self.outbox = outbox
        self.settings = settings
        self.store = store
        self.prices = prices
        self.book = book
        self.orders = orders
        self.watches = watches
        self.writer = writer
        self.desks: dict[str, VenueDesk] = {}
        self.risk: Risk  # made by the kernel with these services, before anything runs
        self.cancels: CancelLedger  # made with the exits, as nothing is cancelled before
        self.lease = Lease(self)
        self.epoch = 0
        self.stopping = False
        self.unloaded = False
        """What was stored is not known: protect, and conclude nothing about whose anything is."""
        self.decide = outbox.record
        """Records a decision with its cause and the values used."""
        self.on_crash: Crash = _ignore
        """Told when a supervised task fails; set by the kernel."""

    def supervise(
        self,
        name: str,
        factory: Callable[[], Coroutine[Any, Any, object]],
        *,
        position: Position | None = None,
    ) -> Task[None]:
        """Run a task of its own. Its crash ends nothing else (DESIGN §1, failure domains).

        Args:
            name: For people.
            factory: Makes the coroutine, anew for each of at most three restarts.
            position: Whose task it is; after a crash protection of last resort takes it over.
        """

        def failed(task: str, error: BaseException, failures: int) -> None:
            self.on_crash(task, error, failures, position)

        return self.runtime.supervise(factory, name, on_failure=failed)

    def alert(
        self,
        severity: str,
        kind: str,
        text: str,
        *,
        venue: str = "",
        symbol: str = "",
        dedupe: str = "",
    ) -> None:
        """Tell a person. `severity`: INFO, WARNING, ERROR or CRITICAL."""
        self.outbox.alert(
            Alert(
                severity=severity,
                kind=kind,
                text=text,
                venue=venue,
                symbol=symbol,
                dedupe=dedupe or f"{kind}|{venue}|{symbol}",
            )
        )

    # ------------------------------------------------------------ the store

    async def commit_entry(self, rows: tuple[Row, ...]) -> bool:
        """Make an entry's rows durable before it is sent; fails closed.

        Returns:
            False where a claim among the rows existed: nothing was written, nothing may be sent.

        Raises:
            StoreError: Not known to be durable: nothing may be sent.
        """
        return await self.writer.commit_entry(rows)

    async def commit_protect(self, rows: tuple[Row, ...]) -> bool:
        """Wait for protective rows at most `STORE_WAIT_MS`, then go on; they are written behind.

        Returns:
            Whether they were durable in time. Either way the act goes out.
        """
        if self.unloaded:
            return False  # nothing is written
        return await self.writer.commit_protect(rows)

    def persist(self, rows: tuple[Row, ...]) -> None:
        """Write rows behind, in order, without waiting."""
        self.writer.persist(rows)

    def held(self) -> AbstractContextManager[None]:
        """An operation: what it only persists is written together, at its end or soon."""
        return self.writer.held()


def _ignore(name: str, error: BaseException, failures: int, position: Position | None) -> None:
    """Before the kernel is wired nobody is told."""
