"""The first stop of each position (SPEC §4).

Drift is judged once, at the first fill that is known. Without drift the base is the average entry,
also of what fills later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.units import ZERO, Price, text
from kernel.trade import stop_levels
from kernel.trade.evidence import PRICE_FRESH_NS

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.stop_levels import FirstStop


class FirstStops:
    """First stops of positions that are not ACTIVE yet."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: dict[str, FirstStop] = {}

    def level(self, position: Position) -> Price:
        """The level of the first stop. Drift is judged once: asking again changes nothing.

        Raises:
            ValueError: No average entry is known.
        """
        kept = self._kept.get(position.id)
        if kept is None:
            kept = self._kept[position.id] = self._compute(position, self._market(position))
        elif not kept.drifted and kept.base != _entry_price(position):
            kept = self._kept[position.id] = self._compute(position, ZERO)
        return kept.level

    def known(self, position: Position) -> bool:
        """Whether its first stop was computed here and not forgotten since."""
        return position.id in self._kept

    def must_close(self, position: Position) -> bool:
        """Whether the owner wants this one closed rather than protected from the market."""
        kept = self._kept.get(position.id)
        close = self._services.settings.stop_drift_adverse == "close"
        return close and kept is not None and kept.adverse

    def forget(self, position: Position) -> None:
        """It is ACTIVE or over, or was mis-computed and is to be computed anew."""
        self._kept.pop(position.id, None)

    def _compute(self, position: Position, market: Price) -> FirstStop:
        services, settings = self._services, self._services.settings
        found = stop_levels.first_stop(
            services.desks[position.venue].instruments[position.symbol],
            position.side,
            entry=_entry_price(position),
            market=market,
            percent=settings.stop_loss_percent,
        )
        services.decide(
            "stop.first",
            "drift" if found.drifted else "entry",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            level=text(found.level),
            base=text(found.base),
            market=text(market),
            risk_percent=text(round(found.risk_percent, 4)),
        )
        if found.adverse:
            services.alert(
                "WARNING",
                "stop.drift",
                f"the market moved against the entry: total risk {found.risk_percent:.2f} %",
                venue=position.venue,
                symbol=position.symbol,
                dedupe=position.id,
            )
        return found

    def _market(self, position: Position) -> Price:
        """The market of now; ZERO where it is not known: an old price is no drift."""
        services = self._services
        source = services.settings.stop_source
        found = services.prices.last(position.venue, position.symbol, source)
        if services.runtime.ts() - found.ts_ns <= PRICE_FRESH_NS:
            return found.price
        return ZERO


def _entry_price(position: Position) -> Price:
    """The average entry by our executions; of a foreign position what the venue says."""
    if position.row.entry_price or position.report is None:
        return position.row.entry_price
    return position.report.entry_price
