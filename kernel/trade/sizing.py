"""How much to buy or sell: from a notional to child orders the venue will take (SPEC §2).

Minimum checks are for entries only: nothing here ever stands in the way of a close (hazards F02).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from kernel.model.orders import Side
from kernel.model.units import ZERO, Price, Qty, Usd, canonical

if TYPE_CHECKING:
    from kernel.config import Settings
    from kernel.model.instrument import Instrument
    from kernel.model.messages import QuoteRead

CHILDREN_MAX = 36
"""Child orders that a client order id can tell apart."""


class SizeRefusal(StrEnum):
    """Why no order can be made."""

    NO_QUOTE = "no_quote"
    NO_FILTERS = "filters_missing"
    TOO_SMALL = "below_min_position_size"
    TOO_LARGE = "above_max_position_size"
    MIN_QTY = "below_venue_min_qty"
    MIN_NOTIONAL = "below_venue_min_notional"
    CHILDREN = "too_many_child_orders"


class Sized(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry's quantities. The children together are the position."""

    reference_price: Price
    """Ask for BUY, bid for SELL."""
    qty: Qty
    children: tuple[Qty, ...]
    notional: Usd
    """At the reference price."""


class SizeLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the settings ask for."""

    notional: Usd
    least: Usd
    most: Usd

    @classmethod
    def of(cls, settings: Settings) -> SizeLimits:
        """From `POSITION_SIZE_USD` and its limits."""
        return cls(
            notional=settings.position_size_usd,
            least=settings.min_position_size_usd,
            most=settings.max_position_size_usd,
        )


def size(
    instrument: Instrument, side: Side, quote: QuoteRead, limits: SizeLimits
) -> Sized | SizeRefusal:
    """Quantities of an entry, floored to the step, or why there are none."""
    price = quote.ask if side is Side.BUY else quote.bid
    if price <= 0:
        return SizeRefusal.NO_QUOTE
    if instrument.qty_step <= 0 or instrument.tick_size <= 0:
        return SizeRefusal.NO_FILTERS
    qty = instrument.qty_down(limits.notional / price)
    notional = canonical(qty * price)
    if qty <= 0 or qty < instrument.min_qty:
        return SizeRefusal.MIN_QTY
    if notional < limits.least:
        return SizeRefusal.TOO_SMALL
    if notional > limits.most:
        return SizeRefusal.TOO_LARGE
    children = split(instrument, qty)
    if not children:
        return SizeRefusal.CHILDREN
    least = min(children)
    if least < instrument.min_qty:
        return SizeRefusal.MIN_QTY
    if least * price < instrument.min_notional:
        return SizeRefusal.MIN_NOTIONAL
    return Sized(reference_price=price, qty=qty, children=children, notional=notional)


def split(instrument: Instrument, qty: Qty) -> tuple[Qty, ...]:
    """`qty` as equal children, to one step, none above the market maximum; the larger first.

    Equal, so that no small rest falls below a minimum. Empty where a step exceeds the maximum, and
    where more than `CHILDREN_MAX` would be needed.
    """
    most = instrument.qty_down(instrument.max_market_qty or instrument.max_qty or qty)
    if most <= 0:
        return ()
    steps = int(qty / instrument.qty_step)
    count = -(-steps // int(most / instrument.qty_step))
    if count > CHILDREN_MAX:
        return ()
    each, larger = divmod(steps, count)
    return tuple(
        canonical((each + (child < larger)) * instrument.qty_step) for child in range(count)
    )


def spread_percent(quote: QuoteRead) -> Decimal | None:
    """(ask - bid) in percent of the middle; None where a side is missing or they are crossed."""
    if quote.bid <= ZERO or quote.ask < quote.bid:
        return None
    return (quote.ask - quote.bid) * 200 / (quote.ask + quote.bid)
