"""What Bybit V5 checks before it takes an order (venue-bybit.md §3.2, §4.2, §9)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from kernel.model.instrument import Instrument
from kernel.model.orders import PriceSource, Side
from kernel.model.units import ZERO, Price
from kernel.model.venue import SubmitOrder
from venues.sim.account import SimPosition
from venues.sim.codes import Refused

if TYPE_CHECKING:
    from venues.sim.venue import SimVenue

_CLIENT_ID = re.compile(r"^[A-Za-z0-9_-]{1,36}$")


class BybitChecks:
    """The checks of one account; each raises `Refused` with the venue's code and words."""

    def __init__(self, venue: SimVenue) -> None:
        self._venue = venue
        self.used_ids: dict[str, bool] = {}
        """Every client id that was ever taken."""

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol."""
        instrument = self._venue.instruments.get(symbol)
        if instrument is None:
            raise Refused("10001", "params error: symbol invalid")
        return instrument

    def mode(self, position_side: str) -> None:
        """The position index must fit one-way or hedge mode."""
        if (position_side == "BOTH") is self._venue.account.hedge_mode:
            raise Refused("10001", "position idx not match position mode")

    def identity(self, client_order_id: str, position_side: str) -> None:
        """A client id must be well-formed and new."""
        if client_order_id and not _CLIENT_ID.match(client_order_id):
            raise Refused("10001", "params error: OrderLinkID invalid")
        if client_order_id in self.used_ids:
            raise Refused("110072", "OrderLinkedID is duplicate")
        self.mode(position_side)

    @staticmethod
    def closes_leg(request: SubmitOrder) -> bool:
        """Whether an order closes its hedge leg."""
        if request.position_side == "BOTH":
            return False
        return (request.side is Side.BUY) == (request.position_side == "SHORT")

    @staticmethod
    def qty(instrument: Instrument, qty: Decimal, *, market: bool) -> None:
        """Step, minimum and maximum."""
        if not instrument.is_qty(qty) or qty < instrument.min_qty:
            raise Refused("10001", "Qty invalid")
        most = instrument.max_market_qty if market else instrument.max_qty
        if most and qty > most:
            raise Refused("10001", "The number of contracts exceeds maximum limit allowed")

    def opening(
        self, instrument: Instrument, request: SubmitOrder, position: SimPosition
    ) -> None:
        """What an order that opens must keep: status, value, the side of its stop, margin."""
        if not self._venue.account.can_trade:
            raise Refused("110023", "you can only reduce positions currently")
        if not instrument.trading:
            code = "30228" if instrument.delist_ns else "110074"
            raise Refused(code, "This contract is not live")
        price = request.price or self._venue.price(request.symbol, PriceSource.MARK)
        value = price * request.qty
        if instrument.min_notional and value < instrument.min_notional:
            raise Refused("110094", "Order does not meet minimum order value "
                          f"{instrument.min_notional}USDT")
        if request.stop_loss:
            if not instrument.is_price(request.stop_loss):
                raise Refused("10001", "StopLoss Price invalid")
            self.stop_side(
                request.side, request.symbol, request.stop_loss, request.stop_trigger_by
            )
        opening = max(request.qty - position.room_to_close(request.side), ZERO)
        account = self._venue.account
        if opening * price / account.leverage(request.symbol) > account.available:
            raise Refused("110007", "ab not enough for new order")

    def stop_side(
        self, entry_side: Side, symbol: str, trigger: Price, source: PriceSource
    ) -> None:
        """The stop of a position must not be through already."""
        base = self._venue.price(symbol, source)
        if not base or not self._venue.matching.through(entry_side.opposite, trigger, base):
            return
        held, word = ("Buy", "lower than") if entry_side is Side.BUY else ("Sell", "greater")
        raise Refused("10001", f"StopLoss:{trigger} set for {held} position should {word} "
                      f"base_price:{base}??{source_word(source)}")

    def in_band(self, instrument: Instrument, request: SubmitOrder) -> Price:
        """The limit price; beyond the band it is moved to the edge, not refused."""
        mark = self._venue.price(request.symbol, PriceSource.MARK)
        up, down = instrument.price_band_up, instrument.price_band_down
        if request.side is Side.BUY and up and request.price > mark * up:
            return instrument.price_down(mark * up)
        if request.side is Side.SELL and down and request.price < mark * down:
            return instrument.price_up(mark * down)
        return request.price


def source_word(source: PriceSource) -> str:
    """How the venue writes a price source."""
    return "LastPrice" if source is PriceSource.LAST else "MarkPrice"

