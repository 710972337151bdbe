"""Invariants on the venue's truth: I1, I2, I4, I7, I8, I9. Observers of transitions, O(1) each.

A position is *naked* while the closing stops that are live in the venue's book cover less than its
quantity; a stop that fired counts as none. Nakedness is measured from the fill at the venue to the
stop in its book, or to flat. Bounds in time are entries on the agenda that look once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from kernel.config import Settings
from kernel.model.ids import is_ours
from kernel.model.orders import FillKind, OrderClass, Side
from kernel.model.units import MS, SECOND, ZERO, text
from scenarios.violations import Violations
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.truth import LiveStop, StopGone, StopLive, Traded, TruthEvent
from venues.sim.venue import SimVenue

CLOSE_IN_FLIGHT_NS = 10 * SECOND
"""So long a closing order that was sent counts as an exit in progress."""
MAX_EXTENSIONS = 1
"""A close in flight at the bound is given that time once, however often it is sent again."""
SIZE_TOLERANCE = Decimal("1.05")
"""The market moves between sizing and fill."""

type Place = tuple[str, str, str]
"""(venue, symbol, hedge leg)."""
CAP_WINDOW_NS = 5 * SECOND
"""How long after a refusal for the cap one stop may be cancelled before the new one is live, and
how long the position may be without one then."""
TOLD_NS = SECOND
"""So long after it is told of a fill that nothing protects a kernel asks for protection (I20)."""
READ_NS = 3 * SECOND
"""The same of a kernel that could not load its store: what the venue holds it must read first."""
EFFORT_NS = 10 * SECOND
"""The same where it had asked already: a call without an answer, reads for what it did, the pause
before the next try come first."""
RESIZE_NS = 10 * SECOND
"""So long after a position grew a third set of stops may stand, for it may grow during a move; and
so long after it shrank those of the set that it had (I9)."""


class Limits:
    """Bounds in time of one run.

    Args:
        faults: Whether the run has any fault, crash or outage.
        unobservable_ns: So much longer a loss may stay hidden from every surface.
    """

    def __init__(self, *, faults: bool, unobservable_ns: int = 0) -> None:
        self.naked_ns = (30 * SECOND + 500 * MS if faults else 5 * SECOND) + unobservable_ns
        self.orphan_ns = 240 * SECOND if faults else 30 * SECOND


class Held:
    """One position at one venue as its truth is, with the stops on its symbol."""

    __slots__ = (
        "active", "cover", "episode", "grown_ns", "largest", "naked_since_ns", "notional", "ours",
        "qty", "shrunk_ns", "stops", "tightest",
    )  # fmt: skip

    def __init__(self) -> None:
        self.qty = ZERO
        self.notional = ZERO
        self.stops: dict[str, LiveStop] = {}
        self.cover = ZERO
        self.naked_since_ns = -1
        self.ours = True
        self.active = False
        """The kernel called it ACTIVE: from then on its stop never loosens."""
        self.tightest = ZERO
        self.grown_ns = self.shrunk_ns = -RESIZE_NS
        self.largest = ZERO
        """What it was before it shrank lately."""
        self.episode = 0
        """Counts from flat to flat."""


class ProtectionChecks:
    """Watches every position and stop of every venue.

    Attributes:
        max_unprotected_ns: Longest nakedness of a position of ours so far.
        unprotected_ns: All nakedness of positions of ours, summed.
    """

    def __init__(
        self, agenda: Agenda, settings: Settings, limits: Limits, violations: Violations
    ) -> None:
        self._agenda = agenda
        self._settings = settings
        self._limits = limits
        self._violations = violations
        self._held: dict[Place, Held] = {}
        self._on: dict[tuple[str, str], list[tuple[Place, Held]]] = {}
        """The same by (venue, symbol)."""
        self._venues: dict[str, SimVenue] = {}
        self._canceled: dict[tuple[str, str], int] = {}
        self._capped: dict[tuple[str, str], int] = {}
        self._doubted: dict[tuple[str, str], int] = {}
        self._closing_ns: dict[tuple[str, str], int] = {}
        self._throttled_ns: dict[str, int] = {}
        """Venue → until when it refuses requests that a stop may need."""
        self._asked_ns: dict[tuple[str, str], int] = {}
        self._exposure = ZERO
        self._alive = False
        self._born_ns = 0
        self._lives = 0
        self._prompt_ns = TOLD_NS
        self._spans: list[tuple[str, str, int, int]] = []
        self.max_unprotected_ns = 0
        self.unprotected_ns = 0

    # ------------------------------------------------------------ what it hears

    def attach(self, venue: SimVenue) -> None:
        """Observe a venue from now on."""
        self._venues[venue.name] = venue
        name = venue.name

        def hear(event: TruthEvent) -> None:
            if type(event) is Traded:
                self._traded(name, event)
            elif type(event) is StopLive:
                self._stop_live(name, event.stop)
            elif type(event) is StopGone:
                self._stop_gone(name, event)

        venue.subscribe(hear)

    def born(self) -> None:
        """A kernel starts: what is naked, or left over, now has the whole bound from here."""
        self._alive = True
        self._born_ns = self._agenda.now_ns
        self._prompt_ns = TOLD_NS
        self._lives += 1
        for place, held in self._held.items():
            if held.naked_since_ns >= 0:
                self._arm(place, held, self._limits.naked_ns, MAX_EXTENSIONS)

    def unloaded(self) -> None:
        """The kernel that starts knows no row: what it is told of it must look up."""
        self._prompt_ns = READ_NS

    def died(self) -> None:
        """Nobody can protect anything."""
        self._alive = False

    def cancel_sent(self, venue: str, order_id: str) -> None:
        """The kernel asked to cancel an order, by either id."""
        self._canceled[(venue, order_id)] = self._agenda.now_ns

    def cap_refused(self, venue: str, symbol: str) -> None:
        """The venue refused a second stop for its cap: overlap is not permitted now (I8)."""
        self._capped[(venue, symbol)] = self._agenda.now_ns

    def outcome_unknown(self, venue: str, symbol: str) -> None:
        """A request of this symbol has no answer, or one that says nothing."""
        self._doubted[(venue, symbol)] = self._agenda.now_ns

    def protecting_sent(self, venue: str, symbol: str) -> None:
        """The kernel asked for a stop or a close."""
        self._asked_ns[(venue, symbol)] = self._agenda.now_ns

    def closing_sent(self, venue: str, symbol: str) -> None:
        """The kernel sent a closing order."""
        self._closing_ns[(venue, symbol)] = self._agenda.now_ns

    def told_of_fill(self, venue: str, symbol: str) -> None:
        """The kernel was told of an execution: what is naked now, it asks to protect at once.

        Where a stop is a property of the position it counts from being told of the position.
        """
        life, now = self._lives, self._agenda.now_ns
        for place, held in self._on.get((venue, symbol), ()):
            if held.naked_since_ns >= 0 and held.ours:
                tries = now - self._asked_ns.get((venue, symbol), -EFFORT_NS) < EFFORT_NS
                span_ns = EFFORT_NS if tries else self._prompt_ns
                self._later(span_ns, partial(self._look_asked, place, held, now, life))

    def throttled(self, venue: str, until_ns: int) -> None:
        """The venue refuses requests, of a budget that stops need too, until a time."""
        self._throttled_ns[venue] = max(until_ns, self._throttled_ns.get(venue, 0))

    def _look_asked(self, place: Place, held: Held, told_ns: int, life: int) -> None:
        """Whether the kernel asked for protection since it was told of a fill."""
        again_ns = self._throttled_ns.get(place[0], 0) + TOLD_NS
        if again_ns > max(self._agenda.now_ns, told_ns + TOLD_NS):
            wait_ns = again_ns - self._agenda.now_ns
            self._later(wait_ns, partial(self._look_asked, place, held, told_ns, life))
            return
        naked = 0 <= held.naked_since_ns <= told_ns
        asked = self._asked_ns.get(place[:2], -1) >= told_ns
        if naked and not asked and self._alive and life == self._lives:
            span = Decimal(self._agenda.now_ns - told_ns) / SECOND
            self._tell("I20", place, f"{text(held.qty)} was told filled, and no stop or close"
                                     f" was asked for in {text(span)} s")  # fmt: skip

    def became_active(self, venue: str, symbol: str) -> None:
        """The kernel says that the position is ACTIVE: its stop is confirmed."""
        for _, held in self._on.get((venue, symbol), ()):
            if held.qty and not held.active:
                held.active = True
                self._note_tightest(held)

    # ------------------------------------------------------------ what it knows

    def qty(self, venue: str, symbol: str) -> Decimal:
        """Signed quantity of a symbol, all hedge legs together."""
        return sum((held.qty for _, held in self._on.get((venue, symbol), ())), ZERO)

    def is_ours(self, venue: str, symbol: str) -> bool:
        """Whether the position on a symbol was opened by the kernel alone."""
        return all(held.ours for _, held in self._on.get((venue, symbol), ()))

    def spans(self) -> list[tuple[str, str, int, int]]:
        """(venue, symbol, from, to) of every nakedness of a position of ours, by its end."""
        return self._spans

    # ------------------------------------------------------------ transitions

    def _at(self, place: Place) -> Held:
        held = self._held.get(place)
        if held is None:
            held = self._held[place] = Held()
            self._on.setdefault(place[:2], []).append((place, held))
        return held

    def _traded(self, venue: str, event: Traded) -> None:
        fill = event.fill
        if fill.kind is FillKind.FUNDING:
            return
        place = (venue, fill.symbol, event.hedge_leg)
        held = self._at(place)
        before, held.qty = held.qty, event.position_qty
        self._note_size(held, abs(before))
        ours = is_ours(fill.client_order_id) or event.reduce_only
        if not before or before * held.qty < 0:
            held.ours = ours and not before
            held.episode += 1
            held.active, held.tightest = False, ZERO
        elif not ours:
            held.ours = False
        if ours and before * held.qty < 0:
            self._tell("I4", place, f"{text(before)} became {text(held.qty)} by"
                                    f" {fill.client_order_id or fill.venue_order_id}")  # fmt: skip
        notional = abs(held.qty) * fill.price
        self._exposure += notional - held.notional
        held.notional = notional
        if held.ours and abs(held.qty) > abs(before):
            self._check_size(place, held, fill.price)
        if not held.qty:
            self._flat(place, held)
        self._cover(place, held)

    def _note_size(self, held: Held, before: Decimal) -> None:
        now = self._agenda.now_ns
        if abs(held.qty) > before:
            held.grown_ns = now
        elif abs(held.qty) < before:
            lately = now - held.shrunk_ns < RESIZE_NS
            held.largest = max(before, held.largest) if lately else before
            held.shrunk_ns = now

    def _check_size(self, place: Place, held: Held, price: Decimal) -> None:
        settings = self._settings
        instrument = self._venues[place[0]].instruments[place[1]]
        intended = max(settings.position_size_usd, settings.min_position_size_usd)
        most = intended / price * SIZE_TOLERANCE + instrument.qty_step
        if abs(held.qty) > most:
            self._tell("I2", place, f"quantity {text(held.qty)} is above {text(most)}")
        if self._exposure > settings.max_exposure_usd * SIZE_TOLERANCE:
            self._tell("I2", place, f"gross exposure {text(self._exposure)} USD is above"
                                    f" {text(settings.max_exposure_usd)}")  # fmt: skip
        count = sum(1 for other in self._held.values() if other.qty)
        if count > settings.max_positions:
            self._tell("I2", place, f"{count} positions, {settings.max_positions} are allowed")

    def _stop_live(self, venue: str, stop: LiveStop) -> None:
        place = (venue, stop.symbol, stop.hedge_leg)
        held = self._at(place)
        held.stops[stop.venue_order_id] = stop
        if held.active and held.qty and self._own(stop) and self._protects(held, stop):
            sign = 1 if held.qty > 0 else -1
            if held.tightest and (stop.trigger_price - held.tightest) * sign < 0:
                self._tell("I7", place, f"a stop at {text(stop.trigger_price)} after one at"
                                        f" {text(held.tightest)}")  # fmt: skip
            self._note_tightest(held)
        self._count_stops(place, held)
        self._cover(place, held)

    def _stop_gone(self, venue: str, event: StopGone) -> None:
        stop = event.stop
        place = (venue, stop.symbol, stop.hedge_leg)
        held = self._at(place)
        was_covered = held.naked_since_ns < 0
        held.stops.pop(stop.venue_order_id, None)
        self._cover(place, held)
        if not held.qty or not was_covered or held.naked_since_ns < 0:
            return
        asked = any(
            (venue, one) in self._canceled for one in (stop.client_order_id, stop.venue_order_id)
        )
        capped = self._capped.pop((venue, stop.symbol), -CAP_WINDOW_NS)
        if asked and self._agenda.now_ns - capped < CAP_WINDOW_NS:
            self._cover_again(place, held)  # no overlap is permitted: cancel first (SPEC §4)
            return
        if asked and not self._closing(venue, stop.symbol):
            self._tell("I8", place, f"our cancel of the stop at {text(stop.trigger_price)} left"
                                    f" {text(held.qty)} without one")  # fmt: skip

    def _cover_again(self, place: Place, held: Held) -> None:
        """The gap of a cancel that went first has its own bound, refusals for the cap or not.

        What the venue leaves unknown meanwhile is asked for again: the bound counts from there,
        and I1 bounds the whole.
        """
        since = held.naked_since_ns

        def look() -> None:
            if held.naked_since_ns != since or not self._alive or self._closing(*place[:2]):
                return
            doubted = self._doubted.get(place[:2], -CAP_WINDOW_NS)
            if self._agenda.now_ns - doubted < CAP_WINDOW_NS:
                self._later(doubted + CAP_WINDOW_NS - self._agenda.now_ns, look)
            else:
                self._tell("I8", place, f"{text(held.qty)} has no stop again after our cancel")

        self._later(CAP_WINDOW_NS, look)

    # ------------------------------------------------------------ nakedness

    def _cover(self, place: Place, held: Held) -> None:
        cover = ZERO
        for stop in held.stops.values():
            if self._protects(held, stop):
                whole = stop.order_class is OrderClass.ATTACHED
                cover += abs(held.qty) if whole else stop.qty
        held.cover = cover
        naked = bool(held.qty) and cover < abs(held.qty)
        now = self._agenda.now_ns
        if naked and held.naked_since_ns < 0:
            held.naked_since_ns = now
            self._arm(place, held, self._limits.naked_ns, MAX_EXTENSIONS)
        elif not naked and held.naked_since_ns >= 0:
            since, held.naked_since_ns = held.naked_since_ns, -1
            if now > since:
                self._measure(place, held, since, now)

    def _measure(self, place: Place, held: Held, since_ns: int, now_ns: int) -> None:
        if held.ours:
            self.unprotected_ns += now_ns - since_ns
            self.max_unprotected_ns = max(self.max_unprotected_ns, now_ns - since_ns)
            self._spans.append((place[0], place[1], since_ns, now_ns))

    def finish(self) -> None:
        """The run is over: nakedness that goes on is measured up to here."""
        now = self._agenda.now_ns
        for place, held in self._held.items():
            if held.naked_since_ns >= 0:
                self._measure(place, held, held.naked_since_ns, now)

    def _arm(self, place: Place, held: Held, span_ns: int, left: int) -> None:
        since, life = held.naked_since_ns, self._lives

        def look() -> None:
            if held.naked_since_ns != since or not self._alive or life != self._lives:
                return
            if left and self._closing(place[0], place[1]):
                self._arm(place, held, CLOSE_IN_FLIGHT_NS, left - 1)
                return
            seconds = Decimal(self._agenda.now_ns - since) / SECOND
            self._tell("I1", place, f"{text(held.qty)} has had no full stop for"
                                    f" {text(seconds)} s, and no close is in flight")  # fmt: skip

        limit = span_ns if held.ours else span_ns + 150 * SECOND
        self._later(limit, look)

    def _closing(self, venue: str, symbol: str) -> bool:
        sent = self._closing_ns.get((venue, symbol))
        return sent is not None and self._agenda.now_ns - sent <= CLOSE_IN_FLIGHT_NS

    # ------------------------------------------------------------ stops and orphans

    def _protects(self, held: Held, stop: LiveStop) -> bool:
        closing = Side.SELL if held.qty > 0 else Side.BUY
        return stop.side is closing and stop.reduce_only

    @staticmethod
    def _own(stop: LiveStop) -> bool:
        return stop.order_class is OrderClass.ATTACHED or is_ours(stop.client_order_id)

    def _note_tightest(self, held: Held) -> None:
        levels = [
            stop.trigger_price
            for stop in held.stops.values()
            if self._own(stop) and self._protects(held, stop)
        ]
        if levels:
            best = max(levels) if held.qty > 0 else min(levels)
            tighter = not held.tightest or (best - held.tightest) * held.qty > 0
            held.tightest = best if tighter else held.tightest

    def _count_stops(self, place: Place, held: Held) -> None:
        if not held.qty:
            return
        now, needed = self._agenda.now_ns, self._needed(place, abs(held.qty))
        lately = now - held.shrunk_ns < RESIZE_NS
        most = self._needed(place, held.largest) if lately else needed
        own = [name for name, stop in held.stops.items() if self._own(stop)]
        if len(own) > (3 if now - held.grown_ns < RESIZE_NS else 2) * most:
            self._tell("I9", place, f"{len(own)} stops of ours for one position")
        elif len(own) > needed:
            episode = held.episode

            def look() -> None:
                rest = [name for name in own if name in held.stops]
                if held.episode == episode and held.qty and len(rest) == len(own):
                    self._tell("I9", place, f"{len(rest)} stops of ours stay for one position")

            self._later(self._limits.orphan_ns, look)

    def _needed(self, place: Place, qty: Decimal) -> int:
        """How many stops a quantity takes."""
        biggest = self._venues[place[0]].instruments[place[1]].max_market_qty
        whole, rest = divmod(qty, biggest) if biggest else (Decimal(1), ZERO)
        return max(1, int(whole) + (rest > 0))

    def _flat(self, place: Place, held: Held) -> None:
        episode, (venue, symbol, leg) = held.episode, place

        def look() -> None:
            if held.episode != episode or held.qty:
                return
            since_ns = self._agenda.now_ns - self._born_ns if self._alive else 0
            if since_ns < self._limits.orphan_ns:  # nobody was there to clean up
                self._later(self._limits.orphan_ns - since_ns, look)
                return
            for order in self._venues[venue].matching.open.of_symbol(symbol):
                if order.position_side == leg and is_ours(order.client_order_id):
                    self._tell("I9", place, f"order {order.client_order_id} is left after flat")

        self._later(self._limits.orphan_ns, look)

    # ------------------------------------------------------------ inside

    def _later(self, span_ns: int, look: Callable[[], None]) -> None:
        self._agenda.push(self._agenda.now_ns + span_ns, RANK_MESSAGE, look)

    def _tell(self, invariant: str, place: Place, words: str) -> None:
        self._violations.add(invariant, self._agenda.now_ns, place[0], place[1], words)

