"""Bybit: what each answer that is no success means for the caller.

Classified on `retCode`, for 10001 on the words of `retMsg` too (numbers in it are scaled, never
read); then on the HTTP status. Sources, unless a row says otherwise: venue-bybit §9 (the venue's
error page at 2026-07-24, observations marked there), §4.2 for 10001.
"""

from __future__ import annotations

import msgspec

from kernel.model.messages import HttpReply
from kernel.model.units import MINUTE, MS, TsNs
from kernel.model.venue import Failure
from venues.live.failures import UNCHANGED, Code, unlisted
from venues.live.wire import clip, header

CODES: dict[int, Code] = {
    # the server and the way to it
    -1: Code("OutcomeUnknown", "expired"),
    429: Code("Throttled", "system-level protection"),
    10000: Code("OutcomeUnknown", "server timeout"),
    10002: Code("NotSent", "timestamp outside of the window: refused before it was looked at"),
    10003: Code("Unauthorized", "API key invalid or of another environment"),
    10004: Code("Unauthorized", "signature wrong"),
    10005: Code("Unauthorized", "permission denied"),
    10006: Code("Throttled", "too many visits to an endpoint"),
    10007: Code("Unauthorized", "authentication failed"),
    10008: Code("Unauthorized", "account banned"),
    10009: Code("Unauthorized", "region restricted"),
    10010: Code("Unauthorized", "address not bound to the key"),
    10014: Code("DuplicateClientOrderId", "duplicate request: an earlier one got through"),
    10016: Code("OutcomeUnknown", "server error or restarting"),
    10017: Code("Rejected", "route not found"),
    10018: Code("Throttled", "too many requests from the address"),
    10024: Code("Unauthorized", "compliance rules"),
    10027: Code("Unauthorized", "trading banned"),
    10028: Code("Unauthorized", "only for unified accounts"),
    10029: Code("EntriesForbidden", "symbol not whitelisted"),
    10404: Code("Rejected", "no such operation or category"),
    100028: Code("Unauthorized", "not for unified accounts"),
    33004: Code("Unauthorized", "key expired"),
    182200: Code("Unauthorized", "upgrade to a unified account first"),
    340099: Code("OutcomeUnknown", "server error"),
    3400214: Code("OutcomeUnknown", "server error"),
    # so already
    34036: Code(UNCHANGED, "leverage not modified"),
    34040: Code(UNCHANGED, "not modified"),
    110025: Code(UNCHANGED, "position mode not modified"),
    110026: Code(UNCHANGED, "margin mode not modified"),
    110043: Code(UNCHANGED, "leverage not modified"),
    # which order
    110001: Code("UnknownOrder", "order does not exist, or too late to cancel"),
    110008: Code("UnknownOrder", "order finished or cancelled: its end must be read"),
    110010: Code("UnknownOrder", "order cancelled: its end must be read"),
    110019: Code("Rejected", "order id wrong"),
    110030: Code("DuplicateClientOrderId", "order id duplicate"),
    110072: Code("DuplicateClientOrderId", "orderLinkId duplicate"),
    110079: Code("OutcomeUnknown", "the order is being processed"),
    # money
    110004: Code("InsufficientMargin", "wallet balance insufficient"),
    110006: Code("InsufficientMargin", "assets below the position's margin"),
    110007: Code("InsufficientMargin", "available balance insufficient"),
    110012: Code("InsufficientMargin", "available balance insufficient"),
    110014: Code("InsufficientMargin", "available balance insufficient to add margin"),
    110044: Code("InsufficientMargin", "available margin insufficient"),
    110045: Code("InsufficientMargin", "wallet balance insufficient"),
    110051: Code("InsufficientMargin", "available balance cannot cover the lowest price"),
    110052: Code("InsufficientMargin", "available balance insufficient to set a price"),
    110053: Code("InsufficientMargin", "available balance cannot cover price and best price"),
    # position, leverage, risk
    110005: Code("Rejected", "position in liquidation or auto-deleveraging"),
    110011: Code("Rejected", "would trigger liquidation"),
    110013: Code("Rejected", "leverage above the risk limit"),
    110017: Code("ReduceOnlyRefused", "reduce-only quantity would be zero"),
    110018: Code("Rejected", "user id wrong"),
    110024: Code("Rejected", "mode cannot change with a position"),
    110028: Code("Rejected", "mode cannot change with open orders"),
    110029: Code("Rejected", "hedge mode not supported"),
    110034: Code("ReduceOnlyRefused", "no net position"),
    110040: Code("Rejected", "would trigger liquidation"),
    110046: Code("Rejected", "would trigger liquidation"),
    110085: Code("Rejected", "risk tier too low"),
    110086: Code("Rejected", "leverage too high for the tier"),
    110089: Code("Rejected", "risk limit exceeded"),
    110090: Code("Rejected", "position would exceed the maximum at this leverage"),
    3400045: Code("Rejected", "setting the margin mode failed"),
    3400139: Code("Rejected", "position value over the risk limit"),
    # price, quantity
    110003: Code("FilterViolation", "price out of the permitted range"),
    110094: Code("FilterViolation", "notional below the minimum"),
    110118: Code("Rejected", "no price for a market order: low liquidity"),
    110120: Code("FilterViolation", "price below the limit"),
    110121: Code("FilterViolation", "price above the limit"),
    # stops
    110009: Code("TooManyOpenOrders", "too many conditional orders"),
    110020: Code("TooManyOpenOrders", "more than 500 active orders"),
    110057: Code("Rejected", "no TP/SL parameters for this order"),
    110058: Code("Rejected", "order too small for TP/SL"),
    110059: Code("Rejected", "part-filled: TP/SL not possible"),
    110060: Code("Rejected", "TP/SL of parts not possible in Full mode"),
    110061: Code("TooManyOpenOrders", "more than 20 partial TP/SL"),
    110064: Code("Rejected", "new quantity not above the filled one"),
    110092: Code("WouldTriggerNow", "expected rising, but the trigger is below the price"),
    110093: Code("WouldTriggerNow", "expected falling, but the trigger is above the price"),
    # symbol and account accept only closing orders, or none
    30228: Code("EntriesForbidden", "no new positions during delisting"),
    110021: Code("EntriesForbidden", "open interest cap"),
    110022: Code("EntriesForbidden", "position may not be increased"),
    110023: Code("EntriesForbidden", "only reduce-only now"),
    110042: Code("EntriesForbidden", "before delivery: only reducing"),
    110063: Code("Rejected", "settlement in progress"),
    110066: Code("Rejected", "trading not permitted now"),
    110074: Code("EntriesForbidden", "contract not live"),
    110095: Code("EntriesForbidden", "call auction: quantity"),
    110096: Code("EntriesForbidden", "call auction: price"),
    110097: Code("EntriesForbidden", "call auction: order type"),
    110098: Code("EntriesForbidden", "call auction: phase"),
    110099: Code("EntriesForbidden", "call auction"),
    110100: Code("EntriesForbidden", "call auction"),
    110101: Code("EntriesForbidden", "call auction"),
    110102: Code("EntriesForbidden", "call auction"),
    110103: Code("EntriesForbidden", "call auction"),
    110123: Code("EntriesForbidden", "trading terms must be accepted"),
    110124: Code("EntriesForbidden", "cooling-off period"),
    110125: Code("EntriesForbidden", "agreement must be signed"),
    110126: Code("EntriesForbidden", "agreement must be signed (observed, not in the table)"),
    110132: Code("EntriesForbidden", "region"),
}
"""retCode → what the caller must do; 10001 is in `WORDS`."""

PARAMETERS = 10001

WORDS: tuple[tuple[str, Code], ...] = (
    ("zero position", Code("NoPositionYet", "TP/SL needs a position")),
    ("not modified", Code(UNCHANGED, "order not modified")),
    ("liq_price", Code("Rejected", "stop beyond the liquidation price")),
    ("should lower than", Code("WouldTriggerNow", "the price is below the long's stop")),
    ("should be lower than", Code("WouldTriggerNow", "the price is below the long's stop")),
    ("should greater", Code("WouldTriggerNow", "the price is above the short's stop")),
    ("should be greater", Code("WouldTriggerNow", "the price is above the short's stop")),
    ("position idx", Code("Rejected", "positionIdx does not match the mode")),
    ("Qty invalid", Code("FilterViolation", "quantity")),
    ("Price invalid", Code("FilterViolation", "price; undocumented: taken as for quantities")),
    ("number of contracts", Code("FilterViolation", "quantity outside minimum and maximum")),
)
"""Words of a 10001 → what the caller must do; the first row that fits."""

_TAKE_PROFIT = ("TakeProfit", "TrailingProfit")
STATUSES: dict[int, Code] = {
    400: Code("Rejected", "bad request"),
    401: Code("Unauthorized", "authentication failed"),
    403: Code("Unauthorized", "address or region refused"),
    404: Code("Rejected", "no such path"),
    408: Code("OutcomeUnknown", "timeout"),
    429: Code("Throttled", "system-level protection"),
    500: Code("OutcomeUnknown", "server error"),
    502: Code("OutcomeUnknown", "bad gateway"),
    503: Code("OutcomeUnknown", "unavailable"),
    504: Code("OutcomeUnknown", "gateway timeout"),
}
"""HTTP status → what the caller must do; 200 with nothing readable leaves the outcome unknown."""

_TOO_FREQUENT = "too frequent"
BAN_NS = 10 * MINUTE
"""How long all traffic rests after a 403 "access too frequent"."""
_BANS = (10018,)
_UNCERTAIN = (429,)
"""Throttling of which the venue does not say that nothing was executed."""


class Envelope(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What every answer is wrapped in; `time` is when the venue answered."""

    ret_code: int
    ret_msg: str = ""
    result: msgspec.Raw = msgspec.Raw(b"{}")
    time: int = 0


_envelope = msgspec.json.Decoder(Envelope)


def classify(reply: HttpReply, now_ns: TsNs, *, acts: bool) -> Failure | None:
    """The failure that an answer states; None for a success.

    Args:
        reply: The answer.
        now_ns: Wall time.
        acts: Whether the request changes something: then a throttling of which the venue does not
            say that nothing was executed leaves the outcome unknown.

    Returns:
        A failure of kind `UNCHANGED` where the setting was so already.
    """
    try:
        found = _envelope.decode(reply.body)
    except msgspec.MsgspecError:
        return _by_status(reply, clip(reply.body), now_ns, acts=acts)
    if found.ret_code == 0:
        return None if 200 <= reply.status < 300 else _by_status(reply, "", now_ns, acts=acts)
    if reply.status == 403:
        return _by_status(reply, found.ret_msg, now_ns, acts=acts)
    code, text = str(found.ret_code), found.ret_msg
    if found.ret_code == PARAMETERS:
        return Failure(kind=_by_words(text).kind, code=code, text=text)
    row = CODES.get(found.ret_code)
    if row is None:
        return unlisted(code, text)
    if row.kind == "Throttled":
        return _throttled(reply, code, text, now_ns, acts=acts)
    return Failure(kind=row.kind, code=code, text=text)


def _by_words(text: str) -> Code:
    stop = not text.startswith(_TAKE_PROFIT)
    for words, row in WORDS:
        if words in text and (stop or row.kind != "WouldTriggerNow"):
            return row
    return Code("Rejected", "a parameter is wrong")


def _by_status(reply: HttpReply, text: str, now_ns: TsNs, *, acts: bool) -> Failure:
    code = f"http-{reply.status}"
    text = text or clip(reply.body)
    if 200 <= reply.status < 300:
        return Failure(kind="OutcomeUnknown", code="body", text=f"unreadable: {text}")
    if reply.status == 403 and _TOO_FREQUENT in text:
        return Failure(
            kind="Throttled", code=code, text=text, retry_at_ns=TsNs(now_ns + BAN_NS), banned=True
        )
    row = STATUSES.get(reply.status)
    if row is None:
        if reply.status >= 500:
            return Failure(kind="OutcomeUnknown", code=code, text=text)
        return unlisted(code, text)
    if row.kind == "Throttled":
        return _throttled(reply, code, text, now_ns, acts=acts)
    return Failure(kind=row.kind, code=code, text=text)


def _throttled(reply: HttpReply, code: str, text: str, now_ns: TsNs, *, acts: bool) -> Failure:
    if acts and code.removeprefix("http-") in map(str, _UNCERTAIN):
        return Failure(kind="OutcomeUnknown", code=code, text=text)
    if code in map(str, _BANS):
        return Failure(
            kind="Throttled", code=code, text=text, retry_at_ns=TsNs(now_ns + BAN_NS), banned=True
        )
    reset = header(reply, "x-bapi-limit-reset-timestamp")
    retry_at = int(reset) * MS if reset.isdigit() else 0
    return Failure(kind="Throttled", code=code, text=text, retry_at_ns=TsNs(retry_at))
