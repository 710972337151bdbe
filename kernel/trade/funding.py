"""Funding as it is booked: one payment a symbol and full hour, whoever tells of it.

The stream tells of a payment by the balance that it changed, the ledger by a row with an id of its
own. Both carry a time within seconds of the full hour at which it was due: that hour is what both
have in common, and what keeps a payment from being booked twice.

Source: venue-binance.md §4.5 (ACCOUNT_UPDATE), §2.2 (income).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.orders import Fill, FillKind, Side
from kernel.model.units import HOUR, MINUTE, MS, ZERO, TsNs

if TYPE_CHECKING:
    from kernel.model.orders import BalanceReport

PAID_WITHIN_NS = MINUTE
"""A payment is booked at the venue at most so long before or after its full hour."""


def funding_id(ts_ns: int) -> str:
    """The trade id of a payment of this time."""
    due_ns = (ts_ns + HOUR // 2) // HOUR * HOUR
    if abs(ts_ns - due_ns) > PAID_WITHIN_NS:
        due_ns = ts_ns  # due at no full hour: its own time has to do
    return f"funding-{due_ns // MS}"


def of_balance(report: BalanceReport) -> Fill:
    """The payment that changed a balance."""
    return Fill(
        symbol=report.symbol,
        trade_id=funding_id(report.updated_ns),
        venue_order_id="",
        client_order_id="",
        side=Side.BUY,
        qty=ZERO,
        price=ZERO,
        fee=-report.change,
        kind=FillKind.FUNDING,
        ts_ns=report.updated_ns,
    )


def of_ledger(row: Fill) -> Fill:
    """The payment that a row of the ledger tells of."""
    return msgspec.structs.replace(row, trade_id=funding_id(row.ts_ns))


def full_hours(after_ns: int, through_ns: int) -> range:
    """Every full hour behind `after_ns`, up to `through_ns`."""
    return range((after_ns // HOUR + 1) * HOUR, through_ns + 1, HOUR)


def since_hour(ts_ns: int) -> TsNs:
    """The full hour that a time belongs to."""
    return TsNs(ts_ns // HOUR * HOUR)
