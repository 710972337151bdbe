"""The checker: a sink outside the kernel that reads venue truth, requests and decisions.

It never changes what happens: its entries on the agenda only look. Safety invariants are observers
of single transitions; bounds in time are entries that look once; nothing scans per input.

    protection_checks   I1 I2 I4 I7 I8 I9     positions and stops of the venues
    request_checks      I3 I5 I12–I19 I21     what the kernel asks
    book_checks         I6 I10 I11            books against truth
    here                I17 I20               alerts of unlisted codes, crashed tasks
"""

from __future__ import annotations

from functools import partial

from kernel.config import Settings
from kernel.model.messages import (
    Alert,
    Decision,
    Effect,
    Input,
    StepResult,
    VenueAnswer,
    VenueCall,
    VenueSaid,
)
from kernel.model.orders import Fill, PositionReport
from kernel.model.positions import PositionState
from kernel.model.traits import TRAITS
from kernel.model.units import HOUR, SECOND
from kernel.model.venue import (
    Failure,
    StreamDown,
    StreamUp,
    VenueNotice,
    VenueReply,
    VenueRequest,
)
from scenarios.book_checks import BookChecks
from scenarios.kernels import AnyKernel
from scenarios.protection_checks import Limits, ProtectionChecks
from scenarios.request_checks import RequestChecks
from scenarios.violations import Violations
from scenarios.world import World
from venues.sim.agenda import RANK_MESSAGE
from venues.sim.gate import Answer
from venues.sim.venue import SimVenue

QUIET_NS = 10 * SECOND
"""At the end so long after its start a kernel is not yet expected to have converged."""
_DOUBTS = (StreamUp, StreamDown, VenueNotice)
_ENDS = (PositionState.CLOSED.value, PositionState.ROLLED_BACK.value)


class Checker:
    """Invariants of one run; a sink of the driver.

    Args:
        world: The world to observe; observe it before anything happens in it.
        settings: Of the run.
        limits: Bounds in time.
        level: At "wire" requests are seen where they arrive.

    Attributes:
        violations: What was found.
        protection: Nakedness and stops; has the figures of unprotected time.
    """

    def __init__(self, world: World, settings: Settings, limits: Limits, *, level: str) -> None:
        self._world = world
        self.violations = Violations()
        self.protection = ProtectionChecks(world.agenda, settings, limits, self.violations)
        self.books = BookChecks(world.store, self.protection, self.violations)
        self.requests = RequestChecks(
            settings,
            world.venues,
            world.store,
            protection=self.protection,
            violations=self.violations,
            write_ahead=level == "sim",
        )
        self._calls: dict[str, tuple[VenueRequest, int]] = {}
        self._unlisted_ns: dict[tuple[str, str], int] = {}
        self._born_ns = -1
        for venue in world.venues.values():
            self.protection.attach(venue)
            self.books.attach(venue)
            if level != "sim":
                self._tap(venue)

    # ------------------------------------------------------------ sink

    def born(self, kernel: AnyKernel) -> None:
        """See `Sink.born`."""
        self._born_ns = self._world.agenda.now_ns
        self._calls.clear()
        self.protection.born()
        self.requests.born(buried=self._world.store.epoch)

    def died(self, reason: str) -> None:
        """See `Sink.died`."""
        self._born_ns = -1
        self.protection.died()

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        body = item.body
        now = self._world.agenda.now_ns
        if type(body) is VenueAnswer:
            self._answer(item.key, body, result, now)
        elif type(body) is VenueSaid:
            self.requests.shown(body.venue, body.event)
            event = body.event
            if type(event) is Fill or type(event) is PositionReport:
                if type(event) is _told_by(body.venue):
                    self.protection.told_of_fill(body.venue, event.symbol)
            elif type(event) in _DOUBTS:
                self._doubt(body, now)
        for decision in result.decisions:
            self._decision(decision, now)
        for effect in result.effects:
            self._effect(effect, now)

    def finish(self) -> None:
        """The run is over: compare the books."""
        now = self._world.agenda.now_ns
        alive = self._born_ns >= 0 and now - self._born_ns >= QUIET_NS
        self.protection.finish()
        self.books.finish(now, settled=alive)

    # ------------------------------------------------------------ inside

    def _effect(self, effect: Effect, now_ns: int) -> None:
        body = effect.body
        if type(body) is VenueCall:
            self._calls[effect.key] = (body.request, now_ns)
            self.requests.sent(body.venue, body.request, now_ns)

    def _answer(
        self, key: str, body: VenueAnswer, result: StepResult, now_ns: int
    ) -> None:
        call = self._calls.pop(key, None)
        if call is None:
            return
        request, sent_ns = call
        self.requests.answered(body.venue, request, body.reply, sent_ns=sent_ns, now_ns=now_ns)
        if type(body.reply) is Failure and not body.reply.listed:
            self._unlisted(body.venue, body.reply.code, result, now_ns)

    def _unlisted(self, venue: str, code: str, result: StepResult, now_ns: int) -> None:
        """An unlisted code is told, the same code of a venue once an hour."""
        if any(isinstance(effect.body, Alert) for effect in result.effects):
            self._unlisted_ns[(venue, code)] = now_ns
        elif now_ns - self._unlisted_ns.get((venue, code), -HOUR) >= HOUR:
            words = f"no alert for the unlisted code {code}"
            self.violations.add("I17", now_ns, venue, "", words)

    def _doubt(self, body: VenueSaid, now_ns: int) -> None:
        unreadable = ("malformed", "unknown_event")
        if type(body.event) is VenueNotice and body.event.kind not in unreadable:
            return
        self.requests.suspect(body.venue, now_ns)

    def _decision(self, decision: Decision, now_ns: int) -> None:
        match decision.kind:
            case "position.state":
                after = decision.values.get("after", "")
                if after == PositionState.ACTIVE.value:
                    self.protection.became_active(decision.venue, decision.symbol)
                elif after in _ENDS:
                    self.books.ended(decision.venue, decision.symbol, after, now_ns)
            case "outcome.settled" | "order.concluded" | "fill.booked":
                self.requests.settled(decision.venue, decision.client_order_id)
            case "outcome.unknown":
                self.requests.unknown(
                    decision.venue, decision.client_order_id, decision.symbol
                )
            case "store.unloaded":
                self.protection.unloaded()
            case "task.crashed":
                self.violations.add(
                    "I20", now_ns, decision.venue, decision.symbol, decision.cause
                )
            case _:
                pass

    def _reached(
        self, venue: SimVenue, request: VenueRequest, reply: VenueReply, sent_ns: int, *, life: int
    ) -> None:
        if life != self._born_ns:
            return  # the kernel that asked is gone: nobody knows of this answer
        agenda = self._world.agenda
        due = agenda.now_ns + venue.setup.legs.request.base_ns
        agenda.push(due, RANK_MESSAGE, partial(self._told, venue, request, reply, sent_ns))

    def _told(
        self, venue: SimVenue, request: VenueRequest, reply: VenueReply, sent_ns: int
    ) -> None:
        now = self._world.agenda.now_ns
        self.requests.answered(venue.name, request, reply, sent_ns=sent_ns, now_ns=now)

    def _tap(self, venue: SimVenue) -> None:
        """Look at requests where they arrive.

        An answer counts from the earliest instant at which a request sent because of it could
        arrive: what was on its way before that knew nothing of it.
        """
        answer, agenda, legs = venue.gate.answer, self._world.agenda, venue.setup.legs

        def tapped(request: VenueRequest) -> Answer:
            now = agenda.now_ns
            self.requests.sent(venue.name, request, now)
            given = answer(request)
            reply: VenueReply | None = given.reply
            if reply is not None:
                due = now + given.delay_ns + legs.reply.base_ns
                reach = partial(self._reached, venue, request, reply, now, life=self._born_ns)
                agenda.push(due, RANK_MESSAGE, reach)
            return given

        venue.gate.answer = tapped  # type: ignore[method-assign]


def _told_by(venue: str) -> type[Fill | PositionReport]:
    """The event that tells of what a stop can be set for."""
    return PositionReport if TRAITS[venue].position_needed_for_stop else Fill
