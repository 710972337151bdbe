"""The socket server around an emulator: a thin shell, for unmodified clients on loopback.

Virtual time follows the clock of the process: what is due in the simulated world happens when its
time has come. A request whose answer the venue loses is never answered; one whose connection
breaks is cut off. One process serves one account on one venue.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from kernel.model.messages import (
    HttpReply,
    HttpRequest,
    InputBody,
    StreamClose,
    StreamClosed,
    StreamFrame,
    StreamOpen,
    StreamSend,
)
from kernel.model.units import SECOND
from venues.sim.agenda import Agenda
from venues.sim.venue import SimVenue
from venues.sim.wire.binance import BinanceCore
from venues.sim.wire.bybit import BybitCore
from venues.sim.wire.core import Response, WireCore
from venues.sim.wire.keys import (
    Keys,
    Received,
    check_binance,
    check_bybit,
    check_bybit_auth,
    signature,
)
from venues.sim.wire.link import WireLink

CORES: dict[str, type[WireCore]] = {"binance": BinanceCore, "bybit": BybitCore}
IDLE_S = 0.25
"""The longest wait without a look at the agenda."""
_AUTH_FAILED = b'{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":""}'


def wall_ns() -> int:
    """The wall clock, for a world that starts now."""
    return time.time_ns()


class EmulatorServer:
    """HTTP and WebSocket in front of one emulator.

    Args:
        venue: The simulated venue; its agenda stands at the instant of the start.
        agenda: Of its world.
        keys: The API key that is known.
        port: On 127.0.0.1; 0: any that is free, see `port` after `start`.
    """

    def __init__(self, venue: SimVenue, agenda: Agenda, keys: Keys, *, port: int = 0) -> None:
        self.port = port
        self._venue = venue
        self._agenda = agenda
        self._keys = keys
        self._core = CORES[venue.name](venue)
        self._link = WireLink(self._core, agenda, self._emit)
        self._waiting: dict[str, asyncio.Future[InputBody]] = {}
        self._streams: dict[str, asyncio.Queue[bytes | None]] = {}
        self._asked = 0
        self._origin_ns = agenda.now_ns
        self._started_ns = 0
        self._woken = asyncio.Event()
        self._pacer: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, and let virtual time run."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        self._started_ns = time.monotonic_ns()
        self._pacer = asyncio.create_task(self._pace())

    async def stop(self) -> None:
        """Hang up on everybody."""
        self._link.cut()
        for queue in self._streams.values():
            queue.put_nowait(None)
        if self._pacer is not None:
            self._pacer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pacer
        if self._runner is not None:
            await self._runner.cleanup()

    # ------------------------------------------------------------------ time

    async def _pace(self) -> None:
        while True:
            self._catch_up()
            due = self._agenda.next_due()
            wait_s = IDLE_S
            if due is not None:
                wait_s = min(max((due - self._agenda.now_ns) / SECOND, 0.0), IDLE_S)
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), wait_s)

    def _catch_up(self) -> None:
        now_ns = self._origin_ns + time.monotonic_ns() - self._started_ns
        while (due := self._agenda.next_due()) is not None and due <= now_ns:
            self._agenda.pop_run()
        if now_ns > self._agenda.now_ns:
            self._agenda.advance(now_ns)

    def _accept(
        self, key: str, body: HttpRequest | StreamOpen | StreamSend | StreamClose
    ) -> None:
        self._catch_up()
        self._link.accept(key, body)
        self._woken.set()

    def _emit(self, key: str, body: InputBody) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)
        match body:
            case StreamFrame(stream=stream, body=frame):
                self._streams[stream].put_nowait(frame)
            case StreamClosed(stream=stream):
                self._streams[stream].put_nowait(None)
            case _:
                pass

    # ------------------------------------------------------------------ HTTP

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        path, _, query = request.raw_path.partition("?")
        got = Received(
            path=path,
            query=query,
            body=await request.read(),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        refused = self._refusal(got)
        if refused is not None:
            return _shown(refused.status, refused.body, refused.headers)
        answer = await self._ask(request.method, got)
        if isinstance(answer, HttpReply):
            return _shown(answer.status, answer.body, answer.headers)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _refusal(self, got: Received) -> Response | None:
        if self._venue.name == "binance":
            return check_binance(self._keys, got)
        return check_bybit(self._keys, got, self._core.now_ms)

    async def _ask(self, method: str, got: Received) -> InputBody:
        self._asked += 1
        key = f"http/{self._asked}"
        waiting: asyncio.Future[InputBody] = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiting
        pairs = tuple(_pairs(got.query))
        self._accept(
            key,
            HttpRequest(
                venue=self._venue.name, method=method, path=got.path, params=pairs, body=got.body,
                **signature(self._venue.name, got),
            ),
        )
        try:
            return await waiting
        finally:
            self._waiting.pop(key, None)

    # ------------------------------------------------------------------ WebSocket

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        # The handshake is done when the world says so: what a client sends then finds a session.
        self._asked += 1
        name = f"socket/{self._asked}"
        frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams[name] = frames
        venue = self._venue.name
        opened: asyncio.Future[InputBody] = asyncio.get_running_loop().create_future()
        self._waiting[f"said/{venue}/{name}"] = opened
        self._accept(name, StreamOpen(venue=venue, stream=name, connection=1,
                                      path=request.raw_path))  # fmt: skip
        if isinstance(await opened, StreamClosed):
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        writer = asyncio.create_task(_write(socket, frames))
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._hear(name, _bytes(message.data), frames)
        finally:
            self._accept(name, StreamClose(venue=venue, stream=name, connection=1))
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    def _hear(self, name: str, body: bytes, frames: asyncio.Queue[bytes | None]) -> None:
        venue = self._venue.name
        if venue == "bybit" and not check_bybit_auth(self._keys, body):
            frames.put_nowait(_AUTH_FAILED)
            return
        self._accept(name, StreamSend(venue=venue, stream=name, connection=1, body=body))


async def _write(socket: web.WebSocketResponse, frames: asyncio.Queue[bytes | None]) -> None:
    while True:
        frame = await frames.get()
        if frame is None:
            await socket.close()
            return
        await socket.send_str(frame.decode("utf-8", "replace"))


def _shown(
    status: int, body: bytes, headers: tuple[tuple[str, str], ...]
) -> web.Response:
    told = {"Content-Type": "application/json"}
    told.update({name.title(): value for name, value in headers})
    return web.Response(status=status, body=body, headers=told)


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else str(data).encode()


def serve(make: Callable[[], EmulatorServer], told: Callable[[int], None]) -> None:
    """Serve until the process is interrupted.

    Args:
        make: Makes the server, inside the event loop.
        told: Hears the port once it listens.
    """

    async def run() -> None:
        server = make()
        await server.start()
        told(server.port)
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    asyncio.run(run())
