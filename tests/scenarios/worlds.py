"""A venue of which only the truth events are real, for tests of the checks."""

from decimal import Decimal
from typing import Any, cast

from kernel.config import Settings
from kernel.model.ids import Leg, OrderIdParts, client_order_id, symbol_hash
from kernel.model.orders import Fill, OrderClass, PriceSource, Side
from kernel.model.units import MINUTE, SECOND, TsNs
from scenarios.protection_checks import Limits, ProtectionChecks
from scenarios.violations import Violations
from venues.sim.agenda import Agenda
from venues.sim.instruments import known_instrument
from venues.sim.open_orders import OpenOrders
from venues.sim.truth import LiveStop, StopGone, StopLive, Traded

START = 1_767_614_400 * SECOND
SYMBOL = "BTCUSDT"


def own_id(leg=Leg.ENTRY, *, epoch=1, child=0, generation=0, wave_ns=START - 15 * MINUTE):
    return client_order_id(
        OrderIdParts(
            epoch=epoch, wave_minute=wave_ns // MINUTE, symbol_hash=symbol_hash("binance", SYMBOL),
            leg=leg, child=child, generation=generation,
        )
    )  # fmt: skip


class _Matching:
    def __init__(self):
        self.open = OpenOrders()


class TruthOnly:
    """Emits what a test tells it to."""

    name = "binance"

    def __init__(self, agenda):
        self.agenda = agenda
        self.instruments = {SYMBOL: known_instrument("binance", SYMBOL)}
        self.matching = _Matching()
        self._listeners = []
        self._qty = Decimal(0)
        self._trades = 0

    def subscribe(self, listener):
        self._listeners.append(listener)

    def emit(self, event):
        for listener in self._listeners:
            listener(event)

    def trade(self, side, qty, *, price="42000", client=None, reduce_only=False):
        self._trades += 1
        self._qty += Decimal(qty) * side.sign
        fill = Fill(
            symbol=SYMBOL, trade_id=str(self._trades), venue_order_id="1",
            client_order_id=own_id() if client is None else client, side=side, qty=Decimal(qty),
            price=Decimal(price),
        )  # fmt: skip
        self.emit(
            Traded(
                ts_ns=TsNs(self.agenda.now_ns), fill=fill, hedge_leg="BOTH",
                position_qty=self._qty, reduce_only=reduce_only,
            )
        )  # fmt: skip

    def stop(self, price, qty, *, name="s1", side=Side.SELL, reduce_only=True):
        return LiveStop(
            symbol=SYMBOL, hedge_leg="BOTH", side=side, qty=Decimal(qty),
            trigger_price=Decimal(price), trigger_by=PriceSource.MARK,
            order_class=OrderClass.CONDITIONAL, venue_order_id=name,
            client_order_id=own_id(Leg.STOP, generation=int(name[1:])), reduce_only=reduce_only,
        )  # fmt: skip

    def live(self, price, qty="0.005", **more):
        self.emit(StopLive(ts_ns=TsNs(self.agenda.now_ns), stop=self.stop(price, qty, **more)))

    def gone(self, price, qty="0.005", *, reason="triggered", **more):
        stop = self.stop(price, qty, **more)
        self.emit(StopGone(ts_ns=TsNs(self.agenda.now_ns), stop=stop, reason=reason))


class Bench:
    """Protection checks on a venue of truth events."""

    def __init__(self, *, faults=False, **settings) -> None:
        self.agenda = Agenda(START)
        self.violations = Violations()
        given = {"position_size_usd": "211", **settings}
        self.settings = Settings.load(given)
        self.checks = ProtectionChecks(
            self.agenda, self.settings, Limits(faults=faults), self.violations
        )
        self.venue = cast("Any", TruthOnly(self.agenda))
        self.checks.attach(self.venue)
        self.checks.born()

    def pass_time(self, seconds):
        until = self.agenda.now_ns + int(seconds * SECOND)
        while (due := self.agenda.next_due()) is not None and due <= until:
            self.agenda.pop_run()
        self.agenda.advance(until)

    @property
    def broken(self):
        return sorted(self.violations.counts)
