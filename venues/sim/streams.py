"""The private stream: legs per topic, connections, and everything that goes wrong with events.

Events of one topic and symbol keep their order (unless a fault lets one be overtaken); between
topics there is no order. Nothing is replayed: what happens while nobody is connected, or while an
event is on its way over a connection that ends, is lost for the listener.

`Stream` carries any payload, so that level "sim" (events) and level "wire" (frames) share it.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel.model.units import TsNs
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.fault_kinds import (
    CERTAIN,
    FOREVER,
    HalfOpen,
    StreamDelay,
    StreamDup,
    StreamGap,
    StreamGarbage,
    StreamReorder,
    When,
)
from venues.sim.faults import FaultBook, Message
from venues.sim.legs import LegClock

TOPICS = ("order", "fill", "position", "balance")


class Stream[P]:
    """One private stream of one listener.

    Args:
        agenda: The world's agenda.
        faults: Of the venue.
        legs: Of the venue.
        deliver: Takes a payload when it arrives.
        came_up: Takes the number of the connection when it is up.
        went_down: Takes the reason when the stream ends by itself or cannot be opened.
        garbage: Makes the payload of a message that nobody can read, from (kind, raw text).
    """

    def __init__(
        self,
        agenda: Agenda,
        faults: FaultBook,
        legs: LegClock,
        *,
        deliver: Callable[[P], None],
        came_up: Callable[[int], None],
        went_down: Callable[[str], None],
        garbage: Callable[[str, str], P],
    ) -> None:
        self._agenda = agenda
        self._faults = faults
        self._faulty = faults.installed(*_FAULTS)
        self._legs = legs
        self._deliver = deliver
        self._came_up = came_up
        self._went_down = went_down
        self._garbage = garbage
        self._connection = 0
        self._up = False
        self._deaf = False
        self._latest: dict[tuple[str, str], int] = {}
        for fault in faults.matched(StreamGap):
            start = faults.origin_ns + fault.when.from_ns
            if fault.closed and _whole(fault.when) and start >= agenda.now_ns:
                agenda.push(start, RANK_MESSAGE, lambda: self.drop("closed by the venue"))

    @property
    def up(self) -> bool:
        """Whether a connection is up."""
        return self._up

    def open(self, connection: int) -> None:
        """Connect anew; an older connection ends without a word."""
        self._connection = connection
        self._up = False
        self._deaf = False
        delay = self._legs.delay("connect", "private")
        self._push(self._agenda.now_ns + delay, lambda: self._connected(connection))

    def close(self) -> None:
        """The listener hangs up."""
        self._connection = 0
        self._up = False

    def drop(self, reason: str) -> None:
        """The venue hangs up; nothing happens when nobody is connected."""
        if self._up:
            self._connection = 0
            self._up = False
            self._went_down(reason)

    def send(
        self,
        topic: str,
        symbol: str,
        entity: str,
        payload: P,
        *,
        client_order_id: str = "",
        lane: str = "",
    ) -> None:
        """The venue tells something now; it arrives when its leg says, if at all.

        Args:
            topic: order, fill, position, balance, or another (it then has the leg of order).
            symbol: Whose events stay in order.
            entity: Content key of the event within its topic.
            payload: What arrives.
            client_order_id: For faults that aim at one.
            lane: What keeps its order together with it; "": the topic. In bytes an execution may
                travel in a message of the same type as the order's own.
        """
        if not self._up:
            return
        faults, now = self._faults, self._agenda.now_ns
        leg = topic if topic in TOPICS else "order"
        delay = self._legs.delay(leg, entity)
        place = (lane or topic, symbol)
        if not self._faulty:
            self._arrive(max(now + delay, self._latest.get(place, 0)), place, payload)
            return
        message = Message("stream", entity, symbol, client_order_id, "", topic)
        if self._lost(message):
            return
        delay += sum(fault.dt_ns for fault in faults.every(StreamDelay, message, now))
        due = max(now + delay, self._latest.get(place, 0))
        for fault in faults.every(StreamGarbage, message, now):
            self._arrive(due, place, self._garbage(fault.kind, fault.raw))
            if fault.replaces:
                return
        late = sum(fault.dt_ns for fault in faults.every(StreamReorder, message, now))
        if late:
            self._arrive(due + late, None, payload)
        else:
            self._arrive(due, place, payload)
        for again in faults.every(StreamDup, message, now):
            self._arrive(due + late + again.dt_ns, None, payload)

    def tell(self, payload: P, delay_ns: int) -> None:
        """Protocol of the connection itself (acknowledgements, pongs): no event is lost by it.

        Faults of events do not meet it; a connection that is half open delivers it as little.
        """
        if self._up:
            self._arrive(self._agenda.now_ns + delay_ns, None, payload)

    # ------------------------------------------------------------------ inside

    def _lost(self, message: Message) -> bool:
        now = self._agenda.now_ns
        if self._faults.first(HalfOpen, message, now) is not None:
            self._deaf = True
        for fault in self._faults.every(StreamGap, message, now):
            if fault.closed and not _whole(fault.when):
                self.drop("closed by the venue")
            return True
        return self._deaf

    def _connected(self, connection: int) -> None:
        if connection != self._connection:
            return
        if self._refused():
            self._connection = 0
            self._went_down("connection refused")
            return
        self._up = True
        self._latest.clear()
        self._came_up(connection)

    def _refused(self) -> bool:
        at = self._agenda.now_ns - self._faults.origin_ns
        return any(
            fault.closed and _whole(fault.when) and fault.when.from_ns <= at < fault.when.to_ns
            for fault in self._faults.matched(StreamGap)
        )

    def _arrive(self, due_ns: int, place: tuple[str, str] | None, payload: P) -> None:
        # `place` None: later events of the topic need not wait for this one.
        if place is not None:
            self._latest[place] = due_ns
        connection = self._connection

        def arrive() -> None:
            if self._connection == connection and not self._deaf:
                self._deliver(payload)

        self._push(due_ns, arrive)

    def _push(self, due_ns: int, action: Callable[[], None]) -> None:
        self._agenda.push(TsNs(due_ns), RANK_MESSAGE, action)


_FAULTS = (HalfOpen, StreamDelay, StreamDup, StreamGap, StreamGarbage, StreamReorder)


def _whole(when: When) -> bool:
    """Whether it means all of a window, and not single events of it."""
    single = when.nth or when.times or when.chance_ppm < CERTAIN
    return not single and (when.from_ns > 0 or when.to_ns < FOREVER)
