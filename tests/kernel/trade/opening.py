"""A bench with entries on their way: positions that open, their children, what is told of them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.orders import (
    Fill,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
)
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import ClaimRow, OrderRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.trade.entry_orders import EntryOrders
from kernel.trade.entry_plan import EntryPlan
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
SYMBOL = "BTCUSDT"
LONG = PositionSide.LONG


@dataclass
class Opening(Bench):
    """A bench whose clock stands at second 100 when a test begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.began = self.reported = 0
        self.changes: list[tuple[int, str]] = []
        self.run(100 * SECOND)
        self.prices.push(SYMBOL, "42000")
        self.began = self.runtime.now()

    def _settle(self) -> None:
        """Note when a position became what, in milliseconds."""
        known = len(self.decisions)
        super()._settle()
        for one in self.decisions[known:]:
            if one.kind == "position.state":
                self.changes.append((self.ms, one.values["after"]))

    def became(self, state: str) -> list[int]:
        """When a position became this."""
        return [at for at, after in self.changes if after == state]

    @property
    def name(self) -> str:
        """Of the venue."""
        return self.venue_names[0]

    @property
    def ms(self) -> int:
        """Since the test began."""
        return (self.runtime.now() - self.began) // MS

    def after(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run(self.runtime.now() + int(seconds * SECOND))

    def later(self, ms: int, act: Any) -> None:
        """Do something so long after the test began."""
        self.at(self.began + ms * MS, act)

    def entry(
        self,
        *children: str,
        state: PositionState = PositionState.ENTRY_PLACED,
        symbol: str = SYMBOL,
    ) -> Any:
        """A position on its way, and the orders that make it."""
        row = PositionRow(
            position_id=f"p-{symbol}",
            venue=self.name,
            symbol=symbol,
            side=LONG,
            state=state,
            intended_qty=sum(map(D, children), D(0)),
            wave_ns=TsNs(WALL),
            opened_ns=self.runtime.ts(),
        )
        position = self.services.book.create(row)
        return position, [self.child(position, qty, n) for n, qty in enumerate(children)]

    def child(self, position: Any, qty: str, number: int = 0, **changes: Any) -> Any:
        """One order of an entry, not sent yet."""
        fields: dict[str, Any] = {
            "venue": self.name,
            "client_order_id": self.services.orders.new_id(position, Leg.ENTRY, number),
            "symbol": position.symbol,
            "position_id": position.id,
            "order_class": OrderClass.PLAIN,
            "order_type": OrderType.MARKET,
            "side": position.side.entry_side,
            "qty": D(qty),
            "reduce_only": False,
        }
        return self.services.orders.register(OrderRow(**(fields | changes)))

    def reports(self, order: Any, status: OrderStatus, qty: str = "0", price: str = "0") -> None:
        """The venue tells of an order."""
        self.reported += 1
        row = order.row
        report = OrderReport(
            symbol=row.symbol,
            venue_order_id=row.venue_order_id or f"v-{row.client_order_id}",
            client_order_id=row.client_order_id,
            order_class=row.order_class,
            order_type=row.order_type,
            side=row.side,
            status=status,
            qty=row.qty,
            filled_qty=D(qty),
            avg_price=D(price),
            updated_ns=TsNs(self.runtime.ts() + self.reported),
        )
        self.services.orders.on_report(self.name, report)

    def fills(self, order: Any, qty: str, price: str = "42000", trade: str = "") -> None:
        """An execution of an order arrives."""
        self.reported += 1
        fill = Fill(
            symbol=order.row.symbol,
            trade_id=trade or f"t{self.reported}",
            venue_order_id=order.row.venue_order_id or f"v-{order.client_order_id}",
            client_order_id=order.client_order_id,
            side=order.row.side,
            qty=D(qty),
            price=D(price),
            ts_ns=self.runtime.ts(),
        )
        self.services.orders.on_fill(self.name, fill)

    def another(self, fill: Fill, trade: str, qty: str) -> Fill:
        """One more execution of the same order."""
        return msgspec.structs.replace(fill, trade_id=trade, qty=D(qty))

    def shows(self, position: Any, qty: str, side: PositionSide = LONG) -> None:
        """The venue shows the position."""
        self.reported += 1
        position.hear(
            PositionReport(
                symbol=position.symbol,
                side=side,
                qty=D(qty),
                entry_price=D(42000),
                updated_ns=TsNs(self.runtime.ts() + self.reported),
            )
        )

    def result(self, coro: Any, seconds: float = 30) -> Any:
        """What a call returned, and after how many milliseconds; None: not yet."""
        outcome: list[Any] = []

        async def one() -> None:
            outcome.append((await coro, self.ms))

        self.spawn(one())
        self.after(seconds)
        return outcome[0] if outcome else None


class Sending(Opening):
    """A bench that sends the children of an entry; a settling takes `settling_ns`."""

    def __init__(self, venue="binance", **settings):
        super().__init__(Settings.load(settings), (venue,))
        self.venue.rests = (OrderType.MARKET,)
        self.desk = self.services.desks[venue]
        self.settled = []
        self.settling_ns = SECOND
        self.orders = EntryOrders(self.services, self)

    async def settle(self, order):
        self.settled.append((self.ms, order))
        await self.runtime.sleep(self.settling_ns)

    def send(self, position, children, seconds=20.0, **given):
        """Which of the children have an unknown outcome; None: it is still being sent."""
        made = plan(*(str(order.row.qty) for order in children), venue=self.name, **given)
        outcome = self.result(self.orders.send(self.desk, position, children, made), seconds)
        return None if outcome is None else outcome[0]

    def submits(self):
        return [(at - self.began) // MS for at, _ in self.venue.requests("submit")]

    def refuse(self, error, code="", **how):
        self.venue.rules.append(Rule("submit", error, code, **how))

    def queued(self):
        self.run(self.runtime.now())
        return self.kinds("entry.queued")

    def when(self, kind):
        return [(at - self.began) // MS for at, _ in self.venue.requests(kind)]


def plan(*children: str, symbol: str = SYMBOL, venue: str = "binance", lasts: int = 60) -> Any:
    """A plan whose signal expires so long after second 100."""
    return EntryPlan(
        reservation_id="1-1",
        venue=venue,
        symbol=symbol,
        side=LONG,
        wave_ns=TsNs(WALL),
        claim=ClaimRow(once_key="k", wave_ns=TsNs(WALL), claimed_ns=TsNs(WALL)),
        children=tuple(map(D, children)),
        notional=D(200),
        reference_price=D(42000),
        expires_ns=TsNs(WALL + (100 + lasts) * SECOND),
    )
