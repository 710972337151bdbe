"""A bench with orders of no position, for the to-cancel ledger."""

from decimal import Decimal

from kernel import errors
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, PriceSource, Side
from kernel.model.units import MS, SECOND, TsNs
from tests.kernel.fake_venue import Placed
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
NEW, CANCELED = OrderStatus.NEW, OrderStatus.CANCELED
PLAIN, CONDITIONAL, ATTACHED = OrderClass.PLAIN, OrderClass.CONDITIONAL, OrderClass.ATTACHED
OURS = "wk5-1b-abcdef-S0-{}"
GONE = errors.UnknownOrder


class Ledger(Bench):
    """A bench with stops of no position."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.cancels = self.services.cancels
        self.orders = self.services.orders
        self.venue.silent = True
        self.ended = []
        self.run(100 * SECOND)

    def left(self, number=0, symbol="BTCUSDT", client="", order_class=CONDITIONAL):
        """An order at the venue, as a read shows it."""
        client = client or OURS.format(number)
        report = OrderReport(
            symbol=symbol, venue_order_id=f"a{number}", client_order_id=client,
            order_class=order_class, order_type=OrderType.STOP_MARKET, side=Side.SELL, status=NEW,
            qty=D(3), trigger_price=D(95), trigger_by=PriceSource.LAST, reduce_only=True,
            updated_ns=TsNs(WALL),
        )  # fmt: skip
        self.venue.orders[client] = Placed(report)
        return report

    def known(self, report):
        """It is recorded and taken."""
        made = []

        async def one():
            made.append(await self.cancels.record("binance", report))

        self.spawn(one())
        self.run(self.runtime.now())
        return made[0]

    def take(self, *reports):
        orders = [self.known(report) for report in reports]
        for order in orders:
            self.cancels.take(order, lambda one: self.ended.append(one.client_order_id))
        return orders

    def times(self, kind):
        """When it was asked, in milliseconds from now on."""
        return [(at - 100 * SECOND) // MS for at, _ in self.venue.requests(kind)]


def refuse(bench, times=1_000_000):
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111", times=times))
