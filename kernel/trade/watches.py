"""Price watches as callbacks and awaitables.

A watch is one-shot and sees only prices after it was set (`kernel.ports.prices`). A watch that
was cleared does not fire, also when its input is under way already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.messages import PriceRead, WatchCleared, WatchFired, WatchSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.orders import PriceSource
    from kernel.model.units import Price
    from kernel.ports.outbox import Outbox
    from kernel.runtime.primitives import Future
    from kernel.runtime.scheduler import Runtime


class Watch:
    """One watch that is set.

    Attributes:
        watch_id: Content key: (watch, venue, purpose, n-th for that key).
        active: It neither fired nor was cleared.
    """

    __slots__ = ("_callback", "_watches", "active", "watch_id")

    def __init__(
        self, watches: Watches, watch_id: str, callback: Callable[[PriceRead], None]
    ) -> None:
        self._watches = watches
        self._callback = callback
        self.watch_id = watch_id
        self.active = True

    def clear(self) -> None:
        """Forget it; nothing where it fired or was cleared."""
        self.active = False
        self._watches.drop(self.watch_id)

    def fire(self, price: PriceRead) -> None:
        """Called once, by `Watches`."""
        self.active = False
        self._callback(price)


class Watches:
    """The watches of one kernel."""

    def __init__(self, runtime: Runtime, outbox: Outbox) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._watches: dict[str, Watch] = {}

    def __len__(self) -> int:
        """How many are set."""
        return len(self._watches)

    def set(
        self,
        venue: str,
        symbol: str,
        source: PriceSource,
        callback: Callable[[PriceRead], None],
        *,
        at_or_above: Price | None = None,
        at_or_below: Price | None = None,
        purpose: str = "",
    ) -> Watch:
        """Call back once, at the first later price at or beyond a bound.

        Args:
            venue: Name of the venue.
            symbol: Its symbol.
            source: The series that is looked at.
            callback: Gets the price; runs inside the step of the input, outside any task: it
                sets an event or puts into a channel, nothing more.
            at_or_above: Upper bound; None: none.
            at_or_below: Lower bound; None: none.
            purpose: Part of the content key, to tell the watches of one symbol apart.
        """
        assert at_or_above is not None or at_or_below is not None, "a watch without a bound"
        entity = f"{symbol}:{purpose}" if purpose else symbol
        watch_id = self._outbox.next_key("watch", venue, entity)
        watch = Watch(self, watch_id, callback)
        self._watches[watch_id] = watch
        self._outbox.send(
            watch_id,
            WatchSet(
                watch_id=watch_id,
                venue=venue,
                symbol=symbol,
                source=source,
                at_or_above=at_or_above,
                at_or_below=at_or_below,
            ),
        )
        return watch

    async def wait(
        self,
        venue: str,
        symbol: str,
        source: PriceSource,
        *,
        at_or_above: Price | None = None,
        at_or_below: Price | None = None,
        purpose: str = "",
    ) -> PriceRead:
        """Wait for the first later price at or beyond a bound. Cancelling clears the watch."""
        fired: Future[PriceRead] = self._runtime.future()

        def deliver(price: PriceRead) -> None:
            fired.set_result(price)

        watch = self.set(
            venue,
            symbol,
            source,
            deliver,
            at_or_above=at_or_above,
            at_or_below=at_or_below,
            purpose=purpose,
        )
        try:
            return await fired
        finally:
            watch.clear()

    def fired(self, body: WatchFired) -> bool:
        """Apply the input; False: the watch is not set any more."""
        watch = self._watches.pop(body.watch_id, None)
        if watch is None:
            return False
        watch.fire(PriceRead(body.price, body.price_ts_ns))
        return True

    def drop(self, watch_id: str) -> None:
        """Called by a watch that was cleared."""
        if self._watches.pop(watch_id, None) is not None:
            self._outbox.send(f"un{watch_id}", WatchCleared(watch_id=watch_id))
