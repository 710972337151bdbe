"""The feed's messages, read strictly (docs/signal-feed.md).

1. What is wrong with a message as a whole drops the message.
2. Inside a `signals` message each item stands alone: a flaw drops the item, the rest survives.
3. Whatever is dropped comes back as a `Flaw` with its raw text; nothing is repaired or guessed.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from itertools import count
from typing import Any

import msgspec

from kernel.model.orders import Side
from kernel.model.signal import Signal
from kernel.model.units import TsNs, canonical
from kernel.signals.schedule import CANDLE_NS
from kernel.signals.timestamps import format_utc, parse_utc

REQUEST_TEXT = '{"type":"request_signals"}'

MESSAGE_LENGTH_MAX = 4_000_000
RAW_LENGTH_MAX = 2_000
KNOWN_MAX = 20_000
"""Raw texts of items that are remembered."""
DIGITS_MAX = 64
NESTING_MAX = 8
_WHITESPACE = re.compile(r"[ \t\n\r]*")
_SYMBOL = re.compile(r"[^\s|\x00-\x1f\x7f\ud800-\udfff]{1,40}")
_WORD_LENGTH_MAX = 200
_SCORE = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_WRITER = msgspec.json.Encoder(decimal_format="number")
_KNOWN_FIELDS = ("timestamp", "symbol", "side", "score_week", "score_month", "exchange", "id")


class Flaw(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something of the feed that was dropped. `index` -1: the whole message."""

    reason: str
    raw: str
    index: int = -1


class FeedMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of the server: its type, and what a `signals` message held."""

    type: str
    reason: str = ""
    signals: tuple[Signal, ...] = ()
    flaws: tuple[Flaw, ...] = ()


class Origin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a signal does not say by itself."""

    source: str
    default_venue: str
    arrived_ns: TsNs


class MalformedMessage(ValueError):
    """A message that is dropped as a whole; its text is the reason."""


class MalformedItem(ValueError):
    """One signal that is dropped; its text is the reason."""


def read_message(text: str, origin: Origin, known: dict[str, None] | None = None) -> FeedMessage:
    """One frame of the server.

    Args:
        text: The frame.
        origin: What its signals do not say.
        known: Raw texts of good items that were read before: they are skipped, and new ones are
            added. The server may repeat an hour of signals in every answer.

    Raises:
        MalformedMessage: It is dropped as a whole.
    """
    known = {} if known is None else known
    if len(text) > MESSAGE_LENGTH_MAX:
        raise MalformedMessage(f"{len(text)} characters, at most {MESSAGE_LENGTH_MAX}")
    try:
        members, items = _Scanner(text, known).message()
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not strict JSON: {str(error)[:200]}") from error
    kind = members.get("type")
    if not isinstance(kind, str):
        raise MalformedMessage("no type")
    if kind != "signals":
        reason = members.get("reason", "")
        return FeedMessage(type=kind, reason=reason[:200] if isinstance(reason, str) else "")
    if items is None:
        raise MalformedMessage("signals: not a list")
    signals: list[Signal] = []
    flaws: list[Flaw] = []
    for item in items:
        try:
            signals.append(_signal(item, origin))
            _remember(known, item.raw)
        except ValueError as error:
            flaws.append(Flaw(str(error), item.raw[:RAW_LENGTH_MAX], item.index))
    return FeedMessage(type=kind, signals=tuple(signals), flaws=tuple(flaws))


def _remember(known: dict[str, None], raw: str) -> None:
    known[raw] = None
    if len(known) > KNOWN_MAX:
        del known[next(iter(known))]


def write_signal(signal: Signal) -> str:
    """A signal as one item of a batch, with what was kept of its unknown fields."""
    fields: dict[str, Any] = {
        "timestamp": format_utc(signal.candle_ns),
        "symbol": signal.symbol,
        "side": signal.side.value,
        "score_week": signal.score_week,
        "exchange": signal.venue,
    }
    if signal.score_month is not None:
        fields["score_month"] = signal.score_month
    if signal.signal_id:
        fields["id"] = signal.signal_id
    return _WRITER.encode(fields | json.loads(signal.extra)).decode()


# ---------------------------------------------------------------- one signal


def _signal(item: _Item, origin: Origin) -> Signal:
    if item.flaw:
        raise MalformedItem(item.flaw)
    fields = item.value
    if not isinstance(fields, dict):
        raise MalformedItem(f"a signal is an object, not {_kind(fields)}")
    if _is_deeper(fields, NESTING_MAX):
        raise MalformedItem(f"nested deeper than {NESTING_MAX}")
    return Signal(
        source=origin.source,
        venue=_venue(fields.get("exchange"), origin.default_venue),
        symbol=_symbol(fields.get("symbol")),
        side=_side(fields.get("side")),
        candle_ns=_candle(fields.get("timestamp")),
        score_week=_score("score_week", fields.get("score_week")),
        score_month=None
        if fields.get("score_month") is None
        else _score("score_month", fields["score_month"]),
        signal_id=_id(fields.get("id")),
        arrived_ns=origin.arrived_ns,
        extra=_extra(fields),
    )


def _venue(value: object, default: str) -> str:
    if value is None:
        return default
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise MalformedItem(f"exchange: a venue's name, not {_shown(value)}")
    return value.lower()


def _symbol(value: object) -> str:
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise MalformedItem(f"symbol: 1 to 40 characters without spaces or |, not {_shown(value)}")
    return value


def _side(value: object) -> Side:
    if value not in ("BUY", "SELL"):
        raise MalformedItem(f"side: BUY or SELL, not {_shown(value)}")
    return Side(value)


def _candle(value: object) -> TsNs:
    if not isinstance(value, str):
        raise MalformedItem(f"timestamp: a text such as 2026-01-05T12:45:00Z, not {_shown(value)}")
    ts_ns = parse_utc(value[:40])
    if ts_ns % CANDLE_NS:
        raise MalformedItem(f"timestamp: {value} is not the open of a 15-minute candle")
    return ts_ns


def _score(name: str, value: object) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise MalformedItem(f"{name}: a number, not {_shown(value)}")
    if value.adjusted() > 15 or not _SCORE.fullmatch(written := format(value, "f")):
        raise MalformedItem(f"{name}: at most 15 digits before and after the point")
    return canonical(Decimal(written))


def _id(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedItem(f"id: a text or a whole number, not {_shown(value)}")
    written = str(value)
    if len(written) > _WORD_LENGTH_MAX or not _encodes(written):
        raise MalformedItem(f"id: at most {_WORD_LENGTH_MAX} characters of Unicode")
    return written


def _extra(fields: dict[str, Any]) -> str:
    """Fields that we do not know, as JSON text in a fixed order; decimals as texts."""
    unknown = {name: fields[name] for name in fields if name not in _KNOWN_FIELDS}
    return json.dumps(unknown, sort_keys=True, separators=(",", ":"), default=str)


def _is_deeper(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _parts(outer)]
    return bool(level)


def _parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _shown(value: object) -> str:
    return "nothing" if value is None else _kind(value)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else ascii(value)[:60]


# ---------------------------------------------------------------- strict JSON with raw texts


class _Item:
    """One item of the list of signals, with its raw text and what strict JSON refuses in it."""

    __slots__ = ("flaw", "index", "raw", "value")

    def __init__(self, index: int, value: Any, raw: str, flaw: str) -> None:
        self.index = index
        self.value = value
        self.raw = raw
        self.flaw = flaw


class _Scanner:
    """Walks the top level and the list of signals; values are the standard decoder's work.

    The decoder itself would take NaN, repeated names, and would not tell where an item ends.
    """

    def __init__(self, text: str, known: dict[str, None]) -> None:
        self._text = text
        self._known = known
        self._at = 0
        self._flaw = ""
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_float=self._number,
            parse_int=self._number,
            parse_constant=self._constant,
        )

    def message(self) -> tuple[dict[str, Any], list[_Item] | None]:
        """The members of the top level, and the items of its list of signals.

        Raises:
            ValueError: Not one JSON object, or not strict outside of the items.
        """
        members: dict[str, Any] = {}
        items: list[_Item] | None = None
        self._expect("{")
        if self._take("}"):
            return self._end(members, items)
        while True:
            name = self._value()
            if not isinstance(name, str):
                raise MalformedMessage(f"a name must be a text, not {_kind(name)}")
            if name in members:
                raise ValueError(f"name {name!r} is repeated")
            self._expect(":")
            members[name] = None
            if name == "signals" and self._peek() == "[":
                items = self._list()
            else:
                members[name] = self._value()
                if self._flaw:
                    raise ValueError(self._flaw)
            if self._take("}"):
                return self._end(members, items)
            self._expect(",")

    def _end(
        self, members: dict[str, Any], items: list[_Item] | None
    ) -> tuple[dict[str, Any], list[_Item] | None]:
        self._peek()
        if self._at != len(self._text):
            raise ValueError("text after the object")
        return members, items

    def _list(self) -> list[_Item]:
        items: list[_Item] = []
        self._expect("[")
        if self._take("]"):
            return items
        for index in count():
            self._peek()
            if not self._skip_known():
                start = self._at
                value = self._value()
                items.append(_Item(index, value, self._text[start : self._at], self._flaw))
            if self._take("]"):
                break
            self._expect(",")
        return items

    def _skip_known(self) -> bool:
        """Skip an item that was read before, word for word."""
        end = self._text.find("}", self._at) + 1
        if self._text[self._at : end] not in self._known:
            return False
        self._at = end
        return True

    def _value(self) -> Any:
        self._flaw = ""
        self._peek()
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def _peek(self) -> str:
        found = self._text[self._at : self._at + 1]
        if found > " ":
            return found
        match = _WHITESPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            found = ascii(self._peek() or "the end")
            raise ValueError(f"{character!r} expected at {self._at}, found {found}")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, value in pairs:
            if name in members:
                self._flaw = f"name {ascii(name)[:60]} is repeated"
            members[name] = value
        return members

    def _number(self, written: str) -> Decimal | int:
        if len(written) > DIGITS_MAX:
            self._flaw = f"a number of {len(written)} characters, at most {DIGITS_MAX}"
            return 0
        if written.removeprefix("-").isdigit():
            return int(written)
        try:
            return Decimal(written)
        except InvalidOperation:
            self._flaw = f"{written} is beyond every range"
            return 0

    def _constant(self, word: str) -> None:
        self._flaw = f"{word} is not a number"
