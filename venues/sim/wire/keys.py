"""Signatures as both venues check them, over the bytes that were received.

Source: venue-binance.md §1, venue-bybit.md §2 and §6.1. Timestamps are compared with the venue's
clock by its core.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from kernel.model.units import MS
from venues.sim.wire import binance_errors, bybit_errors
from venues.sim.wire.core import Response

PUBLIC_OF_BINANCE = ("/fapi/v1/ping", "/fapi/v1/time", "/fapi/v1/exchangeInfo")
LISTEN_KEY = "/fapi/v1/listenKey"
FREE_OF_BINANCE = (*PUBLIC_OF_BINANCE, LISTEN_KEY)
"""What is asked without a timestamp."""


class Keys(msgspec.Struct, frozen=True):
    """The one API key that an emulator knows."""

    key: str
    secret: str

    def sign(self, payload: bytes) -> str:
        """HMAC-SHA256 in lower case hexadecimal."""
        return hmac.new(self.secret.encode(), payload, sha256).hexdigest()


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came: the query raw, header names in lower case."""

    path: str
    query: str
    body: bytes
    headers: dict[str, str]


def check_binance(keys: Keys, got: Received) -> Response | None:
    """What is wrong with the key or the signature; None: nothing is.

    The signature is the last parameter of the query or of the body; what it signs is the query
    followed by the body, without it.
    """
    if got.path in PUBLIC_OF_BINANCE:
        return None
    if got.headers.get("x-mbx-apikey") != keys.key:
        return binance_errors.refusal(-2014, "API-key format invalid.")
    if got.path == LISTEN_KEY:
        return None
    query, signed_query = _cut(got.query)
    body, signed_body = _cut(got.body.decode("utf-8", "replace"))
    signature = signed_query or signed_body
    if not signature or "timestamp" not in dict(parse_qsl(f"{query}&{body}")):
        missing = "timestamp" if signature else "signature"
        words = f"Mandatory parameter '{missing}' was not sent, was empty/null, or malformed."
        return binance_errors.refusal(-1102, words)
    if not hmac.compare_digest(signature, keys.sign(f"{query}{body}".encode())):
        return binance_errors.refusal(-1022, "Signature for this request is not valid.")
    return None


def check_bybit(keys: Keys, got: Received, now_ms: int) -> Response | None:
    """What is wrong with the key or the signature; None: nothing is.

    The payload is the raw query, or the raw body where there is one.
    """
    if got.path.startswith("/v5/market/"):
        return None
    headers = got.headers
    if headers.get("x-bapi-api-key") != keys.key:
        return bybit_errors.refusal(10003, "API key is invalid.", now_ms)
    stamp, window = headers.get("x-bapi-timestamp", ""), headers.get("x-bapi-recv-window", "")
    origin = f"{stamp}{keys.key}{window}".encode() + (got.body or got.query.encode())
    if not hmac.compare_digest(headers.get("x-bapi-sign", ""), keys.sign(origin)):
        words = f"error sign! origin_string[{origin.decode('utf-8', 'replace')}]"
        return bybit_errors.refusal(10004, words, now_ms)
    return None


def signature(venue: str, got: Received) -> dict[str, Any]:
    """What a request that passed the check is signed with: fields of `HttpRequest`."""
    if venue == "binance":
        told = dict(parse_qsl(f"{got.query}&{got.body.decode('utf-8', 'replace')}"))
        stamp, window = told.get("timestamp", ""), told.get("recvWindow", "")
        free = got.path in FREE_OF_BINANCE
    else:
        stamp = got.headers.get("x-bapi-timestamp", "")
        window = got.headers.get("x-bapi-recv-window", "")
        free = got.path.startswith("/v5/market/")
    if free:
        return {"signed": "none"}
    return {
        "timestamp_ns": int(stamp) * MS if stamp.isdecimal() else 0,
        "recv_window_ms": int(window) if window.isdecimal() else 5000,
    }


def check_bybit_auth(keys: Keys, frame: bytes) -> bool:
    """Whether a frame is no auth frame, or a good one."""
    try:
        asked = msgspec.json.decode(frame)
    except msgspec.DecodeError:
        return True
    if not isinstance(asked, dict) or asked.get("op") != "auth":
        return True
    args = asked.get("args")
    if not isinstance(args, list) or len(args) != 3 or args[0] != keys.key:
        return False
    return hmac.compare_digest(str(args[2]), keys.sign(f"GET/realtime{args[1]}".encode()))


def _cut(text: str) -> tuple[str, str]:
    """A query or form without its signature, and the signature ("": there is none)."""
    before, found, signature = text.rpartition("signature=")
    if not found:
        return text, ""
    return before.removesuffix("&"), signature
