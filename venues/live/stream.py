"""The life of a private stream, as far as it is the same on every venue.

1. `StreamUp` is said when everything is confirmed, `StreamDown` when a stream that was up ends and
   at each attempt that fails.
2. A stream that ends is opened anew after 2^attempt seconds, at most 60, plus jitter; at once where
   the reason was found by us (a failed health check, an expired key, the end of a connection's
   permitted life) and the stream had been up.
3. Frames of an older connection are dropped. A frame that cannot be read is a `VenueNotice`.

Source: SPEC §10 (reconnects), §9 (what follows: a resync).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.draws import draw
from kernel.model.messages import StreamClosed, StreamFrame, StreamOpened
from kernel.model.units import MINUTE, MS, SECOND, MonoNs
from kernel.model.venue import StreamDown, StreamUp, VenueEvent, VenueNotice
from kernel.runtime.errors import TimedOut
from venues.live.wire import BAD_ROW, clip

if TYPE_CHECKING:
    from kernel.ports.transport import Transport
    from kernel.runtime.channels import Channel
    from kernel.runtime.scheduler import Runtime

PRIVATE = "private"
CONNECT_NS = 10 * SECOND
"""For the handshake, and as long again for what must be confirmed after it."""
LONGEST_PAUSE_NS = 60 * SECOND
JITTER_MS = 1000
STEADY_NS = MINUTE
"""A stream that was up this long begins its next attempts at the shortest pause again."""
_RESTARTS = 1_000_000


class Signal(StrEnum):
    """What a session waits for."""

    OPENED = "opened"
    CONFIRMED = "confirmed"
    LOST = "lost"
    """The other side ended it."""
    SUSPECT = "suspect"
    """We end it: the next attempt follows at once."""


class PrivateStream(ABC):
    """Keeps one private stream up.

    Attributes:
        connection: Number of the present or last connection.
        up: `StreamUp` was said and no `StreamDown` since.
    """

    def __init__(
        self, runtime: Runtime, transport: Transport, events: Channel[VenueEvent], venue: str
    ) -> None:
        self._runtime = runtime
        self._transport = transport
        self._events = events
        self._venue = venue
        self._signals: Channel[tuple[Signal, str]] = runtime.channel()
        self._started = False
        self._pauses = 0
        self.connection = 0
        self.up = False

    # ------------------------------------------------------------ what venues differ in

    @abstractmethod
    async def prepare(self) -> str:
        """Get what a connection needs and return the path to open.

        Raises:
            VenueError: It can't be had now.
            TimedOut: No answer in time.
        """

    @abstractmethod
    def begin(self) -> None:
        """The socket is open: send what is to be sent, or call `confirm`."""

    @abstractmethod
    def read(self, body: bytes) -> None:
        """Read one frame.

        Raises:
            MsgspecError, ValueError, ArithmeticError: It can't be read.
        """

    @abstractmethod
    def next_due(self) -> MonoNs:
        """When `on_due` is to be called next, while the stream is up."""

    @abstractmethod
    async def on_due(self) -> str:
        """Do what is due; not "": why the stream must be opened anew."""

    # ------------------------------------------------------------ for the adapter

    def start(self) -> None:
        """Begin to connect; a second call changes nothing."""
        if self._started:
            return
        self._started = True
        self._runtime.supervise(
            self._run,
            f"private stream of {self._venue}",
            on_failure=self._failed,
            max_restarts=_RESTARTS,
            forgive_after_ns=STEADY_NS,
        )

    def suspect(self, reason: str) -> None:
        """Open the stream anew."""
        self._signals.put_nowait((Signal.SUSPECT, reason))

    def take(self, body: StreamOpened | StreamFrame | StreamClosed) -> None:
        """Take what the world says of the stream."""
        if body.stream != PRIVATE or body.connection != self.connection:
            return
        if isinstance(body, StreamFrame):
            try:
                self.read(body.body)
            except BAD_ROW:
                self.notice("malformed", raw=clip(body.body))
        elif isinstance(body, StreamOpened):
            self._signals.put_nowait((Signal.OPENED, ""))
        else:
            self._signals.put_nowait((Signal.LOST, body.reason))

    # ------------------------------------------------------------ for the venues' streams

    def confirm(self) -> None:
        """Everything is confirmed."""
        self._signals.put_nowait((Signal.CONFIRMED, ""))

    def lose(self, reason: str) -> None:
        """The connection is of no use: end it, and try again after a pause."""
        self._signals.put_nowait((Signal.LOST, reason))

    def say(self, event: VenueEvent) -> None:
        """Hand an event to whoever listens."""
        self._events.put_nowait(event)

    def notice(self, kind: str, *, symbol: str = "", raw: str = "") -> None:
        """Tell of something that has no type of its own."""
        self.say(VenueNotice(kind=kind, symbol=symbol, raw=raw))

    def send(self, body: bytes) -> None:
        """Send a frame on the present connection."""
        self._transport.send(PRIVATE, self.connection, body)

    # ------------------------------------------------------------ the life

    async def _run(self) -> None:
        attempt = 0
        while True:
            self._signals = self._runtime.channel()
            signal, reason, lasted_ns = await self._session()
            self.say(StreamDown(reason=reason or "closed"))
            if lasted_ns >= STEADY_NS:
                attempt = 0
            if lasted_ns and signal is Signal.SUSPECT:
                continue
            await self._pause(attempt)
            attempt += 1

    async def _pause(self, attempt: int) -> None:
        """2^attempt seconds and jitter; a request to reconnect ends it."""
        wait_ns = min(SECOND << min(attempt, 6), LONGEST_PAUSE_NS)
        self._pauses += 1
        wait_ns += draw(0, f"reconnect/{self._venue}", self._pauses, JITTER_MS) * MS
        end_ns = MonoNs(self._runtime.now() + wait_ns)
        while (signal := await self._signal(end_ns)) is not None:
            if signal[0] is Signal.SUSPECT:
                return

    async def _session(self) -> tuple[Signal, str, int]:
        """One connection from its making to its end: what ended it, why, how long it was up."""
        try:
            path = await self.prepare()
        except (VenueError, TimedOut) as error:
            return Signal.LOST, f"{type(error).__name__}: {error}", 0
        self.connection += 1
        self._transport.open(PRIVATE, self.connection, path)
        signal, reason = await self._rise()
        if signal is not Signal.CONFIRMED:
            self._transport.close(PRIVATE, self.connection)
            return signal, reason, 0
        self.up = True
        up_ns = self._runtime.now()
        self.say(StreamUp(connection=self.connection))
        try:
            signal, reason = await self._live()
        finally:
            self.up = False
        self._transport.close(PRIVATE, self.connection)
        return signal, reason, max(1, self._runtime.now() - up_ns)

    async def _rise(self) -> tuple[Signal, str]:
        """Wait until the socket is open and everything on it is confirmed."""
        end_ns = MonoNs(self._runtime.now() + CONNECT_NS)
        while (found := await self._signal(end_ns)) is not None:
            if found[0] is not Signal.OPENED:
                return found
            end_ns = MonoNs(self._runtime.now() + CONNECT_NS)
            self.begin()
        return Signal.LOST, "not confirmed in time"

    async def _live(self) -> tuple[Signal, str]:
        """Keep the stream alive until something ends it."""
        while True:
            found = await self._signal(self.next_due())
            if found is None:
                reason = await self.on_due()
                if reason:
                    return Signal.SUSPECT, reason
            elif found[0] in (Signal.LOST, Signal.SUSPECT):
                return found

    async def _signal(self, end_ns: MonoNs) -> tuple[Signal, str] | None:
        """The next signal; None: there was none until an instant."""
        found: tuple[Signal, str] | None = None
        try:
            with self._runtime.timeout_at(end_ns):
                found = await self._signals.get()
        except TimedOut:
            return None
        return found

    def _failed(self, name: str, error: BaseException, failures: int) -> None:
        """A bug of ours in the stream: it is begun anew, and a resync follows."""
        self.up = False
        self._transport.close(PRIVATE, self.connection)
        self.say(StreamDown(reason=f"{name} failed: {type(error).__name__}: {error}"))
