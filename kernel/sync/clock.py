"""The offset between our clock and a venue's: above the bound there are no entries (hazards I26).

Half of the round trip is taken for the way back, so the offset is known to that half and no
better. A venue that does not answer changes nothing: its own faults block entries already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.units import MINUTE, MS, SECOND
from kernel.model.venue import EffectClass, QueryServerTime, ServerTime

if TYPE_CHECKING:
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

EVERY_NS = 5 * MINUTE
DOUBT_NS = 10 * SECOND
OFFSET = "clock offset"


def proven(offset_ns: int, half_ns: int) -> int:
    """The least offset that an offset known to `half_ns` leaves possible: no more is corrected."""
    return max(offset_ns - half_ns, 0) + min(offset_ns + half_ns, 0)


class ClockCheck:
    """Compares the clocks of all venues with ours.

    Attributes:
        offsets: Venue → venue's time minus ours, nanoseconds, at the last answer.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._wakes = {name: services.runtime.event() for name in services.desks}
        self.offsets: dict[str, int] = {}
        self._doubted_ns: dict[str, int] = {}
        for desk in services.desks.values():
            desk.gateway.on_unread = self.doubt

    def doubt(self, desk: VenueDesk) -> None:
        """A venue refused a request unread: look at its clock again, but not for each one."""
        now = self._services.runtime.now()
        if now - self._doubted_ns.get(desk.name, -DOUBT_NS) >= DOUBT_NS:
            self._doubted_ns[desk.name] = now
            self._wakes[desk.name].set()

    def stepped(self, by_ns: int) -> None:
        """The wall clock moved: requests go on with the venue's time; look now."""
        for name, wake in self._wakes.items():
            self._services.desks[name].venue.clock_offset_ns -= by_ns
            wake.set()

    async def run(self) -> None:
        """For ever; supervised by the kernel."""
        async with self._services.runtime.group() as group:
            for desk in self._services.desks.values():
                group.spawn(self._watch(desk), f"clock {desk.name}")

    async def _watch(self, desk: VenueDesk) -> None:
        """One venue for itself: none waits for the answer of another."""
        runtime, wake = self._services.runtime, self._wakes[desk.name]
        periodic = bool(self._services.settings.sync_interval_seconds)
        while True:
            wake.clear()
            await self._check(desk)
            if periodic:
                await wake.wait_until(runtime.now() + EVERY_NS)
            else:
                await wake.wait()

    async def _check(self, desk: VenueDesk) -> None:
        runtime = self._services.runtime
        asked_ns, asked_ts_ns = runtime.now(), runtime.ts()
        try:
            reply = await desk.gateway.ask(QueryServerTime(), EffectClass.QUERY, entity="account")
        except VenueError as error:
            self._services.decide("clock.unread", f"{error}", venue=desk.name)
            return
        assert isinstance(reply, ServerTime)
        way_ns = (runtime.now() - asked_ns) // 2
        offset_ns = reply.ts_ns - asked_ts_ns - way_ns
        self.offsets[desk.name] = offset_ns
        desk.venue.clock_offset_ns = proven(offset_ns, way_ns)
        limit_ns = self._services.settings.clock_offset_limit_ms * MS
        if abs(offset_ns) - way_ns <= limit_ns:
            desk.unblock_entries(OFFSET)
        elif OFFSET not in desk.block_reasons:
            desk.block_entries(OFFSET)
            self._services.alert(
                "ERROR",
                "clock.offset",
                f"the venue's clock is {offset_ns // MS} ms from ours: no entries",
                venue=desk.name,
            )
