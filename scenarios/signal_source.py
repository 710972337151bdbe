"""The signal server of a simulated world: it speaks the protocol of docs/signal-feed.md.

It answers each request with every signal that has arrived in the last `KEPT_NS` and repeats what
it sent before, as the protocol allows. While it is away, connecting fails and connections end.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from decimal import Decimal

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
from kernel.model.units import HOUR, MS, text
from kernel.signals.timestamps import format_utc
from venues.sim.agenda import RANK_MESSAGE, Agenda

KEPT_NS = HOUR
LEG_NS = 5 * MS
CONNECT_NS = 50 * MS

type Emit = Callable[[str, InputBody], None]
type FeedEffect = FeedOpen | FeedAuth | FeedSend | FeedClose


class Arrival(msgspec.Struct, frozen=True):
    """One signal as JSON text, and when the server has it (wall time)."""

    ts_ns: int
    item: str


def signal_item(
    candle_ns: int,
    symbol: str,
    side: str,
    *,
    week: Decimal,
    month: Decimal | None = None,
    more: dict[str, object] | None = None,
) -> str:
    """A signal of the protocol as JSON text; numbers stay exact."""
    fields: dict[str, object] = {
        "timestamp": format_utc(candle_ns),
        "symbol": symbol,
        "side": side,
        **(more or {}),
    }
    scores = [("score_week", week), ("score_month", month)]
    numbers = "".join(f', "{name}": {text(value)}' for name, value in scores if value is not None)
    return json.dumps(fields)[:-1] + numbers + "}"


class SignalSource:
    """One signal server for one kernel.

    Args:
        agenda: The world's agenda.
        arrivals: Everything that it will ever have, by time.
        emit: Takes the inputs of the kernel.
    """

    def __init__(self, agenda: Agenda, arrivals: tuple[Arrival, ...], emit: Emit) -> None:
        self._agenda = agenda
        self._items = sorted(arrivals, key=lambda arrival: arrival.ts_ns)
        self._times = [arrival.ts_ns for arrival in self._items]
        self._emit = emit
        self._connection = 0
        self._up = False
        self._away_until_ns = 0

    def accept(self, body: FeedEffect) -> None:
        """Take an effect of the kernel that concerns the feed."""
        match body:
            case FeedOpen():
                self._open()
            case FeedAuth():
                self._say('{"type": "auth_success"}')
            case FeedSend():
                self._answer()
            case FeedClose():
                self._up = False

    def cut(self) -> None:
        """The kernel is gone."""
        self._connection += 1
        self._up = False

    def away(self, until_ns: int) -> None:
        """Go away until a wall time: the connection ends, and new ones fail."""
        self._away_until_ns = until_ns
        if self._up:
            self._up = False
            self._connection += 1
            self._emit("feed/down", FeedDown(reason="the server went away"))

    def _open(self) -> None:
        self._connection += 1
        connection = self._connection

        def connected() -> None:
            if connection != self._connection:
                return
            if self._agenda.now_ns < self._away_until_ns:
                self._emit("feed/down", FeedDown(reason="connection refused"))
                return
            self._up = True
            self._emit("feed/up", FeedUp())
            self._say('{"type": "auth_required"}')

        self._agenda.push(self._agenda.now_ns + CONNECT_NS, RANK_MESSAGE, connected)

    def _answer(self) -> None:
        now = self._agenda.now_ns
        first = bisect_left(self._times, now - KEPT_NS)
        items = self._items[first : bisect_right(self._times, now)]
        listed = ", ".join(arrival.item for arrival in items)
        self._say(f'{{"type": "signals", "signals": [{listed}]}}')

    def _say(self, message: str) -> None:
        if not self._up:
            return
        connection = self._connection

        def arrive() -> None:
            if self._up and connection == self._connection:
                self._emit("feed/text", FeedText(text=message))

        self._agenda.push(self._agenda.now_ns + LEG_NS, RANK_MESSAGE, arrive)
