"""The emulator core of Bybit V5, linear perpetuals in a unified account (venue-bybit.md §12).

What it takes is what the simulated venue has: market and limit orders, the Full stop of the
position (with an entry or by trading-stop), reduce-only conditionals that stop a position out.
Partial stops, take-profits, trailing stops, amendments and batches are refused with 10001 or
10017. Signatures belong to the world outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from kernel.model.messages import HttpRequest
from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    PositionReport,
)
from kernel.model.units import MINUTE, SECOND, text
from kernel.model.venue import Failure, VenueRequest
from venues.sim.truth import OrderChanged, Traded, TruthEvent
from venues.sim.venue import SimVenue
from venues.sim.wire.bybit_account import AccountRoutes
from venues.sim.wire.bybit_errors import failure_response, refusal
from venues.sim.wire.bybit_orders import OrderRoutes
from venues.sim.wire.bybit_rows import BybitRows
from venues.sim.wire.core import (
    Asked,
    Broken,
    Frame,
    Local,
    Response,
    Session,
    WireCore,
    json_body,
    told,
)
from venues.sim.wire.fields import BadField, Fields, json_fields

PRIVATE = "/v5/private"
CLEARED = "CancelByTpSlTsClear"
IDLE_NS = 10 * MINUTE
"""How long a connection may say nothing; `max_active_time` of the path sets another time."""
TOPICS = ("order", "execution", "position", "wallet")
_LIMITS = {
    "/v5/order/create": 10, "/v5/order/cancel": 10, "/v5/position/trading-stop": 10,
    "/v5/position/set-leverage": 10, "/v5/order/realtime": 50, "/v5/order/history": 50,
    "/v5/execution/list": 50, "/v5/position/list": 50, "/v5/account/wallet-balance": 50,
    "/v5/account/info": 50, "/v5/user/query-api": 10,
}  # fmt: skip
"""Requests a second of each endpoint."""


class BybitCore(WireCore):
    """One unified account in bytes."""

    def __init__(self, venue: SimVenue) -> None:
        super().__init__(venue)
        self.rows = BybitRows(venue, self.notes)
        self._routes = _routes(self)
        self._used: dict[str, deque[int]] = {}
        self._connections = 0
        self._flat = ("", -1)
        """Symbol and instant of the latest trade that left no position."""
        self._held: list[dict[str, Any]] = []
        """Rows that come in one message with the next order of their symbol."""

    # ------------------------------------------------------------------ of the core

    def route(self, http: HttpRequest) -> Asked | Local:
        """See `WireCore.route`."""
        make = self._routes.get((http.method, http.path))
        if make is None:
            body = refusal(10017, "Route not found.", self.now_ms).body
            return told(http.path, Response(404, body))
        try:
            return make(json_fields(http))
        except BadField as bad:
            words = f"params error: {bad.name} {'is required' if bad.missing else 'invalid'}"
            return told(http.path, refusal(10001, words, self.now_ms))

    def failure(self, request: VenueRequest, failure: Failure) -> Response | Broken:
        """See `WireCore.failure`."""
        return failure_response(failure, self.now_ns)

    def headers(self, http: HttpRequest, *, accepted: bool) -> tuple[tuple[str, str], ...]:
        """The budget of the endpoint, as far as it is used; and the venue's clock."""
        told_headers = [("Timenow", str(self.now_ms))]
        limit = _LIMITS.get(http.path)
        if limit is not None:
            used = self._used.setdefault(http.path, deque())
            while used and used[0] <= self.now_ns - SECOND:
                used.popleft()
            used.append(self.now_ns)
            told_headers += [
                ("X-Bapi-Limit", str(limit)),
                ("X-Bapi-Limit-Status", str(max(limit - len(used), 0))),
                ("X-Bapi-Limit-Reset-Timestamp", str(self.now_ms)),
            ]
        return tuple(told_headers)

    def garbage(self, kind: str, raw: str) -> bytes:
        """See `WireCore.garbage`."""
        if kind == "unknown_event":
            return json_body(
                {"topic": "something.new", "creationTime": self.now_ms, "data": [], "raw": raw}
            )
        return raw.encode()

    def session(self, path: str) -> Session:
        """See `WireCore.session`."""
        self._connections += 1
        return _Private(self, path, f"conn-{self._connections}")

    # ------------------------------------------------------------------ the private stream

    def frames(self, event: TruthEvent) -> list[Frame]:
        """See `WireCore.frames`: the personality says what is told, this writes it."""
        client = ""
        if isinstance(event, OrderChanged):
            client = event.order.client_order_id
        elif isinstance(event, Traded):
            client = event.fill.client_order_id
            if not event.position_qty:
                self._flat = (event.fill.symbol, event.ts_ns)
        made = []
        for topic, symbol, entity, said in self.venue.said(event):
            match said:
                case OrderReport():
                    if self._comes_with_the_close(said):
                        continue
                    channel, rows = "order", [*self._held, self._order(said)]
                    self._held = []
                case Fill():
                    channel, rows = "execution", [self._execution(said)]
                case PositionReport():
                    channel, rows = "position", [self._position(said)]
                case BalanceReport():
                    isolated = self.venue.account.isolated("")
                    channel, rows = "wallet", [self.rows.wallet(said, isolated=isolated)]
                case _:
                    continue
            made.append(Frame(topic, symbol, entity, channel, json_body(rows), client))
        return made

    def _comes_with_the_close(self, report: OrderReport) -> bool:
        # The stop of a position that was just closed comes in one message with the order that
        # closed it, before it; that order's own event follows at once.
        if report.order_class is not OrderClass.ATTACHED or report.reason != CLEARED:
            return False
        if self._flat != (report.symbol, report.updated_ns):
            return False
        self._held.append(self._order(report))
        return True

    def _order(self, report: OrderReport) -> dict[str, Any]:
        return self.rows.order(report) | {
            "category": "linear", "feeCurrency": "", "closedPnl": "0",
        }  # fmt: skip

    def _execution(self, fill: Fill) -> dict[str, Any]:
        row = self.rows.execution(fill)
        known = self.notes.reports.get(fill.venue_order_id)
        if known is not None and fill.kind is not FillKind.FUNDING:
            before = known.filled_qty if known.status is not OrderStatus.FILLED else known.qty
            row["leavesQty"] = text(max(known.qty - before - fill.qty, known.qty * 0))
        return row | {"category": "linear", "execPnl": text(fill.realized_pnl)}

    def _position(self, report: PositionReport) -> dict[str, Any]:
        row = self.rows.position(report)
        row["entryPrice"] = row.pop("avgPrice")
        row["category"] = "linear"
        return row


class _Private(Session):
    """A connection to /v5/private: auth, then topics; nothing before that."""

    def __init__(self, core: BybitCore, path: str, name: str) -> None:
        self._core = core
        where, _, query = path.partition("?")
        self._private = where == PRIVATE
        self.idle_ns = _idle(dict(parse_qsl(query)).get("max_active_time", ""))
        self._name = name
        self._known = False
        self._topics: dict[str, str] = {}
        """Topic → the name under which it was subscribed."""

    def hear(self, body: bytes) -> list[bytes]:
        """auth, subscribe, unsubscribe, ping."""
        if b"{auth}" in body:
            return [self._auth()]
        try:
            asked = msgspec.json.decode(body)
        except msgspec.DecodeError:
            asked = None
        if not isinstance(asked, dict):
            return [self._ack("", ok=False, words="Params Error")]
        req_id = str(asked.get("req_id", "") or "")
        match asked.get("op"):
            case "auth":
                return [self._auth()]
            case "ping":
                pong = {"req_id": req_id, "op": "pong", "args": [str(self._core.now_ms)],
                        "conn_id": self._name}  # fmt: skip
                return [json_body(pong)]
            case "subscribe":
                return [self._subscribe(asked.get("args"), req_id)]
            case "unsubscribe":
                for topic in asked.get("args") or ():
                    self._topics.pop(str(topic).removesuffix(".linear"), None)
                return [self._ack("unsubscribe", ok=True, req_id=req_id)]
            case other:
                return [self._ack(str(other), ok=False, words="Params Error", req_id=req_id)]

    def wrap(self, frame: Frame) -> bytes | None:
        """An event in its envelope, where the topic is subscribed."""
        name = self._topics.get(frame.channel)
        if not self._known or name is None:
            return None
        now_ms = self._core.now_ms
        told_body = {
            "id": f"100475188_{frame.symbol or frame.channel}_{now_ms}",
            "topic": name,
            "creationTime": now_ms,
            "data": msgspec.Raw(frame.body),
        }
        return json_body(told_body)

    def _auth(self) -> bytes:
        if not self._private:
            return self._ack("auth", ok=False, words="Params Error")
        self._known = True
        return self._ack("auth", ok=True)

    def _subscribe(self, args: object, req_id: str) -> bytes:
        # One topic that is not known: the whole batch is dropped.
        if not self._known:
            return self._ack("subscribe", ok=False, words="Request not authorized", req_id=req_id)
        asked = [str(one) for one in args] if isinstance(args, list) else []
        for topic in asked:
            if topic.removesuffix(".linear") not in TOPICS:
                words = f"error:handler not found,topic:{topic}"
                return self._ack("subscribe", ok=False, words=words, req_id=req_id)
        for topic in asked:
            self._topics[topic.removesuffix(".linear")] = topic
        return self._ack("subscribe", ok=True, req_id=req_id)

    def _ack(self, op: str, *, ok: bool, words: str = "", req_id: str = "") -> bytes:
        answer: dict[str, Any] = {"success": ok, "ret_msg": words, "op": op,
                                  "conn_id": self._name}  # fmt: skip
        if req_id:
            answer["req_id"] = req_id
        return json_body(answer)


def _idle(text_of_it: str) -> int:
    unit = {"s": SECOND, "m": MINUTE}.get(text_of_it[-1:], 0)
    number = text_of_it[:-1]
    return int(number) * unit if unit and number.isdecimal() else IDLE_NS


type _Make = Callable[[Fields], Asked | Local]


def _routes(core: BybitCore) -> dict[tuple[str, str], _Make]:
    orders, account = OrderRoutes(core, core.rows), AccountRoutes(core, core.rows)
    return {
        ("GET", "/v5/market/time"): account.time,
        ("GET", "/v5/market/instruments-info"): account.instruments,
        ("POST", "/v5/order/create"): orders.create,
        ("POST", "/v5/order/cancel"): orders.cancel,
        ("GET", "/v5/order/realtime"): orders.realtime,
        ("GET", "/v5/order/history"): orders.history,
        ("POST", "/v5/position/trading-stop"): orders.trading_stop,
        ("GET", "/v5/position/list"): account.positions,
        ("POST", "/v5/position/set-leverage"): account.leverage,
        ("GET", "/v5/execution/list"): account.executions,
        ("GET", "/v5/account/wallet-balance"): account.wallet,
        ("GET", "/v5/account/info"): account.info,
        ("GET", "/v5/user/query-api"): account.api_key,
    }
