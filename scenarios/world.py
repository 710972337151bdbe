"""The world around one kernel: prices, venues, store, signal server, on one agenda.

The world outlives its kernels: after a crash a new kernel meets the same venues and the same
store. `connect` gives a kernel its side of the world, `disconnect` cuts it off.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import msgspec

from kernel.errors import InvariantViolation
from kernel.model.instrument import Instrument
from kernel.model.messages import (
    Alert,
    Effect,
    EffectBody,
    FeedAuth,
    FeedClose,
    FeedOpen,
    FeedSend,
    HttpRequest,
    InputBody,
    StatusReport,
    Stopped,
    StoreCommit,
    StoreLease,
    StoreLoad,
    StreamClose,
    StreamOpen,
    StreamSend,
    VenueCall,
    WatchCleared,
    WatchFired,
    WatchSet,
)
from kernel.model.venue import EffectClass, VenueRequest
from kernel.store.backend import Backend
from kernel.store.memory import MemoryBackend
from kernel.store.simulated import Cut, SimulatedStore
from scenarios.composition import Link, LinkFactory, VenueFactory, compose_venue
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.binance import BinanceVenue
from venues.sim.bybit import BybitVenue
from venues.sim.dense import DensePriceService
from venues.sim.market import Market, Prices
from venues.sim.prices import PriceService
from venues.sim.signal_server import Posted, SignalServer, SignalServerSetup
from venues.sim.venue import SimVenue, VenueSetup

type Emit = Callable[[str, InputBody], None]
type OnRequest = Callable[[str, VenueRequest], None]
"""Told of each signed request that a venue looks at, or refuses for its timestamp."""

VENUE_CLASSES: dict[str, type[SimVenue]] = {"binance": BinanceVenue, "bybit": BybitVenue}


class WorldSetup(msgspec.Struct, kw_only=True):
    """What a world is made of.

    `setups` names the venues and what a run says of each; `dense` evaluates prices tick by tick.
    """

    start_ns: int
    markets: list[Market]
    instruments: list[Instrument]
    setups: dict[str, VenueSetup]
    posted: tuple[Posted, ...] = ()
    feed: SignalServerSetup = SignalServerSetup()
    dense: bool = False


class World:
    """One simulated world.

    Args:
        setup: What it is made of.
        backend: What keeps the rows of its store; None: memory.

    Attributes:
        agenda: Everything that will happen; its clock is the wall time of the world.
        prices: The price service; a `PriceReader` for the kernel.
        venues: The simulated venues by name.
        store: The store, which survives every crash.
    """

    def __init__(self, setup: WorldSetup, backend: Backend | None = None) -> None:
        self.start_ns = setup.start_ns
        self.agenda = Agenda(setup.start_ns)
        service = DensePriceService if setup.dense else PriceService
        self.prices: Prices = service(self.agenda, setup.markets, self._fired)
        self.venues: dict[str, SimVenue] = {
            name: VENUE_CLASSES[name](
                self.agenda,
                self.prices.at_venue(name),
                [one for one in setup.instruments if one.venue == name],
                venue_setup,
            )
            for name, venue_setup in setup.setups.items()
        }
        self.store = SimulatedStore(backend or MemoryBackend())
        self._posted, self._feed_setup = setup.posted, setup.feed
        self.name = ""
        """Of the instance whose world it is; "": the only one, or the first."""
        self.on_request: OnRequest = _unheard
        self.on_untimely: OnRequest = _unheard
        self._siblings: dict[str, World] = {"": self}
        self._composed: dict[tuple[str, str], tuple[VenueFactory, LinkFactory]] = {}
        self._emit: Emit = _nobody
        self._links: dict[str, Link] = {}
        self._feed: SignalServer | None = None
        self._feed_fired: dict[str, int] = {}
        self._watches: dict[str, None] = {}
        self._life = 0
        self._handlers = self._routes()

    def sibling(self, name: str) -> World:
        """The same world as another instance meets it: one agenda, venues, prices and store."""
        twin = copy(self)
        twin.name = name
        twin._emit, twin._links, twin._feed = _nobody, {}, None  # noqa: SLF001 - it is our own
        twin._feed_fired, twin._watches, twin._life = {}, {}, 0  # noqa: SLF001
        twin._handlers = twin._routes()  # noqa: SLF001
        self._siblings[name] = twin
        return twin

    def composed(self, level: str) -> dict[str, tuple[VenueFactory, LinkFactory]]:
        """Of each venue the kernel's port and its link; an emulator serves every instance."""
        made = self._composed
        for name in self.venues:
            if (level, name) not in made:
                made[(level, name)] = compose_venue(level, name)
        return {name: made[(level, name)] for name in self.venues}

    def connect(self, factories: dict[str, LinkFactory], emit: Emit) -> None:
        """Begin the life of a kernel: `emit` takes its inputs, at the instant they arrive."""
        self._life += 1
        self._emit = emit
        self._links = {
            name: factory(self.venues[name], self.agenda, emit)
            for name, factory in factories.items()
        }
        for link in self._links.values():
            link.on_request, link.on_untimely = self.on_request, self.on_untimely
        self._feed = SignalServer(self.agenda, self._posted, emit, self._feed_setup)

    def disconnect(
        self, *, applied: int = 0, cut: Cut | None = None, drained: int = 0
    ) -> None:
        """End the life of a kernel: what has left it goes on, what comes back meets nobody.

        Args:
            applied: Of the store's waiting writes so many become durable; the rest is lost.
            cut: Given the write after those.
            drained: Of its spool so many commits were written before.
        """
        self._life += 1
        self._emit = _nobody
        for link in self._links.values():
            link.cut()
        if self._feed is not None:
            self._feed.cut()
            self._feed_fired = self.feed_fired()
            self._feed = None
        for watch_id in self._watches:
            self.prices.clear(self._own(watch_id))
        self._watches.clear()
        self.store.crash(applied, client=self.name, cut=cut, drained=drained)

    def accept(self, effect: Effect) -> None:
        """Let an effect of the kernel happen.

        Raises:
            InvariantViolation: Nothing in this world takes such an effect.
        """
        handler = self._handlers.get(type(effect.body))
        if handler is None:
            raise InvariantViolation(f"{effect.key}: nothing takes {type(effect.body).__name__}")
        body = effect.body
        if type(body) is StoreCommit:
            self._ask_store(effect.key, body, entry=effect.cls is EffectClass.ENTRY)
        else:
            handler(effect.key, body)

    def feed_away(self, span_ns: int) -> None:
        """Take the signal server away for a while."""
        if self._feed is not None:
            self._feed.away(self.agenda.now_ns + span_ns)

    def feed_fired(self) -> dict[str, int]:
        """How often each fault of the feed fired, over all kernels."""
        fired = dict(self._feed_fired)
        if self._feed is not None:
            for name, times in self._feed.faults.fired.items():
                fired[name] = fired.get(name, 0) + times
        return fired

    # ------------------------------------------------------------ effects

    def _routes(self) -> dict[type, Callable[[str, Any], None]]:
        routes: dict[type, Callable[[str, Any], None]] = {
            WatchSet: self._watch,
            WatchCleared: self._unwatch,
            StoreCommit: self._ask_store,
            StoreLoad: self._ask_store,
            StoreLease: self._ask_store,
            Alert: _told,
            StatusReport: _told,
            Stopped: _told,
        }
        to_venue = (VenueCall, HttpRequest, StreamOpen, StreamSend, StreamClose)
        to_feed = (FeedOpen, FeedAuth, FeedSend, FeedClose)
        routes.update(dict.fromkeys(to_venue, self._to_venue))
        routes.update(dict.fromkeys(to_feed, self._to_feed))
        return routes

    def _to_venue(self, key: str, body: VenueCall | HttpRequest | StreamOpen) -> None:
        self._links[body.venue].accept(key, body)

    def _to_feed(self, _key: str, body: FeedOpen | FeedAuth | FeedSend | FeedClose) -> None:
        assert self._feed is not None
        self._feed.accept(body)

    def _watch(self, _key: str, body: WatchSet) -> None:
        self._watches[body.watch_id] = None
        if self.name:
            body = msgspec.structs.replace(body, watch_id=self._own(body.watch_id))
        self.prices.watch(body, self.agenda.now_ns)

    def _unwatch(self, _key: str, body: WatchCleared) -> None:
        if self._watches.pop(body.watch_id, _MISSING) is not _MISSING:
            self.prices.clear(self._own(body.watch_id))

    def _own(self, key: str) -> str:
        """A key that no other instance has."""
        return f"{self.name}{_OF}{key}" if self.name else key

    def _fired(self, body: WatchFired) -> None:
        name, of, watch_id = body.watch_id.partition(_OF)
        if of:
            body = msgspec.structs.replace(body, watch_id=watch_id)
        self._siblings[name if of else ""]._told_of_watch(body)  # noqa: SLF001 - a twin of ours

    def _told_of_watch(self, body: WatchFired) -> None:
        self._watches.pop(body.watch_id, None)
        self._emit(f"watch/{body.watch_id}", body)

    def _ask_store(
        self, key: str, body: StoreCommit | StoreLoad | StoreLease, *, entry: bool = False
    ) -> None:
        life, store, own = self._life, self.store, self._own(key)
        due_ns = store.submit(own, body, self.agenda.now_ns, client=self.name, entry=entry)

        def answer() -> None:
            if life == self._life:
                self._emit(key, store.complete(own, self.agenda.now_ns))

        self.agenda.push(due_ns, RANK_MESSAGE, answer)


_MISSING = object()
_OF = "\x1f"
"""Between the name of an instance and a key of its own."""


def _nobody(_key: str, _body: InputBody) -> None:
    """No kernel is alive: what arrives is lost."""


def _unheard(_venue: str, _request: VenueRequest) -> None:
    """Nobody wants to know."""


def _told(_key: str, _body: EffectBody) -> None:
    """For people and for the driver; the world does nothing."""
