"""The faults a simulated venue knows, as data: what, on what, when (hazards §1).

A fault is matched on messages and on simulated time, never on a count of ticks. `Target` says
which messages, `When` which of them: all in a window, the n-th, at most so many, or with a
probability that is a draw. Times are nanoseconds since the origin that the fault book is given
(the start of a scenario). Faults with a `cue` are acts of the venue or of somebody else: they
happen at a time, or some time after an event.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import msgspec

from kernel.model.units import ZERO, Price
from kernel.model.venue import VenueRequest

FOREVER = 1 << 62
CERTAIN = 1_000_000


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages. Empty fields match everything; `client_order_id` is a glob."""

    kinds: tuple[str, ...] = ()
    """Tags of requests: submit, place_stop, position_stop, cancel, query_order, open_orders …"""
    symbol: str = ""
    legs: str = ""
    """Letters of our client order ids: E entry, S stop, X exit, A aged, R rollback."""
    client_order_id: str = ""
    surface: str = ""
    """PLAIN, CONDITIONAL, HISTORY, positions, executions, balance, trading_stop."""
    topic: str = ""
    """order, fill, position, balance."""
    reduce_only: bool | None = None


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the matching messages: [from_ns, to_ns), and then n-th, times, chance."""

    from_ns: int = 0
    to_ns: int = FOREVER
    nth: int = 0
    """1: the first matching message only; 0: any."""
    times: int = 0
    """How often at most; 0: no limit."""
    chance_ppm: int = CERTAIN
    """Chance in a million, drawn for each message."""


class Cue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an act happens: at `at_ns`, or `after_ns` after the `nth` event that matches.

    `event`: "" (the time counts), "order" (an order is taken), "fill", "stop" (a stop is live),
    "flat" (a position is closed). An act that waits for an event happens once.
    """

    at_ns: int = 0
    event: str = ""
    symbol: str = ""
    client_order_id: str = ""
    nth: int = 1
    after_ns: int = 0


_ANY = Target()
_ALWAYS = When()


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="fault", forbid_unknown_fields=True
):
    """Base of all faults; `name` is what the registry counts it under ("": the tag)."""

    name: str = ""


class Matched(Fault, frozen=True, kw_only=True, tag_field="fault"):
    """A fault that is matched on messages. `once`: it strikes once unless `times` says more."""

    once: ClassVar[bool] = False

    target: Target = _ANY
    when: When = _ALWAYS


# ---------------------------------------------------------------- requests and replies


class RequestDelay(Matched, frozen=True, kw_only=True, tag_field="fault", tag="request_delay"):
    """The request is longer on its way. `admitted`: behind the venue's look at its timestamp."""

    dt_ns: int
    admitted: bool = False


class RequestDrop(Matched, frozen=True, kw_only=True, tag_field="fault", tag="request_drop"):
    """The request never arrives, and nothing is answered."""


class AckDelay(Matched, frozen=True, kw_only=True, tag_field="fault", tag="ack_delay"):
    """The venue acts at once; the answer comes later."""

    dt_ns: int


class AckDrop(Matched, frozen=True, kw_only=True, tag_field="fault", tag="ack_drop"):
    """No answer; `applied`: whether the venue acted."""

    applied: bool = True


class UnknownCode(Matched, frozen=True, kw_only=True, tag_field="fault", tag="unknown_code"):
    """Answered with a code that says nothing; `applied` None: a draw decides."""

    code: str
    text: str = ""
    applied: bool | None = None


class Reject(Matched, frozen=True, kw_only=True, tag_field="fault", tag="reject"):
    """Refused with a code: in the answer, or (`after_ns` ≥ 0) taken first, REJECTED then."""

    code: str
    text: str = ""
    after_ns: int = -1


class Throttle(Matched, frozen=True, kw_only=True, tag_field="fault", tag="throttle"):
    """A budget is used up: refused until `retry_ns` after the request; nothing is executed."""

    code: str = ""
    retry_ns: int = 0
    banned: bool = False


class Overload(Matched, frozen=True, kw_only=True, tag_field="fault", tag="overload"):
    """The busy minute: some orders are refused, and some of the refused are executed anyway."""

    code: str
    text: str = ""
    refuse_ppm: int = 600_000
    applied_ppm: int = 0
    spare_closing: bool = True
    """Closing orders pass, as the venue promises of -1008."""


# ---------------------------------------------------------------- executions


class FillStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After `dt_ns`, this share of the order's quantity; `price` ZERO: the price of the moment."""

    dt_ns: int = 0
    portion: Decimal
    price: Price = ZERO


class FillPlan(Matched, frozen=True, kw_only=True, tag_field="fault", tag="fill_plan"):
    """Fills by script. What is left then ends, or (limit orders, `rests`) goes on resting.

    Matched on orders of kind "submit", and "child" for what a fired stop becomes.
    """

    steps: tuple[FillStep, ...] = ()
    rests: bool = False


class TriggerPlan(Matched, frozen=True, kw_only=True, tag_field="fault", tag="trigger_plan"):
    """What becomes of a stop that fired.

    `outcome`: fill | rejected (the venue refuses the order that it became) | expired (it becomes
    an order that fills nothing) | withheld (the trigger is passed over). `dt_ns`: time between
    the trigger and that. `steps` are the fills, where not all at once.
    """

    outcome: str = "fill"
    dt_ns: int = 0
    reason: str = ""
    steps: tuple[FillStep, ...] = ()


class AttachedLost(Matched, frozen=True, kw_only=True, tag_field="fault", tag="attached_lost"):
    """The stop that rode with an entry is not created at its fill."""


class OrdersLeft(Matched, frozen=True, kw_only=True, tag_field="fault", tag="orders_left"):
    """A position went flat, and its closing order or attached stop stays open."""


class Cap(Matched, frozen=True, kw_only=True, tag_field="fault", tag="cap"):
    """Another cap on open orders of a class (PLAIN, CONDITIONAL)."""

    order_class: str
    limit: int


# ---------------------------------------------------------------- surfaces


class RestLag(Matched, frozen=True, kw_only=True, tag_field="fault", tag="rest_lag"):
    """A surface shows the truth of `lag_ns` ago (on top of its ordinary lag)."""

    lag_ns: int


class Amnesia(Matched, frozen=True, kw_only=True, tag_field="fault", tag="amnesia"):
    """An order is live but unknown to queries and cancels; `lists`: to lists of open orders too."""

    lists: bool = True


class PageLimit(Matched, frozen=True, kw_only=True, tag_field="fault", tag="page_limit"):
    """Lists have at most so many rows a page; `cursor` False: and no word of further pages."""

    rows: int
    cursor: bool = True


class OmitClass(Matched, frozen=True, kw_only=True, tag_field="fault", tag="omit_class"):
    """Lists of open orders leave out a class (PLAIN, CONDITIONAL, ATTACHED)."""

    order_class: str


# ---------------------------------------------------------------- streams


class StreamGap(Matched, frozen=True, kw_only=True, tag_field="fault", tag="stream_gap"):
    """Events inside are lost for ever. `closed`: the stream is down, and connecting fails."""

    closed: bool = False


class StreamDup(Matched, frozen=True, kw_only=True, tag_field="fault", tag="stream_dup"):
    """The event comes again `dt_ns` later."""

    dt_ns: int = 0


class StreamDelay(Matched, frozen=True, kw_only=True, tag_field="fault", tag="stream_delay"):
    """The event is later, and so is what follows it on its topic and symbol."""

    dt_ns: int


class StreamReorder(Matched, frozen=True, kw_only=True, tag_field="fault", tag="stream_reorder"):
    """The event is later, and what follows overtakes it."""

    dt_ns: int


class StreamGarbage(Matched, frozen=True, kw_only=True, tag_field="fault", tag="stream_garbage"):
    """A message nobody can read comes before the event, or in its place (`replaces`)."""

    kind: str = "malformed"
    raw: str = "{"
    replaces: bool = False


class HalfOpen(Matched, frozen=True, kw_only=True, tag_field="fault", tag="half_open"):
    """From its match on the stream delivers nothing until it is opened anew."""

    once: ClassVar[bool] = True


# ---------------------------------------------------------------- acts


class Act(Fault, frozen=True, kw_only=True, tag_field="fault"):
    """A fault that happens by itself, at its cue."""

    cue: Cue = Cue()


class FilterChange(Act, frozen=True, kw_only=True, tag_field="fault", tag="filter_change"):
    """The venue changes an instrument; fields left None stay."""

    symbol: str
    tick_size: Decimal | None = None
    qty_step: Decimal | None = None
    min_qty: Decimal | None = None
    max_market_qty: Decimal | None = None
    min_notional: Decimal | None = None
    trading: bool | None = None
    delist_ns: int | None = None
    """Announced end of trading, counted from the origin; it comes about by itself."""


class ModeSet(Act, frozen=True, kw_only=True, tag_field="fault", tag="mode_set"):
    """The account is not, or no longer, as assumed."""

    hedge_mode: bool | None = None
    can_trade: bool | None = None
    symbol: str = ""
    leverage: Decimal | None = None
    isolated: bool | None = None


class VenueAct(Act, frozen=True, kw_only=True, tag_field="fault", tag="venue_event"):
    """liquidation | adl | settle | delist | funding | restart, on a symbol.

    `portion`: share of the position that ADL takes. `rate`: funding, of the position's value at
    the mark; positive: longs pay.
    """

    act: str
    symbol: str = ""
    portion: Decimal = Decimal(1)
    rate: Decimal = ZERO


class VenueCancel(Act, frozen=True, kw_only=True, tag_field="fault", tag="venue_cancel"):
    """The venue cancels open orders by itself; `silent`: no event tells of it."""

    target: Target = _ANY
    reason: str = "CancelByAdmin"
    silent: bool = False


class SecondActor(Act, frozen=True, kw_only=True, tag_field="fault", tag="second_actor"):
    """Somebody else on the same account sends a request.

    `copies` > 1 (orders): so many of it, with "-1", "-2" … behind its client order id.
    """

    request: VenueRequest
    copies: int = 1


type AnyFault = (
    RequestDelay | RequestDrop | AckDelay | AckDrop | UnknownCode | Reject | Throttle | Overload
    | FillPlan | TriggerPlan | AttachedLost | OrdersLeft | Cap
    | RestLag | Amnesia | PageLimit | OmitClass
    | StreamGap | StreamDup | StreamDelay | StreamReorder | StreamGarbage | HalfOpen
    | FilterChange | ModeSet | VenueAct | VenueCancel | SecondActor
)  # fmt: skip
