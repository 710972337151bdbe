"""Sums of one side's executions, with a part that is known before its executions are.

The *base* is a quantity that something else than executions proved: the position that was found
on the venue, an order's report whose executions do not come. Executions that happened before the
base was taken replace it, later ones add to it. So the sum is right in whatever order they come,
and nothing is counted twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.units import ZERO, Price, Qty, TsNs, Usd, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.model.orders import Fill


class Total:
    """Quantity and notional of one side of a position.

    Attributes:
        qty: Everything, the base included.
        base_qty: What no execution explains yet.
    """

    __slots__ = ("_base_price", "_base_ts_ns", "_notional", "base_qty", "qty")

    def __init__(self, qty: Qty, price: Price, ts_ns: TsNs, fills: Iterable[Fill] = ()) -> None:
        """What a stored row says at its time, of which these executions are a part."""
        self.qty = ZERO
        self._notional: Usd = ZERO
        for fill in fills:
            self.qty += fill.qty
            self._notional += fill.qty * fill.price
        self.base_qty: Qty = ZERO
        self._base_price: Price = ZERO
        self._base_ts_ns = ts_ns
        missing = qty - self.qty
        if missing > 0:
            self._add_base(missing, (qty * price - self._notional) / missing, ts_ns)

    @property
    def price(self) -> Price:
        """Average; ZERO without quantity."""
        return canonical(self._notional / self.qty) if self.qty else ZERO

    @property
    def notional(self) -> Usd:
        """Sum of quantity times price."""
        return self._notional

    def add(self, fill: Fill) -> None:
        """Count an execution."""
        if fill.ts_ns <= self._base_ts_ns:
            explained = min(self.base_qty, fill.qty)
            self.base_qty -= explained
            self.qty -= explained
            self._notional -= explained * self._base_price
        self.qty += fill.qty
        self._notional += fill.qty * fill.price

    def at_least(self, qty: Qty, price: Price, ts_ns: TsNs) -> bool:
        """Prove a quantity by something else than executions; False: it was known."""
        missing = qty - self.qty
        if missing <= 0:
            return False
        self._add_base(missing, price, ts_ns)
        return True

    def _add_base(self, qty: Qty, price: Price, ts_ns: TsNs) -> None:
        known = self.base_qty * self._base_price
        self.base_qty += qty
        self._base_price = (known + qty * price) / self.base_qty
        self._base_ts_ns = ts_ns
        self.qty += qty
        self._notional += qty * price
