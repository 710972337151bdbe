"""A desk for tests of the emulators: the simulated venue of `desk`, asked in bytes."""

import json
from typing import Any
from urllib.parse import parse_qsl

from kernel.model.messages import (
    HttpReply,
    HttpRequest,
    StreamClosed,
    StreamFrame,
    StreamOpen,
    StreamSend,
)
from kernel.model.units import MS, TsNs
from tests.venues.sim.desk import T0, Desk
from venues.sim.wire.binance import BinanceCore
from venues.sim.wire.bybit import BybitCore
from venues.sim.wire.link import WireLink

CORES = {"binance": BinanceCore, "bybit": BybitCore}


class WireDesk(Desk):
    """One emulator with a link that collects inputs; every request waits for its answer."""

    def __init__(self, venue: str = "binance", *args: Any, **setup: Any) -> None:
        super().__init__(venue, *args, **setup)
        self.core = CORES[venue](self.venue)
        self.wire = WireLink(self.core, self.agenda, self._emit)
        self._asked = 0

    # ---------------------------------------------------------------- requests

    def send(self, method: str, path: str, body: bytes = b"", **params: Any) -> str:
        """Let a request leave; its key."""
        self._asked += 1
        key = f"http/{self._asked}"
        pairs = tuple((name, str(value)) for name, value in params.items())
        self.wire.accept(
            key,
            HttpRequest(venue=self.venue.name, method=method, path=path, params=pairs, body=body,
                        timestamp_ns=TsNs(self.agenda.now_ns)),
        )
        return key

    def answer_to(self, key: str) -> Any:
        """What came back to a key, if anything did."""
        return next((body for _, got, body in self.inputs if got == key), None)

    def raw(self, method: str, path: str, body: bytes = b"", **params: Any) -> HttpReply:
        """A request and its answer."""
        key = self.send(method, path, body, **params)
        self.run_to((self.agenda.now_ns - T0) // MS + 100)
        answer = self.answer_to(key)
        assert isinstance(answer, HttpReply), answer
        return answer

    def ask(self, method: str, path: str, **params: Any) -> Any:
        """The JSON of an answer."""
        return json.loads(self.raw(method, path, **params).body)

    def post(self, path: str, **fields: Any) -> Any:
        """A JSON body out, a JSON body back."""
        return json.loads(self.raw("POST", path, json.dumps(fields).encode()).body)

    # ---------------------------------------------------------------- streams

    def open(self, path: str, connection: int = 1) -> "WireDesk":
        """Connect, and wait until that is done."""
        self.wire.accept("open", StreamOpen(venue=self.venue.name, stream="private",
                                            connection=connection, path=path))  # fmt: skip
        return self.wait(100)

    def tell(self, message: Any, connection: int = 1) -> "WireDesk":
        """Send a frame."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.wire.accept("send", StreamSend(venue=self.venue.name, stream="private",
                                            connection=connection, body=body))  # fmt: skip
        return self.wait(100)

    def wait(self, ms: int) -> "WireDesk":
        """Let time pass."""
        self.run_to((self.agenda.now_ns - T0) // MS + ms)
        return self

    def frames(self) -> list[Any]:
        """Every frame so far, as JSON."""
        return [json.loads(body.body) for _, _, body in self.inputs
                if isinstance(body, StreamFrame)]  # fmt: skip

    def closed(self) -> list[str]:
        """Why connections ended."""
        return [body.reason for _, _, body in self.inputs if isinstance(body, StreamClosed)]


def headers_of(reply: HttpReply) -> dict[str, str]:
    return dict(reply.headers)


def unescaped(cursor: str) -> dict[str, str]:
    return dict(parse_qsl(cursor))
