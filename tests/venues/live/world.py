"""What answers an adapter in its tests: effects are looked at, inputs are made by hand."""

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernel.model.messages import (
    Effect,
    HttpFailed,
    HttpReply,
    HttpRequest,
    StreamClose,
    StreamClosed,
    StreamFrame,
    StreamOpen,
    StreamOpened,
    StreamSend,
)
from kernel.model.units import SECOND, install_decimal_context
from kernel.model.venue import EffectClass, VenueEvent, VenueReply, VenueRequest
from kernel.ports.outbox import Outbox
from kernel.runtime.scheduler import Runtime

START_TS = 1_760_000_000_000_000_000
"""Wall time of every test's first step."""


class World:
    """One adapter, its runtime, and whoever tests it."""

    def __init__(self, make_venue):
        install_decimal_context()
        self.runtime = Runtime(0, START_TS)
        self.outbox = Outbox(self.runtime)
        self.venue = make_venue(self.runtime, self.outbox)
        self.name = self.venue.traits.name
        self.effects: list[Effect] = []

    # ------------------------------------------------------------ time

    def settle(self) -> None:
        self.runtime.run_ready()
        self.effects += self.outbox.drain()[0]

    def advance(self, seconds: float) -> None:
        end = self.runtime.now() + int(seconds * SECOND)
        while True:
            due = self.runtime.next_deadline()
            if due is None or due > end:
                break
            self._at(max(due, self.runtime.now()))
        self._at(end)

    def _at(self, mono_ns: int) -> None:
        self.runtime.set_time(mono_ns, START_TS + mono_ns)
        self.runtime.fire_due(mono_ns, True)
        self.settle()

    # ------------------------------------------------------------ requests

    def ask(self, request: VenueRequest, entity: str = "x") -> "Asked":
        return Asked(self, self.venue.ask(request, EffectClass.QUERY, entity))

    def request(self) -> HttpRequest:
        """The newest HTTP request."""
        return self.requests()[-1]

    def requests(self) -> list[HttpRequest]:
        return [item.body for item in self.effects if isinstance(item.body, HttpRequest)]

    def answer(self, body: Any, status: int = 200, headers: Any = ()) -> None:
        """Answer the newest HTTP request."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self._deliver(HttpReply(venue=self.name, status=status, headers=tuple(headers), body=raw))

    def fail(self, *, sent: bool, reason: str = "reset") -> None:
        self._deliver(HttpFailed(venue=self.name, reason=reason, sent=sent))

    def _deliver(self, answer: Any) -> None:
        keys = [item.key for item in self.effects if isinstance(item.body, HttpRequest)]
        assert self.outbox.deliver(keys[-1], answer), f"nobody waits for {keys[-1]}"
        self.settle()

    # ------------------------------------------------------------ streams

    def opens(self) -> list[StreamOpen]:
        return [item.body for item in self.effects if isinstance(item.body, StreamOpen)]

    def closes(self) -> list[StreamClose]:
        return [item.body for item in self.effects if isinstance(item.body, StreamClose)]

    def sent(self) -> list[Any]:
        """Frames that left, decoded."""
        return [
            msgspec.json.decode(item.body.body)
            for item in self.effects
            if isinstance(item.body, StreamSend)
        ]

    def opened(self, connection: int) -> None:
        self._take(StreamOpened(venue=self.name, stream="private", connection=connection))

    def frame(self, body: Any, connection: int = 1) -> None:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self._take(StreamFrame(venue=self.name, stream="private", connection=connection, body=raw))

    def closed(self, connection: int, reason: str = "1006") -> None:
        self._take(
            StreamClosed(venue=self.name, stream="private", connection=connection, reason=reason)
        )

    def _take(self, body: Any) -> None:
        self.venue.take(body)
        self.settle()

    def heard(self) -> list[VenueEvent]:
        """Events since the last call."""
        found = []
        while len(self.venue.events):
            found.append(self.venue.events.get_nowait())
        return found


class Asked:
    """A request in flight; its outcome once it was answered."""

    def __init__(self, world: World, coro: Coroutine[Any, Any, VenueReply]) -> None:
        self._reply: VenueReply | None = None
        self._error: Exception | None = None
        world.runtime.spawn(self._run(coro), "asked")
        world.settle()

    async def _run(self, coro: Coroutine[Any, Any, VenueReply]) -> None:
        try:
            self._reply = await coro
        except Exception as error:
            self._error = error

    @property
    def reply(self) -> Any:
        if self._error is not None:
            raise self._error
        assert self._reply is not None, "not answered"
        return self._reply

    @property
    def outcome(self) -> VenueReply | Exception:
        found = self._error or self._reply
        assert found is not None, "not answered"
        return found

    @property
    def error(self) -> Any:
        assert self._error is not None, f"no error: {self._reply}"
        return self._error


def fixture_root() -> Path:
    """Payloads that real venues published or sent; they are no part of this repository."""
    given = os.environ.get("WAVE_KERNEL_SHARED")
    shared = Path(given) if given else Path(__file__).parents[4] / "shared"
    root = shared / "fixtures" / "wire"
    if not root.is_dir():
        pytest.skip("no recorded wire payloads: set WAVE_KERNEL_SHARED to the folder that has them")
    return root


def payload(name: str) -> Any:
    """One recorded payload, e.g. `binance/rest/s_new_order.json`."""
    return msgspec.json.decode((fixture_root() / name).read_bytes())
