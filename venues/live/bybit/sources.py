"""Which price series triggers a position's stop: a position's row does not say it.

What is known comes from what was asked for and from the stop's own order, matched by leg and price.
Where neither is known the venue's default holds, the last price.

Source: venue-bybit §3.3 (position object), §4.1 (the order that an attached stop makes).
"""

from __future__ import annotations

from kernel.model.orders import OrderClass, OrderReport, PriceSource
from kernel.model.units import Price
from kernel.model.venue import SetPositionStop, SubmitOrder, VenueRequest

_KEPT = 16
"""Levels remembered a leg: the present stop, the one that is being set, and what was before."""


class StopSources:
    """Series by (symbol, leg, price)."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[Price, PriceSource]] = {}

    def of(self, symbol: str, leg: str, price: Price) -> PriceSource:
        """The series of a stop at this price."""
        return self._known.get((symbol, leg), {}).get(price, PriceSource.LAST)

    def asked(self, request: VenueRequest) -> None:
        """A stop is asked for; if the venue shows this price, it took the series too."""
        if isinstance(request, SetPositionStop) and request.trigger_price:
            self._note(
                request.symbol, request.position_side, request.trigger_price, request.trigger_by
            )
        elif isinstance(request, SubmitOrder) and request.stop_loss:
            self._note(
                request.symbol, request.position_side, request.stop_loss, request.stop_trigger_by
            )

    def seen(self, report: OrderReport) -> None:
        """The venue shows an attached stop of its own accord."""
        if report.order_class is OrderClass.ATTACHED and not report.status.terminal:
            self._note(report.symbol, report.position_side, report.trigger_price, report.trigger_by)

    def _note(self, symbol: str, leg: str, price: Price, source: PriceSource) -> None:
        known = self._known.setdefault((symbol, leg), {})
        known.pop(price, None)
        known[price] = source
        if len(known) > _KEPT:
            del known[next(iter(known))]
