"""A bench that runs one wish at the stop owner."""

from decimal import Decimal

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderClass,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.positions import PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.trade.protective_set import StopOrder
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


class Owning(Bench):
    """A bench that runs one wish at the owner."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.run(100 * SECOND)

    @property
    def coverage(self):
        """What the owner knows."""
        return self.stops._coverage

    def result(self, coro, seconds=5):
        self.began = self.runtime.now()
        outcome = []

        async def one():
            outcome.append(await coro)
            self.took_ns = self.runtime.now() - self.began

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else "still at it"

    def tighten(self, position, level="41500", seconds=5):
        return self.result(self.stops.tighten(position, D(level), "why"), seconds)

    def ensure(self, position, seconds=40):
        return self.result(self.stops.ensure(position, "why"), seconds)

    def protect(self, position, seconds=40):
        return self.result(self.stops.protect(position), seconds)

    def times(self, kind):
        """When it was asked since the wish, in milliseconds."""
        return [
            (at - self.began) // MS
            for venue in self.venues.values()
            for at, _ in venue.requests(kind)
            if at >= self.began
        ]

    def fails(self, error=errors.Rejected, kind="place_stop", code="-1", **how):
        rule = Rule(kind, error, code, **how)
        for venue in self.venues.values():
            venue.rules.append(rule)
        return rule

    def unkept(self, **given):
        """An ACTIVE position with a confirmed stop that no keeper looks after."""
        position = self.filled(**given)
        self.stops.keep = lambda position: None  # type: ignore[method-assign]
        assert self.protect(position, 2) is True
        position.transition(ACTIVE, "test")
        return position

    def doubt(self, position, level="41400", **changes):
        """A stop that the venue took and nobody saw."""
        fields = {
            "venue": "binance",
            "client_order_id": self.services.orders.new_id(position, Leg.STOP),
            "symbol": "BTCUSDT", "position_id": position.id, "order_class": OrderClass.CONDITIONAL,
            "order_type": OrderType.STOP_MARKET, "side": Side.SELL, "qty": D("0.005"),
            "reduce_only": True, "trigger_price": D(level), "venue_order_id": "taken",
        }  # fmt: skip
        order = self.services.orders.register(OrderRow(**(fields | changes)))
        return position.stops.add(StopOrder(order, self.runtime.now()))

    def lost(self, **given):
        """An unkept position whose stop the venue ended, and none can be placed."""
        position = self.unkept(**given)
        self.venue.end(position.stops.open()[0].client_order_id, OrderStatus.EXPIRED)
        self.run(self.runtime.now() + 100 * MS)
        self.fails()
        return position

    def missing(self):
        """A kept stop that reads do not show, and none can be placed beside it."""
        position = self.unkept()
        (stop,) = position.stops.open()
        stop.missing = True
        self.venue.silent = True
        self.fails()
        self.fails(errors.UnknownOrder, "query_order")
        return position, stop

    def rested(self):
        """An unkept position with a limit that rests, whose stop the venue ended."""
        position = self.unkept()
        self.venue.rests = (OrderType.LIMIT,)
        self.result(self.exits.resting.place(position, D(43000), "test"))
        self.venue.end(position.stops.open()[0].client_order_id, OrderStatus.EXPIRED)
        self.run(self.runtime.now() + 100 * MS)
        return position


def shown(position, qty="0.005", at=0, **changes):
    """A row of the venue for a position, `at` ns after the start."""
    return PositionReport(
        symbol="BTCUSDT", side=position.side, qty=D(qty), updated_ns=TsNs(WALL + at), **changes
    )
