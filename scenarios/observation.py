"""What a run showed: a sink that keeps what expectations ask for."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from kernel.model.ids import Leg, parse_client_order_id
from kernel.model.messages import (
    Alert,
    Decision,
    HttpRequest,
    Input,
    StepResult,
    VenueCall,
)
from kernel.model.orders import FillKind
from kernel.model.positions import PositionRow
from kernel.model.venue import (
    SNAPSHOT_PARTS,
    PlaceStop,
    QuerySnapshot,
    SubmitOrder,
    VenueRequest,
)
from scenarios.kernels import AnyKernel
from scenarios.world import World
from venues.sim.gate import Answer
from venues.sim.truth import StopLive, Traded, TruthEvent
from venues.sim.venue import SimVenue


class Observation:
    """Decisions, alerts, requests and the stops of the venue's truth, in the order of time.

    Attributes:
        decisions: (wall time, decision).
        alerts: (wall time, alert).
        requests: Requests that left (level "wire": that arrived), by kind.
        order_ids: Client order ids of orders that were asked for, by leg letter.
        stop_prices: Per (venue, symbol): trigger prices as they came to life, per life from flat
            to flat.
        state_digest: Of the last kernel, taken when it ended or when the run did.
    """

    def __init__(self, world: World, *, level: str = "sim") -> None:
        self._world = world
        self._kernel: AnyKernel | None = None
        self.decisions: list[tuple[int, Decision]] = []
        self.alerts: list[tuple[int, Alert]] = []
        self.requests: dict[str, int] = {}
        self.order_ids: dict[str, dict[str, None]] = {leg.value: {} for leg in Leg}
        self.stop_prices: dict[tuple[str, str], list[list[Decimal]]] = {}
        self.state_digest = ""
        for venue in world.venues.values():
            venue.subscribe(self._hearer(venue))
            if level != "sim":
                self._tap(venue)

    # ------------------------------------------------------------ sink

    def born(self, kernel: AnyKernel) -> None:
        """See `Sink.born`."""
        self._kernel = kernel

    def died(self, reason: str) -> None:
        """See `Sink.died`."""
        self._kernel = None

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        for decision in result.decisions:
            self.decisions.append((item.ts_ns, decision))
        for effect in result.effects:
            body = effect.body
            if type(body) is VenueCall:
                self._requested(body.request)
            elif type(body) is Alert:
                self.alerts.append((item.ts_ns, body))
            elif type(body) is HttpRequest:
                self.requests["http"] = self.requests.get("http", 0) + 1

    def finish(self) -> None:
        """The run is over."""
        if self._kernel is not None:
            self.state_digest = self._kernel.state_digest()

    # ------------------------------------------------------------ what it knows

    def positions(self) -> list[PositionRow]:
        """Every position that was ever stored, by venue, symbol and time."""
        stored = self._world.store.rows(PositionRow)
        rows = [row for row in stored if isinstance(row, PositionRow)]
        return sorted(rows, key=lambda row: (row.venue, row.symbol, row.opened_ns))

    # ------------------------------------------------------------ inside

    def _requested(self, request: VenueRequest) -> None:
        if isinstance(request, QuerySnapshot):
            for part in SNAPSHOT_PARTS:  # as the venue is asked in bytes
                self._requested(part)
            return
        kind = str(request.__struct_config__.tag)
        self.requests[kind] = self.requests.get(kind, 0) + 1
        if isinstance(request, SubmitOrder | PlaceStop):
            parts = parse_client_order_id(request.client_order_id)
            if parts is not None:
                self.order_ids[parts.leg.value][request.client_order_id] = None

    def _tap(self, venue: SimVenue) -> None:
        """Count requests where they arrive: what leaves in bytes says not what it asks."""
        answer = venue.gate.answer

        def tapped(request: VenueRequest) -> Answer:
            self._requested(request)
            return answer(request)

        venue.gate.answer = tapped  # type: ignore[method-assign]

    def _hearer(self, venue: SimVenue) -> Callable[[TruthEvent], None]:
        name = venue.name

        def hear(event: TruthEvent) -> None:
            if isinstance(event, StopLive):
                lives = self.stop_prices.setdefault((name, event.stop.symbol), [[]])
                price = event.stop.trigger_price
                if not lives[-1] or lives[-1][-1] != price:
                    lives[-1].append(price)
            elif isinstance(event, Traded) and event.fill.kind is not FillKind.FUNDING:
                lives = self.stop_prices.setdefault((name, event.fill.symbol), [[]])
                if not event.position_qty and lives[-1]:
                    lives.append([])

        return hear
