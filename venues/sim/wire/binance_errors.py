"""Errors of Binance USD-M as HTTP answers (venue-binance.md §5; statuses of §5's last line)."""

from __future__ import annotations

from kernel.model.units import MS, SECOND
from kernel.model.venue import Failure
from venues.sim.wire.core import Broken, Response, json_body

_STATUS = {
    -1000: 503, -1001: 503, -1006: 503, -1007: 408, -1008: 503, -1003: 429, -1015: 429,
    -1002: 401, -2014: 401, -2015: 401,
}  # fmt: skip
"""Code → HTTP status; 400 for all others."""
_UNKNOWN = "Unknown error, please check your request or try again later."
_TIMEOUT = "Timeout waiting for response from backend server."

_BAN = "Way too many requests; IP banned until"
_ADVICE = "Please use the websocket for live updates to avoid bans."


def refusal(code: int, message: str) -> Response:
    """An error body with the status that goes with its code."""
    return Response(_STATUS.get(code, 400), json_body({"code": code, "msg": message}))


def failure_response(failure: Failure, now_ns: int) -> Response | Broken:
    """A failure of the simulated venue as this venue says it."""
    code = failure.code
    if code in ("timeout", "reset"):
        return Broken("timed out" if code == "timeout" else "connection reset by peer")
    if code.startswith("http-"):
        return _bare(failure, code, now_ns)
    if not code.removeprefix("-").isdecimal():
        return Response(500, json_body({"code": -1000, "msg": f"{code} {failure.text}".strip()}))
    if failure.banned:
        return _banned(failure, now_ns)
    answer = refusal(int(code), failure.text)
    return answer._replace(headers=_retry_after(failure, now_ns))


def _bare(failure: Failure, code: str, now_ns: int) -> Response:
    status = int(code.split("-")[1])
    if status == 418:
        return _banned(failure, now_ns)
    if status == 429:
        body = json_body({"code": -1003, "msg": failure.text or "Too many requests."})
        return Response(429, body, _retry_after(failure, now_ns))
    if status == 503:
        known = "Service Unavailable." if code.endswith("-unavailable") else _UNKNOWN
        return Response(503, json_body({"code": 0, "msg": known}))
    if status == 408:
        return Response(408, json_body({"code": -1007, "msg": _TIMEOUT}))
    page = f"<html><head><title>{status}</title></head><body>{status}</body></html>"
    return Response(status, page.encode(), (("Content-Type", "text/html"),))


def _banned(failure: Failure, now_ns: int) -> Response:
    until_ms = failure.retry_at_ns // MS
    body = json_body({"code": -1003, "msg": f"{_BAN} {until_ms}. {_ADVICE}"})
    return Response(418, body, _retry_after(failure, now_ns))


def _retry_after(failure: Failure, now_ns: int) -> tuple[tuple[str, str], ...]:
    if not failure.retry_at_ns:
        return ()
    seconds = max(-(-(failure.retry_at_ns - now_ns) // SECOND), 0)
    return (("Retry-After", str(seconds)),)
