"""A bench that carries entries through, on a scripted venue."""

from decimal import Decimal
from typing import Any

import msgspec

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import OrderStatus, OrderType, PositionReport
from kernel.model.positions import CloseReason, PositionRow
from kernel.model.units import MS
from kernel.trade.entry import Entries
from tests.kernel.fakes import Rule
from tests.kernel.trade.opening import SYMBOL, Opening, plan
from tests.kernel.trade.wave_bench import signal

D = Decimal


class Entered(Opening):
    """A bench that carries entries through; a settling takes `settling_ns` and proves absence."""

    def __init__(self, venue="binance", **settings):
        super().__init__(Settings.load(settings), (venue,))
        self.protection()
        self.reason = ""
        self.settling_ns = 0
        self.signal = signal(SYMBOL)
        self.began = self.runtime.now()
        self.entries = Entries(
            self.services, stops=self.stops, exits=self.exits, settler=self, setup=self  # type: ignore[arg-type]
        )

    async def blocked(self, desk, symbol):
        return self.reason

    async def settle(self, order):
        self.settled.append((self.ms, order))
        await self.runtime.sleep(self.settling_ns)
        if not order.seen:
            self.services.orders.conclude(order, OrderStatus.REJECTED, "never placed")

    def open(self, *children, seconds=10.0, **given):
        """What the saga returned and when; the first is None where it goes on."""
        made = plan(*children, venue=self.name, **given)
        return self.result(self.entries.open(self.signal, made), seconds) or (None, None)

    def refuse(self, error, code="", **how):
        """What becomes of orders that open."""
        when = how.pop("when", lambda one: True)
        rule = Rule("submit", error, code, when=lambda o: not o.reduce_only and when(o), **how)
        self.venue.rules.append(rule)

    def rests(self, leg):
        """A child with this leg does not fill."""
        submit = self.venue._submit

        def one(request):
            self.venue.rests = (
                (OrderType.MARKET,) if request.client_order_id.split("-")[3] == leg else ()
            )
            return submit(request)

        self.venue._submit = one  # type: ignore[method-assign]

    def only_reported(self, qty):
        """What is sent is reported to have filled so much, at no price; no execution follows."""
        self.prices.ticks.clear()
        self.venue.silent = True
        self.venue.rests = (OrderType.MARKET,)
        submit = self.venue._submit

        def one(request):
            acked = submit(request)
            placed = self.venue.orders[request.client_order_id]
            whole = D(qty) == request.qty
            placed.live = not whole
            placed.report = msgspec.structs.replace(
                placed.report,
                status=OrderStatus.FILLED if whole else OrderStatus.PARTIALLY_FILLED,
                filled_qty=D(qty),
            )
            return acked

        self.venue._submit = one  # type: ignore[method-assign]

    def cancels_fail(self, until):
        """No cancel is taken before this millisecond."""
        when = lambda _: self.ms < until
        self.venue.rules.append(Rule("cancel", errors.Rejected, "-1", when=when))

    def hides(self):
        """No event tells of the position."""
        say = self.venue._say
        venue: Any = self.venue
        venue._say = lambda one: None if isinstance(one, PositionReport) else say(one)

    def by_hand(self, refused=False):
        """Somebody closes the one position that is open."""
        (position,) = self.services.book.open()
        if refused:
            self.venue.rules.append(
                Rule("submit", errors.Rejected, "-1111", when=lambda one: one.reduce_only)
            )
        self.spawn(self.exits.close(position, CloseReason.OPERATOR, "by hand"))

    def sent(self, number):
        """The id of the order that was sent so many before."""
        return self.venue.requests("submit")[number][1].client_order_id

    def when(self, kind):
        return [(at - self.began) // MS for at, _ in self.venue.requests(kind)]

    def positions(self):
        """Ids of every position that a decision tells of."""
        self.run(self.runtime.now())
        return list(dict.fromkeys(one.position_id for one in self.kinds("position.state")))

    def children(self):
        (position_id,) = self.positions()
        return self.services.orders.of_position(position_id)

    def stored(self, position):
        return [
            row for row in self.store.rows
            if isinstance(row, PositionRow) and row.position_id == position.id
        ]  # fmt: skip
