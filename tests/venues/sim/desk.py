"""A desk for tests of the simulated venues: one venue, scripted prices, a listener."""

from decimal import Decimal
from typing import Any

from kernel.model.messages import InputBody, StreamOpen, VenueAnswer, VenueCall, VenueSaid
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import (
    CancelOrder,
    OrderSurface,
    PlaceStop,
    QueryOpenOrders,
    QueryOrder,
    SubmitOrder,
)
from venues.sim.agenda import Agenda
from venues.sim.binance import BinanceVenue
from venues.sim.bybit import BybitVenue
from venues.sim.dense import DensePriceService
from venues.sim.fault_kinds import AnyFault
from venues.sim.instruments import known_instrument
from venues.sim.link import SimVenueLink
from venues.sim.market import Market, Prices
from venues.sim.prices import PriceService
from venues.sim.quotes import Spread
from venues.sim.tape import Tape
from venues.sim.truth import TruthEvent
from venues.sim.venue import SimVenue, VenueSetup

T0 = 1_700_000_000 * SECOND
BTC = "BTCUSDT"
PERSONALITIES = {"binance": BinanceVenue, "bybit": BybitVenue}
type Path = list[tuple[int, str]]


def tape(path: Path, tick: Decimal) -> Tape:
    """Prices from (milliseconds since T0, price)."""
    return Tape(
        [T0 + ms * MS for ms, _ in path], [int(Decimal(price) / tick) for _, price in path], tick
    )


class Desk:
    """One venue at T0 with its truth events, and a link that collects inputs."""

    def __init__(
        self,
        venue: str = "binance",
        path: Path | None = None,
        *,
        mark: Path | None = None,
        faults: tuple[AnyFault, ...] = (),
        symbols: tuple[str, ...] = (BTC,),
        dense: bool = False,
        **setup: Any,
    ) -> None:
        self.agenda = Agenda(T0)
        instruments = [known_instrument(venue, symbol) for symbol in symbols]
        markets = [
            Market(
                venue, one.symbol, tape(path or [(0, "60000")], one.tick_size),
                mark=None if mark is None else tape(mark, one.tick_size),
                mark_is_last=mark is None,
                spread=Spread(Decimal(0)),
            )
            for one in instruments
        ]  # fmt: skip
        service = DensePriceService if dense else PriceService
        self.service: Prices = service(self.agenda, markets, lambda _: None)
        said = VenueSetup(faults=faults, origin_ns=T0, **setup)
        self.venue: SimVenue = PERSONALITIES[venue](
            self.agenda, self.service.at_venue(venue), instruments, said
        )
        self.events: list[TruthEvent] = []
        self.venue.subscribe(self.events.append)
        self.inputs: list[tuple[int, str, InputBody]] = []
        self.link = SimVenueLink(self.venue, self.agenda, self._emit)

    def _emit(self, key: str, body: InputBody) -> None:
        self.inputs.append((self.agenda.now_ns - T0, key, body))

    # ---------------------------------------------------------------- time

    def run_to(self, ms: int) -> "Desk":
        """Let everything happen up to and with this time."""
        end = T0 + ms * MS
        while (due := self.agenda.next_due()) is not None and due <= end:
            self.agenda.pop_run()
        if end > self.agenda.now_ns:
            self.agenda.advance(end)
        return self

    # ---------------------------------------------------------------- acts

    def do(self, request: Any) -> Any:
        return self.venue.execute(request)

    def market(self, qty: str, side: Side = Side.BUY, cid: str = "e-1", **more: Any) -> Any:
        return self.do(market_order(qty, side, cid, **more))

    def stop(self, qty: str, trigger: str, side: Side = Side.SELL, cid: str = "s-1",
             **more: Any) -> Any:
        return self.do(stop_order(qty, trigger, side, cid, **more))

    def cancel(self, cid: str, order_class: OrderClass = OrderClass.CONDITIONAL) -> Any:
        return self.do(CancelOrder(symbol=BTC, order_class=order_class, client_order_id=cid))

    def look_up(self, cid: str, surface: OrderSurface = OrderSurface.PLAIN) -> Any:
        return self.do(QueryOrder(symbol=BTC, surface=surface, client_order_id=cid))

    def open_orders(self, order_class: OrderClass, **more: Any) -> Any:
        return self.do(QueryOpenOrders(order_class=order_class, **more)).orders

    # ---------------------------------------------------------------- over the link

    def connect(self) -> "Desk":
        self.link.accept("open/1", StreamOpen(venue=self.venue.name, stream="private",
                                              connection=1, path=""))
        return self

    def call(self, request: Any, key: str = "call/1") -> None:
        self.link.accept(key, VenueCall(venue=self.venue.name, request=request,
                                         timestamp_ns=TsNs(self.agenda.now_ns)))

    def answers(self) -> list[tuple[int, Any]]:
        return [(at // MS, body.reply) for at, _, body in self.inputs
                if isinstance(body, VenueAnswer)]

    def said(self, kind: type | None = None) -> list[tuple[int, Any]]:
        return [(at // MS, body.event) for at, _, body in self.inputs
                if isinstance(body, VenueSaid) and (kind is None or isinstance(body.event, kind))]

    # ---------------------------------------------------------------- truth

    def qty(self, symbol: str = BTC) -> Decimal:
        return self.venue.account.position(symbol, "BOTH").qty

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def market_order(qty: str, side: Side = Side.BUY, cid: str = "e-1", **more: Any) -> SubmitOrder:
    fields: dict[str, Any] = {"symbol": BTC, "order_type": OrderType.MARKET, **more}
    return SubmitOrder(side=side, qty=Decimal(qty), client_order_id=cid, **fields)


def limit_order(qty: str, price: str, side: Side = Side.BUY, cid: str = "l-1",
                **more: Any) -> SubmitOrder:
    return market_order(qty, side, cid, order_type=OrderType.LIMIT, price=Decimal(price), **more)


def stop_order(qty: str, trigger: str, side: Side = Side.SELL, cid: str = "s-1",
               **more: Any) -> PlaceStop:
    fields: dict[str, Any] = {"symbol": BTC, "trigger_by": PriceSource.MARK, **more}
    return PlaceStop(
        side=side, qty=Decimal(qty), trigger_price=Decimal(trigger), client_order_id=cid, **fields
    )
