"""A scripted signal server around one `Feed`, on virtual time."""

import json
from collections.abc import Callable
from typing import ClassVar

from kernel.config import Settings
from kernel.model.messages import (
    Alert,
    EffectBody,
    FeedAuth,
    FeedClose,
    FeedOpen,
    FeedSend,
)
from kernel.model.units import SECOND
from kernel.ports.outbox import Outbox
from kernel.runtime.scheduler import Runtime
from kernel.signals.buffer import Batch, SignalBuffer
from kernel.signals.feed import Feed
from kernel.signals.schedule import WaveSchedule
from kernel.signals.timestamps import parse_utc


class Server:
    """Plays the world for a feed: answers its effects at once, as its switches say.

    Attributes:
        sent: (seconds since the start, what the feed did).
        answer: Text of the answer to a request; None: silence.
        made: Every server of the running test; `close_all` throws their tasks away.
    """

    made: ClassVar[list["Server"]] = []

    @classmethod
    def close_all(cls) -> None:
        for server in cls.made:
            server.runtime.close()
        cls.made.clear()

    def __init__(
        self,
        start: str = "2026-01-05T12:10:00Z",
        *,
        verdict: str = "auth_success",
        reachable: bool | None = True,
        **settings: object,
    ) -> None:
        """`reachable` None: an attempt to connect is not even refused."""
        self.made.append(self)
        self.start_ns = parse_utc(start)
        self.runtime = Runtime(0, self.start_ns)
        self.outbox = Outbox(self.runtime)
        chosen = Settings.model_validate(settings)
        self.batches: list[Batch] = []
        self.feed = Feed(
            self.runtime,
            self.outbox,
            chosen,
            WaveSchedule.of(chosen),
            buffer=SignalBuffer(chosen.signal_buffer_size),
            default_venue="binance",
            on_batch=self.batches.append,
        )
        self.sent: list[tuple[int, str]] = []
        self.alerts: list[str] = []
        self.decisions: list[tuple[str, str]] = []
        self.reachable = reachable
        self.demands = True
        self.verdict = verdict
        self.answer: str | None = '{"type": "signals", "signals": []}'
        self.closes_at_once = True
        self.task = self.runtime.spawn(self.feed.run(), "feed")
        self._settle()

    def run(self, seconds: int) -> None:
        """Let time pass, stepping at each deadline."""
        end_ns = self.runtime.now() + seconds * SECOND
        while True:
            due_ns = self.runtime.next_deadline()
            if due_ns is None or due_ns > end_ns:
                break
            self._at(max(due_ns, self.runtime.now()))
            self.runtime.fire_due(self.runtime.now(), inclusive=True)
            self._settle()
        self._at(end_ns)

    def say(self, text: str) -> None:
        """One frame of the server, now."""
        self._tell(lambda: self.feed.on_text(text))

    def drop(self, reason: str = "reset") -> None:
        """The socket breaks."""
        self._tell(lambda: self.feed.on_down(reason))

    def did(self, what: str) -> list[int]:
        """Seconds at which the feed did something."""
        return [second for second, done in self.sent if done == what]

    def _tell(self, act: Callable[[], None]) -> None:
        act()
        self._settle()

    def _at(self, mono_ns: int) -> None:
        self.runtime.set_time(mono_ns, self.start_ns + mono_ns)

    def _settle(self) -> None:
        while True:
            self.runtime.run_ready()
            effects, decisions, _ = self.outbox.drain()
            self.decisions += [(one.kind, one.cause) for one in decisions]
            if not effects:
                return
            for effect in effects:
                self._serve(effect.body)

    def _serve(self, body: EffectBody) -> None:
        second = self.runtime.now() // SECOND
        match body:
            case Alert(kind=kind):
                self.alerts.append(kind)
            case FeedOpen():
                self.sent.append((second, "open"))
                if self.reachable is None:
                    return
                if not self.reachable:
                    self.feed.on_down("refused")
                    return
                self.feed.on_up()
                if self.demands:
                    self.feed.on_text('{"type": "auth_required"}')
            case FeedAuth():
                self.sent.append((second, "auth"))
                if self.verdict:
                    self.feed.on_text(json.dumps({"type": self.verdict, "reason": "expired"}))
            case FeedSend(text=text):
                assert json.loads(text) == {"type": "request_signals"}
                self.sent.append((second, "request"))
                if self.answer is not None:
                    self.feed.on_text(self.answer)
            case FeedClose():
                self.sent.append((second, "close"))
                if self.closes_at_once:
                    self.feed.on_down("closed by the client")
