"""A bench: the protective parts of a kernel on a scripted venue, driven by hand."""

import heapq
from dataclasses import dataclass, field

import msgspec

from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.instrument import Instrument
from kernel.model.messages import (
    WatchCleared,
    WatchFired,
    WatchSet,
)
from kernel.model.orders import (
    Fill,
    OrderClass,
    OrderStatus,
    OrderType,
    PositionSide,
)
from kernel.model.positions import Origin, PositionRow, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import SECOND, ZERO, TsNs, install_decimal_context
from kernel.ports.outbox import Outbox
from kernel.ports.prices import JournaledPrices
from kernel.protect.stop_check import StopCheck
from kernel.protect.trailing import Trailing
from kernel.runtime.scheduler import Runtime
from kernel.sync.snapshot import SnapshotService
from kernel.trade.book import PositionBook
from kernel.trade.desk import VenueDesk
from kernel.trade.exits import Exits
from kernel.trade.orders import OrderRegistry
from kernel.trade.router import Router
from kernel.trade.services import Services
from kernel.trade.stop_loss import StopOwner
from kernel.trade.watches import Watches
from kernel.trade.writer import StoreWriter
from tests.kernel.fake_venue import (
    WALL,
    D,
    FakePrices,
    FakeStore,
    FakeVenue,
    Held,
    Placed,
    Rule,
)

__all__ = ["WALL", "Bench", "D", "Held", "Placed", "Rule"]

INSTRUMENT = Instrument(
    venue="binance",
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick_size=D(1),
    qty_step=D("0.001"),
    min_qty=D("0.001"),
    max_qty=D(1000),
    max_market_qty=D(100),
)


@dataclass
class Bench:
    """The real core around fake venues, driven by hand."""

    settings: Settings = field(default_factory=lambda: Settings.load({}))
    venue_names: tuple[str, ...] = ("binance",)

    def __post_init__(self):
        install_decimal_context()
        self.runtime = Runtime(start_mono_ns=0, start_ts_ns=WALL)
        self.outbox = Outbox(self.runtime)
        self.prices = FakePrices(self.runtime)
        self.store = FakeStore(self.runtime)
        book = PositionBook(self.runtime, self.outbox)
        orders = OrderRegistry(self.runtime, self.outbox, book, epoch=1)
        self.services = Services(
            runtime=self.runtime,
            outbox=self.outbox,
            settings=self.settings,
            store=self.store,
            prices=JournaledPrices(self.prices, self.outbox),
            book=book,
            orders=orders,
            watches=Watches(self.runtime, self.outbox),
            writer=StoreWriter(self.runtime, self.outbox, self.settings, self.store),
        )
        orders.persist = self.services.persist
        self.crashes = []
        self.services.on_crash = self._crashed
        self.venues = {}
        for name in self.venue_names:
            venue = FakeVenue(self.runtime, name, self.prices)
            self.venues[name] = venue
            desk = VenueDesk(self.runtime, self.outbox, self.settings, venue)
            desk.instruments["BTCUSDT"] = msgspec.structs.replace(INSTRUMENT, venue=name)
            self.services.desks[name] = desk
        self.venue = self.venues[self.venue_names[0]]
        self.effects = []
        self.decisions = []
        self._watches = {}
        self._acts = []
        self.waves = 0
        self.services.supervise("writer", self.services.writer.run)

    def _crashed(self, name, error, failures, position):
        self.crashes.append((name, error))

    # driving

    def at(self, ns, act):
        """Do something at an instant."""
        heapq.heappush(self._acts, (ns, len(self._acts), act))

    def run(self, until_ns):
        """Let time pass up to an instant, timers and acts in order."""
        runtime = self.runtime
        while True:
            self._settle()
            timer = runtime.next_deadline()
            act = self._acts[0][0] if self._acts else None
            due = min((t for t in (timer, act) if t is not None), default=None)
            if due is None or due > until_ns:
                break
            runtime.set_time(max(due, runtime.now()), WALL + max(due, runtime.now()))
            if act is not None and act <= due:
                heapq.heappop(self._acts)[2]()
                runtime.run_ready()
            else:
                runtime.fire_due(due, inclusive=True)
        runtime.set_time(max(until_ns, runtime.now()), WALL + max(until_ns, runtime.now()))
        self._settle()

    def _settle(self):
        self.runtime.run_ready()
        effects, decisions, _ = self.outbox.drain()
        self.decisions.extend(decisions)
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect.body, WatchSet):
                self._watches[effect.body.watch_id] = effect.body
            elif isinstance(effect.body, WatchCleared):
                self._watches.pop(effect.body.watch_id, None)

    def price(self, price, symbol="BTCUSDT"):
        """A new price for feed and venues: venues first, then watches."""
        self.prices.push(symbol, price)
        for venue in self.venues.values():
            venue.price(symbol, price)
        for watch in list(self._watches.values()):
            if watch.symbol != symbol:
                continue
            above = watch.at_or_above is not None and D(price) >= watch.at_or_above
            below = watch.at_or_below is not None and D(price) <= watch.at_or_below
            if above or below:
                del self._watches[watch.watch_id]
                self.services.watches.fired(
                    WatchFired(
                        watch_id=watch.watch_id,
                        price=D(price),
                        price_ts_ns=self.runtime.ts(),
                    )
                )
        self._settle()

    def spawn(self, coro):
        """Run a coroutine as a task."""
        return self.runtime.spawn(coro, "test")

    # positions

    def protection(self):
        """The stop owner, exits, trailing and stop watch over this bench."""
        services = self.services
        self.settled = []
        self.exits = Exits(services, settler=self)
        self.stops = StopOwner(services, self.exits)
        self.trailing = Trailing(services, self.stops, self.exits)
        self.snapshots = SnapshotService(services)
        self.stop_check = StopCheck(services, self.snapshots, self.stops)
        self.resyncs: list[str] = []
        for desk in services.desks.values():
            router = Router(
                services,
                desk,
                stops=self.stops,
                resync=lambda venue, reason: self.resyncs.append(reason),
            )
            services.supervise(f"events {desk.name}", router.run)
        return self

    async def settle(self, order):
        """As the settler of unknown outcomes: nothing was placed."""
        self.settled.append(order)
        self.services.orders.conclude(order, OrderStatus.REJECTED, "never placed")

    def filled(
        self,
        side=PositionSide.LONG,
        qty="0.005",
        entry="42000",
        *,
        venue="",
        state=PositionState.PENDING_SL,
        symbol="BTCUSDT",
        level=ZERO,
        origin=Origin.OURS,
    ):
        """A position whose entry has just filled, here and at the venue."""
        services, name = self.services, venue or self.venue_names[0]
        if not self.prices.now(symbol):
            self.prices.push(symbol, entry)
        now = self.runtime.ts()
        self.waves += 1
        row = PositionRow(
            position_id=f"{name}:{symbol}:{now}",
            venue=name,
            symbol=symbol,
            side=side,
            state=state,
            origin=origin,
            intended_qty=D(qty),
            protected_level=level,
            wave_ns=TsNs(WALL + 900 * SECOND * self.waves),
            opened_ns=now,
        )
        position = services.book.create(row)
        order = services.orders.register(
            OrderRow(
                venue=name,
                client_order_id=services.orders.new_id(position, Leg.ENTRY),
                symbol=symbol,
                position_id=position.id,
                order_class=OrderClass.PLAIN,
                order_type=OrderType.MARKET,
                side=side.entry_side,
                qty=D(qty),
                reduce_only=False,
            )
        )
        self.venues[name].open(symbol, side, qty, entry)
        fill = Fill(
            symbol=symbol,
            trade_id=f"entry-{now}",
            venue_order_id="1",
            client_order_id=order.client_order_id,
            side=side.entry_side,
            qty=D(qty),
            price=D(entry),
            ts_ns=now,
        )
        services.orders.on_fill(name, fill)
        services.orders.conclude(order, OrderStatus.FILLED, "filled")
        self.venues[name].fills.append(fill)
        return position

    def protected(self, **given):
        """An ACTIVE position whose first stop is confirmed."""
        position = self.filled(**given)
        task = self.spawn(self.stops.protect(position))
        self.run(self.runtime.now() + 2 * SECOND)
        assert task.result() is True
        position.transition(PositionState.ACTIVE, "stop confirmed")
        self.run(self.runtime.now() + SECOND)
        return position

    def cap_conditionals(self, cap):
        """The venue takes so many conditional orders."""
        traits = msgspec.structs.replace(self.venue.traits, conditional_cap=cap)
        self.venue.traits = self.services.desks[self.venue_names[0]].traits = traits

    # for assertions

    def kinds(self, kind):
        """Decisions of one kind."""
        return [decision for decision in self.decisions if decision.kind == kind]

    def alerts(self, kind=""):
        """Alerts, all or of one kind."""
        bodies = [e.body for e in self.effects if type(e.body).__name__ == "Alert"]
        return [body for body in bodies if kind in ("", body.kind)]

    @property
    def watches(self):
        """Bounds of the watches that stand."""
        return [w.at_or_above or w.at_or_below for w in self._watches.values()]
