"""What a venue said of orders that are not known yet: kept, and found again by any of their ids.

Only the newest report of an order is kept. What is dropped because there is too much is handed
back, so that it can be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.model.orders import Fill, OrderClass, OrderReport

PARKED_LIMIT = 4096
"""Reports, and fills, of unknown orders that are kept."""

type VenueKey = tuple[str, OrderClass, str]
"""(venue, order class, venue order id): venue ids are unique within a class only."""
type ClientKey = tuple[str, str]
"""(venue, client order id)."""


class Parking:
    """Reports and fills without an order."""

    def __init__(self) -> None:
        self._reports: dict[VenueKey, OrderReport] = {}
        self._by_client: dict[ClientKey, VenueKey] = {}
        self._fills: dict[ClientKey, dict[str, Fill]] = {}
        self._held = 0

    def report(self, venue: str, report: OrderReport) -> OrderReport | None:
        """Keep a report instead of the one of the same order; gives the one that is dropped."""
        key = (venue, report.order_class, report.venue_order_id)
        self._reports[key] = report
        if report.client_order_id:
            self._by_client[(venue, report.client_order_id)] = key
        if len(self._reports) <= PARKED_LIMIT:
            return None
        oldest = next(iter(self._reports))
        dropped = self._reports.pop(oldest)
        self._by_client.pop((oldest[0], dropped.client_order_id), None)
        return dropped

    def known(self, venue: str, report: OrderReport) -> OrderReport | None:
        """The report of the same order that is kept."""
        return self._reports.get((venue, report.order_class, report.venue_order_id))

    def fill(self, venue: str, fill: Fill) -> tuple[bool, Fill | None]:
        """Keep a fill under its client id: (it is new, the one that is dropped)."""
        held = self._fills.setdefault((venue, fill.client_order_id), {})
        if fill.trade_id in held:
            return False, None
        held[fill.trade_id] = fill
        self._held += 1
        if self._held <= PARKED_LIMIT:
            return True, None
        oldest = next(iter(self._fills))
        fills = self._fills[oldest]
        dropped = fills.pop(next(iter(fills)))
        self._held -= 1
        if not fills:
            del self._fills[oldest]
        return True, dropped

    def take_report(self, key: VenueKey) -> OrderReport | None:
        """The report of a venue id, no longer kept."""
        report = self._reports.pop(key, None)
        if report is not None:
            self._by_client.pop((key[0], report.client_order_id), None)
        return report

    def take_client(self, key: ClientKey) -> tuple[OrderReport | None, tuple[Fill, ...]]:
        """What is kept under a client id, no longer kept."""
        fills = self._fills.pop(key, {})
        self._held -= len(fills)
        venue_key = self._by_client.get(key)
        report = None if venue_key is None else self.take_report(venue_key)
        return report, tuple(fills.values())

    def reports(self, venue: str) -> list[OrderReport]:
        """Every report of a venue that is kept."""
        return [report for key, report in self._reports.items() if key[0] == venue]
