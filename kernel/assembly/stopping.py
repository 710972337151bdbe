"""The end of a kernel that is well: a commanded stop, or a wish to be started anew (SPEC §13).

Positions stay with their stops. A crash is no part of this: it is `Kernel.close`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.messages import Stopped
from kernel.model.positions import PositionState
from kernel.model.units import MS, SECOND

if TYPE_CHECKING:
    from kernel.assembly.parts import Parts
    from kernel.trade.services import Services

STOP_PATIENCE_NS = 20 * SECOND
"""How long a stop waits for what is not filled; a filled position may take longer (SPEC §13)."""
STOP_POLL_NS = 100 * MS
DRAIN_NS = 10 * SECOND
_UNSETTLED = (
    PositionState.ENTRY_PLACED,
    PositionState.PENDING_SL,
    PositionState.ROLLBACK,
    PositionState.CLOSING,
)


class Stopping:
    """Ends one kernel in good order.

    Attributes:
        stopped: A `Stopped` effect was given; nothing more will happen.
    """

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services = services
        self._parts = parts
        self.stopped = False

    def begin(self) -> None:
        """Stop in good order; nothing where that is on already."""
        services = self._services
        if services.stopping:
            return
        services.stopping = True
        for desk in services.desks.values():
            desk.block_entries("stopping")
        self._parts.on_stopping()
        services.supervise("stop", self._stop)

    def restart(self, reason: str) -> None:
        """End now and ask to be started anew."""
        self._end(reason, restart=True)

    def superseded(self, reason: str) -> None:
        """End now: another instance looks after the positions."""
        self._end(reason)

    async def _stop(self) -> None:
        """Positions stay with their stops; a filled entry is brought to its stop or closed."""
        runtime, book = self._services.runtime, self._services.book
        patience_ns = runtime.now() + STOP_PATIENCE_NS
        while True:
            states = [position.state for position in book.open()]
            pending = PositionState.PENDING_ENTRY in states and runtime.now() < patience_ns
            if not pending and not any(state in _UNSETTLED for state in states):
                break
            await runtime.sleep(STOP_POLL_NS)
        await self._services.writer.drain(DRAIN_NS)
        self._end("operator")

    def _end(self, reason: str, *, restart: bool = False) -> None:
        self.stopped = True
        outbox = self._services.outbox
        outbox.send(
            outbox.next_key("stopped", "kernel", "-"), Stopped(reason=reason, restart=restart)
        )
