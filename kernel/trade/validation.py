"""One signal against the state of its venue (SPEC §1 "Validate", §2). Reads, decides nothing else.

The order is the SPEC's, and the first check that fails gives the reason: venue, symbol, what is
there already, spread, trigger price, filters and size, exposure and margin, locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.orders import PositionSide, Side
from kernel.model.units import HOUR, HUNDRED, TsNs
from kernel.trade.order_caps import OrderCaps
from kernel.trade.sizing import Sized, SizeLimits, SizeRefusal, size, spread_percent

if TYPE_CHECKING:
    from kernel.model.instrument import Instrument
    from kernel.model.messages import QuoteRead
    from kernel.model.signal import Signal
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

STOP_TICKS_MIN = 3
"""Ticks between entry and stop; fewer, and rounding decides the risk."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why a signal is not tried now; `detail` holds the value that decided."""

    reason: str
    detail: str = ""


class Validator:
    """Checks signals; what passes is sized, not reserved."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = SizeLimits.of(services.settings)
        self._caps = OrderCaps(services)

    def is_hopeless(self, signal: Signal) -> bool:
        """Whether it is refused whatever prices and margin are: nothing need be asked for it."""
        desk = self._services.desks.get(signal.venue)
        if desk is None or (instrument := desk.instruments.get(signal.symbol)) is None:
            return True
        return bool(self._symbol(instrument) or self._taken(desk, signal.symbol))

    def check(self, signal: Signal) -> Sized | Refusal:
        """The size of an entry for this signal, or the first thing that is against it."""
        desk = self._services.desks.get(signal.venue)
        if desk is None:
            return Refusal("unknown_venue", signal.venue)
        instrument = desk.instruments.get(signal.symbol)
        if instrument is None:
            return Refusal("unknown_symbol", signal.symbol)
        refused = self._symbol(instrument) or self._taken(desk, signal.symbol)
        if refused is not None:
            return refused
        quote = self._services.prices.quote(desk.name, signal.symbol)
        refused = self._spread(quote)
        if refused is not None:
            return refused
        refused = self._untriggered(desk, signal.symbol)
        if refused is not None:
            return refused
        sized = size(instrument, signal.side, quote, self._limits)
        if isinstance(sized, SizeRefusal):
            return Refusal(sized.value)
        refused = self._coarse(instrument, sized) or self._limits_and_locks(desk, signal, sized)
        return sized if refused is None else refused

    def _symbol(self, instrument: Instrument) -> Refusal | None:
        if not instrument.trading:
            return Refusal("not_trading")
        left_ns = instrument.delist_ns - self._services.runtime.ts()
        lock_ns = self._services.settings.delisting_lock_hours * HOUR
        if instrument.delist_ns and left_ns < lock_ns:
            return Refusal("delisting", str(TsNs(instrument.delist_ns)))
        return None

    def _taken(self, desk: VenueDesk, symbol: str) -> Refusal | None:
        """A second position would net with the first one (hazards E08)."""
        position = self._services.book.by_symbol(desk.name, symbol)
        if position is not None:
            return Refusal("position_open", position.state.value)
        reported = desk.shown(symbol)
        if reported is not None:
            return Refusal("position_on_venue", reported.side.value)
        unsettled = self._services.orders.open_orders(desk.name, symbol)
        if unsettled:
            return Refusal("order_unsettled", unsettled[0].client_order_id)
        return None

    def _spread(self, quote: QuoteRead) -> Refusal | None:
        spread = spread_percent(quote)
        if spread is None:
            return Refusal(SizeRefusal.NO_QUOTE.value, f"bid {quote.bid} ask {quote.ask}")
        most = self._services.settings.max_spread_percent
        return None if spread <= most else Refusal("spread", f"{spread:.4f} of {most} percent")

    def _untriggered(self, desk: VenueDesk, symbol: str) -> Refusal | None:
        """Without a price of the series that triggers it nobody can say where a stop belongs."""
        source = self._services.settings.stop_source
        if self._services.prices.last(desk.name, symbol, source).price:
            return None
        return Refusal("no_trigger_price", source.value)

    def _coarse(self, instrument: Instrument, sized: Sized) -> Refusal | None:
        distance = sized.reference_price * self._services.settings.stop_loss_percent / HUNDRED
        if distance >= STOP_TICKS_MIN * instrument.tick_size:
            return None
        return Refusal("tick_too_coarse", f"{instrument.tick_size} at {sized.reference_price}")

    def _limits_and_locks(self, desk: VenueDesk, signal: Signal, sized: Sized) -> Refusal | None:
        risk = self._services.risk
        reason = risk.refusal(desk.name, signal.symbol, position_side(signal), sized.notional)
        if reason:
            return Refusal(reason, str(sized.notional))
        capped = self._caps.refusal(desk, signal.symbol, len(sized.children))
        if capped:
            return Refusal("order_cap", capped)
        block = risk.entry_block(desk.name, signal.symbol)
        if block:
            return Refusal("entries_locked", block)
        if desk.on_probation and risk.under_way(desk.name):
            return Refusal("venue_on_probation", "one entry at a time, until a stop is confirmed")
        if not desk.entries_allowed:
            return Refusal("entries_blocked", ", ".join(desk.block_reasons))
        return None


def position_side(signal: Signal) -> PositionSide:
    """The direction that a signal opens."""
    return PositionSide.LONG if signal.side is Side.BUY else PositionSide.SHORT
