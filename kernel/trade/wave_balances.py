"""The balances a wave begins its margin ledgers from: one read a venue and wave.

Venues are read at once. One that does not answer in time holds up its own candidates only: the
others are validated, and its candidates wait until the answer, or the lack of one, is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import BalanceReport
from kernel.model.units import MS, MonoNs
from kernel.model.venue import EffectClass, QueryBalance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services
    from kernel.trade.wave_record import WaveRecord

PATIENCE_NS = 500 * MS
"""So long the best candidates of all venues wait for each other."""
TRIES = 2


class WaveBalances:
    """Reads of one wave.

    Args:
        services: Of the kernel.
        record: Where a failed read is told.
        on_read: Told of each read that ended.
    """

    def __init__(
        self, services: Services, record: WaveRecord, on_read: Callable[[], None]
    ) -> None:
        self._services = services
        self._record = record
        self._on_read = on_read
        self._asked: dict[str, None] = {}
        self._pending: dict[str, None] = {}
        self._ended = services.runtime.event()

    def is_pending(self, venue: str) -> bool:
        """Whether the read of a venue is still under way."""
        return venue in self._pending

    async def read(self, venues: Iterable[str]) -> None:
        """Begin the ledgers of venues that were not asked yet; waits `PATIENCE_NS` for them."""
        runtime = self._services.runtime
        fresh = [name for name in venues if name not in self._asked]
        for name in fresh:
            self._asked[name] = self._pending[name] = None
            runtime.spawn(self._read(self._services.desks[name]), f"balance {name}")
        end_ns = MonoNs(runtime.now() + PATIENCE_NS)
        while any(name in self._pending for name in fresh):
            self._ended.clear()
            await self._ended.wait_until(end_ns)
            if runtime.now() >= end_ns:
                return

    async def _read(self, desk: VenueDesk) -> None:
        try:
            await self._begin(desk)
        finally:
            del self._pending[desk.name]
            self._ended.set()
            self._on_read()

    async def _begin(self, desk: VenueDesk) -> None:
        balance = desk.balance
        for _ in range(TRIES):
            try:
                reply = await desk.gateway.ask(QueryBalance(), EffectClass.QUERY, entity="account")
            except VenueError as error:
                self._record.decide("wave.balance", f"not read: {error}", venue=desk.name)
                continue
            assert isinstance(reply, BalanceReport)
            desk.hear_balance(reply)
            balance = reply
            break
        if balance is not None:
            self._services.risk.note_available(desk.name, balance.available, balance.wallet)
