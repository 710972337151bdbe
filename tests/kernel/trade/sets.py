"""A bench that makes sets of stops for one filled position, and what goes wrong with them."""

from decimal import Decimal

import msgspec

from kernel import errors
from kernel.errors import KernelError
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderClass,
    OrderType,
    PositionSide,
    Side,
)
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND
from kernel.trade.protective_set import StopOrder
from kernel.trade.stop_orders import ConditionalStops
from tests.kernel.fakes import Bench, Rule

D = Decimal
ENTRY = "0.005"


class Sets(Bench):
    """Makes sets for one filled position by hand; nothing else acts on it."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.style = ConditionalStops(self.services)
        self.run(100 * SECOND)

    def open(self, qty=ENTRY, side=PositionSide.LONG):
        self.position = self.filled(qty=qty, side=side)
        return self.position

    def result(self, coro, seconds=5):
        self.began = self.runtime.now()
        outcome = []

        async def one():
            try:
                outcome.append(await coro)
            except KernelError as error:
                outcome.append(error)

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else "still at it"

    def establish(self, level="41160", qty="", seconds=5):
        qty = D(qty) if qty else self.position.qty
        outcome = self.result(self.style.establish(self.position, D(level), qty, "why"), seconds)
        if outcome is None:
            self.position.update(protected_level=D(level))
        self.position.stops.settle(self.runtime.now())
        return outcome

    def shown(self):
        """What stands at the venue: (level, quantity)."""
        return [(str(one.trigger_price), str(one.qty)) for one in self.venue.stops()]

    def asked(self):
        sent = [
            ((at - self.began) // MS, type(request).__name__)
            for at, request in self.venue.sent
            if at >= self.began
        ]
        return [name for _, name in sent]

    def cancels(self):
        return [at for at, _ in self.venue.requests("cancel")]


def refuse_cancels(bench, times=1_000_000):
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111", times=times))


def sent_stop(bench, level="41300", qty=ENTRY):
    """A stop that went out and was never seen, which a look-up shows."""
    row = OrderRow(
        venue="binance", client_order_id=bench.services.orders.new_id(bench.position, Leg.STOP),
        symbol="BTCUSDT", position_id=bench.position.id, order_class=OrderClass.CONDITIONAL,
        order_type=OrderType.STOP_MARKET, side=Side.SELL, qty=D(qty), reduce_only=True,
        trigger_price=D(level),
    )  # fmt: skip
    return StopOrder(bench.services.orders.register(row), bench.runtime.now())


def at_cap(bench, times=1):
    bench.venue.rules.append(Rule("place_stop", errors.TooManyOpenOrders, "-4045", times=times))


def show(bench, **changes):
    (stop,) = bench.position.stops.open()
    stop.order.report = msgspec.structs.replace(stop.order.report, **changes)
    return stop
