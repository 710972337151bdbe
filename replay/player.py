"""The player: feeds a journal's inputs to a fresh kernel and compares what the kernel does.

1. A kernel is built from the journal's settings alone: level "sim" asks venues through
   `kernel.ports.direct`, level "wire" through the adapters of `venues.live`; price reads are
   answered from the journal. Neither prices nor a simulated venue nor a data folder is needed.
2. Each `Start` in the journal begins a new kernel, as after a crash.
3. Strict: every record must be equal to the last byte. Otherwise only *decisions* count; other
   differences are *mechanics* and are listed.
4. What the journal cannot answer (a price never read, a request never asked) ends the comparison:
   "exhausted", which is not a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from importlib import import_module
from itertools import batched
from typing import Any

import msgspec

from kernel.app import Kernel
from kernel.config import Settings
from kernel.errors import KernelError, SettingsError
from kernel.model.candle import Candle
from kernel.model.messages import (
    Decision,
    Effect,
    ExtremesRead,
    HttpRequest,
    Input,
    PriceRead,
    QuoteRead,
    Read,
    Start,
    StepResult,
    StoreCommit,
    StoreLease,
    StoreLoad,
    VenueCall,
)
from kernel.model.orders import PriceSource
from kernel.model.traits import TRAITS
from kernel.model.units import TsNs
from kernel.ports.direct import DirectVenue
from kernel.ports.outbox import Outbox
from kernel.ports.prices import CANDLE_FIELDS
from kernel.ports.venue import Venue
from kernel.runtime.scheduler import Runtime
from replay.journal import DIGEST_BYTES, Header, JournalReader, Record
from replay.played import (
    DECISIONS,
    EXHAUSTED,
    IDENTICAL,
    MECHANICS,
    Difference,
    Played,
    input_words,
    rows_of,
)

MOST_MECHANICS = 1_000
_ASKING = (VenueCall, HttpRequest, StoreCommit, StoreLoad, StoreLease)
"""Effects that wait for an answer."""

type Progress = Callable[[float], None]


class JournalExhausted(KernelError):
    """The kernel asks what the journal does not hold."""


def _candle(row: tuple[str, ...]) -> Candle:
    opened, high, low, close = map(Decimal, row[1:5])
    return Candle(TsNs(int(row[0])), opened, high, low, close, row[5] == "1")


class JournalPrices:
    """A `PriceReader` that serves the reads of the present record, in their order.

    Attributes:
        missing: The first read that the journal does not hold; whoever asked it has crashed.
    """

    def __init__(self) -> None:
        self._reads: list[Read] = []
        self._at = 0
        self.missing = ""

    def turn_to(self, reads: list[Read]) -> None:
        """The reads of the step that comes now."""
        self._reads = reads
        self._at = 0

    @property
    def left(self) -> list[Read]:
        """Reads of the present record that were not asked for."""
        return self._reads[self._at :]

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        """See `PriceReader.last`."""
        price, ts_ns = self._next(("last", venue, symbol, source.value))
        return PriceRead(Decimal(price), TsNs(int(ts_ns)))

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        """See `PriceReader.quote`."""
        bid, ask, bid_qty, ask_qty, ts_ns = self._next(("quote", venue, symbol))
        return QuoteRead(
            Decimal(bid), Decimal(ask), Decimal(bid_qty), Decimal(ask_qty), TsNs(int(ts_ns))
        )

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        """See `PriceReader.extremes`."""
        args = ("extremes", venue, symbol, source.value, str(since_ns))
        low, high, covered, gap, ts_ns = self._next(args)
        return ExtremesRead(
            Decimal(low), Decimal(high), TsNs(int(covered)), gap == "1", TsNs(int(ts_ns))
        )

    def candles(
        self, venue: str, symbol: str, source: PriceSource, interval_ns: int, count: int
    ) -> tuple[Candle, ...]:
        """See `PriceReader.candles`."""
        args = ("candles", venue, symbol, source.value, str(interval_ns), str(count))
        return tuple(map(_candle, batched(self._next(args), CANDLE_FIELDS)))

    def _next(self, args: tuple[str, ...]) -> tuple[str, ...]:
        for place in range(self._at, len(self._reads)):
            if self._reads[place].args == args:
                self._at = place + 1
                return self._reads[place].answer
        self.missing = self.missing or " ".join(args)
        raise JournalExhausted(self.missing)




class Player:
    """Plays one journal.

    Args:
        reader: The journal.
        strict: Equal to the last byte; else decisions alone give the verdict.
        stop_at_first: Stop at the first difference that counts.
    """

    def __init__(
        self, reader: JournalReader, *, strict: bool = True, stop_at_first: bool = True
    ) -> None:
        self._reader = reader
        self._strict = strict
        self._stop = stop_at_first
        self._settings = settings_of(reader.header)
        self._prices = JournalPrices()
        self._kernel: Kernel | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._asked: dict[str, None] | None = None
        self._first: Difference | None = None
        self._mechanics: list[Difference] = []
        self._count = 0

    def play(self, progress: Progress | None = None) -> Played:
        """Play to the end, or to what ends the comparison.

        Raises:
            SettingsError: The journal is damaged.
        """
        exhausted: Difference | None = None
        for record in self._reader.records():
            if progress is not None and record.index % 1_000 == 0:
                progress(self._reader.share)
            found = self._record(record)
            self._count = record.index + 1
            if found is not None and found.kind == EXHAUSTED:
                exhausted = found
                break
            if self._first is not None and self._stop:
                break
        return self._verdict(exhausted)

    def _record(self, record: Record) -> Difference | None:
        """Play one record; a difference that ends the comparison."""
        if isinstance(record.input.body, Start):
            self._begin()
        kernel = self._kernel
        if kernel is None:
            raise SettingsError(
                [f"journal {self._reader.path}: record 0 is no start; give a whole journal"]
            )
        self._prices.turn_to(record.reads)
        result: StepResult | None = None
        try:
            result = kernel.step(record.input)
        except KernelError:
            if not self._prices.missing:
                raise
        if self._prices.missing or result is None:
            return _exhausted(record, f"the price read {self._prices.missing}")
        return self._compare(record, result)

    def _begin(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
        self._asked = None
        head = self._reader.header
        self._kernel = Kernel(
            self._settings,
            prices=self._prices,
            venue_factories={name: factory_of(head.level, name) for name in head.venues},
        )

    def _compare(self, record: Record, result: StepResult) -> Difference | None:
        made = self._encoder.encode((record.input, result.effects, result.decisions))
        self._digest.update(made)
        if made == record.canonical and not self._prices.left:
            return None
        differs = first_decision(record, result.decisions)
        if differs is not None:
            self._first = self._first or differs
            return differs
        return self._mechanic(record, result)

    def _mechanic(self, record: Record, result: StepResult) -> Difference | None:
        differs = first_effect(record, result.effects)
        if differs is None:
            left = ", ".join(" ".join(read.args) for read in self._prices.left)
            differs = _difference(record, MECHANICS, f"read {left}", "no such read", "reads")
        if len(self._mechanics) < MOST_MECHANICS:
            self._mechanics.append(differs)
        if self._strict:
            self._first = self._first or differs
            return differs
        new = self._unanswerable(record, result)
        if new:
            return _exhausted(record, f"the request {new}")
        return None

    def _unanswerable(self, record: Record, result: StepResult) -> str:
        """A request of this step that the recorded kernel never made in this life."""
        if self._asked is None:
            self._asked = _requests_of_life(self._reader, record.index)
        for effect in result.effects:
            if isinstance(effect.body, _ASKING) and effect.key not in self._asked:
                return effect.key
        return ""

    def _verdict(self, exhausted: Difference | None) -> Played:
        if self._first is not None:
            verdict = self._first.kind
        elif exhausted is not None:
            verdict = EXHAUSTED
        else:
            verdict = MECHANICS if self._mechanics else IDENTICAL
        kernel = self._kernel
        return Played(
            verdict=verdict,
            records=self._count,
            torn_bytes=self._reader.torn,
            digest=self._digest.hexdigest(),
            state_digest=kernel.state_digest() if kernel is not None else "",
            first=self._first or exhausted,
            mechanics=tuple(self._mechanics),
        )


def settings_of(header: Header) -> Settings:
    """The settings that the recorded kernels had.

    Raises:
        SettingsError: This code knows other settings; every problem.
    """
    try:
        return Settings.from_json(header.settings)
    except SettingsError as error:
        problems = [f"settings in the journal's header: {line}" for line in error.problems]
        raise SettingsError(problems) from error


def factory_of(level: str, venue: str) -> Callable[[Runtime, Outbox], Venue]:
    """The port of a venue: direct at level "sim", the venue's adapter in bytes at "wire".

    Raises:
        SettingsError: The journal's header names another level or venue.
    """
    if venue not in TRAITS:
        raise SettingsError([f"venue {venue!r} in the header: one of {', '.join(TRAITS)}"])
    if level not in ("sim", "wire"):
        raise SettingsError([f"level {level!r} in the header: one of sim, wire"])
    adapter: Any = import_module(f"venues.live.{venue}.adapter") if level == "wire" else None

    def make(runtime: Runtime, outbox: Outbox) -> Venue:
        if adapter is None:
            return DirectVenue(runtime, outbox, TRAITS[venue])
        made: Venue = adapter.make_venue(runtime, outbox)
        return made

    return make


def first_decision(record: Record, made: list[Decision]) -> Difference | None:
    """The first decision of a step that is not what the journal says."""
    for expected, actual in rows_of(record.decisions, made):
        if expected != actual:
            cause = getattr(actual or expected, "cause", "")
            return _difference(record, DECISIONS, expected, actual, cause)
    return None


def first_effect(record: Record, made: list[Effect]) -> Difference | None:
    """The first effect of a step that is not what the journal says."""
    for expected, actual in rows_of(record.effects, made):
        if expected != actual:
            key = getattr(actual or expected, "key", "")
            return _difference(record, MECHANICS, expected, actual, key)
    return None


def _requests_of_life(reader: JournalReader, index: int) -> dict[str, None]:
    """Keys of everything that the kernel alive at record `index` asked, before and after it."""
    asked: dict[str, None] = {}
    for record in reader.records():
        if isinstance(record.input.body, Start):
            if record.index > index:
                break
            asked.clear()
        for effect in record.effects:
            if isinstance(effect.body, _ASKING):
                asked[effect.key] = None
    return asked


def _exhausted(record: Record, what: str) -> Difference:
    return _difference(record, EXHAUSTED, "not in the journal", what, "the code asks for more")


def _difference(
    record: Record, kind: str, expected: object, actual: object, cause: str
) -> Difference:
    item: Input = record.input
    return Difference(
        kind=kind,
        index=record.index,
        ts_ns=item.ts_ns,
        input=input_words(item),
        expected=_plain(expected),
        actual=_plain(actual),
        cause=cause,
    )


def _plain(value: object) -> Any:
    if value is None or isinstance(value, str):
        return value or "nothing"
    if isinstance(value, Decision):
        return {name: told for name, told in msgspec.structs.asdict(value).items() if told}
    return msgspec.to_builtins(value)
