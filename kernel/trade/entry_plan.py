"""What one entry is to do, decided before anything is sent."""

from __future__ import annotations

import msgspec

from kernel.model.orders import PositionSide
from kernel.model.rows import ClaimRow
from kernel.model.units import Price, Qty, TsNs, Usd


class EntryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A validated, sized and reserved entry.

    The risk reservation (slot, exposure, margin) stands under `reservation_id` and ends only by
    proof: the entry saga tells `Risk` when the position is proven open or proven not to exist.
    """

    reservation_id: str
    venue: str
    symbol: str
    side: PositionSide
    wave_ns: TsNs
    claim: ClaimRow
    """Written together with the intent, before the first child is sent."""
    children: tuple[Qty, ...]
    """Quantities of the child orders; more than one above the market maximum."""
    notional: Usd
    reference_price: Price
    """Ask for a long, bid for a short, when it was sized."""
    expires_ns: TsNs
    """Wall time after which an unsent entry is dropped."""

    @property
    def qty(self) -> Qty:
        """The intended quantity of the position."""
        return sum(self.children[1:], self.children[0])
