"""A swarm of faults for a replay: one in each simulated hour, all drawn from one seed.

Each fault waits for its message from a drawn minute of its hour on and strikes once or a few times;
those that are a state of the venue (silence, lag, lost streams) last for a drawn while. Every kind
is one that a venue is known for, and none of them lasts longer than a kernel must survive.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

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
ANY = Target()


class _Codes(NamedTuple):
    vague: str
    through: str
    cap: str
    margin: str
    busy: str


CODES = {
    "binance": _Codes("-1007", "-2021", "-4045", "-2019", "-1008"),
    "bybit": _Codes("10016", "110092", "110009", "110007", "10000"),
}
"""Codes by venue: outcome unknown, would trigger now, too many orders, no margin, busy."""

type Make = Callable[[When, Callable[[int], int], _Codes], Matched]
"""Makes a fault from its window, further draws below a bound, and the venue's codes."""


def with_swarm(plan: ReplayPlan, seed: int) -> None:
    """Add one fault an hour to every venue of a plan."""
    for venue, setup in plan.setup.setups.items():
        made = swarm(seed, venue, plan.end_ns - plan.setup.start_ns)
        plan.setup.setups[venue] = msgspec.structs.replace(setup, faults=setup.faults + made)


def swarm(seed: int, venue: str, span_ns: int) -> tuple[AnyFault, ...]:
    """The faults of a run of `span_ns` on a venue; a function of its arguments."""
    made: list[AnyFault] = []
    for hour in range(max(0, span_ns - QUIET_NS) // HOUR + 1):
        start = hour * HOUR + draw(seed, f"swarm minute/{venue}", hour, 45) * MINUTE
        if start >= span_ns - QUIET_NS:
            break
        label = f"swarm/{venue}/{hour}"

        def pick(bound: int, n: list[int] = [0], label: str = label) -> int:  # noqa: B006
            n[0] += 1
            return draw(seed, label, n[0], bound)

        name, lasting, make = KINDS[draw(seed, f"swarm kind/{venue}", hour, len(KINDS))]
        end = start + (lasting if lasting else 2 * HOUR)
        end = min(end, span_ns - QUIET_NS)
        times = 0 if lasting else 1 + draw(seed, f"swarm times/{venue}", hour, 3)
        fault = make(When(from_ns=start, to_ns=end, times=times), pick, CODES[venue])
        made.append(msgspec.structs.replace(fault, name=f"{name} in hour {hour}"))  # type: ignore[arg-type]
    return tuple(made)


def _half(dt_ns: int) -> tuple[FillStep, ...]:
    return (FillStep(portion=Decimal("0.4")), FillStep(dt_ns=dt_ns, portion=Decimal("0.6")))


KINDS: tuple[tuple[str, int, Make], ...] = (
    ("entry request late", 0, lambda w, p, c: RequestDelay(
        target=ENTRY, when=w, dt_ns=(1 + p(7)) * SECOND)),
    ("entry request lost", 0, lambda w, p, c: RequestDrop(target=ENTRY, when=w)),
    ("entry reply lost", 0, lambda w, p, c: AckDrop(target=ENTRY, when=w)),
    ("entry outcome unknown", 0, lambda w, p, c: UnknownCode(
        target=ENTRY, when=w, code=c.vague)),
    ("entry refused for margin", 0, lambda w, p, c: Reject(
        target=ENTRY, when=w, code=c.margin, text="insufficient")),
    ("entry fills in parts", 0, lambda w, p, c: FillPlan(
        target=ENTRY, when=w, steps=_half((1 + p(4)) * SECOND))),
    ("entry fills late", 0, lambda w, p, c: FillPlan(
        target=ENTRY, when=w, steps=(FillStep(dt_ns=(1 + p(4)) * SECOND, portion=Decimal(1)),))),
    ("stop request lost", 0, lambda w, p, c: RequestDrop(target=STOP, when=w)),
    ("stop reply lost", 0, lambda w, p, c: AckDrop(target=STOP, when=w)),
    ("stop outcome unknown", 0, lambda w, p, c: UnknownCode(
        target=STOP, when=w, code=c.vague)),
    ("stop refused as through", 0, lambda w, p, c: Reject(
        target=STOP, when=w, code=c.through, text="would trigger at once")),
    ("stop refused by a cap", 0, lambda w, p, c: Reject(
        target=STOP, when=w, code=c.cap, text="too many open orders")),
    ("stop reply late", 0, lambda w, p, c: AckDelay(
        target=STOP, when=w, dt_ns=(1 + p(5)) * SECOND)),
    ("cancel reply lost", 0, lambda w, p, c: AckDrop(target=CANCEL, when=w)),
    ("cancel request lost", 0, lambda w, p, c: RequestDrop(target=CANCEL, when=w)),
    ("close reply lost", 0, lambda w, p, c: AckDrop(target=CLOSING, when=w)),
    ("budget used up", 0, lambda w, p, c: Throttle(
        target=ORDERS, when=w, retry_ns=(1 + p(8)) * SECOND)),
    ("busy minute", MINUTE, lambda w, p, c: Overload(target=ORDERS, when=w, code=c.busy)),
    ("lists lag", 2 * MINUTE, lambda w, p, c: RestLag(
        target=ANY, when=w, lag_ns=(1 + p(4)) * SECOND)),
    ("stream cut", 40 * SECOND, lambda w, p, c: StreamGap(target=ANY, when=w, closed=True)),
    ("stream silent", 20 * SECOND, lambda w, p, c: StreamGap(target=ANY, when=w)),
    ("stream half open", 0, lambda w, p, c: HalfOpen(target=ANY, when=w)),
    ("stream doubles", 10 * MINUTE, lambda w, p, c: StreamDup(
        target=ANY, when=w, dt_ns=p(3) * SECOND)),
    ("stream late", 5 * MINUTE, lambda w, p, c: StreamDelay(
        target=ANY, when=w, dt_ns=(1 + p(8)) * SECOND)),
    ("stream reorders", 10 * MINUTE, lambda w, p, c: StreamReorder(
        target=ANY, when=w, dt_ns=(1 + p(3)) * SECOND)),
)  # fmt: skip
"""Name, how long it lasts (0: it strikes a few times), how it is made."""
