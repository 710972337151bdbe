"""Errors of Bybit V5 as HTTP answers (venue-bybit.md §2 and §9).

Business errors come with status 200 and a `retCode`; only gateways and the address limit answer
with another status. An order that is not shown is no error: it is an empty list.
"""

from __future__ import annotations

from kernel.model.units import MS
from kernel.model.venue import Failure
from venues.sim.wire.core import Broken, Response, json_body

_PAGE = "<html><head><title>{0}</title></head><body>{0}</body></html>"
_WORDS = {403: "access too frequent"}


def envelope(result: object, now_ms: int, *, code: int = 0, message: str = "OK") -> Response:
    """The body that every answer of the API has."""
    body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}
    return Response(200, json_body(body))


def refusal(code: int, message: str, now_ms: int) -> Response:
    """A business error."""
    return envelope({}, now_ms, code=code, message=message)


def failure_response(failure: Failure, now_ns: int) -> Response | Broken:
    """A failure of the simulated venue as this venue says it."""
    code, now_ms = failure.code, now_ns // MS
    if code in ("timeout", "reset"):
        return Broken("timed out" if code == "timeout" else "connection reset by peer")
    if code == "none":
        return envelope({"category": "linear", "list": [], "nextPageCursor": ""}, now_ms)
    if code == "empty":
        return Response(200, b"")
    if code.startswith("http-"):
        status = int(code.split("-")[1])
        page = _WORDS.get(status) or _PAGE.format(status)
        return Response(status, page.encode(), (("Content-Type", "text/html"),))
    if not code.removeprefix("-").isdecimal():
        return refusal(10016, f"{code} {failure.text}".strip(), now_ms)
    answer = refusal(int(code), failure.text, now_ms)
    if not failure.retry_at_ns:
        return answer
    reset = -(-failure.retry_at_ns // MS)
    return answer._replace(headers=(("X-Bapi-Limit-Reset-Timestamp", str(reset)),))
