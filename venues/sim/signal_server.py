"""The simulated signal server (docs/signal-feed.md), with the faults of a feed.

It answers each request with every signal of the last `kept_ns`, and repeats what it sent before,
as the protocol allows. Messages of one connection keep their order unless a fault says otherwise.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import msgspec

from kernel.model.messages import (
    FeedAuth,
    FeedClose,
    FeedDown,
    FeedOpen,
    FeedSend,
    FeedText,
    FeedUp,
    InputBody,
)
from kernel.model.units import HOUR, MS
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.faults import FaultBook, Message
from venues.sim.feed_faults import (
    AnyFeedFault,
    FeedAuthRefused,
    FeedAway,
    FeedDelay,
    FeedDrop,
    FeedDup,
    FeedFlood,
    FeedGarbage,
    FeedReorder,
    FeedReplay,
    FeedSilent,
    FeedTruncate,
    FeedWrongCandle,
)

_TIMESTAMP = re.compile(r'("timestamp":\s*)"[^"]*"')

type Emit = Callable[[str, InputBody], None]
type FeedEffect = FeedOpen | FeedAuth | FeedSend | FeedClose


class Posted(msgspec.Struct, frozen=True):
    """One signal as JSON text, and when the server has it (wall time)."""

    ts_ns: int
    item: str


class SignalServerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Delays and faults of the feed. Times of faults count from `origin_ns`."""

    leg_ns: int = 5 * MS
    connect_ns: int = 50 * MS
    kept_ns: int = HOUR
    faults: tuple[AnyFeedFault, ...] = ()
    seed: int = 0
    origin_ns: int = 0


class SignalServer:
    """One signal server for one kernel.

    Args:
        agenda: The world's agenda.
        posted: Everything that it will ever have.
        emit: Takes the inputs of the kernel.
        setup: Delays and faults.
    """

    def __init__(
        self,
        agenda: Agenda,
        posted: tuple[Posted, ...],
        emit: Emit,
        setup: SignalServerSetup | None = None,
    ) -> None:
        self._agenda = agenda
        self._posted = sorted(posted, key=lambda one: one.ts_ns)
        self._times = [one.ts_ns for one in self._posted]
        self._emit = emit
        self._setup = setup or SignalServerSetup()
        self.faults = FaultBook(seed=self._setup.seed, origin_ns=self._setup.origin_ns)
        for number, fault in enumerate(self._setup.faults):
            self.faults.install(fault, number)
        self._faulty = bool(self._setup.faults)
        self._told: tuple[int, int, str] = (0, 0, "")
        """The last list without faults: from which message, up to which, and its text."""
        self._connection = 0
        self._up = False
        self._latest_ns = 0
        self._away_until_ns = 0
        for away in self.faults.matched(FeedAway):
            start = self._setup.origin_ns + away.when.from_ns
            if start >= agenda.now_ns:
                agenda.push(start, RANK_MESSAGE, lambda: self.drop("the server went away"))

    def accept(self, body: FeedEffect) -> None:
        """Take an effect of the kernel that concerns the feed."""
        match body:
            case FeedOpen():
                self._open()
            case FeedAuth():
                self._check_token()
            case FeedSend():
                self._answer()
            case FeedClose():
                self._connection += 1
                self._up = False

    def cut(self) -> None:
        """The kernel is gone: nothing reaches it any more."""
        self._connection += 1
        self._up = False

    def away(self, until_ns: int) -> None:
        """Go away until a wall time: the connection ends, and new ones fail."""
        self._away_until_ns = until_ns
        self.drop("the server went away")

    def drop(self, reason: str) -> None:
        """End the connection, where there is one."""
        if self._up:
            self._connection += 1
            self._up = False
            self._emit("feed/down", FeedDown(reason=reason))

    # ------------------------------------------------------------------ the conversation

    def _open(self) -> None:
        self._connection += 1
        connection = self._connection

        def connected() -> None:
            if connection != self._connection:
                return
            away = self._agenda.now_ns < self._away_until_ns
            if away or self._meets(FeedAway, "connect"):
                self._emit("feed/down", FeedDown(reason="connection refused"))
                return
            self._up = True
            self._latest_ns = 0
            self._emit("feed/up", FeedUp())
            self._say('{"type": "auth_required"}')

        self._push(self._agenda.now_ns + self._setup.connect_ns, connected)

    def _check_token(self) -> None:
        refused = self.faults.first(FeedAuthRefused, self._about("auth"), self._agenda.now_ns)
        if refused is None:
            self._say('{"type": "auth_success"}')
        else:
            reason = msgspec.json.encode(refused.reason).decode()
            self._say(f'{{"type": "auth_failed", "reason": {reason}}}')

    def _answer(self) -> None:
        if not self._up:
            return
        now = self._agenda.now_ns
        if not self._faulty:
            self._say(self._list(now))
            return
        if self._meets(FeedSilent, "request"):
            return
        about = self._about("signals")
        replay = self.faults.first(FeedReplay, about, now)
        kept = self._setup.kept_ns if replay is None else replay.age_ns
        first = bisect_left(self._times, now - kept)
        items = self._posted[first : bisect_right(self._times, now)]
        listed = ", ".join(one.item for one in items)
        wrong = self.faults.first(FeedWrongCandle, about, now)
        if wrong is not None:
            listed = _TIMESTAMP.sub(rf'\g<1>"{wrong.timestamp}"', listed)
        self._say_through(f'{{"type": "signals", "signals": [{listed}]}}', about)

    def _list(self, now_ns: int) -> str:
        """What the server keeps, as a message; the same text while it keeps the same."""
        first = bisect_left(self._times, now_ns - self._setup.kept_ns)
        end = bisect_right(self._times, now_ns)
        if not self._told[2] or self._told[:2] != (first, end):
            listed = ", ".join(one.item for one in self._posted[first:end])
            self._told = (first, end, f'{{"type": "signals", "signals": [{listed}]}}')
        return self._told[2]

    def _say_through(self, message: str, about: Message) -> None:
        # A batch of signals, through the faults of messages.
        faults, now = self.faults, self._agenda.now_ns
        if faults.first(FeedDrop, about, now) is not None:
            return
        for garbage in faults.every(FeedGarbage, about, now):
            self._say(garbage.raw)
            if garbage.replaces:
                return
        cut = faults.first(FeedTruncate, about, now)
        if cut is not None:
            message = message[: len(message) * cut.keep_ppm // 1_000_000]
        delay = sum(fault.dt_ns for fault in faults.every(FeedDelay, about, now))
        late = sum(fault.dt_ns for fault in faults.every(FeedReorder, about, now))
        self._say(message, delay_ns=delay, late_ns=late)
        for again in faults.every(FeedDup, about, now):
            self._say(message, delay_ns=delay, late_ns=late + again.dt_ns)
        flood = faults.first(FeedFlood, about, now)
        for _ in range(0 if flood is None else flood.copies):
            self._say(message, delay_ns=delay)

    # ------------------------------------------------------------------ inside

    def _say(self, message: str, *, delay_ns: int = 0, late_ns: int = 0) -> None:
        # `delay_ns` holds up what follows; `late_ns` lets it overtake.
        if not self._up:
            return
        connection = self._connection
        due = max(self._agenda.now_ns + self._setup.leg_ns + delay_ns, self._latest_ns)
        if not late_ns:
            self._latest_ns = due

        def arrive() -> None:
            if self._up and connection == self._connection:
                self._emit("feed/text", FeedText(text=message))

        self._push(due + late_ns, arrive)

    def _about(self, kind: str) -> Message:
        return Message(kind=kind, entity=f"{kind}/{self._agenda.now_ns}")

    def _meets(self, kind: type[FeedAway | FeedSilent], what: str) -> bool:
        return self.faults.first(kind, self._about(what), self._agenda.now_ns) is not None

    def _push(self, due_ns: int, action: Callable[[], None]) -> None:
        self._agenda.push(due_ns, RANK_MESSAGE, action)
