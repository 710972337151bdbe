"""A swarm of faults for a replay: one in each simulated hour, all drawn from one seed.

Each fault waits for its message from a drawn minute of its hour on and strikes once or a few times;
those that are a state of the venue (silence, lag, lost streams) last for a drawn while. Every kind
is one that a venue is known for, and none of them lasts longer than a kernel must survive.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import msgspec

from kernel.model.draws import draw
from kernel.model.units import HOUR, MINUTE, SECOND
from scenarios.replay_setup import ReplayPlan
from venues.sim.fault_kinds import (
    AckDelay,
    AckDrop,
    AnyFault,
    FillPlan,
    FillStep,
    HalfOpen,
    Matched,
    Overload,
    Reject,
    RequestDelay,
    RequestDrop,
    RestLag,
    StreamDelay,
    StreamDup,
    StreamGap,
    StreamReorder,
    Target,
    Throttle,
    UnknownCode,
    When,
)

QUIET_NS = 10 * MINUTE
"""Before the end no fault begins any more: everything must have converged there."""
ENTRY = Target(kinds=("submit",), legs="E")
STOP = Target(kinds=("place_stop", "position_stop"))
CLOSING = Target(kinds=("submit",), reduce_only=True)
CANCEL = Target(kinds=("cancel",))
ORDERS = Target(kinds=("submit", "place_stop", "position_stop", "cancel"))


CODES: dict[str, dict[str, str]] = {
    "binance": {
        "vague": "-1007", "through": "-2021", "cap": "-4045", "margin": "-2019", "busy": "-1008",
    },
    "bybit": {
        "vague": "10016", "through": "110092", "cap": "110009", "margin": "110007",
        "busy": "10000",
    },
}  # fmt: skip
"""Codes by venue: outcome unknown, would trigger now, too many orders, no margin, busy."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of fault of the swarm.

    `lasts_ns` 0: it strikes one to three times. `code` names a column of `CODES`, `span` a field
    of the fault that is drawn from `least` to `most` seconds.
    """

    name: str
    fault: Matched
    lasts_ns: int = 0
    code: str = ""
    span: str = ""
    least: int = 1
    most: int = 1


def with_swarm(plan: ReplayPlan, seed: int, *, every_ns: int = HOUR) -> None:
    """Add one fault in each `every_ns` to every venue of a plan."""
    for venue, setup in plan.setup.setups.items():
        made = swarm(seed, venue, plan.end_ns - plan.setup.start_ns, every_ns=every_ns)
        plan.setup.setups[venue] = msgspec.structs.replace(setup, faults=setup.faults + made)


def swarm(seed: int, venue: str, span_ns: int, *, every_ns: int = HOUR) -> tuple[AnyFault, ...]:
    """The faults of a run of `span_ns` on a venue; a function of its arguments."""
    made: list[AnyFault] = []
    last_ns = span_ns - QUIET_NS
    minutes = max(1, every_ns * 3 // 4 // MINUTE)
    for hour in range(max(0, last_ns) // every_ns + 1):
        start_ns = hour * every_ns + draw(seed, f"swarm minute/{venue}", hour, minutes) * MINUTE
        if start_ns >= last_ns:
            break
        kind = KINDS[draw(seed, f"swarm kind/{venue}", hour, len(KINDS))]
        times = 0 if kind.lasts_ns else 1 + draw(seed, f"swarm times/{venue}", hour, 3)
        end_ns = min(last_ns, start_ns + (kind.lasts_ns or 2 * HOUR))
        changes: dict[str, Any] = {
            "name": f"{kind.name} in hour {hour}",
            "when": When(from_ns=start_ns, to_ns=end_ns, times=times),
        }
        if kind.code:
            changes["code"] = CODES[venue][kind.code]
        if kind.span:
            more = draw(seed, f"swarm span/{venue}", hour, kind.most - kind.least + 1)
            changes[kind.span] = (kind.least + more) * SECOND
        made.append(cast("AnyFault", msgspec.structs.replace(kind.fault, **changes)))
    return tuple(made)


HALVES = (
    FillStep(portion=Decimal("0.4")),
    FillStep(dt_ns=2 * SECOND, portion=Decimal("0.6")),
)
LATE = (FillStep(dt_ns=3 * SECOND, portion=Decimal(1)),)

KINDS: tuple[Kind, ...] = (
    Kind(name="entry request late", fault=RequestDelay(target=ENTRY, dt_ns=0),
         span="dt_ns", most=8),
    Kind(name="entry request lost", fault=RequestDrop(target=ENTRY)),
    Kind(name="entry reply lost", fault=AckDrop(target=ENTRY)),
    Kind(name="entry outcome unknown", fault=UnknownCode(target=ENTRY, code=""), code="vague"),
    Kind(name="entry refused for margin", fault=Reject(target=ENTRY, code=""), code="margin"),
    Kind(name="entry fills in parts", fault=FillPlan(target=ENTRY, steps=HALVES)),
    Kind(name="entry fills late", fault=FillPlan(target=ENTRY, steps=LATE)),
    Kind(name="stop request lost", fault=RequestDrop(target=STOP)),
    Kind(name="stop reply lost", fault=AckDrop(target=STOP)),
    Kind(name="stop outcome unknown", fault=UnknownCode(target=STOP, code=""), code="vague"),
    Kind(name="stop refused as through", fault=Reject(target=STOP, code=""), code="through"),
    Kind(name="stop refused by a cap", fault=Reject(target=STOP, code=""), code="cap"),
    Kind(name="stop reply late", fault=AckDelay(target=STOP, dt_ns=0), span="dt_ns", most=6),
    Kind(name="cancel reply lost", fault=AckDrop(target=CANCEL)),
    Kind(name="cancel request lost", fault=RequestDrop(target=CANCEL)),
    Kind(name="close reply lost", fault=AckDrop(target=CLOSING)),
    Kind(name="budget used up", fault=Throttle(target=ORDERS), span="retry_ns", most=9),
    Kind(name="busy minute", fault=Overload(target=ORDERS, code=""), lasts_ns=MINUTE, code="busy"),
    Kind(name="lists lag", fault=RestLag(lag_ns=0), lasts_ns=2 * MINUTE, span="lag_ns", most=4),
    Kind(name="stream cut", fault=StreamGap(closed=True), lasts_ns=40 * SECOND),
    Kind(name="stream silent", fault=StreamGap(), lasts_ns=20 * SECOND),
    Kind(name="stream half open", fault=HalfOpen()),
    Kind(name="stream doubles", fault=StreamDup(), lasts_ns=10 * MINUTE, span="dt_ns", most=3),
    Kind(name="stream late", fault=StreamDelay(dt_ns=0), lasts_ns=5 * MINUTE, span="dt_ns",
         most=8),
    Kind(name="stream reorders", fault=StreamReorder(dt_ns=0), lasts_ns=10 * MINUTE,
         span="dt_ns", most=3),
)  # fmt: skip
