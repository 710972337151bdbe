"""Binance: what each answer that is no success means for the caller.

Classified on the numeric code of the body, then on the HTTP status; never on an exception class of
a library. Sources, unless a row says otherwise: venue-binance §5 (the venue's error-code page and
its change log up to 2026-10-23); hazards §5 where evidence contradicts the venue's words.
"""

from __future__ import annotations

import re

import msgspec

from kernel.model.messages import HttpReply
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import Failure
from venues.live.failures import UNCHANGED, Code, unlisted
from venues.live.wire import clip, header

CODES: dict[int, Code] = {
    # 10xx: the server and the way to it
    -1000: Code("OutcomeUnknown", "unknown error while processing the request"),
    -1001: Code("OutcomeUnknown", "internal error, disconnected"),
    -1002: Code("Unauthorized", "not authorized"),
    -1003: Code("Throttled", "too many requests, or the address is banned until a time"),
    -1006: Code("OutcomeUnknown", "unexpected response from the message bus"),
    -1007: Code("OutcomeUnknown", "timeout waiting for the backend"),
    -1008: Code(
        "OutcomeUnknown",
        "overloaded; said to be not executed, but an order was seen placed (hazards §5)",
    ),
    -1013: Code("FilterViolation", "invalid message"),
    -1015: Code("Throttled", "too many new orders"),
    -1021: Code("NotSent", "timestamp outside of recvWindow: refused before it was looked at"),
    -1022: Code("Unauthorized", "signature not valid"),
    # 11xx: the request
    -1100: Code("Rejected", "illegal characters in a parameter"),
    -1101: Code("Rejected", "too many parameters"),
    -1102: Code("Rejected", "mandatory parameter missing or malformed"),
    -1103: Code("Rejected", "unknown parameter"),
    -1104: Code("Rejected", "unread parameters"),
    -1105: Code("Rejected", "parameter empty"),
    -1106: Code("Rejected", "parameter sent when not required"),
    -1111: Code("FilterViolation", "precision over the maximum of the asset"),
    -1116: Code("Rejected", "invalid order type"),
    -1117: Code("Rejected", "invalid side"),
    -1121: Code("EntriesForbidden", "invalid symbol"),
    -1122: Code("EntriesForbidden", "invalid symbol status"),
    -1125: Code("Rejected", "this listenKey does not exist"),
    -1128: Code("Rejected", "combination of optional parameters invalid"),
    -1130: Code("Rejected", "invalid data sent for a parameter"),
    # 20xx: orders and keys
    -2010: Code("Rejected", "new order rejected"),
    -2011: Code("UnknownOrder", "cancel rejected: unknown order sent"),
    -2013: Code("UnknownOrder", "order does not exist"),
    -2014: Code("Unauthorized", "API key format invalid"),
    -2015: Code("Unauthorized", "invalid API key, IP or permissions"),
    -2017: Code("Unauthorized", "API keys are locked on this account"),
    -2018: Code("InsufficientMargin", "balance not sufficient"),
    -2019: Code("InsufficientMargin", "margin not sufficient"),
    -2020: Code("Rejected", "unable to fill"),
    -2021: Code("WouldTriggerNow", "order would immediately trigger"),
    -2022: Code("ReduceOnlyRefused", "reduce-only order rejected"),
    -2023: Code("EntriesForbidden", "the account is in liquidation mode"),
    -2024: Code("ReduceOnlyRefused", "position not sufficient"),
    -2025: Code("TooManyOpenOrders", "maximum of open orders reached"),
    -2026: Code("Rejected", "this order type does not support reduce-only"),
    -2027: Code("Rejected", "over the maximum position at this leverage"),
    -2028: Code("Rejected", "leverage smaller than permitted"),
    # 40xx-41xx: filters and the state of the account
    -4001: Code("FilterViolation", "price less than zero or out of bounds"),
    -4002: Code("FilterViolation", "price greater than the maximum"),
    -4003: Code("FilterViolation", "quantity not above zero"),
    -4004: Code("FilterViolation", "quantity less than the minimum"),
    -4005: Code("FilterViolation", "quantity greater than the maximum"),
    -4013: Code("FilterViolation", "price less than the minimum"),
    -4014: Code("FilterViolation", "price not on the tick"),
    -4015: Code("Rejected", "client order id not valid"),
    -4016: Code("FilterViolation", "price above the percent band"),
    -4023: Code("FilterViolation", "quantity not on the step"),
    -4024: Code("FilterViolation", "price below the percent band"),
    -4028: Code("Rejected", "leverage not valid"),
    -4045: Code("TooManyOpenOrders", "maximum of conditional orders reached"),
    -4046: Code(UNCHANGED, "no need to change the margin type"),
    -4047: Code("Rejected", "margin type cannot change with open orders"),
    -4048: Code("Rejected", "margin type cannot change with a position"),
    -4059: Code(UNCHANGED, "no need to change the position side"),
    -4060: Code("Rejected", "position side invalid"),
    -4061: Code("Rejected", "position side does not match the account's mode"),
    -4062: Code("Rejected", "reduce-only improper, as in hedge mode"),
    -4067: Code("Rejected", "position mode cannot change with open orders"),
    -4068: Code("Rejected", "position mode cannot change with a position"),
    -4087: Code("EntriesForbidden", "the account may only reduce"),
    -4088: Code("EntriesForbidden", "the account may not place orders"),
    -4105: Code("EntriesForbidden", "symbol under position risk control"),
    -4106: Code("EntriesForbidden", "symbol under position risk control"),
    -4107: Code("EntriesForbidden", "symbol under position risk control"),
    -4109: Code("EntriesForbidden", "account inactive"),
    -4112: Code("ReduceOnlyRefused", "reduce-only order failed"),
    -4116: Code("DuplicateClientOrderId", "client order id duplicated"),
    -4117: Code("Rejected", "the stop order is triggering"),
    -4118: Code("ReduceOnlyRefused", "reduce-only order failed: check position and orders"),
    -4120: Code("Rejected", "conditional types go to the algo endpoints"),
    -4130: Code("Rejected", "a closePosition order in this direction exists"),
    -4131: Code("Rejected", "best price outside the percent band: book too thin"),
    -4135: Code("Rejected", "activation price invalid"),
    -4136: Code("Rejected", "closePosition with this strategy"),
    -4137: Code("Rejected", "quantity together with closePosition"),
    -4138: Code("Rejected", "reduce-only together with closePosition"),
    -4140: Code("EntriesForbidden", "symbol not open for opening"),
    -4141: Code("EntriesForbidden", "symbol closed"),
    -4142: Code("WouldTriggerNow", "order would immediately trigger"),
    -4161: Code("Rejected", "leverage cannot be cut with an isolated position"),
    -4164: Code("FilterViolation", "notional below the minimum"),
    -4168: Code("Rejected", "isolated margin not possible in multi-assets mode"),
    -4183: Code("FilterViolation", "price above the stop multiplier cap"),
    -4184: Code("FilterViolation", "price below the stop multiplier cap"),
    -4189: Code("EntriesForbidden", "the account may not trade"),
    -4192: Code("EntriesForbidden", "cooling-off period"),
    -4202: Code("Rejected", "leverage gate"),
    -4203: Code("Rejected", "leverage gate"),
    -4205: Code("Rejected", "leverage gate"),
    -4206: Code("Rejected", "leverage gate"),
    -4208: Code("Rejected", "leverage gate"),
    -4209: Code("Rejected", "leverage gate"),
    -4210: Code("FilterViolation", "stop price above the multiplier cap"),
    -4211: Code("FilterViolation", "stop price below the multiplier cap"),
    -4400: Code("EntriesForbidden", "quantitative rule: only reducing orders"),
    -4401: Code("EntriesForbidden", "large position rule: only reducing orders"),
    -4402: Code("EntriesForbidden", "region"),
    -4403: Code("EntriesForbidden", "region"),
    -4509: Code("NoPositionYet", "GTE needs an open position"),
    -4531: Code("Rejected", "position mode cannot change: COIN-M positions or orders"),
    # 50xx: the matching engine
    -5021: Code("Rejected", "FOK cannot be filled"),
    -5022: Code("Rejected", "post-only would take"),
    -5027: Code(UNCHANGED, "no need to modify the order"),
    -5028: Code("NotSent", "timestamp outside of recvWindow at the matching engine"),
    -5047: Code("Rejected", "reduce-only differs on modify"),
}
"""Numeric code → what the caller must do."""

STATUSES: dict[int, Code] = {
    401: Code("Unauthorized", "key missing or wrong"),
    403: Code("Unauthorized", "refused by the firewall"),
    404: Code("Rejected", "no such path"),
    405: Code("Rejected", "no such method"),
    408: Code("OutcomeUnknown", "timeout"),
    418: Code("Throttled", "address banned"),
    429: Code("Throttled", "request weight used up"),
    500: Code("OutcomeUnknown", "server error"),
    502: Code("OutcomeUnknown", "bad gateway"),
    503: Code("OutcomeUnknown", 'unavailable: also "Service Unavailable." (hazards §5)'),
    504: Code("OutcomeUnknown", "gateway timeout"),
}
"""HTTP status → what the caller must do where the body has no code."""

_BANNED_UNTIL = re.compile(r"until (\d{13})")
_ALREADY = "already"


class ErrorBody(msgspec.Struct, frozen=True, gc=False):
    """`{"code": -2011, "msg": "…"}`."""

    code: int = 0
    msg: str = ""


def classify(reply: HttpReply, now_ns: TsNs) -> Failure | None:
    """The failure that an answer states; None for a success.

    Args:
        reply: The answer.
        now_ns: Wall time, for `Retry-After`.

    Returns:
        A failure of kind `UNCHANGED` where the setting was so already.
    """
    if 200 <= reply.status < 300:
        return None
    body = _body(reply)
    if body.code in (0, 200):
        return _by_status(reply, body, now_ns)
    text = body.msg
    code = str(body.code)
    row = CODES.get(body.code)
    if reply.status in (418, 429) or (row is not None and row.kind == "Throttled"):
        return _throttled(reply, code, text, now_ns)
    if row is None:
        return unlisted(code, text)
    if body.code == -4028 and _ALREADY in text.lower():
        return Failure(kind=UNCHANGED, code=code, text=text)
    return Failure(kind=row.kind, code=code, text=text)


def _by_status(reply: HttpReply, body: ErrorBody, now_ns: TsNs) -> Failure:
    code = f"http-{reply.status}"
    text = body.msg or clip(reply.body)
    row = STATUSES.get(reply.status)
    if row is None:
        if reply.status >= 500:
            return Failure(kind="OutcomeUnknown", code=code, text=text)
        return unlisted(code, text)
    if row.kind == "Throttled":
        return _throttled(reply, code, text, now_ns)
    return Failure(kind=row.kind, code=code, text=text)


def _throttled(reply: HttpReply, code: str, text: str, now_ns: TsNs) -> Failure:
    """Nothing was executed; the time is in the text (a ban) or in a header."""
    until = _BANNED_UNTIL.search(text)
    retry_at = 0
    if until is not None:
        retry_at = int(until.group(1)) * MS
    else:
        seconds = header(reply, "retry-after")
        if seconds.isdigit():
            retry_at = now_ns + int(seconds) * SECOND
    return Failure(
        kind="Throttled",
        code=code,
        text=text,
        retry_at_ns=TsNs(retry_at),
        banned=reply.status == 418 or until is not None,
    )


def _body(reply: HttpReply) -> ErrorBody:
    try:
        return msgspec.json.decode(reply.body, type=ErrorBody)
    except msgspec.MsgspecError:
        return ErrorBody()
