"""The emulator core of Binance USD-M futures (venue-binance.md; checklist §7.3).

What it takes is what the simulated venue has: market and limit orders, STOP_MARKET algo orders
that only close (quantity with reduceOnly, or a hedge leg). Other conditional types,
closePosition and batch orders are refused with -1116 or -1128.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from kernel.model.messages import HttpRequest
from kernel.model.units import DAY, MINUTE, MS, SECOND
from kernel.model.venue import Failure, QueryServerTime, ServerTime, VenueRequest
from venues.sim.agenda import RANK_MESSAGE
from venues.sim.truth import TruthEvent
from venues.sim.venue import SimVenue
from venues.sim.wire.binance_account import AccountRoutes
from venues.sim.wire.binance_errors import failure_response, refusal
from venues.sim.wire.binance_events import BinanceEvents
from venues.sim.wire.binance_orders import OrderRoutes
from venues.sim.wire.binance_rows import BinanceRows
from venues.sim.wire.core import (
    Asked,
    Broken,
    Frame,
    Local,
    Response,
    Session,
    WireCore,
    json_body,
    shown,
    told,
)
from venues.sim.wire.fields import BadField, Fields, form_fields

LISTEN_KEY_NS = 60 * MINUTE
"""How long a listenKey lives without a PUT."""
_ABSENT = "was not sent, was empty/null, or malformed."
_WEIGHTS = {
    "/fapi/v1/openOrders": 40, "/fapi/v1/openAlgoOrders": 40, "/fapi/v3/positionRisk": 5,
    "/fapi/v3/balance": 5, "/fapi/v3/account": 5, "/fapi/v1/userTrades": 5,
    "/fapi/v1/symbolConfig": 5, "/fapi/v1/accountConfig": 5, "/fapi/v1/positionSide/dual": 30,
    "/fapi/v1/income": 30,
}  # fmt: skip
_ORDER_PATHS = ("/fapi/v1/order", "/fapi/v1/algoOrder")


class BinanceCore(WireCore):
    """One USD-M account in bytes.

    Args:
        venue: What it speaks for.
        own_child_ids: See `BinanceRows`.
    """

    def __init__(self, venue: SimVenue, *, own_child_ids: bool = False) -> None:
        super().__init__(venue)
        self.rows = BinanceRows(venue.instruments, self.notes, own_child_ids=own_child_ids)
        self._events = BinanceEvents(venue, self.rows, self.notes)
        self._routes = _routes(self)
        self._listen_until_ns = 0
        self._listen_number = 0
        self._windows: dict[str, tuple[int, int]] = {}

    # ------------------------------------------------------------------ of the core

    def route(self, http: HttpRequest) -> Asked | Local:
        """See `WireCore.route`."""
        make = self._routes.get((http.method, http.path))
        if make is None:
            return told(http.path, Response(404, b"<html>404</html>"))
        try:
            return make(form_fields(http))
        except BadField as bad:
            if bad.missing:
                words = f"Mandatory parameter '{bad.name}' {_ABSENT}"
                return told(http.path, refusal(-1102, words))
            words = f"Illegal characters found in parameter '{bad.name}'; legal range is ''."
            return told(http.path, refusal(-1100, words))

    def failure(self, request: VenueRequest, failure: Failure) -> Response | Broken:
        """See `WireCore.failure`."""
        return failure_response(failure, self.now_ns)

    def headers(self, http: HttpRequest, *, accepted: bool) -> tuple[tuple[str, str], ...]:
        """Used weight on every answer, counts of orders on accepted ones."""
        posts = http.method == "POST" and http.path in _ORDER_PATHS
        weight = 0 if posts else _WEIGHTS.get(http.path, 1)
        used = self._count("1M", MINUTE, weight)
        told = [("X-MBX-USED-WEIGHT-1M", str(used))]
        if posts and accepted:
            told.append(("X-MBX-ORDER-COUNT-10S", str(self._count("o10S", 10 * SECOND, 1))))
            told.append(("X-MBX-ORDER-COUNT-1M", str(self._count("o1M", MINUTE, 1))))
        return tuple(told)

    def frames(self, event: TruthEvent) -> list[Frame]:
        """See `WireCore.frames`."""
        return self._events.frames(event)

    def garbage(self, kind: str, raw: str) -> bytes:
        """See `WireCore.garbage`."""
        if kind == "unknown_event":
            return json_body({"e": "SOMETHING_NEW", "E": self.now_ms, "raw": raw})
        return raw.encode()

    def session(self, path: str) -> Session:
        """See `WireCore.session`."""
        return _UserStream(self, path)

    # ------------------------------------------------------------------ listenKey

    @property
    def listen_key(self) -> str:
        """The active listenKey; "" where there is none."""
        if self.now_ns >= self._listen_until_ns:
            return ""
        return blake2b(f"listenKey/{self._listen_number}".encode(), digest_size=32).hexdigest()

    def open_listen_key(self) -> Response:
        """POST: the active key, or a new one; it lives another 60 minutes."""
        if not self.listen_key:
            self._listen_number += 1
        return self._extend()

    def keep_listen_key(self) -> Response:
        """PUT: another 60 minutes."""
        if not self.listen_key:
            return refusal(-1125, "This listenKey does not exist.")
        return self._extend()

    def close_listen_key(self) -> Response:
        """DELETE: nothing is told any more."""
        self._listen_until_ns = 0
        return Response(200, b"{}")

    def _extend(self) -> Response:
        until_ns = self._listen_until_ns = self.now_ns + LISTEN_KEY_NS
        key = self.listen_key
        self.venue.agenda.push(until_ns, RANK_MESSAGE, lambda: self._expire(until_ns, key))
        return Response(200, json_body({"listenKey": key}))

    def _expire(self, until_ns: int, key: str) -> None:
        if self._listen_until_ns == until_ns:
            self.broadcast(
                json_body({"e": "listenKeyExpired", "E": self.now_ms, "listenKey": key})
            )

    # ------------------------------------------------------------------ inside

    def _count(self, name: str, window_ns: int, by: int) -> int:
        start = self.now_ns - self.now_ns % window_ns
        since, used = self._windows.get(name, (start, 0))
        used = by + (used if since == start else 0)
        self._windows[name] = (start, used)
        return used


class _UserStream(Session):
    """A connection to /private: everything, or the events that its path names."""

    life_ns = DAY

    def __init__(self, core: BinanceCore, path: str) -> None:
        self._core = core
        where, _, query = path.partition("?")
        asked = Fields(dict(part.partition("=")[::2] for part in query.split("&")))
        self._private = where.startswith("/private/")
        self._combined = where.startswith("/private/stream")
        named = asked.text("listenKey", where.removeprefix("/private/ws").strip("/"))
        self._key = core.listen_key if named == "{listenKey}" else named
        self._events = tuple(part for part in asked.text("events", "").split("/") if part)

    def hear(self, body: bytes) -> list[bytes]:
        """SUBSCRIBE and its like are answered; everything else is an error."""
        try:
            asked = msgspec.json.decode(body)
        except msgspec.DecodeError:
            asked = None
        if not isinstance(asked, dict) or "method" not in asked:
            return [json_body({"error": {"code": 2, "msg": "Invalid request"}})]
        return [json_body({"result": None, "id": asked.get("id")})]

    def wrap(self, frame: Frame) -> bytes | None:
        """An event, where the connection belongs to the key that is active."""
        core = self._core
        if not self._private or not self._key or self._key != core.listen_key:
            return None
        if self._events and frame.channel not in self._events:
            return None
        if not self._combined:
            return frame.body
        return json_body({"stream": self._key, "data": msgspec.Raw(frame.body)})


# ---------------------------------------------------------------------- routes


type _Make = Callable[[Fields], Asked | Local]


def _routes(core: BinanceCore) -> dict[tuple[str, str], _Make]:
    orders, account = OrderRoutes(core, core.rows), AccountRoutes(core, core.rows)
    listen = "/fapi/v1/listenKey"
    return {
        ("GET", "/fapi/v1/ping"): lambda _: told("ping", Response(200, b"{}")),
        ("GET", "/fapi/v1/time"): lambda _: Asked(QueryServerTime(), _time),
        ("GET", "/fapi/v1/exchangeInfo"): account.exchange_info,
        ("POST", "/fapi/v1/order"): orders.submit,
        ("GET", "/fapi/v1/order"): orders.look_up,
        ("DELETE", "/fapi/v1/order"): orders.cancel,
        ("GET", "/fapi/v1/openOrders"): orders.open_orders,
        ("POST", "/fapi/v1/algoOrder"): orders.place_stop,
        ("GET", "/fapi/v1/algoOrder"): orders.look_up_algo,
        ("DELETE", "/fapi/v1/algoOrder"): orders.cancel_algo,
        ("GET", "/fapi/v1/openAlgoOrders"): orders.open_algo_orders,
        ("GET", "/fapi/v3/positionRisk"): account.positions,
        ("GET", "/fapi/v3/balance"): account.balance,
        ("GET", "/fapi/v3/account"): account.account,
        ("GET", "/fapi/v1/leverageBracket"): account.brackets,
        ("GET", "/fapi/v1/userTrades"): account.trades,
        ("GET", "/fapi/v1/income"): account.income,
        ("GET", "/fapi/v1/symbolConfig"): account.symbol_config,
        ("GET", "/fapi/v1/accountConfig"): account.account_config,
        ("GET", "/fapi/v1/positionSide/dual"): account.position_mode,
        ("POST", "/fapi/v1/leverage"): account.leverage,
        ("POST", "/fapi/v1/marginType"): account.margin_type,
        ("POST", listen): lambda _: Local("listenKey", core.open_listen_key),
        ("PUT", listen): lambda _: Local("listenKey", core.keep_listen_key),
        ("DELETE", listen): lambda _: Local("listenKey", core.close_listen_key),
    }


def _time(reply: ServerTime) -> Response:
    return shown({"serverTime": reply.ts_ns // MS})
