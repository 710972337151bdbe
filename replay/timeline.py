"""The timeline: a run as text, one fact a line: time, position, what, why, values.

    12:20:03.214  binance BTCUSDT  stop confirmed  first stop  level 41160, qty 0.005

Facts are the decisions of the kernel, its alerts, and the starts and ends of its lives. How serious
each is says `kernel.watch.kinds`; those of level DEBUG are left out unless `quiet` is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from kernel.model.messages import (
    Alert,
    ClockStep,
    Decision,
    Effect,
    Input,
    Operator,
    Stall,
    Start,
    StepResult,
    Stopped,
)
from kernel.model.units import MS
from kernel.signals.timestamps import format_utc
from kernel.watch.kinds import CRITICAL, DEBUG, INFO, level_of


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact. `level` is "info", "warning" or "critical"."""

    ts_ns: int
    what: str
    why: str = ""
    venue: str = ""
    symbol: str = ""
    position_id: str = ""
    client_order_id: str = ""
    values: dict[str, str] = {}
    level: str = "info"
    kind: str = ""

    def text(self, *, date: bool = False) -> str:
        """The fact as one line."""
        clock = clock_text(self.ts_ns, date=date)
        place = f"{self.venue} {self.symbol}".strip() or "-"
        mark = {"info": " ", "warning": "!", "critical": "‼"}[self.level]
        values = ", ".join(f"{name} {value}" for name, value in self.values.items() if value)
        parts = [f"{clock} {mark} {place:<20}", self.what, self.why, values, self.client_order_id]
        return "  ".join(part for part in parts if part)


def clock_text(ts_ns: int, *, date: bool = False) -> str:
    """`12:20:03.214`, with the day before it where asked."""
    told = format_utc(ts_ns)
    clock = f"{told[11:19]}.{ts_ns // MS % 1000:03}"
    return f"{told[:10]} {clock}" if date else clock


def is_quiet(decision: Decision) -> bool:
    """Whether a decision says little, or only what another one says as well."""
    return level_of(decision) == DEBUG


def facts_of(item: Input, result: StepResult, *, quiet: bool = False) -> list[Fact]:
    """The facts of one step, in their order."""
    found = [fact for fact in (_input_fact(item),) if fact is not None]
    found += [
        _decision_fact(item.ts_ns, decision)
        for decision in result.decisions
        if quiet or not is_quiet(decision)
    ]
    for effect in result.effects:
        fact = _effect_fact(item.ts_ns, effect)
        if fact is not None:
            found.append(fact)
    return found


class Timeline:
    """A sink of a run that collects facts, or hands each one on.

    Args:
        take: Called with each fact; None: they are kept in `facts`.
        quiet: Whether quiet facts are told too.
    """

    def __init__(self, take: Callable[[Fact], None] | None = None, *, quiet: bool = False) -> None:
        self.facts: list[Fact] = []
        self._take = take or self.facts.append
        self._quiet = quiet
        self._now_ns = 0

    def step(self, item: Input, result: StepResult) -> None:
        """One step of a run."""
        self._now_ns = item.ts_ns
        for fact in facts_of(item, result, quiet=self._quiet):
            self._take(fact)

    def born(self, kernel: object) -> None:
        """A kernel starts: its first input says so."""

    def died(self, reason: str) -> None:
        """The kernel is gone."""
        if reason != "stopped":
            self._take(
                Fact(ts_ns=self._now_ns, what=f"the kernel dies: {reason}", level="warning",
                     kind="kernel.died")
            )  # fmt: skip

    def lines(self) -> list[str]:
        """The kept facts as text; the day stands where the run has more than one."""
        return fact_lines(self.facts)


def fact_lines(facts: Iterable[Fact]) -> list[str]:
    """Facts as lines; each new day has a line of its own."""
    lines: list[str] = []
    day = ""
    for fact in facts:
        today = format_utc(fact.ts_ns)[:10]
        if today != day:
            day = today
            lines.append(f"{day}")
        lines.append(fact.text())
    return lines


def _input_fact(item: Input) -> Fact | None:
    body = item.body
    match body:
        case Start(reason=reason):
            return Fact(ts_ns=item.ts_ns, what="the kernel starts", why=reason, kind="kernel.born")
        case Stall(late_ns=late_ns):
            why = f"{late_ns // MS} ms late"
            return Fact(ts_ns=item.ts_ns, what="the process stood still", why=why, level="warning")
        case ClockStep(by_ns=by_ns):
            why = f"by {by_ns // MS} ms"
            return Fact(ts_ns=item.ts_ns, what="the wall clock moved", why=why, level="warning")
        case Operator(command=command, args=args):
            return Fact(ts_ns=item.ts_ns, what="operator", why=" ".join((command, *args)))
        case _:
            return None


def _effect_fact(ts_ns: int, effect: Effect) -> Fact | None:
    body = effect.body
    match body:
        case Alert():
            return Fact(
                ts_ns=ts_ns,
                what=f"ALERT {body.kind}" + ("" if body.state == "raised" else f" {body.state}"),
                why=body.text,
                venue=body.venue,
                symbol=body.symbol,
                level=_ALERT_LEVELS.get(body.severity, "warning"),
                kind=f"alert.{body.kind}",
            )
        case Stopped(reason=reason):
            return Fact(ts_ns=ts_ns, what="the kernel stops", why=reason, kind="kernel.stopped")
        case _:
            return None


_ALERT_LEVELS = {INFO: "info", CRITICAL: "critical"}
_LEVELS = {DEBUG: "info", INFO: "info", CRITICAL: "critical"}


def _decision_fact(ts_ns: int, decision: Decision) -> Fact:
    what = decision.kind.replace(".", " ").replace("_", " ")
    values = dict(decision.values)
    if "before" in values and "after" in values:
        what = f"{decision.kind.partition('.')[0]} {values.pop('before')} → {values.pop('after')}"
    return Fact(
        ts_ns=ts_ns,
        what=what,
        why=decision.cause,
        venue=decision.venue,
        symbol=decision.symbol,
        position_id=decision.position_id,
        client_order_id=decision.client_order_id,
        values=values,
        level=_LEVELS.get(level_of(decision), "warning"),
        kind=decision.kind,
    )
