"""Inputs, effects, decisions and reads: everything that crosses the kernel's border.

The kernel is a deterministic function of its inputs (DESIGN §1). One call of `step` takes one
`Input` and is one journal record. Effects, answers and draws are correlated by a *content key*
("submit/binance/wk1-…/1": kind, venue, entity, n-th for that key), never by a global counter.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.orders import PriceSource
from kernel.model.rows import Row, StoredState
from kernel.model.status import Status
from kernel.model.units import MS, ZERO, MonoNs, Price, TsNs
from kernel.model.venue import (
    REQUEST_LIFETIME_NS,
    EffectClass,
    VenueEvent,
    VenueReply,
    VenueRequest,
)

# ---------------------------------------------------------------- input bodies


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start", array_like=True, gc=False):
    """The first input of a process. `settings` are the settings as JSON text without secrets."""

    settings: str
    reason: str = "start"
    instance: str = ""
    """Who takes the lease of the accounts; "": nobody else can trade them, no lease is kept."""


class Tick(msgspec.Struct, frozen=True, tag="tick", array_like=True, gc=False):
    """Only time passed. Timers with deadline ≤ this stamp fire."""


class VenueAnswer(
    msgspec.Struct, frozen=True, kw_only=True, tag="answer", array_like=True, gc=False
):
    """Answer to the request effect with the same key (level "sim")."""

    venue: str
    reply: VenueReply


class VenueSaid(msgspec.Struct, frozen=True, kw_only=True, tag="said", array_like=True, gc=False):
    """A stream event (level "sim")."""

    venue: str
    event: VenueEvent


class HttpReply(msgspec.Struct, frozen=True, kw_only=True, tag="http", array_like=True, gc=False):
    """Bytes of an HTTP answer (levels "wire" and "socket"). Header names are lower case."""

    venue: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class HttpFailed(
    msgspec.Struct, frozen=True, kw_only=True, tag="http_failed", array_like=True, gc=False
):
    """No answer. `sent` False: proven that no byte of it left; True: it may have arrived."""

    venue: str
    reason: str
    sent: bool = True


class StreamOpened(
    msgspec.Struct, frozen=True, kw_only=True, tag="opened", array_like=True, gc=False
):
    """A socket is open; `connection` numbers the connections of that stream."""

    venue: str
    stream: str
    connection: int


class StreamFrame(
    msgspec.Struct, frozen=True, kw_only=True, tag="frame", array_like=True, gc=False
):
    """One frame, before any parsing."""

    venue: str
    stream: str
    connection: int
    body: bytes


class StreamClosed(
    msgspec.Struct, frozen=True, kw_only=True, tag="closed", array_like=True, gc=False
):
    """The socket is gone, or its frames may have been lost."""

    venue: str
    stream: str
    connection: int
    reason: str


class WatchFired(msgspec.Struct, frozen=True, kw_only=True, tag="watch", array_like=True, gc=False):
    """A price watch fired (one-shot). `price_ts_ns` is when the price was made."""

    watch_id: str
    price: Price
    price_ts_ns: TsNs


class FeedUp(msgspec.Struct, frozen=True, tag="feed_up", array_like=True, gc=False):
    """The signal feed's socket is open."""


class FeedText(msgspec.Struct, frozen=True, kw_only=True, tag="feed", array_like=True, gc=False):
    """One message of the signal feed, before any parsing."""

    text: str


class FeedDown(
    msgspec.Struct, frozen=True, kw_only=True, tag="feed_down", array_like=True, gc=False
):
    """The signal feed's socket is gone."""

    reason: str


class StoreDone(msgspec.Struct, frozen=True, kw_only=True, tag="stored", array_like=True, gc=False):
    """A commit is durable. `claimed` answers the commit's claims in order."""

    claimed: tuple[bool, ...] = ()
    spooled: str = ""
    """Why it is in the spool only; "": it is in the database, and the spool is empty."""
    drained: int = 0
    """So many spooled commits were written to the database before it."""
    damage: tuple[str, ...] = ()
    """What was found broken, refused or older than it should be, a sentence each."""


class StoreLoaded(
    msgspec.Struct, frozen=True, kw_only=True, tag="loaded", array_like=True, gc=False
):
    """Answer to `StoreLoad`; `drained` and `damage` as of `StoreDone`."""

    state: StoredState
    drained: int = 0
    damage: tuple[str, ...] = ()


class LeaseTold(
    msgspec.Struct, frozen=True, kw_only=True, tag="leased", array_like=True, gc=False
):
    """Answer to `StoreLease`, and to a `StoreLoad` that the lease of another instance refuses."""

    granted: bool
    holder: str = ""
    """Where it was not granted: who has it."""


class StoreFailed(
    msgspec.Struct, frozen=True, kw_only=True, tag="store_failed", array_like=True, gc=False
):
    """Nothing of the commit may be assumed to be durable."""

    reason: str


class Stall(msgspec.Struct, frozen=True, kw_only=True, tag="stall", array_like=True, gc=False):
    """The driver was late by this much: entries are blocked until a resync."""

    late_ns: int


class ClockStep(msgspec.Struct, frozen=True, kw_only=True, tag="clock", array_like=True, gc=False):
    """Wall time moved against monotonic time by this much."""

    by_ns: int


class Operator(
    msgspec.Struct, frozen=True, kw_only=True, tag="operator", array_like=True, gc=False
):
    """A command of a person: pause, resume, close, sync, stop; status asks for a `StatusReport`."""

    command: str
    args: tuple[str, ...] = ()


class HostReport(msgspec.Struct, frozen=True, kw_only=True, tag="host", array_like=True, gc=False):
    """What the driver knows of its host, sent every few seconds; -1: not known.

    `disk_free_bytes` where journal and spool are; `memory_bytes` resident memory of the process;
    `lag_ns` the longest that a step came later than due since the last report.
    """

    disk_free_bytes: int = -1
    memory_bytes: int = -1
    lag_ns: int = -1


type InputBody = (
    Start
    | Tick
    | VenueAnswer
    | VenueSaid
    | HttpReply
    | HttpFailed
    | StreamOpened
    | StreamFrame
    | StreamClosed
    | WatchFired
    | FeedUp
    | FeedText
    | FeedDown
    | StoreDone
    | StoreLoaded
    | StoreFailed
    | LeaseTold
    | Stall
    | ClockStep
    | HostReport
    | Operator
)


class Input(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One numbered input. `key` correlates answers with the effects that asked."""

    seq: int
    ts_ns: TsNs
    mono_ns: MonoNs
    key: str
    body: InputBody


# ---------------------------------------------------------------- effect bodies


class VenueCall(msgspec.Struct, frozen=True, kw_only=True, tag="call", array_like=True, gc=False):
    """Ask a venue (level "sim").

    `timestamp_ns`: what it is signed with, as in `HttpRequest`.
    """

    venue: str
    request: VenueRequest
    timestamp_ns: TsNs


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, tag="http", array_like=True, gc=False):
    """At most one request on the wire. Signed outside; `params` in wire order.

    `signed`: "none" | "key" (header only) | "full", then with `timestamp_ns`: the venue's time, as
    we know it, of the step that decided it. Whoever signs reads no clock of its own, so what waits
    here while the process is frozen is refused by the venue. `expires_ns`: discard rather than send
    later.
    """

    venue: str
    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    body: bytes = b""
    signed: str = "full"
    timestamp_ns: TsNs = TsNs(0)
    recv_window_ms: int = REQUEST_LIFETIME_NS // MS
    expires_ns: TsNs = TsNs(0)


class StreamOpen(msgspec.Struct, frozen=True, kw_only=True, tag="open", array_like=True, gc=False):
    """Open a socket. `{handle}` in the path or in frames stands for a secret held outside."""

    venue: str
    stream: str
    connection: int
    path: str


class StreamSend(msgspec.Struct, frozen=True, kw_only=True, tag="send", array_like=True, gc=False):
    """Send one frame on an open socket."""

    venue: str
    stream: str
    connection: int
    body: bytes


class StreamClose(
    msgspec.Struct, frozen=True, kw_only=True, tag="close", array_like=True, gc=False
):
    """Close a socket."""

    venue: str
    stream: str
    connection: int


class WatchSet(msgspec.Struct, frozen=True, kw_only=True, tag="watch", array_like=True, gc=False):
    """Fire once at the first later price at or beyond a bound; None: no bound on that side."""

    watch_id: str
    venue: str
    symbol: str
    source: PriceSource
    at_or_above: Price | None = None
    at_or_below: Price | None = None


class WatchCleared(
    msgspec.Struct, frozen=True, kw_only=True, tag="unwatch", array_like=True, gc=False
):
    """Forget a watch."""

    watch_id: str


class FeedOpen(msgspec.Struct, frozen=True, tag="feed_open", array_like=True, gc=False):
    """Connect to the signal feed."""


class FeedAuth(msgspec.Struct, frozen=True, tag="feed_auth", array_like=True, gc=False):
    """Send the token, which the kernel never sees."""


class FeedSend(
    msgspec.Struct, frozen=True, kw_only=True, tag="feed_send", array_like=True, gc=False
):
    """Send a message on the signal feed."""

    text: str


class FeedClose(msgspec.Struct, frozen=True, tag="feed_close", array_like=True, gc=False):
    """Close the signal feed's socket."""


class StoreCommit(
    msgspec.Struct, frozen=True, kw_only=True, tag="commit", array_like=True, gc=False
):
    """Write these rows together.

    A `ClaimRow` that exists already answers False, and then the whole commit is refused and writes
    nothing.
    """

    rows: tuple[Row, ...]


class StoreLoad(
    msgspec.Struct, frozen=True, kw_only=True, tag="load", array_like=True, gc=False
):
    """Take the next run epoch and read what a start needs.

    With an `instance` only together with the lease of the `accounts`, else `LeaseTold` answers and
    nothing was done. The lease is given for `term_ns`, that of another instance `wait_ns` after its
    end, all by the clock of the store.
    """

    instance: str = ""
    accounts: tuple[str, ...] = ()
    term_ns: int = 0
    wait_ns: int = 0


class StoreLease(
    msgspec.Struct, frozen=True, kw_only=True, tag="lease", array_like=True, gc=False
):
    """Renew the lease of the accounts, or take it anew, as `StoreLoad` does.

    `epoch` is that of this run: a later run of the same instance refuses it.
    """

    instance: str
    accounts: tuple[str, ...]
    epoch: int
    term_ns: int
    wait_ns: int


class Alert(msgspec.Struct, frozen=True, kw_only=True, tag="alert", array_like=True, gc=False):
    """For a person. `dedupe` equal: the same thing again.

    `state` is "raised", "reminder" of what still lasts, or "recovered"; `count` is how often it was
    raised, what was left out included.
    """

    severity: str
    kind: str
    text: str
    venue: str = ""
    symbol: str = ""
    dedupe: str = ""
    state: str = "raised"
    count: int = 1


class StatusReport(
    msgspec.Struct, frozen=True, kw_only=True, tag="report", array_like=True, gc=False
):
    """Answer to the operator's `status`."""

    status: Status


class Stopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped", array_like=True, gc=False):
    """The kernel is done: the process may end."""

    reason: str
    restart: bool = False
    """The driver is to start a new kernel at once: what this one held is not whole."""


type EffectBody = (
    VenueCall
    | HttpRequest
    | StreamOpen
    | StreamSend
    | StreamClose
    | WatchSet
    | WatchCleared
    | FeedOpen
    | FeedAuth
    | FeedSend
    | FeedClose
    | StoreCommit
    | StoreLoad
    | StoreLease
    | Alert
    | StatusReport
    | Stopped
)


class Effect(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One effect of a step; (seq of the step, position in the step) numbers it."""

    key: str
    cls: EffectClass
    body: EffectBody


# ---------------------------------------------------------------- decisions and reads


class Decision(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Something the kernel decided, with its cause and the values used.

    Decisions give the verdict of a diff between two versions of the code.
    """

    kind: str
    cause: str
    venue: str = ""
    symbol: str = ""
    position_id: str = ""
    client_order_id: str = ""
    values: dict[str, str] = {}


class PriceRead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Answer of a price read; `price` ZERO and `ts_ns` 0: no price is known."""

    price: Price = ZERO
    ts_ns: TsNs = TsNs(0)


class QuoteRead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Top of the book; zeros: unknown."""

    bid: Price = ZERO
    ask: Price = ZERO
    bid_qty: Decimal = ZERO
    ask_qty: Decimal = ZERO
    ts_ns: TsNs = TsNs(0)


class ExtremesRead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Lowest and highest price since a time, as far as the feed knows; zeros: none."""

    low: Price = ZERO
    high: Price = ZERO
    covered_from_ns: TsNs = TsNs(0)
    has_gap: bool = False
    ts_ns: TsNs = TsNs(0)


class Read(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A journaled price read: `args` as text, the answer as it was."""

    args: tuple[str, ...]
    answer: tuple[str, ...]


class StepResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one step gave."""

    effects: list[Effect]
    decisions: list[Decision]
    reads: list[Read]
