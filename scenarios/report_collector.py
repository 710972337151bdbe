"""Collects what a report says while a run goes on; a sink that never changes a run.

Positions, trades and stops are the venue's truth; reasons and facts are what the kernel said. What
happened to a symbol between two positions is told with the position that it belongs to by id.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel.config import Settings
from kernel.model.ids import parse_client_order_id
from kernel.model.messages import Alert, Decision, Input, StepResult
from kernel.model.orders import FillKind
from kernel.model.units import MS, text
from replay.report import Dropped, Mark, Story, Trade, WaveLine
from replay.timeline import Fact, facts_of
from scenarios.world import World
from venues.sim.faults import Message
from venues.sim.truth import BalanceChanged, LiveStop, StopGone, StopLive, Traded, TruthEvent

LEGS = {"E": "entry", "S": "stop", "X": "exit", "A": "aged", "R": "rollback"}
MOST_EVENTS = 4_000
"""Facts without a position that a page keeps; the first ones."""

type Place = tuple[str, str]


class Collector:
    """Everything that a page about one run needs.

    Attributes:
        stories: Positions in the order in which they opened.
        marks: Faults, deaths and lost streams.
        wallet: (ms, wallet of all venues) at each change.
        holdings: (ms, venue, symbol, signed quantity, cost) at each change, for equity.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._start_ns = world.start_ns
        self.stories: list[Story] = []
        self.marks: list[Mark] = []
        self.dropped: list[Dropped] = []
        self.waves: list[WaveLine] = []
        self.alerts: list[tuple[int, str, str, str]] = []
        self.events: list[tuple[int, str, str]] = []
        self.crashed: list[tuple[int, str]] = []
        self.wallet: list[tuple[int, float]] = []
        self.holdings: list[tuple[int, Place, float, float]] = []
        self._wallets: dict[str, float] = {}
        self._open: dict[Place, Story] = {}
        self._asked: dict[Place, float] = {}
        self._down: dict[str, None] = {}
        self._ids: dict[str, Story] = {}
        self._stops: dict[Place, dict[str, LiveStop]] = {}
        self._waiting: dict[str, list[tuple[int, str, str]]] = {}
        for name, venue in world.venues.items():
            self._wallets[name] = float(venue.account.wallet)
            venue.subscribe(self._listener(name))
            venue.faults.heard = self._struck(name)
        self.wallet.append((0, sum(self._wallets.values())))

    # ------------------------------------------------------------ sink

    def born(self, kernel: object) -> None:
        """See `Sink.born`."""

    def died(self, reason: str) -> None:
        """See `Sink.died`."""
        kind = "stop" if reason == "stopped" else "death"
        self.marks.append(Mark(at_ms=self._ms(), kind=kind, text=f"the kernel ends: {reason}"))

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        for fact in facts_of(item, result):
            self._fact(fact)
        for decision in result.decisions:
            self._decision(decision)
        for effect in result.effects:
            body = effect.body
            if type(body) is Alert:
                self.alerts.append((self._ms(), body.severity, body.kind, body.text))

    def _fact(self, fact: Fact) -> None:
        line = (self._ms(), fact.level, fact.text())
        if fact.kind == "kernel.born":
            self.marks.append(Mark(at_ms=line[0], kind="start", text=f"{fact.what}: {fact.why}"))
        elif fact.kind in ("stream.down", "stream.up"):
            self._stream(fact, line[0])
        story = self._ids.get(fact.position_id)
        if story is None and fact.symbol and not fact.position_id:
            story = self._open.get((fact.venue, fact.symbol))
        if story is not None:
            story.facts.append(line)
        elif fact.position_id:
            self._waiting.setdefault(fact.position_id, []).append(line)
        elif fact.kind != "signal.dropped" and len(self.events) < MOST_EVENTS:
            self.events.append(line)

    def _stream(self, fact: Fact, at_ms: int) -> None:
        """One mark an outage: tries in vain to connect are facts only."""
        down = fact.kind == "stream.down"
        if down and fact.venue not in self._down:
            self.marks.append(
                Mark(at_ms=at_ms, kind="stream", text=f"stream down: {fact.why}", venue=fact.venue)
            )
            self._down[fact.venue] = None
        elif not down:
            self._down.pop(fact.venue, None)

    def _decision(self, decision: Decision) -> None:
        values = decision.values
        match decision.kind:
            case "position.state":
                self._state(decision)
            case "order.submitted" if decision.cause == "entry":
                venue, symbol = decision.venue, decision.symbol
                read = self._world.prices.at_venue(venue).last(symbol)
                self._asked[(venue, symbol)] = float(read.price)
            case "signal.dropped":
                self.dropped.append(
                    Dropped(
                        at_ms=self._ms(),
                        venue=decision.venue,
                        symbol=decision.symbol,
                        side=values.get("side", ""),
                        wave=values.get("wave", ""),
                        reason=decision.cause,
                        detail=values.get("detail", ""),
                    )
                )
            case "wave.closed":
                self.waves.append(
                    WaveLine(
                        at_ms=self._ms(),
                        wave=values.get("wave", ""),
                        why=decision.cause,
                        values={name: told for name, told in values.items() if name != "wave"},
                    )
                )
            case "trailing.moved":
                story = self._ids.get(decision.position_id)
                if story is not None:
                    story.trail_moves += 1
            case "task.crashed":
                self.crashed.append((self._ms(), decision.cause))
            case _:
                pass

    def _state(self, decision: Decision) -> None:
        """Join the kernel's position with the venue's, by the symbol that it is on."""
        story = self._ids.get(decision.position_id)
        if story is None:
            story = self._open.get((decision.venue, decision.symbol))
            if story is None or (story.position_id and story.position_id != decision.position_id):
                return
            story.position_id = decision.position_id
            self._ids[decision.position_id] = story
            early = self._waiting.pop(decision.position_id, [])
            story.facts[:0] = early
        if decision.values.get("after") in ("CLOSED", "ROLLED_BACK"):
            story.reason = decision.cause

    # ------------------------------------------------------------ truth

    def _listener(self, venue: str) -> Callable[[TruthEvent], None]:
        def hear(event: TruthEvent) -> None:
            match event:
                case Traded():
                    self._traded(venue, event)
                case StopLive(stop=stop):
                    self._stops.setdefault((venue, stop.symbol), {})[stop.venue_order_id] = stop
                    self._stop_path((venue, stop.symbol))
                case StopGone(stop=stop):
                    held = self._stops.get((venue, stop.symbol), {})
                    held.pop(stop.venue_order_id, None)
                    self._stop_path((venue, stop.symbol))
                case BalanceChanged(balance=balance):
                    self._wallets[venue] = float(balance.wallet)
                    self.wallet.append((self._ms(), sum(self._wallets.values())))
                case _:
                    pass

        return hear

    def _traded(self, venue: str, event: Traded) -> None:
        fill, place = event.fill, (venue, event.fill.symbol)
        story = self._open.get(place)
        if fill.kind is FillKind.FUNDING:
            if story is not None:
                story.funding -= float(fill.fee)
            return
        now = self._ms()
        if story is None:
            story = self._begin(place, event)
        story.trades.append(
            Trade(
                at_ms=now,
                side=fill.side.value,
                price=float(fill.price),
                qty=text(fill.qty),
                leg=_leg(fill.client_order_id, fill.kind),
                fee=float(fill.fee),
            )
        )
        story.pnl += float(fill.realized_pnl)
        story.fees += float(fill.fee)
        if abs(event.position_qty) > 0:
            held = self._world.venues[venue].account.open
            cost = sum(float(one.cost) for one in held.values() if one.symbol == fill.symbol)
            self.holdings.append((now, place, float(event.position_qty), cost))
        else:
            self.holdings.append((now, place, 0.0, 0.0))
            self._end(place, story)

    def _begin(self, place: Place, event: Traded) -> Story:
        story = Story(
            number=len(self.stories),
            venue=place[0],
            symbol=place[1],
            side="LONG" if event.position_qty > 0 else "SHORT",
            opened_ms=self._ms(),
            asked_price=self._asked.get(place, 0.0),
            reason="open",
        )
        self.stories.append(story)
        self._open[place] = story
        self._stop_path(place)
        return story

    def _end(self, place: Place, story: Story) -> None:
        story.closed_ms = self._ms()
        if story.reason == "open":
            story.reason = ""
        del self._open[place]

    def _stop_path(self, place: Place) -> None:
        story = self._open.get(place)
        if story is None:
            return
        levels = [
            float(stop.trigger_price)
            for stop in self._stops.get(place, {}).values()
            if (stop.side.value == "SELL") == (story.side == "LONG")
        ]
        pick = max if story.side == "LONG" else min
        level = pick(levels) if levels else 0.0
        if not story.stops or story.stops[-1][1] != level:
            story.stops.append((self._ms(), level))

    def _struck(self, venue: str) -> Callable[[str, Message, int], None]:
        def heard(name: str, message: Message, now_ns: int) -> None:
            words = f"{name}: {message.kind or message.topic} {message.entity}".strip()
            at_ms = (now_ns - self._start_ns) // MS
            symbol = message.symbol
            self.marks.append(
                Mark(at_ms=at_ms, kind="fault", text=words, venue=venue, symbol=symbol)
            )

        return heard

    def _ms(self) -> int:
        return (self._world.agenda.now_ns - self._start_ns) // MS


def _leg(client_order_id: str, kind: FillKind) -> str:
    if kind is not FillKind.TRADE:
        return kind.value.lower()
    parts = parse_client_order_id(client_order_id)
    if parts is None:
        return "stop" if not client_order_id else "foreign"
    return LEGS.get(parts.leg.value, parts.leg.value)


def changed_settings(settings: Settings) -> list[tuple[str, str, str]]:
    """(name, value, default) of every setting that is not at its default."""
    plain = Settings()
    return [
        (name.upper(), str(getattr(settings, name)), str(getattr(plain, name)))
        for name in sorted(type(settings).model_fields)
        if getattr(settings, name) != getattr(plain, name) and "key" not in name
        and "secret" not in name and "password" not in name and "token" not in name
    ]  # fmt: skip
