"""Legs: how long each message takes, and how far each query surface lags behind the truth.

Every leg has a delay of its own, in whole nanoseconds, and may have jitter: a draw on (seed, leg,
content of the message, n). Without jitter all delays are constants. Due times are exact.
"""

from __future__ import annotations

import msgspec

from kernel.model.draws import draw
from kernel.model.units import MS, SECOND
from venues.sim.occurrences import Occurrences


class Delay(msgspec.Struct, frozen=True):
    """`base_ns`, and up to `jitter_ns` more."""

    base_ns: int = 0
    jitter_ns: int = 0


class Legs(msgspec.Struct, frozen=True, kw_only=True):
    """Delays of one venue."""

    request: Delay = Delay(5 * MS)
    reply: Delay = Delay(5 * MS)
    connect: Delay = Delay(50 * MS)
    """From opening the private stream to its being up."""
    order: Delay = Delay(6 * MS)
    fill: Delay = Delay(6 * MS)
    position: Delay = Delay(9 * MS)
    balance: Delay = Delay(9 * MS)
    lag_plain: int = 0
    """Of lists and look-ups of plain orders; Bybit's realtime as a whole."""
    lag_conditional: int = 0
    lag_positions: int = 0
    lag_executions: int = 0
    lag_balance: int = 0
    lag_history: int = SECOND
    """Bybit order/history: closed orders come in late."""
    lag_trading_stop: int = 0
    """Bybit: what the position-level stop service knows of positions."""


class LegClock:
    """Delays as numbers: `Legs` with the draws of one run."""

    def __init__(self, legs: Legs, seed: int, venue: str) -> None:
        self.legs = legs
        self._seed = seed
        self._venue = venue
        self._seen = Occurrences()
        self.jittered = bool(legs.request.jitter_ns or legs.reply.jitter_ns)
        """Whether a request or a reply takes a drawn while: only then its content matters."""

    def delay(self, leg: str, content: str) -> int:
        """Nanoseconds that this message takes on this leg.

        Args:
            leg: A field of `Legs`: request, reply, connect, order, fill, position, balance.
            content: Content key of the message; the n-th with the same key has its own draw.
        """
        delay: Delay = getattr(self.legs, leg)
        if not delay.jitter_ns:
            return delay.base_ns
        label = f"leg/{self._venue}/{leg}/{content}"
        n = self._seen.next(label)
        return delay.base_ns + draw(self._seed, label, n, delay.jitter_ns + 1)
