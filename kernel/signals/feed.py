"""The client of the signal feed: connection, authentication, requests (docs/signal-feed.md).

1. The kernel never sees the token: `FeedAuth` asks the world to send it.
2. Text is read and buffered where it arrives, in `on_text`; `run` only keeps the conversation
   going. A feed that is down or floods delays nothing else.
3. No signal is ever a reason to close anything; a silent feed is an alert and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from kernel.model.messages import Alert, EffectBody, FeedAuth, FeedClose, FeedOpen, FeedSend
from kernel.model.units import MINUTE, SECOND, MonoNs
from kernel.signals.buffer import Batch
from kernel.signals.wire import (
    RAW_LENGTH_MAX,
    REQUEST_TEXT,
    FeedMessage,
    Flaw,
    MalformedMessage,
    Origin,
    read_message,
)

if TYPE_CHECKING:
    from kernel.config import Settings
    from kernel.model.signal import Signal
    from kernel.ports.outbox import Outbox
    from kernel.runtime.channels import Channel
    from kernel.runtime.scheduler import Runtime
    from kernel.runtime.timers import TimerHandle
    from kernel.signals.buffer import SignalBuffer
    from kernel.signals.schedule import WaveSchedule

SOURCE = "feed"
"""`Signal.source` of everything that comes this way."""
CONNECT_NS = 30 * SECOND
HANDSHAKE_NS = 10 * SECOND
CLOSE_NS = 5 * SECOND
DOUBLINGS_MAX = 17
SILENT_REQUESTS = 3
"""Requests without any message, after which the connection is taken for dead."""
UNKNOWN_TYPES_MAX = 50


class FeedState(StrEnum):
    """Where the conversation stands."""

    DOWN = "DOWN"
    CONNECTING = "CONNECTING"
    AUTHENTICATING = "AUTHENTICATING"
    READY = "READY"
    REFUSED = "REFUSED"
    ENDED = "ENDED"


class _Heard(StrEnum):
    UP = "up"
    DOWN = "down"
    AUTH_REQUIRED = "auth_required"
    AUTH_SUCCESS = "auth_success"
    AUTH_FAILED = "auth_failed"


class _Event(msgspec.Struct, frozen=True, gc=False):
    heard: _Heard
    reason: str = ""


class _End(msgspec.Struct, frozen=True, gc=False):
    """Why a connection ended."""

    reason: str
    refused: bool = False


class Feed:
    """The signal feed of one kernel.

    Attributes:
        buffer: The newest messages.
        state: For health and status.
        down_since_ns: Monotonic time since when no signals can come; None: they can.
        messages: Frames received; `malformed`: frames and items dropped; `refused`: signals
            before the server accepted us.
        unknown_types: How often messages of an unknown type came, by type.
    """

    def __init__(
        self,
        runtime: Runtime,
        outbox: Outbox,
        settings: Settings,
        schedule: WaveSchedule,
        *,
        buffer: SignalBuffer,
        default_venue: str,
        on_batch: Callable[[Batch], None],
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._settings = settings
        self._schedule = schedule
        self._default_venue = default_venue
        self._on_batch = on_batch
        self._events: Channel[_Event] = runtime.channel()
        self._last_text = ""
        self._known: dict[str, None] = {}
        self._unanswered = 0
        self._refusals = 0
        self._accepted = False
        self._alarm: TimerHandle | None = None
        self.buffer = buffer
        self.state = FeedState.DOWN
        self.down_since_ns: MonoNs | None = None
        self.messages = 0
        self.malformed = 0
        self.refused = 0
        self.unknown_types: dict[str, int] = {}

    # ------------------------------------------------------------ what the world says

    def on_up(self) -> None:
        """The socket is open."""
        self._events.put_nowait(_Event(_Heard.UP))

    def on_down(self, reason: str) -> None:
        """The socket is gone, or could not be opened."""
        self._lost()
        self._events.put_nowait(_Event(_Heard.DOWN, reason))

    def on_text(self, text: str) -> None:
        """One frame, in order of arrival."""
        self.messages += 1
        self._unanswered = 0
        if text == self._last_text and self.state is FeedState.READY:
            return  # the same answer as before: nothing in it is new
        origin = Origin(
            source=SOURCE, default_venue=self._default_venue, arrived_ns=self._runtime.ts()
        )
        try:
            accepted = self.state is FeedState.READY
            message = read_message(text, origin, self._known if accepted else None)
        except MalformedMessage as error:
            self._take((), (Flaw(str(error), text[:RAW_LENGTH_MAX]),))
            return
        self._last_text = text
        self._hear(message)

    def _hear(self, message: FeedMessage) -> None:
        if message.type == "signals":
            if self.state is FeedState.READY:
                self._take(message.signals, message.flaws)
            else:
                self.refused += len(message.signals)
                self._record("feed.refused", "signals before auth_success")
        elif message.type in (_Heard.AUTH_REQUIRED, _Heard.AUTH_SUCCESS, _Heard.AUTH_FAILED):
            if message.type == _Heard.AUTH_SUCCESS and self.state is FeedState.AUTHENTICATING:
                self._ready()  # at once: signals may follow in the same instant
            self._events.put_nowait(_Event(_Heard(message.type), message.reason))
        else:
            self._count_unknown(message.type[:40])

    def _take(self, signals: tuple[Signal, ...], flaws: tuple[Flaw, ...]) -> None:
        now = self._runtime.ts()
        batch = Batch(arrived_ns=now, signals=signals, flaws=flaws)
        window = self._schedule.window_at(now)
        expected = window.wave_ns if window else self._schedule.next_window(now).wave_ns
        fresh = self.buffer.add(batch, expected)
        self.malformed += len(fresh.flaws)
        for flaw in fresh.flaws:
            self._record("signal.malformed", flaw.reason, raw=flaw.raw, index=str(flaw.index))
        if fresh.flaws:
            self._alert(
                "WARNING", "feed.malformed", f"{len(fresh.flaws)} dropped: {flaws[0].reason}"
            )
        if fresh.signals or fresh.flaws:
            self._on_batch(fresh)

    def _count_unknown(self, kind: str) -> None:
        if kind in self.unknown_types or len(self.unknown_types) < UNKNOWN_TYPES_MAX:
            self.unknown_types[kind] = self.unknown_types.get(kind, 0) + 1
            if self.unknown_types[kind] == 1:
                self._record("feed.unknown", "a message of a type that is not known", type=kind)

    # ------------------------------------------------------------ the conversation

    async def run(self) -> None:
        """Connect and reconnect for ever; returns only where the settings forbid another try."""
        failures = 0
        self._lost()
        while True:
            self._accepted = False
            end = await self._session()
            if end.refused:
                await self._rest_after_refusal(end.reason)
                continue
            failures = 1 if self._accepted else failures + 1
            self._record("feed.down", end.reason, failures=str(failures))
            if not self._may_retry(failures):
                return
            await self._runtime.sleep(self._settings.signal_ws_reconnect_interval * SECOND)

    def _may_retry(self, failures: int) -> bool:
        most = self._settings.signal_ws_max_reconnect_attempts
        if self._settings.signal_ws_auto_reconnect and (most < 0 or failures <= most):
            return True
        self.state = FeedState.ENDED
        self._alert("ERROR", "feed.ended", "the signal feed is down and is not connected again")
        return False

    async def _session(self) -> _End:
        """One connection, from open to close."""
        while len(self._events):
            self._events.get_nowait()  # what an earlier connection said last
        self.state = FeedState.CONNECTING
        self._send("open", FeedOpen())
        event = await self._next_event(CONNECT_NS)
        if event is None:
            return await self._close("no connection in time")
        if event.heard is not _Heard.UP:
            return _End(event.reason or event.heard.value)
        return await self._authenticate() or await self._converse()

    async def _authenticate(self) -> _End | None:
        """Wait for the demand, answer it, wait for the verdict; None: accepted."""
        event = await self._next_event(HANDSHAKE_NS)
        if event is None or event.heard is not _Heard.AUTH_REQUIRED:
            return await self._failed(event, "no auth_required in time")
        self.state = FeedState.AUTHENTICATING
        self._send("auth", FeedAuth())
        event = await self._next_event(HANDSHAKE_NS)
        if event is None or event.heard is not _Heard.AUTH_SUCCESS:
            return await self._failed(event, "no verdict on the token in time")
        return None

    async def _converse(self) -> _End:
        """Request and request again, until something ends it."""
        ask_ns = self._runtime.now()
        while True:
            if self._runtime.now() >= ask_ns:
                if self._unanswered >= SILENT_REQUESTS:
                    return await self._close(f"silent after {SILENT_REQUESTS} requests")
                if self._is_time_to_ask():
                    self._unanswered += 1
                    self._send("request", FeedSend(text=REQUEST_TEXT))
                ask_ns = MonoNs(self._runtime.now() + self._pause_ns())
            event = await self._next_event(ask_ns - self._runtime.now())
            if event is not None and event.heard is not _Heard.AUTH_SUCCESS:
                return await self._failed(event, "the conversation broke off")

    async def _failed(self, event: _Event | None, what: str) -> _End:
        """The end of a connection on which something else came than what was due."""
        if event is None:
            return await self._close(what)
        if event.heard is _Heard.DOWN:
            return _End(event.reason or "closed")
        if event.heard is _Heard.AUTH_FAILED:
            return await self._close(event.reason or "refused without a reason", refused=True)
        return await self._close(f"{what}: {event.heard.value}")

    def _is_time_to_ask(self) -> bool:
        if self._settings.signal_idle_request_interval_seconds:
            return True
        return self._schedule.window_at(self._runtime.ts()) is not None

    def _pause_ns(self) -> int:
        """Until the next request: short in a check, long outside, never past a check's start."""
        now = self._runtime.ts()
        to_check = self._schedule.next_start(now) - now
        idle = self._settings.signal_idle_request_interval_seconds * SECOND
        window = self._schedule.window_at(now)
        again = self._settings.signal_request_interval_seconds * SECOND
        if window is not None and (
            idle or window.contains(now + again) or self._unanswered >= SILENT_REQUESTS
        ):
            return min(again, to_check)
        return min(idle, to_check) if idle else to_check

    async def _rest_after_refusal(self, reason: str) -> None:
        first_ns = self._settings.signal_auth_retry_seconds * SECOND
        longest_ns = self._settings.signal_auth_retry_max_seconds * SECOND
        wait_ns = min(first_ns << self._refusals, longest_ns)
        self._refusals = min(self._refusals + 1, DOUBLINGS_MAX)
        self.state = FeedState.REFUSED
        self._record("feed.auth_failed", reason, retry_s=str(wait_ns // SECOND))
        self._alert(
            "ERROR",
            "feed.auth_failed",
            f"the signal server refuses the token ({reason}); next try in {wait_ns // SECOND} s",
        )
        await self._runtime.sleep(wait_ns)

    async def _close(self, reason: str, *, refused: bool = False) -> _End:
        """Close the socket and wait until it is gone, so that its end is not taken for another."""
        self._lost()
        self._send("close", FeedClose())
        while (event := await self._next_event(CLOSE_NS)) is not None:
            if event.heard is _Heard.DOWN:
                break
        return _End(reason, refused=refused)

    # ------------------------------------------------------------ small parts

    def _ready(self) -> None:
        self.state = FeedState.READY
        self.down_since_ns = None
        self._accepted = True
        self._refusals = 0
        if self._alarm is not None:
            self._alarm.cancel()
        self._record("feed.ready", "auth_success")

    def _lost(self) -> None:
        self.state = FeedState.DOWN
        if self.down_since_ns is None:
            self.down_since_ns = self._runtime.now()
            patience_ns = self._settings.stream_down_alert_minutes * MINUTE
            due = MonoNs(self.down_since_ns + patience_ns)
            self._alarm = self._runtime.call_at(due, self._sound)

    def _sound(self) -> None:
        minutes = self._settings.stream_down_alert_minutes
        self._alert("ERROR", "feed.down", f"no signals can come for {minutes} minutes")

    async def _next_event(self, wait_ns: int) -> _Event | None:
        return await self._events.get_until(self._runtime.now() + wait_ns)

    def _send(self, what: str, body: EffectBody) -> None:
        self._outbox.send(self._outbox.next_key(f"feed_{what}", SOURCE, "-"), body)

    def _record(self, kind: str, cause: str, **values: str) -> None:
        self._outbox.record(kind, cause, **values)

    def _alert(self, severity: str, kind: str, text: str) -> None:
        self._outbox.alert(Alert(severity=severity, kind=kind, text=text, dedupe=kind))
