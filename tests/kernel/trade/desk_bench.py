"""A desk around a venue that answers what a test says, and the errors that came out."""

from collections.abc import Callable
from typing import Any

from kernel.config import Settings
from kernel.model.messages import Alert
from kernel.model.traits import TRAITS
from kernel.model.units import SECOND
from kernel.model.venue import Acked
from kernel.ports.prices import JournaledPrices
from kernel.trade.desk import VenueDesk
from kernel.trade.risk import Risk
from kernel.trade.services import Services
from kernel.trade.watches import Watches
from kernel.trade.writer import StoreWriter
from tests.kernel.trade.parts import Bench
from tests.kernel.trade.wave_bench import Quotes, Rows


class ScriptedVenue:
    """Answers what it is told, after a time.

    Attributes:
        answer: For every request: a reply, an error, or a function of the request.
        asked: Requests in their order; `whole`: with class and entity.
    """

    def __init__(self, bench: Bench, name: str = "binance") -> None:
        self.traits = TRAITS[name]
        self.clock_offset_ns = 0
        self.events: Any = bench.runtime.channel()
        self.bench = bench
        self.answer: object | Callable[[Any], object] = Acked(venue_order_id="v1")
        self.delay_ns = 0
        self.asked: list[Any] = []
        self.whole: list[tuple[Any, str, str]] = []
        self.reconnects: list[str] = []

    def take(self, body):
        raise AssertionError(body)

    async def ask(self, request, cls, entity):
        self.asked.append(request)
        self.whole.append((request, cls, entity))
        await self.bench.runtime.sleep(self.delay_ns)
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def start(self) -> None:
        """Nothing connects here."""

    def reconnect(self, reason: str) -> None:
        self.reconnects.append(reason)


class DeskBench:
    """A desk among the services of a kernel, driven by hand."""

    def __init__(self, name: str = "binance", **settings: object) -> None:
        self.bench = bench = Bench()
        runtime, outbox = bench.runtime, bench.outbox
        given = Settings.model_validate(settings)
        self.venue = ScriptedVenue(bench, name)
        self.desk = VenueDesk(runtime, outbox, given, self.venue)
        self.quotes, self.store = Quotes(), Rows()
        self.services = Services(
            runtime=runtime,
            outbox=outbox,
            settings=given,
            store=self.store,
            prices=JournaledPrices(self.quotes, outbox),
            book=bench.book,
            orders=bench.orders,
            watches=Watches(runtime, outbox),
            writer=StoreWriter(runtime, outbox, given, self.store),
        )
        self.services.risk = Risk(self.services)
        self.services.desks[name] = self.desk

    def run(self, call, until_ns=60 * SECOND) -> Any:
        """What a call returned by then; None: nothing yet."""
        outcome: list[Any] = []

        async def one() -> None:
            outcome.append(await call)

        self.bench.runtime.spawn(one(), "call")
        self.bench.at(self.bench.runtime.now() + until_ns)
        return outcome[0] if outcome else None

    def ask(self, request, cls, until_ns=60 * SECOND, **given):
        """What came of one request by then."""
        outcome: list[Any] = []

        async def one() -> None:
            try:
                outcome.append(await self.desk.gateway.ask(request, cls, entity="e", **given))
            except Exception as error:
                outcome.append(error)

        self.bench.runtime.spawn(one(), "ask")
        self.bench.at(self.bench.runtime.now() + until_ns)
        return outcome[0] if outcome else None

    def bodies(self) -> list[Alert]:
        """Alerts that were sent."""
        return [
            effect.body for effect in self.bench.outbox.effects if isinstance(effect.body, Alert)
        ]

    def alerts(self) -> list[str]:
        """Their kinds."""
        return [body.kind for body in self.bodies()]

    def decided(self, kind: str) -> list[Any]:
        """Decisions of one kind."""
        return [one for one in self.bench.outbox.decisions if one.kind == kind]
