"""An order inside the matching core: mutable, never seen outside; reports are made from it."""

from __future__ import annotations

from decimal import Decimal

from kernel.model.orders import (
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PriceSource,
    Side,
    TimeInForce,
)
from kernel.model.units import ZERO, Price, Qty, TsNs, canonical
from venues.sim.truth import LiveStop

_AVERAGE_STEP = Decimal("0.000000000001")


def average(value: Decimal, qty: Decimal) -> Decimal:
    """Value over qty to 12 digits, canonical; ZERO where qty is."""
    return canonical((value / qty).quantize(_AVERAGE_STEP)) if qty else ZERO


class SimOrder:
    """One order of the venue's book. `ordinal` numbers all orders in the order of their arrival."""

    __slots__ = (
        "child_order_id", "client_order_id", "close_position", "created_ns", "filled_qty",
        "filled_value", "held", "order_class", "order_type", "ordinal", "parent",
        "position_side", "price", "qty", "reason", "reduce_only", "reserved", "side", "status",
        "stop_loss", "stop_trigger_by", "symbol", "time_in_force", "trigger_by", "trigger_price",
        "updated_ns", "venue_order_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        ordinal: int,
        venue_order_id: str,
        client_order_id: str,
        symbol: str,
        order_class: OrderClass,
        order_type: OrderType,
        side: Side,
        qty: Qty,
        now_ns: int,
        price: Price = ZERO,
        trigger_price: Price = ZERO,
        trigger_by: PriceSource = PriceSource.LAST,
        reduce_only: bool = False,
        close_position: bool = False,
        position_side: str = "BOTH",
        time_in_force: TimeInForce = TimeInForce.GTC,
        stop_loss: Price = ZERO,
        stop_trigger_by: PriceSource = PriceSource.MARK,
    ) -> None:
        self.ordinal = ordinal
        self.venue_order_id = venue_order_id
        self.client_order_id = client_order_id
        self.symbol = symbol
        self.order_class = order_class
        self.order_type = order_type
        self.side = side
        self.qty = qty
        self.price = price
        self.trigger_price = trigger_price
        self.trigger_by = trigger_by
        self.reduce_only = reduce_only
        self.close_position = close_position
        self.position_side = position_side
        self.time_in_force = time_in_force
        self.stop_loss = stop_loss
        self.stop_trigger_by = stop_trigger_by
        self.status = OrderStatus.NEW
        self.filled_qty = ZERO
        self.filled_value = ZERO
        self.reserved = ZERO
        self.child_order_id = ""
        self.parent: SimOrder | None = None
        self.reason = ""
        self.held = False
        """Taken, but neither executed nor armed: the venue will refuse it (an asynchronous no)."""
        self.created_ns = now_ns
        self.updated_ns = now_ns

    @property
    def leaves_qty(self) -> Decimal:
        """What may still fill."""
        return self.qty - self.filled_qty

    @property
    def closing(self) -> bool:
        """Whether it can only shrink a position: reduce-only, or closing a hedge leg."""
        if self.reduce_only or self.close_position:
            return True
        if self.position_side == "BOTH":
            return False
        return (self.side is Side.BUY) == (self.position_side == "SHORT")

    @property
    def is_stop(self) -> bool:
        """Whether it waits for a trigger price."""
        return self.order_class is not OrderClass.PLAIN

    def report(self) -> OrderReport:
        """The order as the venue would show it now."""
        return OrderReport(
            symbol=self.symbol,
            venue_order_id=self.venue_order_id,
            client_order_id=self.client_order_id,
            order_class=self.order_class,
            order_type=self.order_type,
            side=self.side,
            status=self.status,
            qty=self.qty,
            filled_qty=self.filled_qty,
            avg_price=average(self.filled_value, self.filled_qty),
            price=self.price,
            trigger_price=self.trigger_price,
            trigger_by=self.trigger_by,
            reduce_only=self.reduce_only,
            close_position=self.close_position,
            position_side=self.position_side,
            child_order_id=self.child_order_id,
            reason=self.reason,
            created_ns=TsNs(self.created_ns),
            updated_ns=TsNs(self.updated_ns),
        )

    def live_stop(self) -> LiveStop:
        """The order as a live stop; only meaningful while it waits for its trigger."""
        return LiveStop(
            symbol=self.symbol,
            hedge_leg=self.position_side,
            side=self.side,
            qty=self.qty,
            trigger_price=self.trigger_price,
            trigger_by=self.trigger_by,
            order_class=self.order_class,
            venue_order_id=self.venue_order_id,
            client_order_id=self.client_order_id,
            reduce_only=self.closing,
        )
