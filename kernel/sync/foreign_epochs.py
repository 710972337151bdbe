"""Orders under our prefix that another process sent: somebody else trades this account as us.

Each process numbers itself by its run epoch (SPEC §10, §11). An order that we do not know is

- of an older process of ours, and nothing to worry about, where it is as old as that process;
- of another one that lives, where its epoch is above ours, or where it was sent after ours began.

A process that began without its store has the seconds of its start for an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.ids import Leg, OrderIdParts, parse_client_order_id
from kernel.model.orders import OrderStatus
from kernel.model.units import SECOND

if TYPE_CHECKING:
    from kernel.model.orders import OrderReport
    from kernel.trade.services import Services

FOREIGN_EPOCH = "another process trades this account"
"""Lifted by a person."""
GRACE_NS = 30 * SECOND
"""What the process before had sent may arrive so long after our start."""
STORELESS_FROM = 1_000_000_000
"""Epochs from here on are seconds since 1970."""
_AT_ONCE = (Leg.ENTRY, Leg.EXIT, Leg.ROLLBACK)
"""Market orders: news of them are as old as they are."""
_TOLD_LIMIT = 1024


class ForeignEpochs:
    """Looks at every report of an order that is not known."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._first_ns = 0
        self._told: dict[str, None] = {}

    def begin(self) -> None:
        """Our epoch is known; from now on a living process is told from a dead one."""
        self._first_ns = self._services.runtime.ts()

    def hear(self, venue: str, report: OrderReport) -> None:
        """A report that belongs to no order of ours."""
        parts = parse_client_order_id(report.client_order_id)
        if parts is None or not self._first_ns or report.client_order_id in self._told:
            return
        if not self._is_foreign(parts, report):
            return
        self._told[report.client_order_id] = None
        while len(self._told) > _TOLD_LIMIT:
            del self._told[next(iter(self._told))]
        services = self._services
        services.decide(
            "epoch.foreign",
            f"{report.client_order_id} is of epoch {parts.epoch}, ours is {services.epoch}",
            venue=venue,
            symbol=report.symbol,
            client_order_id=report.client_order_id,
        )
        services.desks[venue].block_entries(FOREIGN_EPOCH)
        services.alert(
            "CRITICAL",
            "epoch.foreign",
            f"{report.client_order_id} was sent by another process under our prefix: no entries"
            " until an operator resumes",
            venue=venue,
        )

    def _is_foreign(self, parts: OrderIdParts, report: OrderReport) -> bool:
        ours = self._services.epoch
        if parts.epoch == ours or ours >= STORELESS_FROM:
            return False  # without a store there are no entries, and nobody to tell who is older
        if parts.epoch >= STORELESS_FROM:
            return parts.epoch * SECOND > self._first_ns
        if parts.epoch > ours:
            return True
        is_new = report.status is OrderStatus.NEW or parts.leg in _AT_ONCE
        return is_new and report.updated_ns > self._first_ns + GRACE_NS
